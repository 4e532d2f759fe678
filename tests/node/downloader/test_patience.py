"""How long sources take for a piece, and who takes too long."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from random import Random

from node.downloader.patience import SILENT_SECONDS, SILENT_SENDING_SECONDS, STUCK_SECONDS, TURNS_COUNT, Patience
from node.downloader.source import Source, SourcePool, SourceState
from protocol.limits import TEST_TIMEOUT_SECONDS
from tests.node.downloader.scene import entry


def made(*names: str) -> tuple[Patience, list[Source]]:
    """With sources that have answered at moment 0."""
    pool = SourcePool(count(1), Random(1), 64)
    pool.learn([entry(name) for name in names])
    sources = pool.connect(0.0)
    for source in sources:
        source.state = SourceState.READY
    return Patience(pool), sources


def names(sources: Iterable[Source]) -> list[str]:
    return [source.entry.peer for source in sources]


def test_who_does_not_answer_in_time() -> None:
    patience, (_, b, c) = made("a", "b", "c")
    b.state, c.state = SourceState.TESTING, SourceState.CONNECTING
    assert names(patience.silent(TEST_TIMEOUT_SECONDS - 0.1)) == []
    assert names(patience.silent(TEST_TIMEOUT_SECONDS)) == ["b", "c"]
    assert names(patience.silent(SILENT_SECONDS)) == ["a", "b", "c"]


def test_an_answer_may_wait_behind_pieces_of_others_but_not_longer_than_they_come() -> None:
    patience, (_, other) = made("a", "b")
    turn = 2 * TURNS_COUNT
    for _ in range(turn - 1):
        patience.arrived(other, 1.0)
    assert names(patience.silent(SILENT_SECONDS)) == []
    assert names(patience.silent(SILENT_SECONDS + 1.0)) == ["a", "b"]
    patience.arrived(other, 1.0)
    assert names(patience.silent(SILENT_SECONDS)) == ["a"]


def test_who_owes_a_piece_may_be_silent_for_longer() -> None:
    patience, (source,) = made("a")

    def is_allowed(seconds: float, since: float) -> bool:
        return names(patience.silent(since + seconds - 0.1)) == [] and names(patience.silent(since + seconds)) == ["a"]

    assert is_allowed(SILENT_SECONDS, 0.0)
    source.credit = 1
    assert is_allowed(SILENT_SENDING_SECONDS, 0.0)
    source.owed_from(100.0)
    source.gets[1] = 100.0
    patience.arrived(source, 120.0)
    assert is_allowed(80.0, 120.0)
    patience.arrived(source, 130.0)
    assert source.interval.value == 17.5
    source.gets.clear()
    assert is_allowed(70.0, 130.0)
    source.credit = 0
    assert is_allowed(SILENT_SECONDS, 130.0)


def test_the_time_for_a_piece_is_measured_only_while_one_is_owed() -> None:
    patience, (source,) = made("a")
    source.owed_from(5.0)
    source.promised[0] = source.promised[1] = None
    source.owed_from(6.0)
    patience.arrived(source, 8.0)
    assert source.interval.value == patience.usual() == 3.0
    source.promised.clear()
    patience.arrived(source, 100.0)
    assert source.interval.value == 3.0


def test_who_is_asked_again_each_time_it_is_overdue_is_mute_all_the_same() -> None:
    patience, (source, other) = made("a", "b")
    for now in range(0, int(STUCK_SECONDS) + 20, 10):
        for one in (source, other):
            one.gets.clear()
            one.owed_from(now)
            one.gets[1] = now
            one.snubs = True
        other.delivered(now)
    assert names(patience.mute(STUCK_SECONDS + 10)) == ["a"]
