"""Trackers and peers on this machine: separate processes, free ports, a data and a download directory for each peer.

All files lie under one root. `LocalCluster` starts, waits, kills, restarts and, however its block ends, ends and reaps
every process. What the peers are told to do is `cluster.run`'s.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cluster.interrupts import shielded
from cluster.processes import HERE, Host, Program, end_all, kill_all
from node.api_messages import ApiAccepted, ApiGetStatus, ApiReply, ApiRequest, StatusReport
from node.client.lines import Line, Lines, latest_statuses
from protocol.errors import NetworkError
from service.config import KEYS_NAME, NO_KEYS
from service.key_folder import KeyFolder
from transport.runtime_dir import runtime_dir

TRACKER = "tracker"
START_SECONDS = 120.0
START_SECONDS_PER_PEER = 3.0
"""How long the start may take at most: 20 peers are 80 processes, on whatever number of cores."""
END_SECONDS = 15.0
END_SECONDS_PER_PEER = 1.0
REQUEST_SECONDS = 10.0
PAUSE_SECONDS = 0.05
TRACKER_PORTS_COUNT = 3
INVITE_SECONDS = 3_600.0
PORT_ATTEMPTS = 50
PORT_MIN, PORT_MAX = 10_000, 65_535
OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class LocalTracker:
    """``python -m broker``. ``settings`` are keys of its configuration file.

    ``same_ports``: take ports that a restart can take again; otherwise the system chooses, which nobody can race.
    """

    def __init__(
        self, directory: Path, sockets: Path, settings: Mapping[str, Any], same_ports: bool = False, host: Host = HERE
    ) -> None:
        directory.mkdir()
        self._ready_file = directory / "ready.json"
        port = free_ports(TRACKER_PORTS_COUNT) if same_ports else 0
        config = {"listen": f"tcp://{host.address}:{port}", "keys": NO_KEYS, "web": "", **settings}
        (directory / "tracker.yaml").write_text(json.dumps(config, indent=2) + "\n")
        arguments = ["--config", str(directory / "tracker.yaml"), "--ready-file", str(self._ready_file)]
        self.program = Program("broker", arguments, directory / "log", sockets, host)
        self.endpoints: dict[str, Any] = {}

    @property
    def endpoint(self) -> str:
        """What peers dial, of a tracker that is ready."""
        endpoint = self.endpoints["registrar"]
        assert isinstance(endpoint, str)
        return endpoint

    @property
    def page(self) -> str:
        """The address of its page, of a tracker that is ready; empty if it has none."""
        endpoint = self.endpoints.get("web", "")
        assert isinstance(endpoint, str)
        return endpoint.replace("tcp://", "http://")

    def start(self, seconds: float = START_SECONDS) -> None:
        """Returns when all its processes serve. `NetworkError` when it ends, or is not ready within ``seconds``."""
        self.begin()
        self.await_ready(seconds)

    def begin(self) -> None:
        """Start it, and wait for nothing."""
        self._ready_file.unlink(missing_ok=True)
        self.program.start()

    def await_ready(self, seconds: float = START_SECONDS) -> None:
        """As `start`, of one that was begun."""
        deadline = time.monotonic() + seconds
        while not self._ready_file.exists():
            check_running([self.program], "the tracker")
            if time.monotonic() > deadline:
                raise NetworkError(_said(self.program, f"the tracker was not ready within {seconds:g} s"))
            time.sleep(PAUSE_SECONDS)
        self.endpoints = json.loads(self._ready_file.read_text())

    def kill(self) -> None:
        """``kill -9`` of all its processes at once; `start` brings it back with nothing remembered."""
        self.program.kill()

    def kill_role(self, role: str) -> None:
        """``kill -9`` of its ``registrar`` or ``lookup``."""
        kill_role(self.program, role)


class LocalPeer:
    """``python -m node`` with its directories under ``directory``. ``settings`` are keys of its configuration file."""

    def __init__(
        self,
        directory: Path,
        sockets: Path,
        trackers: Sequence[str],
        lines: Lines,
        settings: Mapping[str, Any],
        host: Host = HERE,
    ) -> None:
        self.name = directory.name
        self.data_dir = directory / "data"
        self.download_dir = directory / "files"
        for place in (self.download_dir, self.data_dir):
            place.mkdir(parents=True, exist_ok=True)  # it may be a file system that was mounted there
        config = {
            "name": self.name,
            "tracker": list(trackers),
            "listen": f"tcp://{host.address}:0",
            "data_dir": str(self.data_dir),
            "download_dir": str(self.download_dir),
            **settings,
        }
        (directory / "peer.yaml").write_text(json.dumps(config, indent=2) + "\n")
        arguments = ["--config", str(directory / "peer.yaml")]
        self.program = Program("node", arguments, directory / "log", sockets, host)
        self.line: Line = lines.open(self.name, sockets / runtime_dir(self.data_dir).name)

    def start(self) -> None:
        """It runs, but need not answer yet: see `LocalCluster.wait_joined`."""
        self.program.start()

    def kill(self) -> None:
        """``kill -9`` of all its processes at once; `start` brings it back with what is on its disk."""
        self.program.kill()

    def kill_role(self, role: str) -> None:
        """``kill -9`` of its ``agent``, ``piece_server`` or ``downloader``."""
        kill_role(self.program, role)

    def request(self, message: ApiRequest, timeout: float = REQUEST_SECONDS) -> ApiReply:
        """Its reply. ``message`` has an id of ``line.next_id()``. `NetworkError` after ``timeout`` seconds."""
        return self.line.request(message, timeout)

    def status(self, timeout: float = REQUEST_SECONDS) -> StatusReport:
        """Raises `NetworkError` after ``timeout`` seconds."""
        reply = self.request(ApiGetStatus(self.line.next_id()), timeout)
        assert isinstance(reply, StatusReport), reply
        return reply


def accepted(peer: LocalPeer, reply: ApiReply | None) -> ApiAccepted:
    """The ``reply`` to a request for a job. `NetworkError` when that is another one, or none."""
    if isinstance(reply, ApiAccepted):
        return reply
    raise NetworkError(f"{peer.name} did not take the request: {getattr(reply, 'detail', 'no answer')}")


class LocalCluster:
    """A tracker and peers under ``root``, an existing directory. A context manager. ``hosts``: where `TRACKER` and the
    peers run, by their names; None: all right here.

    When its block ends, all processes are ended in order and reaped; those that take too long are killed. A second
    exception in the meantime (an impatient Ctrl-C) kills them all. ``root`` is its owner's to remove. ``sockets`` is a
    directory for ipc sockets, which goes with the cluster. ``secure``: with keys, made for it. ``tracker`` is the
    first of ``trackers``; their number is ``trackers``.
    """

    def __init__(
        self,
        root: Path,
        tracker_settings: Mapping[str, Any] | None = None,
        same_ports: bool = False,
        hosts: Mapping[str, Host] | None = None,
        secure: bool = False,
        trackers: int = 1,
    ) -> None:
        self._root, self._hosts = root, hosts
        with shielded():
            self._resources = ExitStack()
            # Beside where the sockets of peers are anyway: the path of a socket is limited, and root can be deep.
            sockets = tempfile.TemporaryDirectory(prefix="zswarm-", dir=runtime_dir(root).parent)
            self.sockets = Path(self._resources.enter_context(sockets))
        self._lines = self._resources.enter_context(Lines())
        settings = dict(tracker_settings or {})
        self._keys = KeyFolder(root / KEYS_NAME) if secure else None
        if self._keys is not None:
            self._keys.make()
            settings["keys"] = str(self._keys.path)
        names = [f"{TRACKER}{number or ''}" for number in range(trackers)]
        self.trackers = [
            LocalTracker(root / name, self.sockets, settings, same_ports, self._host(TRACKER)) for name in names
        ]
        self.tracker = self.trackers[0]
        self.peers: list[LocalPeer] = []

    def start_tracker(self) -> None:
        """All of them, if there are several."""
        for tracker in self.trackers:
            tracker.begin()
        for tracker in self.trackers:
            tracker.await_ready()

    def add_peers(self, names: Iterable[str], settings: Mapping[str, Any] | None = None) -> list[LocalPeer]:
        """Start a peer for each of ``names``, in parallel; `wait_joined` waits for them. The tracker is ready."""
        added = []
        own = dict(settings or {})
        if self._keys is not None:
            own["invite"] = self._keys.invite(self.tracker.endpoint, INVITE_SECONDS, reusable=True)
        endpoints = [tracker.endpoint for tracker in self.trackers]
        for name in names:
            peer = LocalPeer(self._root / name, self.sockets, endpoints, self._lines, own, self._host(name))
            self.peers.append(peer)
            peer.start()
            added.append(peer)
        return added

    def wait_joined(
        self, peers: Sequence[LocalPeer] | None = None, joined: Callable[[int], None] = lambda _: None
    ) -> None:
        """Until ``peers`` (None: all) are in the network; ``joined`` is called with how many are, now and then.

        `NetworkError` when one ends or it takes too long.
        """
        waiting = {peer: peer.line for peer in (self.peers if peers is None else peers)}
        count = len(waiting)
        seconds = START_SECONDS + START_SECONDS_PER_PEER * len(waiting)
        deadline = time.monotonic() + seconds
        while waiting:
            for peer, status in latest_statuses(waiting, PAUSE_SECONDS).items():
                if status.network == "joined":
                    del waiting[peer]
                elif status.network == "refused":
                    raise NetworkError(f"{peer.name} was refused by the tracker: {status.problem}")
            joined(count - len(waiting))
            for peer in waiting:
                check_running([peer.program], peer.name)
            if waiting and time.monotonic() > deadline:
                names = ", ".join(peer.name for peer in waiting)
                raise NetworkError(
                    _said(next(iter(waiting)).program, f"not in the network after {seconds:g} s: {names}")
                )

    def programs(self) -> list[Program]:
        """Every program, the trackers' first."""
        return [*(tracker.program for tracker in self.trackers), *(peer.program for peer in self.peers)]

    def _host(self, name: str) -> Host:
        return HERE if self._hosts is None else self._hosts[name]

    def close(self) -> None:
        """End everything; see the class."""
        seconds = END_SECONDS + END_SECONDS_PER_PEER * len(self.peers)
        try:
            end_all([peer.program for peer in self.peers], seconds)
            end_all([tracker.program for tracker in self.trackers], END_SECONDS)
        finally:
            with shielded():
                kill_all(self.programs())
                self._resources.close()  # a killed program could not remove its sockets

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def kill_role(program: Program, role: str) -> None:
    """``kill -9`` of the child of ``program`` with ``role``."""
    child = program.children().get(role)
    if child is None:
        raise NetworkError(f"no {role} runs")
    child.send_signal(signal.SIGKILL)


def check_running(programs: Iterable[Program], who: str) -> None:
    """`NetworkError` with what it said last when one of ``programs`` has ended."""
    for program in programs:
        code = program.exit_code()
        if code is not None:
            raise NetworkError(_said(program, f"{who} ended with exit code {code}"))


def free_ports(count: int) -> int:
    """The first of ``count`` consecutive ports that nobody uses now. If the system leaves any, no outgoing connection
    is given them while their owner is restarted: it would keep them for a minute after it has ended."""
    first_outgoing = int(OUTGOING_PORTS.read_text().split()[0])
    end = first_outgoing if first_outgoing - count > PORT_MIN else PORT_MAX + 1
    for _ in range(PORT_ATTEMPTS):
        port = random.randrange(PORT_MIN, end - count)
        with ExitStack() as held:
            try:
                for number in range(port, port + count):
                    held.enter_context(socket.socket()).bind((HERE.address, number))
            except OSError:
                continue
            return port
    raise NetworkError(f"no {count} consecutive free ports were found")


def _said(program: Program, what: str) -> str:
    return "\n".join([what, *(f"  {line}" for line in program.log_tail())])
