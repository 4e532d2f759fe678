"""`node.rate_limit`: averages that hold, and turns where there is not enough for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.rate_limit import BURST_SECONDS, TURN_SECONDS, Budget, Share, TokenBucket


def test_no_rate_allows_everything() -> None:
    bucket = TokenBucket(0, 5.0)
    bucket.spend(10**12, 5.0)
    assert bucket.ready_at(5.0) == 5.0


@given(st.lists(st.integers(1, 500), min_size=20, max_size=60), st.integers(50, 5_000))
def test_the_average_is_the_rate(sizes: list[int], rate: int) -> None:
    bucket = TokenBucket(rate, 0.0)
    now = 0.0
    for size in sizes:
        now = bucket.ready_at(now)
        bucket.spend(size, now)
    end = bucket.ready_at(now)
    assert end == pytest.approx(sum(sizes) / rate - BURST_SECONDS) or end == 0.0
    assert end >= sum(sizes) / rate - BURST_SECONDS - 1e-6


def test_one_piece_is_always_admitted() -> None:
    budget = Budget(10, 0, 0.0)
    share = Share(budget)
    assert share.admits(100, 0.0)
    share.claim(100, 0.0)
    assert not share.admits(1, 0.0)
    share.release(100)
    assert share.admits(100, 0.0)


def test_downloads_take_turns_under_a_rate() -> None:
    budget = Budget(10**9, 1_000, 0.0)
    greedy, modest = Share(budget), Share(budget)
    taken: list[Share] = []
    now = 0.0
    while len(taken) < 20:
        now = max(now, budget.bucket.ready_at(now))
        for share in (greedy, greedy, greedy, modest):
            if share.admits(1_000, now):
                share.claim(1_000, now)
                share.release(1_000)
                taken.append(share)
    assert 9 <= taken.count(modest) <= 11


def test_a_turn_that_is_not_taken_passes_on() -> None:
    budget = Budget(100, 0, 0.0)
    owner, gone, other, third = (Share(budget) for _ in range(4))
    owner.claim(100, 0.0)
    assert not gone.admits(50, 0.0)
    assert not other.admits(50, 0.0)
    owner.release(100)
    assert not other.admits(50, 1.0)
    assert other.admits(50, 1.0 + TURN_SECONDS)
    other.claim(50, 1.0 + TURN_SECONDS)
    assert third.admits(50, 1.0 + TURN_SECONDS)
