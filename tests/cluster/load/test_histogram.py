"""Percentiles of durations that were only counted."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.load.histogram import Histogram, bucket_of, top_of


def histogram_of(*micros: int) -> Histogram:
    histogram = Histogram()
    for one in micros:
        histogram.record(one)
    return histogram


@given(st.integers(0, 10**12))
def test_a_bucket_is_at_most_a_32nd_wide(micros: int) -> None:
    top = top_of(bucket_of(micros))
    assert micros <= top <= micros + micros // 32
    assert bucket_of(top) == bucket_of(micros)
    assert bucket_of(top + 1) == bucket_of(micros) + 1


def test_percentiles_are_those_of_the_durations() -> None:
    rng = Random(1)
    durations = sorted(rng.randrange(1_000_000) for _ in range(1_000))
    histogram = histogram_of(*durations)
    for percent in (1, 50, 90, 99, 100):
        exact = durations[int(1_000 * percent / 100) - 1]
        assert exact <= histogram.percentile(percent) <= exact * 1.032


def test_no_percentile_is_above_the_longest() -> None:
    assert histogram_of(1_000_001).percentile(50) == 1_000_001


def test_of_nothing_there_is_none() -> None:
    assert (Histogram().percentile(99), Histogram().pairs(), Histogram().longest) == (0, [], 0)


def test_two_that_are_added_up_are_one_of_all() -> None:
    one, both = histogram_of(1, 50, 70_000), histogram_of(1, 50, 70_000, 3, 70_001, 9_000_000)
    other = histogram_of(3, 70_001, 9_000_000)
    one.add(other.pairs(), other.longest)
    assert (one.pairs(), one.count, one.longest) == (both.pairs(), 6, 9_000_000)


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_equal_durations_have_equal_percentiles(percent: float) -> None:
    assert histogram_of(*[17] * 5).percentile(percent) == 17
