"""`transport.ports.Transport` with ZeroMQ's sockets, on one poll loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

import msgspec
import zmq

from protocol.codec import Decoder, encode
from protocol.errors import NetworkError, ProtocolError
from protocol.limits import CONTROL_BYTES_MAX, DRAIN_COUNT, SUBSCRIBER_BYTES_MAX, UNDER_WAY_BYTES_MAX
from transport.accepted import Accepted
from transport.access import Access
from transport.addresses import has_keys, look_up, why_no_route, why_unreached
from transport.connection_limit import ConnectionLimit
from transport.curve import Keys, dial_as
from transport.kernel import shut_down
from transport.loop import Loop
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.ports import LineOwner, OnGarbage
from transport.publisher import Publisher
from transport.runtime_dir import IPC_SCHEME
from transport.sockets import (
    Role,
    bind,
    connect,
    descriptor,
    drain,
    drain_routed,
    key_of,
    open_socket,
    peer_address,
    send_each_or_drop,
    send_or_drop,
)
from transport.unread import FRAME_BYTES, Unread
from transport.unread_limit import UnreadLimit

M = TypeVar("M")
COPIED_BYTES_MAX = 262_144
"""Data up to this is copied when it is sent: pyzmq frees what is not from a thread of its own, which costs more."""
_logger = logging.getLogger(__name__)


class Closable(Protocol):
    def close(self) -> None: ...


class ZmqTransport:
    """Whoever has it runs it, and closes it before ``context`` is terminated; lines are closed before that. With
    ``keys`` everybody who is dialled or comes over TCP has one."""

    look_up = staticmethod(look_up)
    why_unreached = staticmethod(why_unreached)
    why_no_route = staticmethod(why_no_route)
    has_keys = staticmethod(has_keys)

    def __init__(self, loop: Loop, context: zmq.Context[zmq.Socket[bytes]], keys: Keys | None = None) -> None:
        self.loop, self.context, self._keys = loop, context, keys
        self.now, self.soon = loop.now, loop.soon
        self._limit: ConnectionLimit | None = None
        self._access: Access | None = None
        self._unread = UnreadLimit(loop, self._refuse)
        self.opened: list[Closable] = []

    def run(self, tick: Callable[[float], float | None]) -> None:
        """`Loop.run`; connections, and what is unread of them, are kept below their limits. `LocalError` when nobody
        could connect any more."""
        limits = [self._unread.tick, *([] if self._limit is None else [self._limit.tick])]

        def limited(now: float) -> float:
            if self._access is not None:
                self._access.check()
            limit_at, due = min(limit(now) for limit in limits), tick(now)
            return limit_at if due is None else min(due, limit_at)

        self.loop.run(limited)

    def close(self) -> None:
        """Close what was opened, but for lines."""
        self._unread.close()
        if self._limit is not None:
            self._limit.close()
        for opened in self.opened:
            opened.close()

    def note(self, level: Literal["info", "warning", "error"], text: str) -> None:
        getattr(_logger, level)("%s", text)

    def dial(
        self,
        role: Role,
        endpoint: str,
        decoder: Decoder[M],
        owner: LineOwner[M],
        max_message_bytes: int | None = None,
        key: str = "",
    ) -> ZmqLine[M]:
        is_keyed = self._keys is not None and not endpoint.startswith(IPC_SCHEME)
        if is_keyed and not key:
            raise NetworkError(f"{endpoint} has no key, and this network has keys")
        line = ZmqLine(self.loop, open_socket(self.context, role, max_message_bytes), role, decoder, owner)
        if not endpoint.startswith(IPC_SCHEME):
            line.watch(self._unread)
        try:
            if is_keyed:
                assert self._keys is not None
                dial_as(line.socket, self._keys.own, key)
            connect(line.socket, endpoint)
        except NetworkError:
            line.close(0)
            raise
        return line

    def listen(self, role: Role, endpoint: str, limit: int) -> ZmqRouter:
        router = ZmqRouter(self.loop, open_socket(self.context, role), limit, role)
        self.opened.append(router)
        if not endpoint.startswith(IPC_SCHEME):
            said_bytes = SUBSCRIBER_BYTES_MAX if role is Role.TRACKER_PUB else 0
            accepted = Accepted(router.socket, self.now, self._unread.arrivals, said_bytes)
            if self._limit is None:
                self._limit = ConnectionLimit(self.loop)
            self._limit.watch(accepted)
            self._unread.watch(accepted)
            router.accepted, router.connections = accepted, self._limit
            if self._access is None:
                self._access = Access(self.loop, self.context, self._keys)
                self.opened.append(self._access)
            self._access.watch(router.socket, role)
            router.access, router.keys = self._access, self._keys
        router.bind(endpoint)
        return router

    def _refuse(self, address: str, seconds: float) -> None:
        assert self._access is not None
        self._access.refuse(address, seconds)


class ZmqRouter:
    port = 0
    accepted: Accepted | None = None
    connections: ConnectionLimit | None = None
    access: Access | None = None
    """All three None over ipc."""
    keys: Keys | None = None
    """None where whoever comes needs no key, and over ipc."""

    def __init__(self, loop: Loop, socket: zmq.Socket[bytes], limit: int, role: Role) -> None:
        self._loop, self.socket, self._limit, self._role = loop, socket, limit, role
        self._frame: zmq.Frame | None = None
        """What is being heard."""
        self._publisher: Publisher | None = None
        """Of one that publishes."""
        self._key = ""
        """Of whom."""
        self._key_at: dict[int, str] = {}
        """By descriptor, the key of whoever was heard there last. Not by route: others may use a route again."""

    def bind(self, endpoint: str) -> None:
        port = bind(self.socket, endpoint).rpartition(":")[2]
        self.port = int(port) if port.isdecimal() else 0
        if self.socket.type == zmq.PUB:
            self._publisher = Publisher(self.socket)

    def hear(self, decoder: Decoder[M], on_message: Callable[[bytes, M, float], None], on_garbage: OnGarbage) -> None:
        decode, now, socket, accepted = decoder.decode, self._loop.now, self.socket, self.accepted

        def on_readable() -> None:
            at, left = now(), DRAIN_COUNT
            for route, frames in drain_routed(socket):
                left -= 1
                if accepted is not None and not accepted.hears(route, frames[0]):
                    continue
                self._frame = frames[0]
                if self.keys is not None and not self._is_let_in(self.keys, frames[0]):
                    continue
                try:
                    if len(frames) != 1:
                        raise ProtocolError(f"a message is one frame, not {len(frames)}")
                    message = decode(frames[0].bytes)
                except ProtocolError as error:
                    on_garbage(route, frames[-1].bytes, error)
                    continue
                on_message(route, message, at)
            if left and accepted is not None:
                accepted.all_is_read()

        self._loop.add(socket, on_readable)

    def send(self, route: bytes, message: msgspec.Struct, data: Sequence[bytes] = ()) -> bool:
        copy = sum(map(len, data)) <= COPIED_BYTES_MAX
        return send_or_drop(self.socket, [route, encode(message, self._limit), *data], copy)

    def send_each(self, messages: Sequence[tuple[bytes, msgspec.Struct]]) -> None:
        send_each_or_drop(self.socket, [(route, encode(message, self._limit)) for route, message in messages])

    def send_watched(self, route: bytes, message: msgspec.Struct) -> Callable[[], bool] | None:
        frame = zmq.Frame(encode(message, self._limit), track=True, copy=False)
        tracker = frame.tracker
        assert tracker is not None
        return (lambda: tracker.done) if send_or_drop(self.socket, [route, frame], copy=False) else None

    def publish(self, topic: bytes, message: msgspec.Struct) -> None:
        assert self._publisher is not None
        self._publisher.send([topic, encode(message, self._limit)])

    def address_of(self, route: bytes) -> str:
        del route
        return "" if self._frame is None else peer_address(self._frame)

    def key_of(self, route: bytes) -> str:
        del route
        return self._key

    def recheck(self) -> None:
        assert self.keys is not None
        assert self.accepted is not None
        for fd, key in list(self._key_at.items()):
            if not self.keys.may_connect(self._role, key):
                del self._key_at[fd]
                self.accepted.hang_up_on(fd)
        if self._role is Role.TRACKER_PUB:  # whose connection is whose is not known there: all come again who may
            self.accepted.hang_up_on_all()

    def _is_let_in(self, keys: Keys, frame: zmq.Frame) -> bool:
        """Whether whoever sent ``frame`` is let in still; hung up on if not."""
        key, fd = key_of(frame), descriptor(frame)
        if keys.may_connect(self._role, key):
            self._key = self._key_at[fd] = key
            return True
        self._key_at.pop(fd, None)
        assert self.accepted is not None
        self.accepted.hang_up_on(fd)
        return False

    def hang_up_on(self, route: bytes) -> Callable[[], None]:
        del route
        assert self._frame is not None
        assert self.accepted is not None
        return partial(self.accepted.hang_up_on, descriptor(self._frame))

    def refuse(self, route: bytes, seconds: float) -> None:
        assert self.connections is not None
        assert self.access is not None
        address = self.address_of(route)
        _logger.warning("%s sends too many messages: disconnected, and refused for %g s", address, seconds)
        self.access.refuse(address, seconds)
        self.connections.shut_down_from(address)

    def close(self) -> None:
        if self._loop.has(self.socket):
            self._loop.remove(self.socket)
        if self._publisher is None:
            self.socket.close()
        else:
            self._publisher.close()


class ZmqLine(Generic[M]):
    """A socket and its monitor. libzmq does not reconnect it: then pushes would go to an identity it has forgotten."""

    def __init__(
        self, loop: Loop, socket: zmq.Socket[bytes], role: Role, decoder: Decoder[M], owner: LineOwner[M]
    ) -> None:
        self._loop, self._decode, self._owner = loop, decoder.decode, owner
        self._first = -1 if role is Role.ROSTER_SUB else 0  # there it is behind its topic
        self.socket = socket
        self.unread: Unread | None = None
        """Over TCP, once it is connected."""
        self._watched_by: UnreadLimit | None = None
        try:
            self._monitor = ConnectionMonitor(socket)
        except zmq.ZMQError as error:
            socket.close(0)
            raise NetworkError(f"it cannot be watched ({error.strerror})") from None
        loop.add(self._monitor.socket, self._on_events)
        loop.add(socket, self._on_readable)

    def send(self, message: msgspec.Struct) -> None:
        send_or_drop(self.socket, [encode(message)])

    def watch(self, limit: UnreadLimit) -> None:
        """Before it connects."""
        self._watched_by = limit
        limit.dialled.add(self)

    def has_no_end(self, now: float) -> bool:
        unread = self.unread
        assert unread is not None
        longest = int(self.socket.get(zmq.MAXMSGSIZE)) + CONTROL_BYTES_MAX
        if unread.waiting <= longest:
            return False
        if not self._read() or self.socket.closed:  # there may be more whole ones
            return not self.socket.closed and unread.waiting > longest + UNDER_WAY_BYTES_MAX
        unread.look(now, emptied=True)
        return unread.waiting > longest

    def hang_up(self, error: ProtocolError) -> None:
        assert self.unread is not None
        self._owner.on_garbage(error)
        if not self.socket.closed:
            with suppress(OSError):  # it has ended already
                shut_down(self.unread.fd)

    def close(self, linger_ms: int | None = None) -> None:
        if self._watched_by is not None:
            self._watched_by.dialled.discard(self)
        self._loop.remove(self._monitor.socket)
        self._loop.remove(self.socket)
        self._monitor.close()
        self.socket.close(linger_ms)

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Whether nothing is left to be read."""
        socket, owner, unread, left = self.socket, self._owner, self.unread, DRAIN_COUNT
        for frames in drain(socket):
            left -= 1
            if unread is not None:
                unread.read += sum(map(len, frames)) + FRAME_BYTES * len(frames)
            try:
                message = self._decode(frames[self._first].buffer)
            except ProtocolError as error:
                owner.on_garbage(error)
            else:
                owner.on_message(message, [frame.buffer for frame in frames[1:]])
            if socket.closed:
                return True
        return left > 0

    def _on_events(self) -> None:
        for event in self._monitor.events():
            if event is ConnectionEvent.CONNECTED:
                if self._watched_by is not None:
                    self.unread = Unread(self._monitor.fd, self._loop.now())
                    self.unread.read_all()
                    self._watched_by.arrivals.watch(self._monitor.fd, always=False)
                self._owner.on_connected()
            else:
                self._on_readable()  # what was said last
                if not self.socket.closed:
                    self._owner.on_lost(event)
            if self.socket.closed:
                return
