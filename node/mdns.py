"""Looks for a tracker on the local network, by mDNS and DNS-SD (RFC 6762, RFC 6763), where zeroconf is installed.

Whoever is on the network may announce anything: what comes is bounded, and nothing but an address at which a tracker
answers is taken.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from node.rendezvous import answering
from protocol.endpoints import MDNS_SERVICE, Address, ip_of, parse_endpoint
from protocol.errors import ProtocolError, UsageError
from service.text import printable

if TYPE_CHECKING:
    from zeroconf import ServiceInfo

LOOK_SECONDS = 2.0
MORE_SECONDS = 1.2
"""How long others may still answer after the first: within 120 ms, or a second later what they have just said to others
(RFC 6762, section 6)."""
DETAIL_SECONDS = 0.5
"""How long who announces a tracker may take to say where it is."""
SERVICES_COUNT_MAX = 64
ADDRESSES_COUNT_MAX = 8
ENDPOINTS_COUNT_MAX = 128
"""That are asked whether a tracker is there; a socket each."""
NAME_CHARACTERS_MAX = 80


class Found(NamedTuple):
    """``name`` as announced, safe to show."""

    name: str
    endpoint: str


def can_search() -> bool:
    """Whether zeroconf is installed."""
    return find_spec("zeroconf") is not None


def search() -> Found | None:
    """The tracker on the local network, None when none is found within `LOOK_SECONDS` and answers. `UsageError` that
    names them when there are several."""
    announced = _announced()
    asked = dict.fromkeys(endpoint for _, endpoints in announced for endpoint in endpoints)
    answered = answering(list(asked)[:ENDPOINTS_COUNT_MAX])
    found: dict[str, Found] = {}
    for name, endpoints in announced:
        endpoint = next((one for one in answered if one in endpoints), "")  # of several addresses of one tracker
        if endpoint:
            found.setdefault(endpoint, Found(name, endpoint))
    if len(found) > 1:
        several = " and ".join(f"{endpoint} ('{one.name}')" for endpoint, one in found.items())
        raise UsageError(f"trackers on the local network: {several}; name the one to use with --tracker")
    return next(iter(found.values()), None)


def _announced() -> list[tuple[str, list[str]]]:
    """Names and the endpoints at which they say that a tracker is."""
    import zeroconf

    logging.getLogger(zeroconf.__name__).setLevel(logging.CRITICAL)  # strangers' packets are no news
    names: queue.Queue[str] = queue.Queue()

    def heard(*, name: str, state_change: zeroconf.ServiceStateChange, **_: Any) -> None:
        if state_change is zeroconf.ServiceStateChange.Added:
            names.put(name)

    found: dict[str, list[str]] = {}
    deadline = time.monotonic() + LOOK_SECONDS
    try:
        resolver = zeroconf.Zeroconf()
    except OSError:  # no network
        return []
    # Answers to all: one to the port of mDNS alone may reach a responder of this machine instead.
    multicast = zeroconf.DNSQuestionType.QM
    with (
        contextlib.closing(resolver),
        zeroconf.ServiceBrowser(resolver, MDNS_SERVICE, handlers=[heard], question_type=multicast),
    ):
        while len(found) < SERVICES_COUNT_MAX and (left := deadline - time.monotonic()) > 0:
            try:
                name = names.get(timeout=left)
                info = zeroconf.ServiceInfo(MDNS_SERVICE, name)
                told = info.request(resolver, DETAIL_SECONDS * 1_000, multicast)
            except queue.Empty:
                break
            except zeroconf.Error:  # a name that is none
                continue
            if told and (endpoints := endpoints_of(info)):
                found[printable(name.removesuffix(f".{MDNS_SERVICE}"))[:NAME_CHARACTERS_MAX]] = endpoints
                deadline = min(deadline, time.monotonic() + MORE_SECONDS)
    return list(found.items())


def endpoints_of(info: ServiceInfo) -> list[str]:
    """What of ``info`` are endpoints of another machine, or of this one's on a network."""
    from zeroconf import IPVersion

    return list(_usable(info.parsed_addresses(IPVersion.V4Only)[:ADDRESSES_COUNT_MAX], info.port))


def _usable(hosts: Iterable[str], port: int | None) -> Iterable[str]:
    for host in hosts:
        ip = ip_of(host)
        if ip is None or ip.is_loopback or ip.is_multicast or ip.is_unspecified:
            continue
        with contextlib.suppress(ProtocolError):  # port 0
            yield str(parse_endpoint(str(Address(host, port or 0))))
