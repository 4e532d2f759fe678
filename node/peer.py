"""A whole peer: its data directory and lock, its runtime directory, its three processes under a supervisor."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.config import TCP_SCHEME, AgentSettings, DownloaderSettings, PeerSettings, PieceServerSettings
from node.identity import DataDirLock, await_last_run, load_identity
from protocol.errors import NetworkError
from service.logs import set_up_logging
from service.supervisor import ChildSpec, Supervisor
from transport.runtime_dir import make_runtime_dir, point_to_runtime_dir, remove_runtime_dir

_logger = logging.getLogger(__name__)


def numeric_endpoint(endpoint: str) -> str:
    """``endpoint`` with the address of its host instead of a name: whoever dials a peer must not have to look it up.

    Raises `NetworkError` when the name is nobody's. Waits for the resolver: call before anything runs.
    """
    host, _, port = endpoint.removeprefix(TCP_SCHEME).rpartition(":")
    if host in ("", "*", "0.0.0.0", "[::]"):
        return endpoint
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NetworkError(f"advertise: {host} cannot be looked up ({error.strerror}); give an IP address") from None
    address = sorted(found, key=lambda entry: entry[0] is not socket.AF_INET)[0][4][0]
    return f"{TCP_SCHEME}[{address}]:{port}" if ":" in str(address) else f"{TCP_SCHEME}{address}:{port}"


def child_specs(settings: PeerSettings, runtime_dir: Path) -> list[ChildSpec]:
    """The three processes of a peer, to be started in this order."""
    data, runtime = str(settings.data_path), str(runtime_dir)
    agent = AgentSettings(
        data_dir=data,
        runtime_dir=runtime,
        name=settings.peer_name,
        tracker=settings.tracker,
        advertise=numeric_endpoint(settings.advertise),
        share=[str(path) for path in settings.share_paths],
        algorithm=settings.hash,
        scan_seconds=settings.scan_period_seconds,
        log=settings.log,
    )
    downloader = DownloaderSettings(
        data_dir=data,
        runtime_dir=runtime,
        download_rate=settings.download_bytes_per_second,
        workers=settings.workers,
        log=settings.log,
    )
    piece_server = PieceServerSettings(
        data_dir=data,
        runtime_dir=runtime,
        listen=settings.listen,
        upload_rate=settings.upload_bytes_per_second,
        slots=settings.upload_slots,
        log=settings.log,
    )
    return [
        ChildSpec("agent", "node.agent", msgspec.json.encode(agent)),
        ChildSpec("downloader", "node.downloader", msgspec.json.encode(downloader)),
        ChildSpec("piece_server", "node.piece_server", msgspec.json.encode(piece_server)),
    ]


class ForegroundPeer:
    """A peer that lives as long as its owner wants: `start`, `poll` it now and then, `stop`. ``tell`` is told what it
    waits for."""

    def __init__(self, settings: PeerSettings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._resources = contextlib.ExitStack()
        self._supervisor: Supervisor | None = None

    @property
    def supervisor(self) -> Supervisor:
        """Of a started peer."""
        assert self._supervisor is not None, "start() comes first"
        return self._supervisor

    def start(self) -> None:
        """Start the processes. `UsageError` when another peer uses the data directory."""
        set_up_logging("peer", self._settings.log)
        self.prepare()
        self.supervisor.start()

    def prepare(self) -> None:
        """Everything but the processes."""
        data_dir = self._settings.data_path
        self._resources.enter_context(DataDirLock(data_dir))
        await_last_run(data_dir, self._tell)
        load_identity(data_dir)
        remove_runtime_dir(data_dir)  # what a killed peer left; the lock says that it is nobody's
        runtime_dir = make_runtime_dir(data_dir)
        point_to_runtime_dir(data_dir, runtime_dir)
        self._resources.callback(remove_runtime_dir, data_dir)
        self._supervisor = Supervisor(child_specs(self._settings, runtime_dir))

    def poll(self, timeout: float) -> int | None:
        """Restart what died, waiting up to ``timeout`` seconds for it; an exit code when the peer is to end."""
        return self.supervisor.poll(timeout)

    def stop(self) -> None:
        """Leave the network, end the processes, let go of the data directory. Twice is once."""
        try:
            if self._supervisor is not None:
                self._supervisor.stop()
        finally:
            self._supervisor = None
            self._resources.close()


def run_peer(settings: PeerSettings) -> int:
    """Run a peer until SIGTERM, Ctrl-C or ``stop``; returns the exit code."""
    set_up_logging("peer", settings.log)
    peer = ForegroundPeer(settings, _logger.warning)
    try:
        peer.prepare()
        return peer.supervisor.run()
    finally:
        peer.stop()
