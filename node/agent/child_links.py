"""The agent's side of ``agent.sock``: where piece server and downloader are, and what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import zmq

from node.local_messages import (
    AGENT_SOCKET,
    AgentToDownloader,
    AgentToPieceServer,
    ChildToAgent,
    Hello,
)
from protocol.codec import Decoder, encode
from protocol.errors import ProtocolError
from protocol.limits import LOCAL_BYTES_MAX
from transport.runtime_dir import ipc_endpoint
from transport.sockets import Role, bind, drain_routed, open_socket, send_or_drop

log = logging.getLogger(__name__)


class ChildLinks:
    """``on_message`` gets what either child says."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        runtime_dir: Path,
        on_message: Callable[[ChildToAgent], None],
    ) -> None:
        self._on_message = on_message
        self._routes: dict[str, bytes] = {}
        self._decoder: Decoder[ChildToAgent] = Decoder(ChildToAgent, LOCAL_BYTES_MAX)
        self.socket = open_socket(context, Role.LOCAL_ROUTER)
        bind(self.socket, ipc_endpoint(runtime_dir, AGENT_SOCKET))

    def receive(self) -> None:
        """Handler of the loop."""
        for route, frames in drain_routed(self.socket):
            try:
                message = self._decoder.decode(frames[-1].buffer)
            except ProtocolError as error:
                log.error("one of this peer's own processes sent a message that cannot be understood: %s", error)
                continue
            if isinstance(message, Hello):
                self._routes[message.role] = route
            self._on_message(message)

    def send(self, role: str, message: AgentToPieceServer | AgentToDownloader) -> None:
        """Tell the child of ``role``, if it is there; a new run of it is told everything anyway."""
        route = self._routes.get(role)
        if route is not None:
            send_or_drop(self.socket, [route, encode(message, LOCAL_BYTES_MAX)])

    def close(self) -> None:
        self.socket.close()
