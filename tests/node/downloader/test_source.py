"""The pool of sources: who is connected to, in what order, and who is not gone back to."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from node.downloader.source import (
    SOURCES_COUNT_MIN,
    STATUS_COUNT_MAX,
    Farewell,
    Source,
    SourcePool,
    SourceState,
    Trouble,
)
from protocol.limits import TEST_IDLE_SECONDS, TEST_TIMEOUT_SECONDS
from tests.node.downloader.scene import entry


def pool(limit: int = 64) -> SourcePool:
    return SourcePool(count(1), Random(1), limit)


def connected(made: SourcePool, *names: str, now: float = 0.0) -> list[Source]:
    made.learn([entry(name) for name in names])
    return made.connect(now)


def names(sources: list[Source]) -> list[str]:
    return [source.entry.peer for source in sources]


def test_each_peer_has_one_session() -> None:
    made = pool()
    assert names(connected(made, "a", "b", "a")) == ["a", "b"]
    assert connected(made, "a") == []
    source = made.of_peer("b")
    assert source is not None
    assert made.get(source.session) is source
    assert made.of_peer("c") is None
    assert len(made) == 2


def test_whoever_never_failed_is_tried_first() -> None:
    made = pool(limit=2)
    first = connected(made, "a", "b")
    made.drop(first[0], 0.0, Trouble("unreachable"))
    assert names(connected(made, "c", now=10.0)) == ["c"]
    made.drop(first[1], 10.0, Farewell.FRIENDLY)
    assert made.leaves_out(10.0) is False, "there is room"
    assert names(made.connect(10.0)) == ["b"]
    assert made.leaves_out(10.0)


def test_one_that_failed_more_often_than_all_others_has_its_turn_too() -> None:
    """The others answer and have nothing; it was down for a while, and has everything."""
    made, now = pool(limit=2), 0.0
    (seed,) = connected(made, "seed")
    for _ in range(3):
        made.drop(seed, now, Trouble("unreachable"))
        now += 30.0
        (seed,) = made.connect(now)
    made.drop(seed, now, Trouble("unreachable"))
    connected(made, "a", "b", "c", "d", now=now)
    for _ in range(30):
        now += 5.0
        first, *_ = made
        if "seed" in names(list(made)):
            return
        made.answered(first)
        made.drop(first, now, Farewell.USELESS)
        made.connect(now)
    pytest.fail("it was never tried again")


def test_nobody_is_left_out_whose_time_has_not_come() -> None:
    made = pool(limit=1)
    (source,) = connected(made, "a")
    made.drop(source, 0.0, Trouble("unreachable"))
    connected(made, "b")
    assert not made.leaves_out(0.4)
    assert made.leaves_out(0.6)


def test_a_banned_peer_is_known_to_nobody() -> None:
    made = pool()
    (source,) = connected(made, "a")
    made.ban(entry("a"), "lies")
    made.drop(source, 0.0, Trouble("unreachable"))
    made.learn([entry("a", port=2)])
    assert made.connect(100.0) == []
    assert made.banned == {"a": "lies"}


def test_a_forgotten_peer_may_be_named_again() -> None:
    made = pool()
    (source,) = connected(made, "a")
    made.drop(source, 0.0, Farewell.FOREVER)
    assert made.connect(100.0) == []
    assert names(connected(made, "a", now=100.0)) == ["a"]


def test_who_does_not_answer_in_time() -> None:
    made = pool()
    a, b, c = connected(made, "a", "b", "c")
    a.state = SourceState.READY
    b.state = SourceState.TESTING
    assert not any(source.is_unanswered(TEST_TIMEOUT_SECONDS - 0.1) for source in made)
    assert [source.is_unanswered(TEST_TIMEOUT_SECONDS) for source in (a, b, c)] == [False, True, True]
    assert c.state is SourceState.CONNECTING


@pytest.mark.parametrize(
    ("length", "count"), [(2**16, 64), (2**22, 64), (2**23, 32), (2**24, 16), (2**26, SOURCES_COUNT_MIN)]
)
def test_of_long_pieces_there_are_fewer_sources(length: int, count: int) -> None:
    made = pool()
    made.fetch_pieces(9, length)
    sources = connected(made, *(f"p{number}" for number in range(100)))
    assert len(sources) == count
    assert sources[0].bits.size == 9


def test_a_source_may_come_over_from_the_fetch_of_the_manifest() -> None:
    made = pool(limit=1)
    (source,) = connected(made, "a")
    made.fetch_pieces(9, 100)
    assert source.bits.size == 9
    assert len(connected(made, "b")) == 1


def test_words_beyond_the_rate_are_a_flood() -> None:
    (source,) = connected(pool(), "a", now=50.0)
    assert [source.floods(50.0) for _ in range(STATUS_COUNT_MAX + 1)] == STATUS_COUNT_MAX * [False] + [True]
    assert not source.floods(50.1)
    assert [source.floods(1_000.0) for _ in range(STATUS_COUNT_MAX + 1)] == STATUS_COUNT_MAX * [False] + [True]


def test_who_is_to_be_tested() -> None:
    made = pool()
    a, b, _ = connected(made, "a", "b", "c")
    a.state = b.state = SourceState.READY
    a.said_at = 1.0
    assert names(made.to_test(TEST_IDLE_SECONDS)) == ["b"]
    assert names(made.to_test(TEST_IDLE_SECONDS + 1.0)) == ["a", "b"]
