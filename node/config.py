"""What a person can configure about a peer, and what each of its processes is told of it.

`PeerSettings` is the YAML file (`service.config` reads it; ``configs/peer.yaml`` documents every key). The other
structs are what the supervisor writes to its children as one JSON line. `node.peer` derives the one from the other.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from protocol.errors import UsageError
from protocol.limits import ENDPOINT_BYTES_MAX, PEER_ID_BYTES_MAX
from service.logs import LogSettings
from service.units import parse_rate, parse_seconds

Algorithm = Literal["blake3", "sha256"]

TCP_SCHEME = "tcp://"


class PeerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A peer's configuration file; every key has a default.

    Rates and durations may be numbers (bytes/s, seconds) or text ("40mbit", "10 MiB/s", "500ms"); the properties
    give them as numbers and the folders as absolute paths. A value that makes no sense is a `ValueError`, which
    `service.config.load_settings` turns into a `ConfigError` with the file's name.
    """

    name: str = ""
    tracker: str = "tcp://127.0.0.1:5550"
    listen: str = "tcp://0.0.0.0:0"
    advertise: str = ""
    data_dir: str = "~/.local/share/zswarm"
    download_dir: str = "."
    share: list[str] = field(default_factory=list)
    upload_rate: str | int | float = 0
    download_rate: str | int | float = 0
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    upload_slots: Annotated[int, Meta(ge=1, le=256)] = 4
    hash: Algorithm = "blake3"
    sequential: bool = False
    scan_seconds: str | int | float = 2
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        for key, endpoint in (("tracker", self.tracker), ("listen", self.listen)):
            _check_endpoint(key, endpoint)
        if self.tracker.endswith((":0", ":*")):
            raise ValueError(f"tracker: {self.tracker!r} has no port to dial")
        if self.advertise:
            _check_endpoint("advertise", self.advertise)
        for key, rate in (("upload_rate", self.upload_rate), ("download_rate", self.download_rate)):
            _rate(key, rate)
        if _seconds("scan_seconds", self.scan_seconds) <= 0:
            raise ValueError("scan_seconds: must be more than 0")
        if len(self.name.encode()) > PEER_ID_BYTES_MAX:
            raise ValueError(f"name: at most {PEER_ID_BYTES_MAX} bytes")

    @property
    def peer_name(self) -> str:
        """``name``, or this host's."""
        return self.name or socket.gethostname()[:PEER_ID_BYTES_MAX]

    @property
    def data_path(self) -> Path:
        return absolute(self.data_dir)

    @property
    def download_path(self) -> Path:
        return absolute(self.download_dir)

    @property
    def share_paths(self) -> list[Path]:
        return [absolute(path) for path in self.share]

    @property
    def upload_bytes_per_second(self) -> float:
        """0 means unlimited."""
        return _rate("upload_rate", self.upload_rate)

    @property
    def download_bytes_per_second(self) -> float:
        """0 means unlimited."""
        return _rate("download_rate", self.download_rate)

    @property
    def scan_period_seconds(self) -> float:
        return _seconds("scan_seconds", self.scan_seconds)


class AgentSettings(Struct, frozen=True, kw_only=True):
    """What the agent process is told. ``advertise`` may be empty; ``share`` are absolute paths. ``run`` names the run
    of the peer, through restarts of this process; ``foreground``: it is run for the sake of one command."""

    data_dir: str
    runtime_dir: str
    name: str
    tracker: str
    advertise: str
    share: list[str]
    algorithm: Algorithm
    scan_seconds: float
    run: str
    foreground: bool
    log: LogSettings


class PieceServerSettings(Struct, frozen=True, kw_only=True):
    """What the piece server process is told. ``upload_rate`` in bytes/s, 0 unlimited."""

    data_dir: str
    runtime_dir: str
    listen: str
    upload_rate: float
    slots: int
    log: LogSettings


class DownloaderSettings(Struct, frozen=True, kw_only=True):
    """What the downloader process is told. ``download_rate`` in bytes/s, 0 unlimited."""

    data_dir: str
    runtime_dir: str
    download_rate: float
    workers: int
    log: LogSettings


def absolute(path: str) -> Path:
    """``path`` with ``~`` expanded, relative to where the peer was started, symlinks kept."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - Path.resolve would follow symlinks


def _check_endpoint(key: str, endpoint: str) -> None:
    host, _, port = endpoint.removeprefix(TCP_SCHEME).rpartition(":")
    known = endpoint.startswith(TCP_SCHEME) and len(endpoint.encode()) <= ENDPOINT_BYTES_MAX
    in_range = port == "*" or (port.isascii() and port.isdigit() and int(port) < 65_536)
    if not known or not host or not in_range:
        raise ValueError(f"{key}: {endpoint!r} is no address; expected something like tcp://host:5550")


def _rate(key: str, value: str | float) -> float:
    try:
        rate = parse_rate(value)
    except UsageError as error:
        raise ValueError(f"{key}: {error}") from None
    if not 0 <= rate < float("inf"):
        raise ValueError(f"{key}: must be 0 (unlimited) or more")
    return rate


def _seconds(key: str, value: str | float) -> float:
    try:
        return parse_seconds(value)
    except UsageError as error:
        raise ValueError(f"{key}: {error}") from None
