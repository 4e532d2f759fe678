"""Endpoints ``tcp://host:port``: their form, and the meaning of ``*`` as host (PROTOCOL.md, section 2.4).

In a peer's `Join`, ``*`` is "the address you see me at". In what a tracker says of others it is "the host at which you
reach this tracker": of its own sockets, and of peers on its machine, whose connections it sees coming from a loopback
address. Only the peer that asks knows an address of that host which it can dial.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from protocol.errors import ProtocolError
from protocol.limits import ENDPOINT_BYTES_MAX

TCP_SCHEME = "tcp://"
MDNS_SERVICE = "_zswarm._tcp.local."
"""The service that a tracker announces on a local network (PROTOCOL.md, section 4.7)."""
EVERY = "*"
"""As host to listen on: all addresses of the machine, IPv6 and IPv4."""

_NAME = re.compile(r"(?!-)[0-9A-Za-z_-]{1,63}(?<!-)(\.(?!-)[0-9A-Za-z_-]{1,63}(?<!-))*\.?")
_ZONE = re.compile(r"[0-9A-Za-z_.-]{1,15}")
"""The network interface of an IPv6 address, as Linux names them."""
_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Address(NamedTuple):
    """``host`` as it stands in the endpoint: ``*``, a name, an IPv4 address, or an IPv6 address in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{TCP_SCHEME}{self.host}:{self.port}"


def parse_endpoint(text: str, port_zero: bool = False) -> Address:
    """``text`` as an address; an IPv4 address that is written as IPv6 becomes one. Port 0, or ``*`` for it, only with
    ``port_zero``. `ProtocolError` says what is wrong with ``text``."""
    host, colon, digits = text.removeprefix(TCP_SCHEME).rpartition(":")
    if not text.startswith(TCP_SCHEME) or not colon or not host or len(text) > ENDPOINT_BYTES_MAX:
        raise ProtocolError(f"{text!r:.80} is not an endpoint; expected something like tcp://host:5550")
    if port_zero and digits == "*":
        digits = "0"
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65_535):
        raise ProtocolError(f"endpoint {text!r:.80} has no port: expected a number up to 65535 after the last colon")
    if int(digits) == 0 and not port_zero:
        raise ProtocolError(f"endpoint {text!r:.80} has port 0, which nobody can connect to")
    return Address(_checked_host(host, text), int(digits))


def ip_of(host: str) -> _Ip | None:
    """The IP address that ``host`` is, with or without brackets; None for a name and ``*``. An IPv4 address within IPv6
    is that IPv4 address, and the zone of an IPv6 address is left out."""
    text, percent, zone = host.removeprefix("[").removesuffix("]").partition("%")
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return None if percent else ip
    return (ip.ipv4_mapped or ip) if not percent or _ZONE.fullmatch(zone) else None


def host_of_ip(ip: str) -> str:
    """IP address ``ip`` as the host of an endpoint: an IPv6 address in brackets. `ProtocolError` when it is none."""
    found = ip_of(ip)
    if found is None:
        raise ProtocolError(f"{ip!r:.80} is not an IP address")
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    zone = "%" + ip.rpartition("%")[2].rstrip("]") if "%" in ip else ""
    return f"[{found}{zone}]"


def host_of(endpoint: str) -> str:
    """``tcp://host:port`` -> ``host`` (with the brackets of an IPv6 address)."""
    return endpoint.removeprefix(TCP_SCHEME).rpartition(":")[0]


def with_host(endpoint: str, host: str) -> str:
    """``endpoint`` as a tracker says it, with ``host``, at which the tracker is reached, in place of a ``*``. What a
    tracker says need not be an endpoint; the result is no longer than one either way."""
    name, _, port = endpoint.removeprefix(TCP_SCHEME).rpartition(":")
    return f"{TCP_SCHEME}{host}:{port}"[:ENDPOINT_BYTES_MAX] if name == EVERY else endpoint


def with_port(endpoint: str, port: int) -> str:
    """``endpoint``, its port replaced by ``port`` when it is 0 or ``*``."""
    host, _, given = endpoint.removeprefix(TCP_SCHEME).rpartition(":")
    return f"{TCP_SCHEME}{host}:{port if given in ('0', '*') else given}"


def is_wildcard(host: str) -> bool:
    """Whether ``host`` stands for all addresses of a machine, or all of one family: ``*``, ``0.0.0.0``, ``[::]``."""
    ip = ip_of(host)
    return host == EVERY or (ip is not None and ip.is_unspecified)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address that only its own machine reaches."""
    ip = ip_of(host)
    return ip is not None and ip.is_loopback


def member_endpoint(text: str, seen: str) -> str:
    """What a tracker tells others of a peer that joins with ``text`` and connects from IP address ``seen`` (empty: not
    known). Raises `ProtocolError` when nobody could connect to it."""
    address = parse_endpoint(text)
    if is_wildcard(address.host):
        if not seen:
            raise ProtocolError(
                f"endpoint {text!r:.80} names no host and the tracker sees none; configure one to advertise"
            )
        return str(Address(EVERY if is_loopback(seen) else host_of_ip(seen.partition("%")[0]), address.port))
    ip = ip_of(address.host)
    if ip is None:
        # A name would be looked up by everybody who dials it, and one that takes long holds up all they do.
        raise ProtocolError(f"endpoint {address} names a host; advertise its IP address")
    if ip.is_multicast or ip == ipaddress.IPv4Address("255.255.255.255"):
        raise ProtocolError(f"endpoint {address} is the address of many machines; advertise that of one")
    return str(address)


def reachable_here(listen: str) -> str:
    """How a program on this machine dials a socket bound to ``listen``."""
    address = parse_endpoint(listen)
    host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address.host, address.host)
    return str(Address(host, address.port))


def _checked_host(host: str, text: str) -> str:
    if host == EVERY:
        return host
    if host.startswith("[") or host.endswith("]") or ":" in host:
        if not (host.startswith("[") and host.endswith("]")) or ip_of(host) is None:
            raise ProtocolError(f"endpoint {text!r:.80} has no host: IPv6 addresses stand in brackets, like [fd00::1]")
        return host_of_ip(host)
    if ip_of(host) is None and (re.fullmatch(r"[0-9.]+", host) or not _NAME.fullmatch(host)):
        raise ProtocolError(f"endpoint {text!r:.80} has no host: {host!r:.60} is neither a name nor an IP address")
    return host
