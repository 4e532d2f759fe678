"""A simulated peer: a machine with its disk, and the three processes of a peer under a supervisor. Pure.

Owns which processes there are and how they reach each other on the machine. What they do is theirs (`agent`,
`piece_server`, `downloader`); what befalls them is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal, NamedTuple

from cluster.simulated.agent import AgentProcess
from cluster.simulated.disk import SimulatedDisk
from cluster.simulated.downloader import DownloaderProcess
from cluster.simulated.network import NetHost, Network
from cluster.simulated.piece_server import PieceServerProcess, Tamper
from cluster.simulated.process import TURN_SECONDS, Process
from node.agent.library import LibraryItem
from node.local_messages import ApiRequest
from protocol.messages import Message

LOCAL_SECONDS = 2e-5
"""From one process of a machine to another."""
RESTART_SECONDS = 0.1
"""The supervisor's first wait before it starts a dead child again."""
Role = Literal["agent", "piece_server", "downloader"]
ROLES: tuple[Role, ...] = ("agent", "piece_server", "downloader")


class PeerTerms(NamedTuple):
    """As in a peer's configuration; rates in bytes/s, 0 unlimited. ``hears_of``: the part of all sources that its
    downloads ever hear of, for worlds so large that not all can matter."""

    upload_slots: int = 4
    upload_rate: float = 0
    download_rate: float = 0
    hears_of: float = 1


class Peer:
    """``identity`` and ``token`` as in its data directory; ``tracker`` is the address it is configured with. ``note``
    gets its log, ``on_served`` every piece it sends."""

    port_number = 7_000

    def __init__(
        self,
        network: Network,
        net: NetHost,
        disk: SimulatedDisk,
        rng: Random,
        tracker: str,
        terms: PeerTerms,
        note: Callable[[str, object], None],
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        self.network, self.net, self.disk, self.tracker, self.terms = network, net, disk, tracker, terms
        self.name = net.name
        self.note = note
        self.turn_seconds = turn_seconds
        self.on_served: Callable[[Peer, int, bytes], None] = _nothing
        self.after_turn: Callable[[Process], None] = _nothing_either
        self.tamper: Tamper | None = None
        """A liar's: what it makes of what its piece server says..."""
        self.tamper_fetch: Callable[[Message], Message | None] | None = None
        """...and of what its downloader says to sources; None swallows it."""
        self.machine_rates = (float("inf"), float("inf"))
        """What its links can do, up and down, when nothing slows them."""
        self.identity = f"{rng.getrandbits(128):032x}"
        self.token = rng.randbytes(32)
        self.away = False
        self.powered = False
        self.agent: AgentProcess | None = None
        self.piece_server: PieceServerProcess | None = None
        self.downloader: DownloaderProcess | None = None
        self._rng = rng
        self._heard: dict[str, bool] = {}
        self._backlog: list[tuple[Process, Role, Role, Any]] = []
        """What was said to a process that is being started again."""

    @property
    def endpoint(self) -> str:
        """Where its piece server listens."""
        return f"tcp://{self.net.address}:{self.port_number}"

    def process(self, role: Role) -> Process | None:
        """The one that lives, if there is one."""
        found: Process | None = getattr(self, role)
        return found if found is not None and found.alive else None

    def processes(self) -> list[Process]:
        return [found for role in ROLES if (found := self.process(role)) is not None]

    # --- what befalls it ---------------------------------------------------------------------------------

    def start(self) -> None:
        """The machine is on, and the peer runs; that it was to stay out of the network is forgotten."""
        self.powered = True
        self.away = False
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

    # --- between its processes ---------------------------------------------------------------------------

    def tell(self, source: Role, target: Role, message: Any) -> None:
        """One process speaks to another, as over a DEALER: what is said to one that is away waits for its next run."""
        sender, receiver = self.process(source), self.process(target)
        if sender is None:
            return
        if receiver is None:
            self._backlog.append((sender, source, target, message))
        else:
            self.deliver(source, receiver, message)

    def deliver(self, source: Role, receiver: Process, message: Any) -> None:
        """``message`` for this very run of a process; lost when that has ended."""
        clock = self.network.clock
        if isinstance(receiver, AgentProcess):
            sender = self.process(source)
            clock.after(LOCAL_SECONDS, receiver.receive, receiver.child_says, source, sender, message)
        elif isinstance(receiver, PieceServerProcess):
            heard = receiver.agent_says if source == "agent" else receiver.downloader_says
            clock.after(LOCAL_SECONDS, receiver.receive, heard, message)
        elif isinstance(receiver, DownloaderProcess):
            heard = receiver.order if source == "agent" else receiver.pieces_say
            clock.after(LOCAL_SECONDS, receiver.receive, heard, message)

    # --- what its processes ask --------------------------------------------------------------------------

    def ask(self, request: ApiRequest) -> bool:
        """A person types a command; False when no agent runs that could hear it."""
        if self.agent is None or not self.agent.alive:
            return False
        self.agent.receive(self.agent.asked, request)
        return True

    def served(self, piece: int, data: bytes) -> None:
        self.on_served(self, piece, data)

    def hears_of(self, peer: str) -> bool:
        """Whether hints about ``peer`` get here: drawn once for each."""
        if self.terms.hears_of >= 1:
            return True
        heard = self._heard.get(peer)
        if heard is None:
            heard = self._heard[peer] = self._rng.random() < self.terms.hears_of
        return heard

    def item_problem(self, item: LibraryItem) -> str:
        """As `node.agent.disk_work.item_problem`."""
        file = self.disk.files.get(item.path)
        if file is None:
            return "it was deleted"
        return "" if file.stamps == item.stamps else "it changed"

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
            self.piece_server.tamper = self.tamper
        else:
            process = self.downloader = DownloaderProcess(self, instance, rng)
        process.after_turn = self.after_turn
        waiting, self._backlog = self._backlog, []
        for entry in waiting:
            sender, source, target, message = entry
            if target != role:
                self._backlog.append(entry)
            elif sender.alive:
                self.deliver(source, process, message)


def _nothing(_peer: Peer, _piece: int, _data: bytes) -> None:
    """Nobody looks at what is served."""


def _nothing_either(_process: Process) -> None:
    """Nobody looks at what a turn has done."""
