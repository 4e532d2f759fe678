"""The tracker's configuration file (``configs/tracker.yaml`` documents every key) and what its processes get from
it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol.endpoints import Address, is_wildcard, parse_endpoint
from protocol.errors import ConfigError, ProtocolError, UsageError
from protocol.limits import HEARTBEAT_SECONDS, LEASE_SECONDS, PEERS_COUNT_MAX
from service.config import NO_KEYS, keys_in_force, settings_of
from service.logs import LogSettings
from service.paths import expanded
from service.units import parse_seconds
from service.web_place import parse_place

CONFIG_FILE = "tracker.yaml"
DEFAULT_WEB = "127.0.0.1:5580"
LOOKUPS_COUNT_MAX = 32
LEASE_HEARTBEATS_MIN = 3
"""Two heartbeats in a row may be lost."""
_Duration = str | int | float


class TrackerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of the file. ``web`` None: `DEFAULT_WEB`, if that can be had. Raises `ConfigError` for inconsistent
    values."""

    listen: str = "tcp://*:5550"
    advertise: str = ""
    lookups: Annotated[int, Meta(ge=1, le=LOOKUPS_COUNT_MAX)] = 1
    heartbeat: _Duration = HEARTBEAT_SECONDS
    lease: _Duration = LEASE_SECONDS
    peers_max: Annotated[int, Meta(ge=1, le=PEERS_COUNT_MAX)] = PEERS_COUNT_MAX
    mdns: bool = True
    keys: str = ""
    web: str | None = None
    web_token_file: str = ""
    log: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        addresses(self)
        web_address(self)
        _check_advertise(self.advertise)
        if self.keys not in ("", NO_KEYS) and not expanded(self.keys).is_absolute():
            raise ConfigError(f"key `keys`: expected the absolute path of a key folder, or {NO_KEYS}")
        if self.heartbeat_seconds <= 0:
            raise ConfigError("key `heartbeat`: expected a duration above 0, such as 5s")
        if round(self.lease_seconds / self.heartbeat_seconds, 9) < LEASE_HEARTBEATS_MIN:
            raise ConfigError(
                f"key `lease`: expected at least {LEASE_HEARTBEATS_MIN} heartbeats, so that two may be lost"
            )

    @property
    def heartbeat_seconds(self) -> float:
        """``heartbeat`` in seconds."""
        return _seconds("heartbeat", self.heartbeat)

    @property
    def lease_seconds(self) -> float:
        """``lease`` in seconds."""
        return _seconds("lease", self.lease)


def _seconds(key: str, value: str | float) -> float:
    try:
        return parse_seconds(value)
    except UsageError as error:
        raise ConfigError(f"key `{key}`: {error}") from None


def _check_advertise(host: str) -> None:
    try:
        if host and is_wildcard(parse_endpoint(f"tcp://{host}:1").host):
            raise ProtocolError(f"{host} is not a host that peers could dial")
    except ProtocolError as error:
        raise ConfigError(f"key `advertise`: expected a host name or an IP address: {error}") from None


def load_config(
    path: Path | None, listen: str | None, no_mdns: bool = False, keys: str = "", web: str | None = None
) -> TrackerConfig:
    """The configuration in ``path`` (None: the default file, if there is one), with ``listen``, ``web`` and the key
    folder ``keys`` in place of its own, and without mDNS for ``no_mdns``. ``keys`` of the result are those in force;
    empty: none. Raises `ConfigError`."""
    config = settings_of(path, CONFIG_FILE, TrackerConfig)
    config = msgspec.structs.replace(config, keys=keys_in_force(keys or config.keys))
    if no_mdns:
        config = msgspec.structs.replace(config, mdns=False)
    given = {"listen": listen, "web": web}
    try:
        return msgspec.structs.replace(config, **{key: value for key, value in given.items() if value is not None})
    except ConfigError as error:
        raise ConfigError(f"command line: {error}") from None


def addresses(config: TrackerConfig) -> list[Address]:
    """Where registrar, roster and each lookup listen, in this order: consecutive ports, or all 0. `ConfigError` when
    ``listen`` is no address to listen on."""
    try:
        first = parse_endpoint(config.listen, port_zero=True)
    except ProtocolError as error:
        raise ConfigError(f"key `listen`: {error}") from None
    count = 2 + config.lookups
    if first.port + count - 1 > 65_535:
        raise ConfigError(f"key `listen`: {count} consecutive ports are needed from {first.port} on")
    return [Address(first.host, first.port + n if first.port else 0) for n in range(count)]


def web_address(config: TrackerConfig) -> Address | None:
    """Where the page is to be; None: nowhere. Raises as `parse_place` does."""
    text = DEFAULT_WEB if config.web is None else config.web
    return parse_place("web", text, config.web_token_file, DEFAULT_WEB)
