"""What is counted of the pieces that arrive."""

from __future__ import annotations

import pytest

from cluster.simulated.clock import Clock
from cluster.simulated.content import SentPiece, StandIn
from cluster.simulated.traffic import Traffic
from protocol.messages import Get, Piece

SIZE = 100


class Counted:
    """Two receivers and a seeder, of four pieces."""

    def __init__(self, part: float = 1.0) -> None:
        self.clock = Clock()
        self.calls: list[float] = []
        enough = self.calls.append
        self.traffic = Traffic(self.clock, ["a", "b"], ["s"], 4 * SIZE, 4, part, lambda: enough(self.clock.now))

    def piece(self, now: float, source: str, target: str, piece: int) -> None:
        self.clock.now = now
        self.traffic.seen(source, target, SentPiece(Piece(1, piece), StandIn.of(b"x", SIZE)))


def test_who_got_how_much_from_whom() -> None:
    counted = Counted()
    counted.piece(1.0, "s", "a", 0)
    counted.piece(2.0, "a", "b", 0)
    counted.piece(3.0, "s", "b", 1)
    counted.traffic.seen("s", "a", Get(1, [3]))
    traffic = counted.traffic
    assert traffic.received == {"a": SIZE, "b": 2 * SIZE}
    assert {name: list(sources) for name, sources in traffic.sources.items()} == {"a": ["s"], "b": ["a", "s"]}
    assert (traffic.bytes, traffic.whole, traffic.kept_back) == (3 * SIZE, 8 * SIZE, 2)


@pytest.mark.parametrize(("part", "moments"), [(1.0, [4.0]), (0.5, [2.0]), (0.6, [3.0]), (0.01, [0.0])])
def test_enough_is_out_once(part: float, moments: list[float]) -> None:
    counted = Counted(part)
    for number, piece in enumerate((0, 0, 1, 2, 3, 3)):
        counted.piece(float(number), "s", "ab"[number % 2], piece)
    assert counted.calls == moments


def test_full_swing_is_the_fastest_half() -> None:
    counted = Counted()
    assert counted.traffic.full_swing() == 0
    for number, now in enumerate((0.0, 10.0, 11.0, 12.0, 13.0, 14.0, 24.0, 34.0)):
        counted.piece(now, "s", "ab"[number % 2], number // 2)
    assert counted.traffic.full_swing() == pytest.approx(4 * SIZE / 4.0)
