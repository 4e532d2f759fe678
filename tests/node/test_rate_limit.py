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


def test_what_is_admitted_whatever_is_under_way_waits_for_the_rate_and_its_turn_all_the_same() -> None:
    budget = Budget(10, 100, 0.0)
    share, other = Share(budget), Share(budget)
    share.claim(20, 0.0)
    assert share.admits(20, 0.0, whatever=True)
    assert not share.admits(20, 0.0)
    share.claim(20, 0.0)
    assert not other.admits(20, 0.1, whatever=True), "the bucket is in debt"
    assert not share.admits(20, 0.2, whatever=True), "the other one waits"
    assert other.admits(20, 0.2, whatever=True)
    assert (share.under_way, other.under_way, budget.under_way) == (40, 0, 40)
    share.release(20)
    assert (share.under_way, budget.under_way) == (20, 20)


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


def test_downloads_get_as_much_however_long_their_pieces_are() -> None:
    budget = Budget(10**9, 1_000, 0.0)
    pieces = {Share(budget): 64, Share(budget): 1_000}
    got = dict.fromkeys(pieces, 0)
    now = 0.0
    while sum(got.values()) < 100_000:
        now = max(now, budget.bucket.ready_at(now))
        for share, size in pieces.items():
            if share.admits(size, now):
                share.claim(size, now)
                share.release(size)
                got[share] += size
    assert list(got.values()) == [pytest.approx(50_000, abs=2_000)] * 2


def test_downloads_take_turns_when_the_rate_changes_too() -> None:
    budget = Budget(10**9, 1_000, 0.0)
    greedy, modest = Share(budget), Share(budget)
    now = 0.0
    for rate in (1_000, 10, 100_000, 0, 5_000, 1):
        budget.bucket.set_rate(rate, now)
        taken: list[Share] = []
        while len(taken) < 20:
            now = max(now, budget.bucket.ready_at(now))
            for share in (greedy, greedy, greedy, modest):
                if share.admits(1_000, now):
                    share.claim(1_000, now)
                    share.release(1_000)
                    taken.append(share)
        if rate:  # else there is enough for all, and nobody has to wait
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


def test_whoever_waits_for_room_keeps_back_nobody_who_needs_none() -> None:
    budget = Budget(100, 0, 0.0)
    share, needs = Share(budget), Share(budget)
    budget.claim(100, 0.0)
    needs.claim(0, 0.0)
    for now in (0.0, 0.05, 1.0, 2.0):
        assert not share.admits(50, now)
        assert needs.admits(50, now, whatever=True)
    budget.release(100)
    assert not needs.admits(50, 2.0), "it is the turn of the other"
    assert share.admits(50, 2.0)


def test_of_those_who_need_no_room_each_has_its_turn_too() -> None:
    budget = Budget(100, 1_000, 0.0)
    first, second = Share(budget), Share(budget)
    budget.claim(400, 0.0)
    assert not first.admits(100, 0.1, whatever=True), "the rate"
    assert not first.admits(100, 0.1), "nor for another source of the same download"
    assert not second.admits(100, 0.1, whatever=True)
    assert not second.admits(100, 0.2, whatever=True), "the first one waits"
    assert first.admits(100, 0.2, whatever=True)
    first.claim(0, 0.2)
    assert not first.admits(100, 0.2, whatever=True)
    assert second.admits(100, 0.2, whatever=True)
    second.claim(0, 0.2)
    assert first.admits(100, 0.2, whatever=True)


def test_debt_is_paid_before_more_is_allowed() -> None:
    bucket = TokenBucket(100.0, 0.0)
    bucket.spend(425, 0.0)
    assert bucket.ready_at(0.0) == 4.0
    assert bucket.ready_at(1.0) == 4.0
    assert bucket.ready_at(4.0) == 4.0
    assert bucket.ready_at(9.0) == 9.0


def test_debt_is_paid_sooner_at_a_higher_rate_and_no_later_at_a_lower_one() -> None:
    bucket = TokenBucket(1_000.0, 0.0)
    bucket.spend(250 + 4_000, 0.0)
    bucket.set_rate(10.0, 1.0)
    assert bucket.ready_at(1.0) == pytest.approx(4.0)
    bucket.set_rate(1_000.0, 1.0)
    assert bucket.ready_at(1.0) == pytest.approx(1.03)
    bucket.spend(10, 2.0)
    assert bucket.ready_at(2.0) == 2.0, "and from then on as at any other rate"


def test_without_a_rate_nothing_is_owed() -> None:
    bucket = TokenBucket(1_024.0, 0.0)
    bucket.spend(4 * 2**20, 0.0)
    assert bucket.ready_at(0.0) > 3_600.0
    bucket.set_rate(0.0, 1.0)
    assert bucket.ready_at(1.0) == 1.0
    bucket.spend(10**12, 1.0)
    bucket.set_rate(1_000.0, 2.0)
    assert bucket.ready_at(2.0) == 2.0, "what was sent without a limit is not held against it"
    bucket.spend(250 + 1_000, 2.0)
    assert bucket.ready_at(2.0) == pytest.approx(3.0)


def test_the_same_rate_again_changes_nothing() -> None:
    bucket = TokenBucket(100.0, 0.0)
    bucket.spend(425, 0.0)
    bucket.set_rate(100.0, 1.0)
    assert bucket.ready_at(1.0) == 4.0


rates = st.one_of(st.just(0.0), st.floats(1.0, 1e10))


@given(st.lists(st.tuples(rates, st.integers(1, 2**24), st.floats(0.0, 100.0), rates), min_size=1, max_size=30))
def test_nobody_waits_longer_for_a_piece_than_the_rate_said_when_it_was_sent(
    history: list[tuple[float, int, float, float]],
) -> None:
    """Whatever the rate is changed to while the piece is paid for."""
    bucket, now = TokenBucket(0.0, 0.0), 0.0
    for rate, size, pause, other in history:
        bucket.set_rate(rate, now)
        bucket.spend(size, now)
        promised = bucket.ready_at(now)
        assert promised <= (now + size / rate if rate else now) * (1 + 1e-6) + 1e-6
        now += pause
        bucket.set_rate(other, now)
        assert bucket.ready_at(now) <= max(now, promised) * (1 + 1e-6) + 1e-6
        now = bucket.ready_at(now)


def test_an_idle_bucket_saves_up_little() -> None:
    bucket = TokenBucket(100.0, 0.0)
    bucket.spend(int(100 * BURST_SECONDS), 1_000.0)
    assert bucket.ready_at(1_000.0) == 1_000.0
    bucket.spend(100, 1_000.0)
    assert bucket.ready_at(1_000.0) == 1_001.0


@given(
    rate=st.floats(1.0, 1e10),
    started=st.floats(0.0, 1e7),
    sizes=st.lists(st.integers(1, 2**24), min_size=1, max_size=50),
)
def test_ready_means_ready_whatever_the_numbers(rate: float, started: float, sizes: list[int]) -> None:
    bucket = TokenBucket(rate, started)
    now = started
    for size in sizes:
        for _ in range(3):  # rounding may leave a hair's breadth of debt, but never for long
            ready = bucket.ready_at(now)
            if ready <= now:
                break
            now = ready
        assert bucket.ready_at(now) <= now
        bucket.spend(size, now)
    assert sum(sizes[:-1]) <= rate * (now - started + BURST_SECONDS) * (1 + 1e-6) + 1e-6 * rate + 1


def test_a_budget_bounds_what_is_under_way() -> None:
    budget = Budget(250, 0, 0.0)
    assert budget.has_room(1_000), "one piece always"
    budget.claim(100, 0.0)
    assert budget.has_room(150)
    assert not budget.has_room(151)
    budget.claim(150, 0.0)
    assert not budget.has_room(1)
    budget.release(100)
    assert budget.has_room(100)
    budget.release(150)
    assert budget.under_way == 0
    with pytest.raises(AssertionError):
        budget.release(1)
