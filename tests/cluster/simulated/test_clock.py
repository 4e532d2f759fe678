"""Virtual time."""

from __future__ import annotations

from functools import partial
from math import inf

from cluster.simulated.clock import Clock


def test_calls_come_by_time_and_then_in_the_order_they_were_asked_for() -> None:
    clock, made = Clock(), list[tuple[float, str]]()

    def note(name: str) -> None:
        made.append((clock.now, name))

    for when, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
        clock.at(when, note, name)
    clock.after(0.5, clock.at, 0.0, note, "late")
    assert clock.next_at() == 0.5
    assert not clock.run(3.0)
    assert made == [(0.5, "late"), (1.0, "a"), (1.0, "b"), (2.0, "c"), (2.0, "d")]
    assert (clock.now, clock.steps, clock.next_at()) == (3.0, 6, inf)


def test_what_is_asked_for_at_a_moment_for_that_moment_is_its_last() -> None:
    clock, made = Clock(), list[str]()
    clock.at(1.0, lambda: clock.at(1.0, made.append, "third"))
    clock.at(1.0, made.append, "second")
    clock.run(1.0)
    assert made == ["second", "third"]


def test_it_stops_at_the_end_of_a_moment_and_goes_on() -> None:
    clock, made = Clock(), list[int]()
    for number in range(4):
        clock.at(1.0, made.append, number)
    clock.at(2.0, made.append, 4)
    assert clock.run(9.0, lambda: len(made) > 1)
    assert (clock.now, made) == (1.0, [0, 1, 2, 3])
    clock.after(0.0, made.append, 5)
    assert clock.run_some(9.0, 100)
    assert (clock.now, clock.steps, made) == (9.0, 6, [0, 1, 2, 3, 5, 4])


def test_some_calls_are_those_to_the_end_of_a_moment() -> None:
    clock, made = Clock(), list[float]()
    for when in (1.0, 1.0, 1.0, 2.0, 3.0):
        clock.at(when, partial(made.append, when))
    assert not clock.run_some(9.0, 2)
    assert (clock.now, made) == (1.0, [1.0, 1.0, 1.0])
    assert clock.run_some(2.5, 2)
    assert (clock.now, made[-1], clock.next_at()) == (2.5, 2.0, 3.0)
