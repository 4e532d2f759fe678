"""Addresses of the form ``tcp://host:port``, as peers advertise them and as the tracker does. Pure.

``*`` as host. In a peer's `Join` it means "the address you see me at", and the registrar puts that in. In a
`Welcome` it means "the host you dialled": a tracker that listens on all addresses cannot know which of them a
peer reaches, so each peer puts in the tracker host of its own configuration.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from protocol.errors import ProtocolError

_ENDPOINT = re.compile(r"tcp://(\*|\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z][0-9A-Za-z._-]{0,252}):([0-9]{1,5})")
WILDCARDS = ("*", "0.0.0.0", "[::]")
"""Hosts that mean every address of the machine."""


class Address(NamedTuple):
    """``host`` as it stands in the endpoint (IPv6 in brackets)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://{self.host}:{self.port}"


def parse_endpoint(text: str, port_zero: bool = False) -> Address:
    """``text`` as an address; `ProtocolError` when it is not ``tcp://host:port``. Port 0 only with ``port_zero``."""
    found = _ENDPOINT.fullmatch(text)
    if found is None:
        raise ProtocolError(f"endpoint {text!r:.80} is not of the form tcp://host:port")
    address = Address(found[1], int(found[2]))
    if not (0 if port_zero else 1) <= address.port <= 65_535:
        raise ProtocolError(f"endpoint {text!r:.80} has no port that can be connected to")
    return address


def seen_endpoint(text: str, seen: str) -> str:
    """The endpoint of a peer that advertises ``text`` and connects from IP address ``seen`` (empty: not known).

    Raises `ProtocolError` when others could not connect to it.
    """
    address = parse_endpoint(text)
    if address.host not in WILDCARDS:
        _check_numeric(address)
        return text
    if not seen:
        raise ProtocolError(
            f"endpoint {text!r:.80} names no host and the tracker sees none; configure one to advertise"
        )
    return str(Address(_host_of(seen), address.port))


def _check_numeric(address: Address) -> None:
    """A name would be looked up by everybody who dials it, and one that takes long holds up all they do."""
    try:
        ipaddress.ip_address(address.host.strip("[]"))
    except ValueError:
        raise ProtocolError(f"endpoint {address} names a host; advertise its IP address") from None


def advertised(listen: str, advertise: str) -> str:
    """What the tracker tells peers about a socket bound to ``listen``: host ``advertise`` unless that is empty, else
    the one of ``listen``, where a wildcard becomes ``*``."""
    address = parse_endpoint(listen)
    host = advertise or ("*" if address.host in WILDCARDS else address.host)
    return str(Address(host, address.port))


def _host_of(seen: str) -> str:
    try:
        ip = ipaddress.ip_address(seen.strip("[]").partition("%")[0])
    except ValueError:
        raise ProtocolError(f"the tracker sees this peer at {seen!r:.80}, which is no address") from None
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped) if ip.ipv4_mapped else f"[{ip}]"
    return str(ip)


def reachable_here(listen: str) -> str:
    """How a program on this machine dials a socket bound to ``listen``."""
    address = parse_endpoint(listen)
    host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address.host, address.host)
    return str(Address(host, address.port))
