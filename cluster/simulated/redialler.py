"""A dialling socket that goes on dialling, as the agent's DEALERs and its SUB do. Pure."""

from __future__ import annotations

from collections.abc import Callable

from cluster.simulated.network import Connection, NetHost, Network
from cluster.simulated.process import Process

RECONNECT_SECONDS, RECONNECT_SECONDS_MAX = 0.2, 2.0
"""Those of `node.agent.dialled`, without its randomness."""


class Redialler:
    """Told ``changed`` True when it is connected and False when it is not any more, as a connection monitor tells."""

    def __init__(
        self,
        network: Network,
        host: NetHost,
        process: Process,
        endpoint: str,
        heard: Callable[[object], None],
        changed: Callable[[bool], None],
    ) -> None:
        self.process = process
        self.endpoint = endpoint
        self._network, self._host, self._heard, self._changed = network, host, heard, changed
        self._wait = RECONNECT_SECONDS
        self._told: bool | None = None
        self._closed = False
        self._connection: Connection = network.dial(host, self, endpoint)

    def send(self, message: object) -> None:
        """Nothing is queued while it is not connected: the socket option IMMEDIATE."""
        if self._connection.state == "open":
            self._connection.send(message)

    def close(self) -> None:
        self._closed = True
        self._connection.close()

    def on_connected(self) -> None:
        self._wait = RECONNECT_SECONDS
        self._tell(True)

    def on_lost(self) -> None:
        self._tell(False)
        if not self._closed:
            self._network.clock.after(self._wait, self._redial)
            self._wait = min(2 * self._wait, RECONNECT_SECONDS_MAX)

    def on_message(self, message: object) -> None:
        if not self._closed:
            self._heard(message)

    def _redial(self) -> None:
        if not self._closed and self.process.alive and self._host.up:
            self._connection = self._network.dial(self._host, self, self.endpoint)

    def _tell(self, connected: bool) -> None:
        if not self._closed and connected != self._told:
            self._told = connected
            self._changed(connected)
