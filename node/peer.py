"""A whole peer: its data directory and lock, its runtime directory, its three processes under a supervisor."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.config import (
    DEFAULT_TRACKER,
    METRICS_EXAMPLE,
    AgentSettings,
    DownloaderSettings,
    MetricsSettings,
    PeerSettings,
    PieceServerSettings,
)
from node.enrolment import network_of
from node.identity import DataDirLock, Identity, await_last_run, load_identity
from node.mdns import can_search, search
from node.own_tracker import OwnTracker, let_in, let_in_to_share, own_keys, run_tracker
from node.rendezvous import has_keys_at
from protocol.endpoints import parse_endpoint
from protocol.errors import ConfigError, NetworkError, UsageError
from service.key_folder import KeyFolder, plain_warning
from service.logs import set_up_logging
from service.supervisor import ChildSpec, Supervisor
from service.web_place import WebPlace
from transport.addresses import is_local, look_up
from transport.runtime_dir import make_runtime_dir, point_to_runtime_dir, remove_runtime_dir

RUN_BYTES = 8

_logger = logging.getLogger(__name__)


def numeric_endpoint(endpoint: str) -> str:
    """``endpoint`` with an address of its host instead of a name, an IPv4 one if there is any: whoever dials a peer
    must not have to look it up.

    Raises `NetworkError` when the name is nobody's. Waits for the resolver: call before anything runs.
    """
    address = parse_endpoint(endpoint, port_zero=True)
    try:
        hosts = look_up(address.host)
    except NetworkError as error:
        raise NetworkError(f"{endpoint}: {error}; give an IP address") from None
    return str(address._replace(host=next((host for host in hosts if not host.startswith("[")), hosts[0])))


def child_specs(settings: PeerSettings, runtime_dir: Path, foreground: bool, tracker_key: str = "") -> list[ChildSpec]:
    """The three processes of a peer, to be started in this order. A ``foreground`` peer is there for one command: it
    has no part in what the configuration shares and follows."""
    data, runtime = str(settings.data_path), str(runtime_dir)
    agent = AgentSettings(
        data_dir=data,
        runtime_dir=runtime,
        name=settings.peer_name,
        trackers=settings.trackers,
        advertise=numeric_endpoint(settings.advertise or settings.listen),
        share=[] if foreground else [str(path) for path in settings.share_paths],
        ignore=tuple(settings.ignore),
        follow=() if foreground else settings.followings,
        algorithm=settings.hash,
        scan_seconds=settings.scan_period_seconds,
        run=secrets.token_hex(RUN_BYTES),
        foreground=foreground,
        options=settings.share_options,
        limits=settings.limits,
        rollouts="" if foreground else str(settings.rollouts_path or ""),
        schedule=settings.schedule_entries,
        quota=settings.quota_bytes,
        signed_by=tuple(settings.signed_by),
        log=settings.log,
        tracker_key=tracker_key,
    )
    downloader = DownloaderSettings(
        data_dir=data,
        runtime_dir=runtime,
        workers=settings.workers,
        log=settings.log,
        keyed=bool(tracker_key),
    )
    piece_server = PieceServerSettings(
        data_dir=data,
        runtime_dir=runtime,
        listen=settings.listen,
        log=settings.log,
        keyed=bool(tracker_key),
    )
    return [
        ChildSpec("agent", "node.agent", msgspec.json.encode(agent)),
        ChildSpec("downloader", "node.downloader", msgspec.json.encode(downloader)),
        ChildSpec("piece_server", "node.piece_server", msgspec.json.encode(piece_server)),
    ]


def metrics_spec(settings: PeerSettings, place: WebPlace) -> ChildSpec:
    """The process that serves the figures of the peer at ``place``. The others go on without it."""
    metrics = MetricsSettings(
        data_dir=str(settings.data_path),
        listen=str(place.address),
        token=place.token,
        directories=settings.watched_directories,
        log=settings.log,
    )
    return ChildSpec("metrics", "node.metrics", msgspec.json.encode(metrics), expendable=True)


class Peer:
    """A peer that lives as long as its owner wants: `start`, `poll` it now and then, `stop`. ``tell`` is told what it
    waits for, and which tracker it takes where none is configured. ``foreground``: it is there for the command that
    owns it, and does what that asks for and nothing else. ``runs_tracker``: it runs one where it finds none."""

    def __init__(
        self, settings: PeerSettings, tell: Callable[[str], None], foreground: bool, runs_tracker: bool = False
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._foreground = foreground
        self._runs_tracker = runs_tracker
        self._tracker: OwnTracker | None = None
        self._resources = contextlib.ExitStack()
        self._supervisor: Supervisor | None = None

    @property
    def supervisor(self) -> Supervisor:
        """Of a started peer."""
        assert self._supervisor is not None, "start() comes first"
        return self._supervisor

    def start(self) -> None:
        """Start the processes. `UsageError` when another peer uses the data directory."""
        self.prepare()
        self.supervisor.start()

    def prepare(self) -> None:
        """Everything but the processes."""
        data_dir = self._settings.data_path
        self._resources.enter_context(DataDirLock(data_dir))
        await_last_run(data_dir, self._tell)
        identity = load_identity(data_dir)
        remove_runtime_dir(data_dir)  # what a killed peer left; the lock says that it is nobody's
        runtime_dir = make_runtime_dir(data_dir)
        point_to_runtime_dir(data_dir, runtime_dir)
        self._resources.callback(remove_runtime_dir, data_dir)
        trackers, key = network_of(self._settings, data_dir)
        if not trackers:
            found, key = self._find_tracker(runtime_dir, identity)
            trackers = [found]
        settings = msgspec.structs.replace(self._settings, tracker=trackers)
        if not key and (self._tracker is not None or not is_local(parse_endpoint(settings.listen, True).host)):
            self._tell(plain_warning("peer"))
        specs = child_specs(settings, runtime_dir, self._foreground, key)
        if settings.metrics_address is not None and not self._foreground:
            token_file, what = settings.metrics_token_file, "the metrics"
            place = WebPlace(settings.metrics_address, token_file, what, "metrics", METRICS_EXAMPLE)
            self._resources.callback(place.close)
            specs.append(metrics_spec(settings, place))
        self._supervisor = Supervisor(specs)

    def _find_tracker(self, runtime_dir: Path, identity: Identity) -> tuple[str, str]:
        """The endpoint of one that answers, or that and the key, if it has one, of this peer's own, which ends after
        the peer; else the default, where one may be started later."""
        folder = self._own_keys()
        keyed = has_keys_at(DEFAULT_TRACKER)
        if keyed is not None:
            return DEFAULT_TRACKER, self._default_key(folder, keyed, identity)
        nowhere = f"no tracker is configured, and none answers at {DEFAULT_TRACKER}"
        if self._settings.mdns and can_search() and folder is None:
            found = search()
            if found:
                self._tell(f"{nowhere}: using {found.endpoint}, which '{found.name}' announces on the local network")
                return found.endpoint, ""
            nowhere += " or on the local network"
        if not self._runs_tracker:
            self._tell(f"{nowhere}; still trying there. Name one with --tracker, or get by a link that names one")
            return DEFAULT_TRACKER, self._let_in(folder, identity)
        own = run_tracker(self._settings, identity.keys.public, runtime_dir, self._tell)
        if own is None:
            return DEFAULT_TRACKER, self._default_key(folder, has_keys_at(DEFAULT_TRACKER), identity)
        self._tracker = self._resources.enter_context(own)
        keys = f" with the keys in {own.keys}," if own.keys else ""
        port = parse_endpoint(own.endpoint).port
        self._tell(f"{nowhere}: this command runs one, on port {port},{keys} until it ends")
        return own.endpoint, own.key

    def _own_keys(self) -> KeyFolder | None:
        """`own_keys`. Where it cannot be told whether there are any, a peer that is to share does not go on."""
        try:
            return own_keys()
        except ConfigError as error:
            if self._runs_tracker:
                raise
            self._tell(f"cannot tell whether there are keys here: {error}")
            return None

    def _default_key(self, folder: KeyFolder | None, keyed: bool | None, identity: Identity) -> str:
        """The key of the tracker at the default endpoint, as far as it is known here; empty: it has none, or an invite
        is needed. ``keyed``: whether it has keys, None if it did not say. `UsageError` if this user's network has keys,
        and that tracker has none; `ConfigError` if this peer is to share and cannot use those keys."""
        if folder is None:
            return ""
        if keyed is False:
            raise UsageError(
                f"the tracker at {DEFAULT_TRACKER} has no keys, but there are keys in {folder.path}, so this peer does "
                "not join it; stop it, or start it with --keys; to go without keys, set ZSWARM_KEYS=none, or name the "
                "tracker with --tracker"
            )
        if self._runs_tracker:  # without a key it would also use a tracker without keys that stands there later
            key = let_in_to_share(folder, identity.keys.public, self._settings)
        else:
            key = self._let_in(folder, identity)
        if key:
            self._tell(f"using the tracker at {DEFAULT_TRACKER}, with the keys in {folder.path}")
        return key

    def _let_in(self, folder: KeyFolder | None, identity: Identity) -> str:
        """The tracker's key in ``folder``, which lets this peer in; empty if there is none that this user can use."""
        if folder is None:
            return ""
        try:
            return let_in(folder, identity.keys.public, self._settings)
        except ConfigError as error:
            self._tell(f"this peer cannot use the keys here: {error}")
            return ""

    def poll(self, timeout: float) -> int | None:
        """Restart what died, waiting up to ``timeout`` seconds for it; an exit code when the peer is to end."""
        code = self.supervisor.poll(timeout)
        return self._tracker.poll(0) if code is None and self._tracker is not None else code

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
    peer = Peer(settings, _logger.warning, foreground=False)
    try:
        peer.prepare()
        return peer.supervisor.run()
    finally:
        peer.stop()
