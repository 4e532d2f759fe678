"""The addresses that a host name stands for, to dial or to listen on, and why one of them cannot be connected to.

All of it may wait for a resolver or a network: for threads, or for the time before anything runs.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping

from protocol.endpoints import EVERY, host_of_ip, ip_of, is_loopback
from protocol.errors import NetworkError

REFUSED = "connection refused"
NO_ANSWER = "no answer"

_ALL_IPV6, _ALL_IPV4 = "[::]", "0.0.0.0"
"""A socket bound to the former takes in IPv4 too, unless it is told otherwise."""

_GREETING_START = b"\xff" + bytes(8) + b"\x7f\x03"
"""The signature of ZMTP 3.0 (ZeroMQ RFC 23) and its major version, upon which the other side says the rest of its own
greeting."""
_MECHANISM = slice(12, 32)

_WORDS: Mapping[int | None, str] = {
    errno.ECONNREFUSED: REFUSED,
    errno.EHOSTUNREACH: "no route to the machine",
    errno.ENETUNREACH: "the network is unreachable",
    errno.EINVAL: "this machine has no route to it",
    errno.EADDRNOTAVAIL: "this machine has no address to reach it from",
    errno.EAFNOSUPPORT: "this machine has no IPv6",
}


def look_up(host: str) -> list[str]:
    """The addresses of ``host``, as hosts of endpoints, the one to try first in front. What is no name stands for
    itself. `NetworkError` when the name cannot be resolved."""
    if host == EVERY or ip_of(host) is not None:
        return [host]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NetworkError(f"the name {host} cannot be resolved ({error.strerror})") from None
    except UnicodeError:
        raise NetworkError(f"the name {host} cannot be resolved (it is not a valid name)") from None
    return list(dict.fromkeys(host_of_ip(str(entry[4][0])) for entry in found))


def listen_on(host: str) -> list[str]:
    """The addresses to listen on for ``host``: with ``*``, IPv6 and IPv4 at once (``[::]``), or IPv4 where the kernel
    has no IPv6; for a name, all that this machine has. `NetworkError` when the name cannot be resolved."""
    if host == EVERY:
        return [_ALL_IPV6 if is_here(_ALL_IPV6) else _ALL_IPV4]
    found = look_up(host)
    return [one for one in found if len(found) == 1 or is_here(one)] or found


def is_local(host: str) -> bool:
    """Whether only this machine reaches who listens on ``host``. `NetworkError` as of `listen_on`."""
    return all(map(is_loopback, listen_on(host)))


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if host.startswith("[") else socket.AF_INET


def why_unreached(host: str, port: int, seconds: float) -> str:
    """Why no TCP connection to address ``host`` could be made, in words, from another try: libzmq does not say."""
    try:
        socket.create_connection((host.strip("[]"), port), seconds).close()
    except TimeoutError:
        return NO_ANSWER
    except OSError as error:
        return _in_words(error)
    return REFUSED  # a moment ago; by now somebody listens


def why_no_route(host: str) -> str:
    """Why this machine sends nothing to address ``host``, in words; empty when it has a route. Does not wait, and asks
    no other machine."""
    try:
        with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
            probe.connect((host.strip("[]"), 9))  # of a datagram socket that only looks for the route
    except OSError as error:
        return _in_words(error)
    return ""


def has_keys(host: str, port: int, seconds: float) -> bool | None:
    """Whether whoever listens at address ``host`` lets nobody in without a key; None when that is not to be learned. A
    handshake that fails for want of a key mostly looks like any other that is broken off."""
    try:
        with socket.create_connection((host.strip("[]"), port), seconds) as probe:
            probe.settimeout(seconds)
            probe.sendall(_GREETING_START)
            greeting = b""
            while len(greeting) < _MECHANISM.stop and (data := probe.recv(_MECHANISM.stop - len(greeting))):
                greeting += data
    except OSError:
        return None
    if greeting[:1] != b"\xff" or greeting[9:11] != b"\x7f\x03":
        return None
    return {b"CURVE": True, b"NULL": False}.get(greeting[_MECHANISM].rstrip(b"\0"))


def _in_words(error: OSError) -> str:
    return _WORDS.get(error.errno) or os.strerror(error.errno or 0).lower()


def is_here(host: str) -> bool:
    """Whether ``host`` is an address of this machine, as far as one can bind to it."""
    try:
        with socket.socket(family_of(host), socket.SOCK_STREAM) as probe:
            probe.bind((host.strip("[]"), 0))
    except OSError:
        return False
    return True
