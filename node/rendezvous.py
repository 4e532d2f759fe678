"""The tracker of a peer for which none is configured: whether one answers, and at which address others reach it.

It waits: for the time before a peer's processes run, and for commands.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Sequence

import psutil
import zmq

from protocol.codec import Decoder, encode
from protocol.endpoints import host_of_ip, ip_of, is_loopback, parse_endpoint
from protocol.errors import ProtocolError, VersionError
from protocol.messages import Heartbeat, RegistrarReply, Rejoin
from transport.addresses import has_keys, is_here
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, connect, open_context, open_socket, send_or_drop

ANSWER_SECONDS = 1.0
"""How long a tracker may take to answer whoever looks for one."""
_OUTSIDE = ("192.0.2.1", "2001:db8::1")
"""Addresses of documentation (RFC 5737, RFC 3849): of no machine, so the default route leads there. Nothing is sent."""


def answers(endpoint: str) -> bool:
    """Whether a tracker answers at ``endpoint``, with keys or without, as `has_keys_at` finds it."""
    return has_keys_at(endpoint) is not None


def has_keys_at(endpoint: str) -> bool | None:
    """Whether the tracker at ``endpoint``, which is of an IP address, has keys; None: none answers within
    `ANSWER_SECONDS`. One that has keys answers only that it has."""
    if answering([endpoint]):
        return False
    address = parse_endpoint(endpoint)
    return has_keys(address.host, address.port, ANSWER_SECONDS) or None


def answering(endpoints: Sequence[str]) -> list[str]:
    """Those of ``endpoints``, which are of IP addresses, at which a tracker answers within `ANSWER_SECONDS`, the
    quickest first. All are asked at once.

    What is asked is a `Heartbeat` of a peer that is no member: a registrar answers `Rejoin` and remembers nothing.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    question = encode(Heartbeat(1, secrets.token_hex(16), secrets.token_bytes(32), 0, 0))
    found: list[str] = []
    with contextlib.ExitStack() as resources:
        context = open_context()
        resources.callback(context.term)
        poller = zmq.Poller()
        asked: dict[zmq.Socket[bytes], str] = {}
        monitors: dict[zmq.Socket[bytes], tuple[ConnectionMonitor, zmq.Socket[bytes]]] = {}
        for endpoint in endpoints:
            dealer = open_socket(context, Role.CONTROL_DEALER)
            resources.callback(dealer.close, 0)
            monitor = ConnectionMonitor(dealer)
            resources.callback(monitor.close)
            monitors[monitor.socket] = monitor, dealer
            poller.register(monitor.socket, zmq.POLLIN)
            connect(dealer, endpoint)
            asked[dealer] = endpoint
        while asked and (left := deadline - time.monotonic()) > 0:
            for ready, _ in poller.poll(int(left * 1_000) + 1):
                if ready in asked:
                    endpoint = asked.pop(ready)
                    if _is_trackers(ready.recv()):
                        found.append(endpoint)
                    poller.unregister(ready)
                    continue
                monitor, dealer = monitors[ready]
                for event in monitor.events():
                    if event is ConnectionEvent.CONNECTED:
                        poller.register(dealer, zmq.POLLIN)
                        send_or_drop(dealer, [question])
                    else:
                        asked.pop(dealer, None)
    return found


def _is_trackers(data: bytes) -> bool:
    """Whether ``data`` is what a registrar replies. One of another version is told to the peer that joins it."""
    try:
        return isinstance(Decoder[RegistrarReply](RegistrarReply).decode(data), Rejoin)
    except VersionError:
        return True
    except ProtocolError:
        return False


def same_tracker(one: str, other: str) -> bool:
    """Whether two endpoints are those of one tracker, as far as that is known here: this machine has many addresses."""
    first, second = parse_endpoint(one), parse_endpoint(other)
    return first == second or (first.port == second.port and _is_own(first.host) and _is_own(second.host))


def _is_own(host: str) -> bool:
    return ip_of(host) is not None and is_here(host)


def for_others(tracker: str) -> str:
    """The endpoint at which other machines reach ``tracker``, which this one reaches at a loopback address, perhaps;
    that address itself when this machine has no other. Empty when the tracker answers at loopback addresses only."""
    address = parse_endpoint(tracker)
    if not is_loopback(address.host):
        return tracker
    host = outward_host()
    if not host:
        return tracker
    outward = str(address._replace(host=host))
    return outward if answers(outward) else ""


def outward_host() -> str:
    """The address of this machine that others reach, as the host of an endpoint: the one it has on its default route,
    or else on a network it is connected to; empty when all it has is loopback."""
    for family, outside in zip((socket.AF_INET, socket.AF_INET6), _OUTSIDE, strict=True):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))
            return host_of_ip(str(probe.getsockname()[0]))
    up = [name for name, state in psutil.net_if_stats().items() if state.isup]
    addresses = [entry.address for name in up for entry in psutil.net_if_addrs().get(name, ())]
    ips = sorted((ip for ip in map(ip_of, addresses) if ip is not None), key=lambda ip: (ip.is_link_local, ip.version))
    usable = (ip for ip in ips if not ip.is_loopback and (ip.version == 4 or not ip.is_link_local))
    return next((host_of_ip(str(ip)) for ip in usable), "")
