"""What addresses mean: ``*`` as a host is "where you see me", whoever says it. Pure."""

from __future__ import annotations

TCP_SCHEME = "tcp://"


def host_of(endpoint: str) -> str:
    """``tcp://host:port`` -> ``host`` (with the brackets of an IPv6 address)."""
    return endpoint.removeprefix(TCP_SCHEME).rpartition(":")[0]


def with_host(endpoint: str, host: str) -> str:
    """``endpoint`` as a tracker says it, its host replaced by ``host`` when it is ``*``."""
    name, _, port = endpoint.removeprefix(TCP_SCHEME).rpartition(":")
    return f"{TCP_SCHEME}{host}:{port}" if name == "*" else endpoint


def advertised(advertise: str, port: int) -> str:
    """What to tell the tracker: ``advertise`` with ``port`` filled in where it leaves it open; ``*`` if empty."""
    if not advertise:
        return f"{TCP_SCHEME}*:{port}"
    host, _, given = advertise.removeprefix(TCP_SCHEME).rpartition(":")
    return f"{TCP_SCHEME}{host}:{port if given in ('0', '*') else given}"
