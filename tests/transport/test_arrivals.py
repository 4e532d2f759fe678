"""`transport.arrivals`, with pipes in place of connections."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from transport.arrivals import Arrivals
from transport.loop import Loop

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Scene:
    def __init__(self) -> None:
        self.loop = Loop()
        self.told: list[int] = []
        self.arrivals = Arrivals(self.loop, self.told.append)

    def turn(self) -> int:
        """How often it is told of something in one turn of the loop."""
        before = len(self.told)
        self.loop.resume()
        turns = iter((0.0, None))

        def tick(now: float) -> float:
            if next(turns) is None:
                self.loop.stop()
            return now

        self.loop.run(tick)
        return len(self.told) - before


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.arrivals.close()


def test_it_is_told_once_until_again(scene: Scene, pipe: Pipe) -> None:
    scene.arrivals.watch(pipe[0], always=False)
    told = []
    for _ in range(2):
        os.write(pipe[1], b"x")
        told.append(scene.turn())
    scene.arrivals.again()
    assert [*told, scene.turn()] == [1, 0, 1]


def test_it_is_told_always_after_again_too(scene: Scene, pipe: Pipe) -> None:
    scene.arrivals.watch(pipe[0], always=True)
    told = []
    for _ in range(3):
        os.write(pipe[1], b"x")
        told.append(scene.turn())
        if len(told) == 1:
            scene.arrivals.again()
    assert told == [1, 1, 1]
