"""`transport.accepted`: a descriptor, or a route, may be used again, and what was known of the connection that had it
is not for the next one. What libzmq tells is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import pytest
import zmq

from transport import accepted as module
from transport.accepted import Accepted
from transport.arrivals import Arrivals
from transport.loop import Loop
from transport.monitor import SocketMonitor
from transport.sockets import Role
from transport.unread import FRAME_BYTES

FD = 10
CAME, ENDED = (zmq.EVENT_ACCEPTED, FD), (zmq.EVENT_DISCONNECTED, FD)
MESSAGE_BYTES = 100
COUNTED_BYTES = MESSAGE_BYTES + FRAME_BYTES


class Events(list[tuple[int, int]]):
    """What happened and was not read yet, in place of a monitor."""

    def read(self) -> Iterator[tuple[int, int]]:
        while self:
            yield self.pop(0)


class Scene:
    """Connections that all have the same descriptor, one after another."""

    def __init__(self, listening: zmq.Socket[bytes]) -> None:
        loop = Loop()
        self.arrivals = Arrivals(loop, lambda _: None)
        self.accepted = Accepted(listening, loop.now, self.arrivals)
        self.accepted.monitor.close()
        self.events = Events()
        self.accepted.monitor = cast("SocketMonitor", self.events)

    def hears(self, route: bytes) -> bool:
        return self.accepted.hears(route, zmq.Frame(bytes(MESSAGE_BYTES)))

    @property
    def read(self) -> int:
        """What counts as read of the one that is there."""
        self.accepted.update()
        return self.accepted.open[FD].read


@pytest.fixture
def scene(opened: Callable[..., zmq.Socket[bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(module, "descriptor", lambda _frame: FD)
    monkeypatch.setattr(module, "shut_down", lambda _fd: None)
    monkeypatch.setattr(Arrivals, "watch", lambda *_, **__: None)
    made = Scene(opened(Role.TRACKER_ROUTER))
    yield made
    made.arrivals.close()


def test_what_comes_before_the_end_of_another_was_noticed_counts_for_the_one_that_sent_it(scene: Scene) -> None:
    scene.events.append(CAME)
    assert scene.hears(b"first")
    scene.events.extend([ENDED, CAME])
    assert scene.hears(b"second")
    assert scene.read == COUNTED_BYTES
    scene.accepted.all_is_read()
    assert scene.hears(b"second")
    assert scene.read == 2 * COUNTED_BYTES


@pytest.mark.parametrize("came_later", [False, True])
def test_one_that_was_hung_up_on_leaves_nothing_to_whoever_has_its_route_later(scene: Scene, came_later: bool) -> None:
    scene.events.append(CAME)
    assert scene.hears(b"route")
    scene.accepted.hang_up_on(FD)
    assert not scene.hears(b"route"), "what it had sent before"
    scene.events.append(ENDED)
    if came_later:
        scene.accepted.update()
    scene.events.append(CAME)
    scene.accepted.update()
    assert scene.hears(b"route")
    assert scene.read == COUNTED_BYTES


def test_what_one_that_was_hung_up_on_had_sent_is_not_heard_though_another_has_its_descriptor(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_empty", lambda _socket: False)
    scene.events.append(CAME)
    assert scene.hears(b"first")
    scene.accepted.hang_up_on(FD)
    scene.events.extend([ENDED, CAME])
    scene.accepted.update()
    assert not scene.hears(b"first")
    assert scene.hears(b"second")
    assert scene.read == COUNTED_BYTES
    scene.accepted.all_is_read()
    assert scene.hears(b"first"), "nothing is left of the other"
