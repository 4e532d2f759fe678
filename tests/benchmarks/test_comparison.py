"""What rounds come to: medians of ratios within a round, figures without another contender, and targets."""

from __future__ import annotations

from msgspec import Struct

from benchmarks.comparison import Target, medians, row, rows
from benchmarks.output import as_text, targets_table


class Figures(Struct, frozen=True):
    rate: float
    cost: float


FASTER = Target("rate over theirs", "theirs", "rate", 2.0, at_least=True)
CHEAP = Target("cost", "", "cost", 3.0, at_least=False)


def test_ratios_are_of_one_round_each() -> None:
    rounds = [{"ours": Figures(rate, 1), "theirs": Figures(rate / factor, 1)} for rate, factor in ((1, 3), (90, 2))]
    rounds.append({"ours": Figures(500, 1), "theirs": Figures(500, 1)})
    (found,) = rows("case", "ours", [FASTER], rounds)
    assert (found.value, found.values, found.met) == (2.0, [3.0, 2.0, 1.0], True)


def test_a_figure_may_have_no_other() -> None:
    rounds = [{"ours": Figures(1, cost)} for cost in (2, 4, 9)]
    (found,) = rows("case", "ours", [FASTER, CHEAP], rounds)
    assert (found.text, found.value, found.met) == ("cost", 4, False)


def test_rounds_count_where_both_were_there() -> None:
    rounds = [{"ours": Figures(6, 1), "theirs": Figures(2, 1)}, {"ours": Figures(1, 1)}, {"theirs": Figures(1, 1)}]
    (found,) = rows("case", "ours", [FASTER], rounds)
    assert found.values == [3.0]


def test_a_limit_may_be_reached() -> None:
    assert row("case", FASTER, [2.0]).met
    assert row("case", CHEAP, [3.0]).met
    assert not row("case", FASTER, [1.99]).met
    assert not row("case", CHEAP, [3.01]).met


def test_medians_are_of_each_figure() -> None:
    found = medians([{"a": Figures(1, 9)}, {"a": Figures(2, 8), "b": Figures(5, 5)}, {"a": Figures(7, 1)}])
    assert found == {"a": Figures(2, 8), "b": Figures(5, 5)}


def test_targets_are_shown_with_their_limits() -> None:
    shown = as_text(targets_table([row("case", FASTER, [1.5]), row("case", CHEAP, [2.25])]), 80).splitlines()
    assert [line.split() for line in shown[1:]] == [
        ["rate", "over", "theirs", ">=", "2.00", "1.50", "MISSED"],
        ["cost", "<=", "3.00", "2.25", "met"],
    ]
