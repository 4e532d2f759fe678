"""A simulated peer: a machine with its disk, and the three processes of a peer under a supervisor. Pure.

Owns which processes there are. What they do is theirs (`agent`, `piece_server`, `downloader`), how they reach each
other `host`'s; what befalls them is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

from cluster.simulated.agent import AgentProcess
from cluster.simulated.downloader import DownloaderProcess
from cluster.simulated.host import PeerMachine
from cluster.simulated.piece_server import PieceServerProcess
from cluster.simulated.process import Process
from node.api_messages import ApiRequest
from protocol.messages import Piece

RESTART_SECONDS = 0.1
"""The supervisor's first wait before it starts a dead child again."""
Role = Literal["agent", "piece_server", "downloader"]
ROLES: tuple[Role, ...] = ("agent", "piece_server", "downloader")


class Peer(PeerMachine):
    """``on_served`` gets every piece it sends: by which route, its header, its bytes."""

    on_served: Callable[[Peer, bytes, Piece, bytes], None] | None = None
    after_turn: Callable[[Process], None] | None = None
    machine_rates = (float("inf"), float("inf"))
    """What its links can do, up and down, when nothing slows them."""
    powered = False
    agent: AgentProcess | None = None
    piece_server: PieceServerProcess | None = None
    downloader: DownloaderProcess | None = None

    def process(self, role: Role) -> Process | None:
        """The one that lives, if there is one."""
        found: Process | None = getattr(self, role)
        return found if found is not None and found.alive else None

    def processes(self) -> list[Process]:
        return [found for role in ROLES if (found := self.process(role)) is not None]

    # --- what befalls it ---------------------------------------------------------------------------------

    def start(self) -> None:
        """The machine is on, and the peer runs; that it was to stay out of the network, or to keep to other limits
        than those of its configuration, is forgotten."""
        self.powered = True
        self.away, self.override = False, None
        for role in ROLES:
            self._start(role)

    def kill(self, role: Role) -> None:
        """By SIGKILL; the supervisor starts it again."""
        process = self.process(role)
        if process is not None:
            self._end(process)
            self.network.clock.after(RESTART_SECONDS, self._restart, role)

    def stopped(self) -> None:
        """The peer ended by itself."""
        for process in self.processes():
            self._end(process)
        self.powered = False

    def power_off(self) -> None:
        """The machine loses its power: no word to anybody, and what was not synced is at risk."""
        if self.powered:
            self.powered = False
            for process in self.processes():
                process.kill()
            self.network.host_died(self.net)
            self.disk.power_cut(self.network.clock.now)

    def power_on(self) -> None:
        if not self.powered:
            self.network.host_is_back(self.net)
            self.start()

    def pause(self) -> None:
        """The machine stands still: nothing is done, and what arrives waits."""
        for process in self.processes():
            process.pause()

    def go_on(self) -> None:
        for process in self.processes():
            process.go_on()

    # --- what its processes ask --------------------------------------------------------------------------

    def ask(self, request: ApiRequest) -> bool:
        """A person types a command; False when no agent runs that could hear it."""
        if self.agent is None or not self.agent.alive:
            return False
        self.agent.receive(self.agent.asked, request)
        return True

    def served(self, route: bytes, header: Piece, data: bytes) -> None:
        if self.on_served is not None:
            self.on_served(self, route, header, data)

    # --- the supervisor ----------------------------------------------------------------------------------

    def _end(self, process: Process) -> None:
        process.kill()
        self.network.process_died(self.net, process)

    def _restart(self, role: Role) -> None:
        if self.powered and self.process(role) is None:
            self._start(role)

    def _start(self, role: Role) -> None:
        instance = self._rng.getrandbits(48)
        rng = Random(self._rng.getrandbits(64))
        process: Process
        if role == "agent":
            process = self.agent = AgentProcess(self, instance, rng)
        elif role == "piece_server":
            process = self.piece_server = PieceServerProcess(self, instance)
        else:
            process = self.downloader = DownloaderProcess(self, instance, rng)
        if self.after_turn is not None:
            process.after_turn = self.after_turn
