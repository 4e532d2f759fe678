"""What a person can configure about a peer, and what each of its processes is told of it.

`PeerSettings` is the YAML file (`service.config` reads it; ``configs/peer.yaml`` documents every key). The other
structs are what the supervisor writes to its children as one JSON line. `node.peer` derives the one from the other.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import stat
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from node.api_messages import Following
from node.disk.share_options import AS_USUAL, ShareOptions
from node.identity import IDENTITY_NAME
from node.rate_limit import UNLIMITED, RateLimits
from node.schedule import Period, PeriodKeys, parse_schedule
from protocol.discreet import Discreet
from protocol.endpoints import Address, is_wildcard, parse_endpoint
from protocol.errors import NetworkError, ProtocolError, SeedError, UsageError
from protocol.keys import is_key, parse_invite
from protocol.limits import PATTERN_BYTES_MAX, PEER_ID_BYTES_MAX, TRACKERS_COUNT_MAX
from protocol.names import check_name_pattern
from protocol.signature import parse_key
from service.logs import LogSettings
from service.paths import absolute_path, expanded
from service.text import printable
from service.units import parse_bytes, parse_rate, parse_seconds
from service.web_place import parse_place

Algorithm = Literal["blake3", "sha256"]

CONFIG_FILE = "peer.yaml"
ENVIRONMENT = {"tracker": "ZSWARM_TRACKER", "data_dir": "ZSWARM_DATA_DIR", "invite": "ZSWARM_INVITE"}
"""By key, the environment variable that overrides it, unless it is empty."""
DATA_NAME = "zswarm"
DEFAULT_TRACKER = "tcp://127.0.0.1:5550"
"""Where a tracker is looked for first when none is configured."""
METRICS_EXAMPLE = "127.0.0.1:5581"
KEEP_COUNT_MAX = 1_000
"""Older contents of a followed name."""
IGNORED = (".*", "*.tmp", "*.part")
PROGRAM = "python -m node"
"""What runs a peer where nothing is installed."""
WAY_OUT = "give another with --data-dir"
_FOREIGN = re.compile(r"[^0-9A-Za-z._-]")


class FollowSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry of ``follow`` in a peer's configuration file."""

    pattern: str
    to: str
    keep: Annotated[int, Meta(ge=0, le=KEEP_COUNT_MAX)] = 0
    signed_by: list[str] = field(default_factory=list)


class PeerSettings(Discreet, Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A peer's configuration file; every key has a default.

    Rates and durations may be numbers (bytes/s, seconds) or text ("40mbit", "10 MiB/s", "500ms"); the properties
    give them as numbers and the folders as absolute paths. A value that makes no sense is a `ValueError`, which
    `service.config.load_settings` turns into a `ConfigError` with the file's name. Without a ``tracker``,
    `node.rendezvous` looks for one.
    """

    name: str = ""
    tracker: str | list[str] = ""
    tracker_key: str = ""
    invite: str = ""
    mdns: bool = True
    listen: str = "tcp://*:0"
    advertise: str = ""
    data_dir: str = ""
    download_dir: str = "."
    share: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=lambda: [*IGNORED])
    link_roots: list[str] = field(default_factory=list)
    posix_names: bool = False
    follow: list[FollowSettings] = field(default_factory=list)
    upload_rate: str | int | float = 0
    download_rate: str | int | float = 0
    schedule: list[PeriodKeys] = field(default_factory=list)
    quota: str | int = 0
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    hash: Algorithm = "blake3"
    sequential: bool = False
    scan_seconds: str | int | float = 2
    rollouts: str = ""
    signed_by: list[str] = field(default_factory=list)
    metrics: str = ""
    metrics_token_file: str = ""
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        _check_trackers(self.trackers)
        if self.tracker_key and not is_key(self.tracker_key):
            raise ValueError("tracker_key: expected 64 hexadecimal digits; 'keys list' on the tracker's host has them")
        if self.invite:
            parse_invite(self.invite)
        _endpoint("listen", self.listen, port_zero=True)
        if self.advertise:
            _endpoint("advertise", self.advertise, port_zero=True)
        _ = self.limits, self.schedule_entries, self.quota_bytes, self.metrics_address  # which checks them
        if _seconds("scan_seconds", self.scan_seconds) <= 0:
            raise ValueError("scan_seconds: must be more than 0")
        if len(self.name.encode(errors="surrogatepass")) > PEER_ID_BYTES_MAX:
            raise ValueError(f"name: at most {PEER_ID_BYTES_MAX} bytes")
        if not self.name.isprintable():
            raise ValueError(f"name: '{printable(self.name)}' contains a control or invisible character")
        _check_paths("data_dir", [self.data_dir] if self.data_dir else [])
        _check_paths("download_dir", [self.download_dir])
        _check_paths("share", self.share)
        _check_paths("link_roots", self.link_roots)
        _check_paths("rollouts", [self.rollouts] if self.rollouts else [])
        _check_paths("follow", [follow.to for follow in self.follow])
        _check_signers("signed_by", self.signed_by)
        _check_follows(self.follow)
        for pattern in self.ignore:
            if not pattern or "/" in pattern:
                raise ValueError(f"ignore: {pattern!r} matches no name; expected a pattern such as *.tmp")

    def placed(self, directory: Path) -> PeerSettings:
        """These settings as the file in ``directory`` means them: relative paths are from there on. `download_dir` is
        for whoever gives a command, and relative to where that is."""

        def place(path: str) -> str:
            return str(directory / expanded(path))

        data_dir = self.data_dir and place(self.data_dir)
        shared, roots = [place(path) for path in self.share], [place(path) for path in self.link_roots]
        return msgspec.structs.replace(self, data_dir=data_dir, share=shared, link_roots=roots)

    @property
    def trackers(self) -> list[str]:
        """The endpoints of ``tracker``, which may have commas between them; none if one is to be looked for."""
        named = [self.tracker] if isinstance(self.tracker, str) else self.tracker
        return [one.strip() for text in named for one in text.split(",") if one.strip()]

    @property
    def peer_name(self) -> str:
        """``name``, or this host's."""
        return self.name or printable(socket.gethostname())[:PEER_ID_BYTES_MAX]

    @property
    def data_path(self) -> Path:
        """``data_dir``, or this host's own; raises `UsageError`."""
        path = absolute_path(self.data_dir) if self.data_dir else default_data_dir()
        check_data_dir(path)
        return path

    @property
    def download_path(self) -> Path:
        return absolute_path(self.download_dir)

    @property
    def share_paths(self) -> list[Path]:
        return [absolute_path(path) for path in self.share]

    @property
    def followings(self) -> tuple[Following, ...]:
        return tuple(
            Following(one.pattern, str(absolute_path(one.to)), one.keep, signed_by=tuple(one.signed_by))
            for one in self.follow
        )

    @property
    def share_options(self) -> ShareOptions:
        return ShareOptions(tuple(str(absolute_path(path)) for path in self.link_roots), self.posix_names)

    @property
    def rollouts_path(self) -> Path | None:
        """None: no orders are accepted."""
        return absolute_path(self.rollouts) if self.rollouts else None

    @property
    def limits(self) -> RateLimits:
        return RateLimits(_rate("upload_rate", self.upload_rate), _rate("download_rate", self.download_rate))

    @property
    def quota_bytes(self) -> int:
        try:
            return parse_bytes(self.quota)
        except UsageError as error:
            raise ValueError(f"quota: {error}") from None

    @property
    def schedule_entries(self) -> list[Period]:
        return parse_schedule(self.schedule)

    @property
    def metrics_address(self) -> Address | None:
        """None: they are not served."""
        return parse_place("metrics", self.metrics, self.metrics_token_file, METRICS_EXAMPLE)

    @property
    def watched_directories(self) -> dict[str, list[str]]:
        """Whose free space matters, by what they are for."""
        downloads = [str(self.download_path)] if expanded(self.download_dir).is_absolute() else []
        named = {
            "data": [str(self.data_path)],
            "downloads": downloads,
            "rollouts": [str(self.rollouts_path)] if self.rollouts else [],
            "follow": [one.directory for one in self.followings],
        }
        return {word: paths for word, paths in named.items() if paths}

    @property
    def scan_period_seconds(self) -> float:
        return _seconds("scan_seconds", self.scan_seconds)


class AgentSettings(Struct, frozen=True, kw_only=True):
    """What the agent process is told. ``advertise`` is what to tell the tracker, with port 0 for the
    piece server's; ``share`` are absolute paths. ``run`` names the run of the peer, through restarts of this process;
    ``foreground``: it is run for the sake of one command. ``limits`` are what the agent tells the other two, unless
    the ``schedule`` has others for the hour or a person wants others. ``rollouts``: an absolute path, or empty.
    ``tracker_key``: of a network with keys."""

    data_dir: str
    runtime_dir: str
    name: str
    trackers: list[str]
    advertise: str
    share: list[str]
    algorithm: Algorithm
    scan_seconds: float
    run: str
    foreground: bool
    log: LogSettings
    tracker_key: str = ""
    options: ShareOptions = AS_USUAL
    limits: RateLimits = UNLIMITED
    rollouts: str = ""
    ignore: tuple[str, ...] = ()
    follow: tuple[Following, ...] = ()
    schedule: list[Period] = field(default_factory=list)
    quota: int = 0
    signed_by: tuple[str, ...] = ()


class PieceServerSettings(Struct, frozen=True, kw_only=True):
    """What the piece server process is told. ``keyed``: it is in a network with keys."""

    data_dir: str
    runtime_dir: str
    listen: str
    log: LogSettings
    keyed: bool = False


class DownloaderSettings(Struct, frozen=True, kw_only=True):
    """What the downloader process is told. ``keyed``: it is in a network with keys."""

    data_dir: str
    runtime_dir: str
    workers: int
    log: LogSettings
    keyed: bool = False


class MetricsSettings(Discreet, Struct, frozen=True, kw_only=True):
    """What the process that serves /metrics is told. ``token`` is what scrapers need (empty: nothing); ``directories``:
    absolute paths, by the word that their free space goes by."""

    data_dir: str
    listen: str
    token: str
    directories: dict[str, list[str]]
    log: LogSettings


def default_data_dir() -> Path:
    """Where this host's peer keeps its things: several hosts may have one home directory. One that an earlier version
    made, without the host, stays in use. `UsageError` when the home directory is not known."""
    try:
        homes = [expanded("~/.local/share")]
    except UsageError:
        homes = []
    own = os.environ.get("XDG_DATA_HOME", "")
    if own.startswith("/"):
        homes.insert(0, Path(own))
    if not homes:
        raise UsageError(
            "no data directory: this user's home directory is not known; set HOME to an absolute path, or give a "
            "directory with --data-dir"
        )
    for home in homes:
        if (home / DATA_NAME / IDENTITY_NAME).exists():
            return home / DATA_NAME
    return homes[0] / DATA_NAME / (_FOREIGN.sub("_", socket.gethostname()).strip(".") or "localhost")


def no_peer(data_dir: Path, program: str) -> NetworkError:
    """The error of whoever looked for a peer on ``data_dir``. ``program`` is what would run one."""
    command = f"{program} --data-dir {shlex.quote(str(data_dir))}"
    return NetworkError(f"no peer runs on {data_dir}; start one with: {command}")


def check_data_dir(path: Path) -> None:
    """`UsageError` when ``path`` cannot be a data directory, or the way to it is no way; it need not exist yet."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"data directory {path}: {error.strerror}; {WAY_OUT}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"data directory {path} is a file; {WAY_OUT}")


def _endpoint(key: str, endpoint: str, port_zero: bool = False) -> Address:
    try:
        return parse_endpoint(endpoint, port_zero)
    except ProtocolError as error:
        raise ValueError(f"{key}: {error}") from None


def _check_trackers(trackers: list[str]) -> None:
    if len(trackers) > TRACKERS_COUNT_MAX:
        raise ValueError(f"tracker: {len(trackers)} are named; at most {TRACKERS_COUNT_MAX} are possible")
    known: dict[Address, str] = {}
    for endpoint in trackers:
        address = _endpoint("tracker", endpoint)
        if is_wildcard(address.host):
            raise ValueError(f"tracker: {endpoint!r} names no host to dial")
        if address in known:
            raise ValueError(f"tracker: {known[address]} and {endpoint} are the same; name each tracker once")
        known[address] = endpoint


def _check_signers(key: str, signers: list[str]) -> None:
    for text in signers:
        try:
            parse_key(text)
        except UsageError as error:
            raise ValueError(f"{key}: {error}") from None


def _check_follows(follows: list[FollowSettings]) -> None:
    for follow in follows:
        _check_signers("follow: signed_by", follow.signed_by)
        if not 0 < len(follow.pattern.encode(errors="surrogatepass")) <= PATTERN_BYTES_MAX:
            raise ValueError(f"follow: a pattern has 1 to {PATTERN_BYTES_MAX} bytes")
        try:
            check_name_pattern(follow.pattern)
        except SeedError as error:
            raise ValueError(f"follow: {error}") from None


def _check_paths(key: str, paths: list[str]) -> None:
    try:
        for path in paths:
            expanded(path)
    except UsageError as error:
        raise ValueError(f"{key}: {error}") from None


def _rate(key: str, value: str | float) -> float:
    try:
        return parse_rate(value)
    except UsageError as error:
        raise ValueError(f"{key}: {error}") from None


def _seconds(key: str, value: str | float) -> float:
    try:
        return parse_seconds(value)
    except UsageError as error:
        raise ValueError(f"{key}: {error}") from None
