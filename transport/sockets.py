"""ZeroMQ sockets by role: their options as one table, and the few operations every shell needs.

Owns which option a socket gets and why, binding and connecting with errors a person can act on, and draining and
sending without ever blocking. What is said over a socket, and when, belongs to the packages above.

No role turns on ZMTP heartbeats or bounds its receive queue: a socket whose input stopped because RCVHWM was
reached can abort the whole process (libzmq 4.3.5, with a stalled reader and heartbeats, or a flooding client that
dies). So every loop drains always, and what may be under way is bounded by credit in the conversations.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import zmq
import zmq.backend

from protocol.endpoints import Address, ip_of, parse_endpoint
from protocol.errors import LocalError, NetworkError, ProtocolError
from protocol.limits import (
    CONTROL_BYTES_MAX,
    DRAIN_COUNT,
    FRAMES_COUNT_MAX,
    LINK_BYTES_MAX,
    LOCAL_BYTES_MAX,
    REPLY_BYTES_MAX,
    SESSION_PIECES_COUNT_MAX,
    SUBSCRIPTION_BYTES_MAX,
)
from transport.addresses import listen_on
from transport.runtime_dir import IPC_SCHEME

SOCKETS_COUNT_MAX = 16_384
"""Of one context. libzmq's default of 1,023 is used up by some 340 sources: each is a DEALER and its monitor."""
CONNECT_MS_MAX = 5_000
"""How long a TCP connection may take to come about, in milliseconds."""


class Role(StrEnum):
    """What a socket is for. `OPTIONS` has a row for each."""

    TRACKER_ROUTER = "tracker router"
    TRACKER_PUB = "tracker pub"
    CONTROL_DEALER = "control dealer"
    ROSTER_SUB = "roster sub"
    PIECE_ROUTER = "piece router"
    FETCH_DEALER = "fetch dealer"
    LINK_ROUTER = "link router"
    LINK_DEALER = "link dealer"
    LOCAL_ROUTER = "local router"
    LOCAL_DEALER = "local dealer"


class Options(NamedTuple):
    """A row of the table. ``max_message_bytes`` None: the opener says it."""

    kind: zmq.SocketType
    max_message_bytes: int | None
    values: Mapping[zmq.SocketOption, int | bytes]


_NOBLOCK, _NOBLOCK_MORE, _EVENTS, _READABLE = (
    int(flag) for flag in (zmq.NOBLOCK, zmq.NOBLOCK | zmq.SNDMORE, zmq.EVENTS, zmq.POLLIN)
)
"""Plain numbers: to combine enumerations at every message takes as long as to send it."""
_SEND: Callable[..., object] = zmq.backend.Socket.send
"""What `zmq.Socket.send` calls when it has looked at two options nobody uses here, for as long as that takes again."""
_O = zmq.SocketOption
_Values = dict[zmq.SocketOption, int | bytes]

_EVERY: _Values = {
    _O.RCVHWM: 0,  # see above: a full receive queue can abort the process
    _O.LINGER: 0,  # the default waits for ever when the other side is gone
}
_TCP: _Values = {
    # A host that vanished without a FIN is noticed after 60 s even by a socket that only receives.
    _O.TCP_KEEPALIVE: 1,
    _O.TCP_KEEPALIVE_IDLE: 30,
    _O.TCP_KEEPALIVE_INTVL: 10,
    _O.TCP_KEEPALIVE_CNT: 3,
}
_ACCEPTING: _Values = {
    _O.HANDSHAKE_IVL: 5_000,  # a stranger who connects and says nothing holds a descriptor only this long
}
_ROUTING: _Values = {
    _O.ROUTER_MANDATORY: 1,  # otherwise a full or vanished route drops silently; with it, send_or_drop returns False
}
_DIALING: _Values = {
    _O.HANDSHAKE_IVL: 10_000,
    _O.CONNECT_TIMEOUT: CONNECT_MS_MAX,  # the kernel's own is over two minutes
    # libzmq reconnects silently, with a new identity that the other side's pushes do not go to, and never again after a
    # failed handshake; it looks names up in its I/O thread. So a lost connection is an event (`transport.monitor`),
    # after which the owner opens a new socket.
    _O.RECONNECT_IVL: -1,
}
_CONNECTED_ONLY: _Values = {
    _O.IMMEDIATE: 1,  # nothing is queued, to be stale later, while the other side is away: send_or_drop returns False
}

OPTIONS: Mapping[Role, Options] = {
    Role.TRACKER_ROUTER: Options(
        zmq.ROUTER,
        CONTROL_BYTES_MAX,
        _EVERY
        | _TCP
        | _ACCEPTING
        | _ROUTING
        | {
            # A peer has a few requests open at a time. Replies of up to 1 MiB: one that asks and never reads costs
            # 100 MiB until TCP_MAXRT.
            _O.SNDHWM: 100,
            _O.TCP_MAXRT: 15_000,  # a peer that stopped reading is let go, and its queue with it
            _O.BACKLOG: 4_096,  # every peer of a cluster may dial in the same second
        },
    ),
    Role.TRACKER_PUB: Options(
        zmq.PUB,
        SUBSCRIPTION_BYTES_MAX,
        _EVERY
        | _TCP
        | _ACCEPTING
        | {
            _O.SNDHWM: 2_000,
            _O.TCP_MAXRT: 15_000,
            _O.BACKLOG: 4_096,
            # The least there is: a stranger who subscribes without end is hung up on before much of it has come.
            _O.RCVBUF: 1,
        },
    ),
    Role.CONTROL_DEALER: Options(
        zmq.DEALER,
        REPLY_BYTES_MAX,
        _EVERY
        | _TCP
        | _DIALING
        | _CONNECTED_ONLY
        | {
            _O.SNDHWM: 100,
            _O.TCP_MAXRT: 10_000,
            _O.LINGER: 500,  # the Leave of a peer that is about to exit still goes out
        },
    ),
    Role.ROSTER_SUB: Options(
        zmq.SUB,
        CONTROL_BYTES_MAX,
        _EVERY
        | _TCP
        | _DIALING
        | {
            _O.SNDHWM: 1_000,  # more than there are subscriptions
            _O.SUBSCRIBE: b"",  # one sequence counts all events: with a filter every other one is a gap
        },
    ),
    Role.PIECE_ROUTER: Options(
        zmq.ROUTER,
        CONTROL_BYTES_MAX,
        _EVERY
        | _TCP
        | _ACCEPTING
        | _ROUTING
        | {
            _O.SNDHWM: SESSION_PIECES_COUNT_MAX + 64,  # the rest of the room is for Status and NotHeld
            _O.TCP_MAXRT: 30_000,  # longer than the tracker's: a receiver with a slow disk is no dead one
            _O.BACKLOG: 1_024,
        },
    ),
    Role.FETCH_DEALER: Options(
        zmq.DEALER,
        None,  # the piece and 64 KiB
        _EVERY
        | _TCP
        | _DIALING
        # It needs no IMMEDIATE: the first Test waits for the connection.
        | {
            _O.SNDHWM: 256,  # Wants of a few KiB: under a MiB
            _O.TCP_MAXRT: 30_000,
        },
    ),
    Role.LINK_ROUTER: Options(
        zmq.ROUTER,
        CONTROL_BYTES_MAX,
        _EVERY
        | _TCP
        | _ACCEPTING
        | _ROUTING
        | {
            _O.SNDHWM: 10_000,  # events a lookup may lag behind; then it gets the state again
            _O.TCP_MAXRT: 15_000,
        },
    ),
    Role.LINK_DEALER: Options(
        zmq.DEALER,
        LINK_BYTES_MAX,
        _EVERY | _TCP | _DIALING | _CONNECTED_ONLY | {_O.SNDHWM: 100, _O.TCP_MAXRT: 10_000},
    ),
    # Processes of one peer: trusted, restarted together, and told the whole state after a restart. Nothing may be
    # dropped while both run, so the queues have no bound.
    Role.LOCAL_ROUTER: Options(
        zmq.ROUTER,
        LOCAL_BYTES_MAX,
        _EVERY | _ROUTING | {_O.SNDHWM: 0, _O.LINGER: 500},
    ),
    Role.LOCAL_DEALER: Options(
        zmq.DEALER,
        LOCAL_BYTES_MAX,
        # No IMMEDIATE: the other process may start later, and what is said meanwhile waits for it.
        _EVERY | {_O.SNDHWM: 0, _O.RECONNECT_IVL: 50, _O.RECONNECT_IVL_MAX: 500, _O.LINGER: 500},
    ),
}


def send_queue_count(role: Role) -> int:
    """Messages that may wait for one receiver; 0: no bound."""
    return int(OPTIONS[role].values[_O.SNDHWM])


def open_context(io_threads: int = 1) -> zmq.Context[zmq.Socket[bytes]]:
    """A context that has room for `SOCKETS_COUNT_MAX` sockets. Its owner calls ``term()`` at the end."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads)
    context.set(zmq.MAX_SOCKETS, SOCKETS_COUNT_MAX)
    return context


def open_socket(
    context: zmq.Context[zmq.Socket[bytes]], role: Role, max_message_bytes: int | None = None
) -> zmq.Socket[bytes]:
    """A socket with the options of ``role``, neither bound nor connected.

    ``max_message_bytes`` is the largest frame it accepts, needed by roles whose row leaves it open. libzmq drops
    the connection of a sender who exceeds it. Raises `NetworkError` when no more sockets can be opened.
    """
    options = OPTIONS[role]
    limit = options.max_message_bytes if max_message_bytes is None else max_message_bytes
    if limit is None:
        raise LocalError(f"a {role} is opened with the size of its largest message")
    try:
        socket = context.socket(options.kind)
    except zmq.ZMQError as error:
        raise NetworkError(f"cannot open a {role} socket: {error.strerror}; raise the limit of open files") from None
    socket.set(zmq.MAXMSGSIZE, limit)
    for option, value in options.values.items():
        socket.set(option, value)
    return socket


def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Listen on ``endpoint`` and return the real one, where a port of ``0`` or ``*`` is the port that was chosen.

    Host ``*`` means IPv6 and IPv4, or IPv4 alone where the kernel has no IPv6; a name, each of its addresses. Raises
    `NetworkError` that names the endpoint and what to do. An ipc path is replaced when it exists (only one process at a
    time may own it, which its owner sees to) and readable and writable for its user alone.
    """
    if not endpoint.startswith(IPC_SCHEME):
        return _bind_tcp(socket, endpoint)
    try:
        _bind(socket, endpoint)
    except NetworkError as error:
        raise NetworkError(f"cannot listen on {endpoint}: {error}") from None
    Path(endpoint.removeprefix(IPC_SCHEME)).chmod(0o600)
    return _real_endpoint(socket)


def connect(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Start to dial ``endpoint``, in the background. Raises `NetworkError` when it is no address at all. Names are
    looked up before (`transport.addresses`): libzmq would do that in its I/O thread, and say nothing."""
    if not endpoint.startswith(IPC_SCHEME):
        address = _parsed(endpoint)
        socket.set(zmq.IPV6, _is_ipv6(address.host))
        endpoint = str(address)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise NetworkError(f"cannot dial {endpoint}: {_advice(error)}") from None


def drain(socket: zmq.Socket[bytes], limit: int = DRAIN_COUNT) -> Iterator[list[zmq.Frame]]:
    """Yield what has arrived, at most ``limit`` messages, without waiting. For all but ROUTERs (`drain_routed`).

    Of a message of more than `FRAMES_COUNT_MAX` frames one more than that is kept, for the caller to see. Ends when the
    socket is closed meanwhile.
    """
    for first in _arrivals(socket, limit, copy=False):
        yield _whole_message(socket, first, FRAMES_COUNT_MAX) if first.more else [first]


def drain_routed(socket: zmq.Socket[bytes], limit: int = DRAIN_COUNT) -> Iterator[tuple[bytes, list[zmq.Frame]]]:
    """`drain` for a ROUTER: the route that leads back to the sender, which counts as a frame, and the frames of its
    message."""
    receive = socket.recv
    for route in _arrivals(socket, limit, copy=True):
        first = receive(_NOBLOCK, False)
        yield route, _whole_message(socket, first, FRAMES_COUNT_MAX - 1) if first.more else [first]


def send_or_drop(socket: zmq.Socket[bytes], frames: Sequence[bytes | zmq.Frame], copy: bool = True) -> bool:
    """Queue a message without waiting; False when its queue is full or its receiver is not connected.

    ``copy=False`` hands large frames (64 KiB and more) to the I/O thread as they are: the caller changes nothing in
    them afterwards. Small ones are copied in any case, which is cheaper.
    """
    if _send(socket, frames, copy):
        return True
    # libzmq looks for news of its connections only every millisecond while it is busy, so the refusal may be out of
    # date; asking for the events makes it look.
    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT) and _send(socket, frames, copy)


def send_each_or_drop(socket: zmq.Socket[bytes], messages: Iterable[tuple[bytes, bytes]]) -> None:
    """`send_or_drop` for many messages of a ROUTER, each a route and one frame."""
    _note_use(socket)
    for message in messages:
        try:
            _SEND(socket, message[0], _NOBLOCK_MORE)
            _SEND(socket, message[1], _NOBLOCK)
        except zmq.ZMQError:
            send_or_drop(socket, message)


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message has arrived."""
    return bool(int(socket.getsockopt(_EVENTS)) & _READABLE)


def is_empty(socket: zmq.Socket[bytes]) -> bool:
    """Whether no message has arrived. A loop that waits for the socket goes on to hear of those that do."""
    _note_use(socket)
    return not is_readable(socket)


def note_uses(socket: zmq.Socket[bytes], used: set[zmq.Socket[bytes]]) -> None:
    """From now on `drain` and `send_or_drop` add ``socket`` to ``used``, for a loop that waits for its descriptor: both
    may take the signal of a message that has just arrived."""
    _used[socket] = used


def forget_uses(socket: zmq.Socket[bytes], used: set[zmq.Socket[bytes]]) -> None:
    """The loop of ``used`` waits for it no more."""
    used.discard(socket)
    if _used.get(socket) is used:
        del _used[socket]


_used: dict[zmq.Socket[bytes], set[zmq.Socket[bytes]]] = {}


def _note_use(socket: zmq.Socket[bytes]) -> None:
    used = _used.get(socket)
    if used is not None:
        used.add(socket)


def peer_address(frame: zmq.Frame) -> str:
    """The IP address a received frame came from, an IPv4 address as such though it came to an IPv6 socket; empty when
    there is none, as over ipc."""
    try:
        address = frame.get("Peer-Address")
    except zmq.ZMQError:  # the property is missing
        return ""
    if not isinstance(address, str) or address.startswith("localhost:"):  # ipc: the other process's credentials
        return ""
    return str(ip_of(address) or "")


def key_of(frame: zmq.Frame) -> str:
    """The key of whoever sent a received frame, as `transport.access` admitted it; empty when it has none."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:  # the property is missing
        return ""


def descriptor(frame: zmq.Frame) -> int:
    """Of the connection that a received frame came over, as long as that is there."""
    return int(frame.get(zmq.SRCFD))


def _arrivals(socket: zmq.Socket[bytes], limit: int, copy: bool) -> Iterator[Any]:
    """The first frame of each message that has arrived: bytes where ``copy``, which is quicker for small ones, else a
    `zmq.Frame`. Whoever gets it receives the other frames at once."""
    _note_use(socket)
    receive = socket.recv
    for number in range(limit):
        try:
            # Mostly there is one: to ask is cheaper than to have a second read fail.
            if number == 1 and not is_readable(socket):
                return
            first = receive(_NOBLOCK, copy)
        except zmq.Again:
            return
        except zmq.ZMQError:
            if socket.closed:
                return
            raise
        yield first


def _whole_message(socket: zmq.Socket[bytes], frame: zmq.Frame, limit: int) -> list[zmq.Frame]:
    """``frame`` and those behind it, at most ``limit`` and one more; the rest is dropped."""
    message = [frame]
    while frame.more:  # the frames of one message arrive together: this never waits
        frame = socket.recv(_NOBLOCK, False)
        if len(message) <= limit:
            message.append(frame)
    return message


def _send(socket: zmq.Socket[bytes], frames: Sequence[bytes | zmq.Frame], copy: bool) -> bool:
    _note_use(socket)
    *before, last = frames
    try:
        for frame in before:
            _SEND(socket, frame, _NOBLOCK_MORE, copy)
        _SEND(socket, last, _NOBLOCK, copy)
    except zmq.Again:
        return False
    except zmq.ZMQError as error:
        if error.errno == errno.EHOSTUNREACH:
            return False
        raise
    return True


def _bind_tcp(socket: zmq.Socket[bytes], endpoint: str) -> str:
    address = _parsed(endpoint, port_zero=True)
    bound: list[str] = []
    try:
        for host in listen_on(address.host):
            socket.set(zmq.IPV6, _is_ipv6(host))
            _bind(socket, str(address._replace(host=host)))
            bound.append(_real_endpoint(socket))
            address = address._replace(port=parse_endpoint(bound[-1]).port)
    except NetworkError as error:
        for real in bound:
            socket.unbind(real)
        raise NetworkError(f"cannot listen on {endpoint}: {error}") from None
    return bound[0]


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise NetworkError(_advice(error)) from None


def _parsed(endpoint: str, port_zero: bool = False) -> Address:
    """libzmq would take some of what is refused here for something else: it uses port 99999 modulo 65,536."""
    try:
        return parse_endpoint(endpoint, port_zero)
    except ProtocolError as error:
        raise NetworkError(str(error)) from None


def _is_ipv6(host: str) -> bool:
    return host.startswith("[")


def _real_endpoint(socket: zmq.Socket[bytes]) -> str:
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    return endpoint.decode().rstrip("\0") if isinstance(endpoint, bytes) else str(endpoint)


_ADVICE: Mapping[int, str] = {
    errno.EADDRINUSE: "the port is in use; stop the other program or choose another port (0: any free one)",
    errno.EADDRNOTAVAIL: "this machine does not have that address; use one of its own, or * for all",
    errno.ENODEV: "this machine has no such address or interface; use one of its own, or * for all",
    errno.EACCES: "permission denied; ports below 1024 need privileges, choose a higher one",
    errno.EINVAL: "it is not an address; expected something like tcp://host:5550",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
}


def _advice(error: zmq.ZMQError) -> str:
    return _ADVICE.get(error.errno or 0, error.strerror)
