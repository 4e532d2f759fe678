"""The picker in pictures: a digit is how many sources have the piece, ``*`` is had, a space is missing."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.downloader.picker import Picker
from protocol.bitfield import Bitfield
from tests.node.scene_pictures import bits


def picker(availability: str, have: str | None = None, seed: int = 1, sequential: bool = False) -> Picker:
    """``picker("2223333", have="* *  ")``: pieces with that many sources, those not in ``have`` missing."""
    count = len(availability)
    held = bits((have or "").ljust(count))
    made = Picker(count, held.missing(), Random(seed), sequential)
    for level in range(1, 10):
        made.source_has(bits("".join("*" if int(digit) >= level else " " for digit in availability)), complete=False)
    made.check_invariants()
    return made


def everyone(count: int) -> Bitfield:
    return Bitfield.full_of(count)


def test_rarest_first() -> None:
    assert picker("3124").order(everyone(4), 10) == [1, 2, 0, 3]


def test_what_is_had_is_not_picked() -> None:
    assert picker("3124", have=" *  ").order(everyone(4), 10) == [2, 0, 3]


def test_only_what_the_source_has_is_picked() -> None:
    assert picker("3124").order(bits("*  *"), 10) == [0, 3]
    assert picker("3124").order(bits("    "), 10) == []


def test_no_more_than_the_limit() -> None:
    assert picker("3124").order(everyone(4), 2) == [1, 2]
    assert picker("3124").order(everyone(4), 0) == []


def test_sequential_goes_by_index_whatever_is_rare() -> None:
    made = picker("3124", have=" *  ", sequential=True)
    assert made.order(everyone(4), 10) == [0, 2, 3]
    assert made.order(bits("  **"), 1) == [2]
    made.add(1)
    assert made.order(everyone(4), 2) == [0, 1]


def test_equally_rare_pieces_are_in_an_order_of_ones_own() -> None:
    orders = {tuple(picker("1" * 20, seed=seed).order(everyone(20), 20)) for seed in range(10)}
    assert len(orders) == 10
    assert tuple(range(20)) not in orders


def test_equally_rare_pieces_stay_in_random_order_when_news_comes_in_order() -> None:
    """Everyone hears the same news in the same order: that must not make them all want the same piece first."""
    firsts = set()
    for seed in range(40):
        made = picker("0" * 20, seed=seed)
        for piece in range(20):
            made.source_got(piece)
        firsts.add(made.order(everyone(20), 1)[0])
    assert len(firsts) > 5


def test_the_same_seed_gives_the_same_order() -> None:
    assert picker("1231" * 5, seed=7).order(everyone(20), 20) == picker("1231" * 5, seed=7).order(everyone(20), 20)


def test_a_claimed_piece_is_out_until_it_is_missing_again() -> None:
    made = picker("3124")
    made.remove(1)
    assert 1 not in made
    assert made.order(everyone(4), 10) == [2, 0, 3]
    assert len(made) == 3
    made.source_got(1)
    made.source_got(1)
    made.add(1)
    assert sorted(made.order(everyone(4), 3)) == [0, 1, 2]
    assert made.order(everyone(4), 1) == [2]


def test_removing_what_is_not_there_is_an_error() -> None:
    made = picker("11")
    made.remove(0)
    with pytest.raises(KeyError):
        made.remove(0)


def test_a_source_that_goes_makes_its_pieces_rarer() -> None:
    made = picker("2233")
    made.source_gone(bits("  **"), complete=False)
    made.source_gone(bits("  **"), complete=False)
    assert [made.availability(piece) for piece in range(4)] == [2, 2, 1, 1]
    assert sorted(made.order(everyone(4), 2)) == [2, 3]


def test_complete_sources_count_for_all_pieces_alike() -> None:
    made = picker("0012")
    assert sorted(made.nobody_has()) == [0, 1]
    made.source_has(everyone(4), complete=True)
    assert made.nobody_has() == []
    assert [made.availability(piece) for piece in range(4)] == [1, 1, 2, 3]
    made.source_gone(everyone(4), complete=True)
    assert made.nobody_has() == [0, 1]


def test_whether_a_source_could_send_anything() -> None:
    made = picker("1111", have="**  ")
    assert made.any_of(bits("** *"))
    assert not made.any_of(bits("**  "))
    made.remove(2)
    made.remove(3)
    assert not made.any_of(everyone(4))


def test_content_without_pieces() -> None:
    made = picker("")
    assert made.order(everyone(0), 10) == []
    assert not made.any_of(everyone(0))
    assert made.nobody_has() == []


Steps = st.lists(st.tuples(st.sampled_from(["has", "got", "gone", "add", "remove", "lost"]), st.integers(0, 9)))


@given(steps=Steps, seed=st.integers(0, 3), sequential=st.booleans(), having=st.sets(st.integers(0, 9)))
def test_any_history_leaves_the_order_that_counting_anew_gives(
    steps: list[tuple[str, int]], seed: int, sequential: bool, having: set[int]
) -> None:
    made = Picker(10, range(10), Random(seed), sequential)
    missing, sources = set(range(10)), [Bitfield(10)]
    made.source_has(sources[0], False)
    for step, number in steps:
        if step == "has":
            source = Bitfield(10)
            for piece in range(number, 10, 2):
                source.set(piece)
            sources.append(source)
            made.source_has(source, False)
        elif step == "gone" and len(sources) > 1:
            made.source_gone(sources.pop(), False)
        elif step == "got" and number not in sources[-1]:
            sources[-1].set(number)
            made.source_got(number)
        elif step == "lost" and number in sources[-1]:
            sources[-1].clear(number)
            made.source_lost(number)
        elif step == "remove" and number in missing:
            missing.remove(number)
            made.remove(number)
        elif step == "add" and number not in missing:
            missing.add(number)
            made.add(number)
        made.check_invariants()
    have = bits("".join("*" if piece in having else " " for piece in range(10)))
    order = made.order(have, 10)
    counts = [sum(piece in source for source in sources) for piece in range(10)]
    assert [made.availability(piece) for piece in range(10)] == counts
    assert sorted(order) == sorted(missing & having)
    assert len(made) == len(missing)
    assert made.any_of(have) == bool(order)
    if sequential:
        assert order == sorted(order)
    else:
        assert [counts[piece] for piece in order] == sorted(counts[piece] for piece in order)
        assert made.order(have, 3) == order[:3]
