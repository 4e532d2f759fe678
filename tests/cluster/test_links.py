"""Links of a run, and the bound that follows from them."""

from __future__ import annotations

import pytest

from cluster.links import Links


def test_links_that_are_alike() -> None:
    links = Links(5e6)
    assert links.ups(3) == [5e6, 5e6, 5e6]
    assert links.bound(50_000_000, 1, 16) == pytest.approx(10)
    assert str(links) == "links of 40 Mbit/s both ways"


def test_uplinks_in_turn() -> None:
    links = Links(10e6, (1.25e6, 2.5e6, 5e6))
    assert links.ups(5) == [1.25e6, 2.5e6, 5e6, 1.25e6, 2.5e6]
    assert str(links) == (
        "links of 80 Mbit/s both ways, but receivers' uplinks of 10 Mbit/s, 20 Mbit/s, 40 Mbit/s in turn"
    )


def test_the_bound_is_of_all_uplinks_when_those_are_slow() -> None:
    links = Links(10e6, (1e6, 2e6))
    assert links.bound(10_000_000, 1, 2) == pytest.approx(20 / 13)
    assert links.bound(10_000_000, 2, 2) == pytest.approx(1)


def test_content_has_only_part_of_what_a_link_does() -> None:
    links = Links(10e6, (1e6, 2e6))
    assert links.bound(10_000_000, 1, 2, part=0.5) == pytest.approx(2 * links.bound(10_000_000, 1, 2))
