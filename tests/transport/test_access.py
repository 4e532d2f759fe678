"""`transport.access`: who is refused, by address. What ZeroMQ asks is in `tests.transport.test_keys`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from transport.access import ADMITTED, REFUSED, Access
from transport.loop import Loop
from transport.sockets import Role, open_context

ADDRESSES = 2_000


class Scene:
    """``now`` is the time on its clock."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.now = 0.0
        self.access = Access(Loop(lambda: self.now), context, None)

    def is_admitted(self, address: str) -> bool:
        asked = [b"1.0", b"1", Role.TRACKER_ROUTER.encode(), address.encode(), b"", b"NULL"]
        verdict = self.access._verdict(asked)[:2]
        assert verdict in (ADMITTED, REFUSED)
        return verdict == ADMITTED


@pytest.fixture
def scene() -> Iterator[Scene]:
    context = open_context()
    made = Scene(context)
    yield made
    made.access.close()
    context.term()


class Compared(float):
    """A duration; counts the comparisons of times calculated from it."""

    count = 0

    def __radd__(self, other: float) -> Compared:
        return Compared(float(self) + other)

    def __gt__(self, other: float) -> bool:
        Compared.count += 1
        return float(self) > other


def test_an_address_is_refused_for_as_long_as_was_said_last_or_before(scene: Scene) -> None:
    scene.access.refuse("10.0.0.1", 60.0)
    scene.access.refuse("10.0.0.1", 10.0)
    scene.access.refuse("10.0.0.2", 10.0)
    scene.now = 11.0
    assert [scene.is_admitted(f"10.0.0.{number}") for number in (1, 2, 3)] == [False, True, True]
    scene.now = 61.0
    assert scene.is_admitted("10.0.0.1")


def test_to_refuse_many_addresses_takes_as_long_for_each(scene: Scene) -> None:
    Compared.count = 0
    for number in range(ADDRESSES):
        scene.access.refuse(f"10.0.{number // 256}.{number % 256}", Compared(10.0))
    assert Compared.count <= 4 * ADDRESSES
    assert not scene.is_admitted("10.0.0.1")


def test_those_whose_time_is_over_are_forgotten(scene: Scene) -> None:
    for number in range(ADDRESSES):
        scene.now += 1.0
        scene.access.refuse(f"10.0.{number // 256}.{number % 256}", 10.0)
    assert len(scene.access._until) < 200
