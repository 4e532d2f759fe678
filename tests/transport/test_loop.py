"""`transport.loop` on pipes and sockets, its clock jumped by the test where time matters."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from tests.transport.conftest import Open
from transport import sockets
from transport.loop import Loop
from transport.sockets import Role, bind, connect, drain, drain_routed, is_readable, send_or_drop


class Pipe:
    """A pipe that has as much input as was put in."""

    def __init__(self) -> None:
        self.fd, self._into = os.pipe()

    def put(self, data: bytes = b"x") -> None:
        os.write(self._into, data)

    def end(self) -> None:
        os.close(self._into)
        self._into = -1

    def take(self) -> bytes:
        return os.read(self.fd, 1)

    def close(self) -> None:
        os.close(self.fd)
        if self._into >= 0:
            os.close(self._into)


@pytest.fixture
def pipe() -> Iterator[Callable[[], Pipe]]:
    made: list[Pipe] = []

    def make() -> Pipe:
        made.append(Pipe())
        return made[-1]

    yield make
    for each in made:
        each.close()


def once(_now: float) -> None:
    """A tick without deadlines."""


def test_input_calls_its_handler_until_there_is_none(pipe: Callable[[], Pipe]) -> None:
    loop, source = Loop(), pipe()
    taken: list[bytes] = []

    def take_one() -> None:
        taken.append(source.take())
        if len(taken) == 3:
            loop.stop()

    source.put(b"abc")
    loop.add(source.fd, take_one)
    loop.run(once)
    assert taken == [b"a", b"b", b"c"]


def test_the_end_of_a_pipe_calls_its_handler(pipe: Callable[[], Pipe]) -> None:
    loop, source = Loop(), pipe()
    loop.add(source.fd, loop.stop)
    source.end()
    loop.run(once)
    assert loop.stopped


def test_a_zmq_socket_that_is_not_drained_is_called_again(opened: Open) -> None:
    loop, router, dealer = Loop(), opened(Role.PIECE_ROUTER), opened(Role.FETCH_DEALER, 1_000)
    connect(dealer, bind(router, "tcp://127.0.0.1:0"))
    for number in range(5):
        send_or_drop(dealer, [b"%d" % number])
    seen: list[bytes] = []

    def take_two() -> None:
        seen.extend(message[0].bytes for _, message in drain_routed(router, 2))
        if len(seen) == 5:
            loop.stop()

    loop.add(router, take_two)
    loop.run(once)
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


def test_a_source_removed_in_this_turn_is_not_called(pipe: Callable[[], Pipe]) -> None:
    loop, one, two = Loop(), pipe(), pipe()
    called: list[str] = []

    def handler(name: str, other: Pipe) -> None:
        called.append(name)
        loop.remove(other.fd)
        loop.stop()

    one.put()
    two.put()
    loop.add(one.fd, lambda: handler("one", two))
    loop.add(two.fd, lambda: handler("two", one))
    loop.run(once)
    assert len(called) == 1


def test_a_handler_may_replace_itself(pipe: Callable[[], Pipe]) -> None:
    loop, source, later = Loop(), pipe(), pipe()
    called: list[str] = []

    def first() -> None:
        called.append("first")
        loop.remove(source.fd)
        loop.add(later.fd, second)
        later.put()

    def second() -> None:
        called.append("second")
        loop.stop()

    source.put()
    loop.add(source.fd, first)
    loop.run(once)
    assert called == ["first", "second"]


def test_adding_again_replaces_the_handler(pipe: Callable[[], Pipe]) -> None:
    loop, source = Loop(), pipe()
    source.put()
    loop.add(source.fd, lambda: pytest.fail("the old handler"))
    loop.add(source.fd, loop.stop)
    loop.run(once)
    loop.remove(source.fd)
    with pytest.raises(KeyError):
        loop.remove(source.fd)


def test_a_stop_before_the_run_ends_it_after_one_tick(pipe: Callable[[], Pipe]) -> None:
    loop, source = Loop(), pipe()
    source.put()
    loop.add(source.fd, lambda: pytest.fail("called"))
    ticks: list[float] = []
    loop.stop()
    loop.run(ticks.append)
    assert len(ticks) == 1


def test_tick_follows_the_handlers_of_each_turn_and_has_the_last_word(pipe: Callable[[], Pipe]) -> None:
    loop, source = Loop(), pipe()
    order: list[str] = []

    def handle() -> None:
        order.append("handler")
        source.take()
        if order.count("handler") == 2:
            loop.stop()

    source.put(b"ab")
    loop.add(source.fd, handle)
    loop.run(lambda _now: order.append("tick"))
    assert order == ["tick", "handler", "tick", "handler", "tick"]


@pytest.mark.parametrize(
    ("deadline", "seconds"), [(None, None), (float("inf"), None), (100.0, 0), (99.0, 0), (100.5, 0.5), (1e12, 86_400)]
)
def test_waits_until_the_deadline(deadline: float | None, seconds: float | None) -> None:
    assert Loop(clock=lambda: 100.0)._wait_seconds(deadline) == seconds


class Patience:
    """A tick that fails when nothing has ended the loop in time."""

    def __init__(self) -> None:
        self._until = 0.0

    def __call__(self, now: float) -> float:
        self._until = self._until or now + 5
        assert now < self._until, "nothing woke the loop"
        return self._until


def has_signal(socket: zmq.Socket[bytes]) -> bool:
    return bool(select.select([int(socket.getsockopt(zmq.FD))], [], [], 0)[0])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def pair(opened: Open) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """A DEALER, and the ROUTER it has said hello to."""
    router, dealer = opened(Role.PIECE_ROUTER), opened(Role.FETCH_DEALER, 1_000)
    connect(dealer, bind(router, "tcp://127.0.0.1:0"))
    send_or_drop(dealer, [b"hello"])
    return dealer, router


def test_what_arrived_is_seen_though_a_send_took_the_signal(pipe: Callable[[], Pipe], opened: Open) -> None:
    loop, source = Loop(), pipe()
    dealer, router = pair(opened)
    until(lambda: is_readable(router))
    route, _ = next(drain_routed(router))

    def send_until_the_signal_is_gone() -> None:
        source.take()
        assert send_or_drop(router, [route, b"news"])
        until(lambda: has_signal(dealer))
        until(lambda: send_or_drop(dealer, [b"more"]) and not has_signal(dealer))

    loop.add(source.fd, send_until_the_signal_is_gone)
    loop.add(dealer, loop.stop)
    source.put()
    loop.run(Patience())
    assert [frames[0].bytes for frames in drain(dealer)] == [b"news"]


def test_what_another_handler_left_in_a_socket_is_seen(pipe: Callable[[], Pipe], opened: Open) -> None:
    loop, source = Loop(), pipe()
    dealer, router = pair(opened)
    seen: list[bytes] = []

    def take_one() -> None:
        source.take()
        for _ in range(2):
            send_or_drop(dealer, [b"hello"])
        until(lambda: is_readable(router))
        seen.extend(frames[0].bytes for _, frames in drain_routed(router, 1))

    def take_the_rest() -> None:
        seen.extend(frames[0].bytes for _, frames in drain_routed(router))
        if len(seen) == 3:
            loop.stop()

    loop.add(source.fd, take_one)
    loop.add(router, take_the_rest)
    source.put()
    loop.run(Patience())
    assert seen == [b"hello"] * 3


def test_a_handler_may_read_by_itself(opened: Open) -> None:
    loop = Loop()
    dealer, router = pair(opened)
    for _ in range(2):
        send_or_drop(dealer, [b"hello"])
    seen: list[bytes] = []

    def take_one() -> None:
        seen.append(router.recv_multipart()[1])
        if len(seen) == 3:
            loop.stop()

    loop.add(router, take_one)
    loop.run(Patience())
    assert seen == [b"hello"] * 3


def test_a_socket_that_was_removed_is_no_longer_noted(opened: Open) -> None:
    one, other = Loop(), Loop()
    socket = opened(Role.PIECE_ROUTER)
    one.add(socket, lambda: None)
    other.add(socket, lambda: None)  # handed over
    one.remove(socket)
    assert socket in sockets._used
    other.remove(socket)
    assert socket not in sockets._used


def test_a_file_always_has_input(tmp_path: Path) -> None:
    loop, calls = Loop(), list[int]()
    with (tmp_path / "file").open("wb") as file:
        loop.add(file.fileno(), lambda: calls.append(1) if len(calls) < 2 else loop.stop())
        loop.run(once)
        loop.remove(file.fileno())
    assert len(calls) == 2


def test_a_deadline_is_met_without_spinning(pipe: Callable[[], Pipe]) -> None:
    loop = Loop()
    loop.add(pipe().fd, lambda: pytest.fail("called"))  # never has input
    deadlines = [loop.now() + 0.0105 * step for step in range(1, 4)]
    calls: list[float] = []

    def tick(now: float) -> float | None:
        calls.append(now)
        due = [deadline for deadline in deadlines if deadline > now]
        if not due:
            loop.stop()
        return min(due, default=None)

    loop.run(tick)
    assert loop.now() >= deadlines[-1]
    assert len(calls) <= 1 + len(deadlines)


def test_a_loop_without_sources_still_waits() -> None:
    loop = Loop()
    calls: list[float] = []

    def tick(now: float) -> float:
        calls.append(now)
        if now >= calls[0] + 0.02:
            loop.stop()
        return calls[0] + 0.02

    loop.run(tick)
    assert len(calls) == 2


def test_the_clock_is_the_callers() -> None:
    moments = iter([5.0, 5.0, 7.0])
    loop = Loop(clock=lambda: next(moments))
    seen: list[float] = []

    def tick(now: float) -> float:
        seen.append(now)
        if len(seen) == 2:
            loop.stop()
        return now

    loop.run(tick)
    assert seen == [5.0, 7.0]


def test_an_error_ends_the_loop(pipe: Callable[[], Pipe]) -> None:
    loop, source = Loop(), pipe()
    source.put()

    def fail() -> None:
        raise ValueError("ours")

    loop.add(source.fd, fail)
    with pytest.raises(ValueError, match="ours"):
        loop.run(once)


def test_a_signal_does_not_end_a_wait(pipe: Callable[[], Pipe]) -> None:
    loop = Loop()
    loop.add(pipe().fd, lambda: pytest.fail("called"))
    hits: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: hits.append(number))
    end = time.monotonic() + 0.03

    def tick(now: float) -> float:
        if now >= end:
            loop.stop()
        return end

    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        loop.run(tick)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert hits == [signal.SIGALRM]
    assert loop.now() >= end


def test_what_is_asked_for_is_called_in_the_next_turn_without_waiting(pipe: Callable[[], Pipe]) -> None:
    loop = Loop()
    loop.add(pipe().fd, lambda: pytest.fail("called"))
    called: list[str] = []

    def first() -> None:
        called.append("first")
        loop.soon(second)

    def second() -> None:
        called.append("second")
        loop.stop()

    loop.soon(first)
    turns: list[float] = []
    loop.run(turns.append)
    assert called == ["first", "second"]
    assert len(turns) == 3


def test_a_loop_that_was_stopped_runs_again_when_it_is_told_to() -> None:
    loop = Loop()
    loop.stop()
    loop.run(once)
    loop.resume()
    loop.soon(loop.stop)
    turns: list[float] = []
    loop.run(turns.append)
    assert len(turns) == 2
