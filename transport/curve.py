"""CURVE keys (ZeroMQ RFC 26) for sockets: pairs of them, and what a socket is told of its own and of the other side's.

Who may connect is decided in `transport.access`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import zmq
from msgspec import Struct
from zmq.utils import z85

from protocol.discreet import Discreet
from protocol.errors import ConfigError
from transport.sockets import Role


class KeyPair(Discreet, Struct, frozen=True):
    """Both as `protocol.keys` writes keys."""

    public: str
    secret: str


class Keys(NamedTuple):
    """What a process of a network with keys has: a pair of ``own``, and who ``may_connect`` to it, by the role of its
    socket and the public key of whoever asks."""

    own: KeyPair
    may_connect: Callable[[Role, str], bool]


def nobody(_role: Role, _key: str) -> bool:
    """Who may connect to a process that is not to be reached."""
    return False


def new_pair() -> KeyPair:
    """`ConfigError` where libzmq was built without CURVE."""
    check_curve()
    public, secret = zmq.curve_keypair()
    return KeyPair(_hex(public), _hex(secret))


def pair_of(secret: str) -> KeyPair:
    """The pair that the key ``secret`` is of. `ConfigError` where libzmq was built without CURVE."""
    check_curve()
    return KeyPair(_hex(zmq.curve_public(z85.encode(bytes.fromhex(secret)))), secret)


def check_curve() -> None:
    if not zmq.has("curve"):
        raise ConfigError("this ZeroMQ library has no CURVE, which keys need; install pyzmq from its wheel")


def listen_as(socket: zmq.Socket[bytes], own: KeyPair) -> None:
    """Before it is bound: nobody connects without a key, and whoever does knows that this is ``own``."""
    socket.set(zmq.CURVE_SERVER, 1)
    socket.set(zmq.CURVE_SECRETKEY, bytes.fromhex(own.secret))


def dial_as(socket: zmq.Socket[bytes], own: KeyPair, key: str) -> None:
    """Before it connects: to the one with the public ``key`` and nobody else, as ``own``."""
    socket.set(zmq.CURVE_SERVERKEY, bytes.fromhex(key))
    socket.set(zmq.CURVE_PUBLICKEY, bytes.fromhex(own.public))
    socket.set(zmq.CURVE_SECRETKEY, bytes.fromhex(own.secret))


def _hex(key: bytes) -> str:
    return z85.decode(key).hex()
