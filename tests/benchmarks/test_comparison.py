"""What rounds come to: medians of ratios within a round, not ratios of medians."""

from __future__ import annotations

import pytest

from benchmarks.comparison import Measured, Target, measured, medians, rows
from protocol.limits import GIB, MIB

FASTER = Target("rate", "them", "mib_s", 2.0, at_least=True)
CHEAPER = Target("CPU", "them", "cpu_s_per_gib", 1.3, at_least=False)


def rounds(*pairs: tuple[float, float]) -> list[dict[str, Measured]]:
    """Rates of us and them; CPU is as many seconds."""
    return [{"us": Measured(ours, ours), "them": Measured(theirs, theirs)} for ours, theirs in pairs]


def test_figures_are_of_everything_that_was_delivered() -> None:
    found = measured(seconds=2.0, cpu_s=3.0, size=256 * MIB, receivers=4)
    assert (found.mib_s, found.cpu_s_per_gib) == (512.0, 3.0)
    assert measured(1.0, 1.0, GIB, 1) == Measured(1024.0, 1.0)


def test_a_slow_moment_of_the_machine_does_not_count() -> None:
    found = rounds((300, 100), (30, 10), (150, 100))
    (row,) = rows("case", "us", [FASTER], found)
    assert (row.ratio, row.ratios, row.met) == (3.0, [3.0, 3.0, 1.5], True)
    assert medians(found) == {"us": Measured(150, 150), "them": Measured(100, 100)}


@pytest.mark.parametrize(("target", "met"), [(FASTER, False), (CHEAPER, True)])
def test_a_target_is_a_limit_from_above_or_below(target: Target, met: bool) -> None:
    (row,) = rows("case", "us", [target], rounds((110, 100)))
    assert (row.ratio, row.met) == (1.1, met)


def test_who_was_not_there_is_not_compared() -> None:
    assert list(rows("case", "us", [FASTER], [{"us": Measured(1, 1)}])) == []
    assert list(rows("case", "us", [FASTER], [{"them": Measured(1, 1)}])) == []
    assert medians([]) == {}
