"""Cells of the grid of a swarm: who has which, and what peers are told of them."""

from __future__ import annotations

from broker.registry import Registry
from protocol.grid import mate
from protocol.limits import SEEDERS_COUNT_MAX
from protocol.messages import GetSeederList, Goodbye, Ok, SeederList, SourceAdded, SourceRemoved
from tests.broker.link_scenes import LinkedLookup
from tests.broker.scenes import Actor, Stage, digest, entry

CONTENT = digest(1)


def cells(registry: Registry) -> dict[str, int]:
    found = registry.swarms[CONTENT].cells
    return {} if found is None else dict(found.of)


def receivers(stage: Stage, *names: str) -> list[Actor]:
    actors = [stage.peer(name) for name in names]
    for actor in actors:
        actor.transfer(1, "requesting", Ok)
    return actors


def test_each_receiver_has_the_lowest_free_cell() -> None:
    stage = Stage()
    stage.peer("seeder", entry(1))
    a, b, c = receivers(stage, "a", "b", "c")
    assert cells(stage.registry) == {"a": 0, "b": 1, "c": 2}
    a.transfer(1, "failed", Ok)
    b.leave(Goodbye)
    assert cells(stage.registry) == {"c": 2}
    receivers(stage, "d", "e", "f")
    assert cells(stage.registry) == {"c": 2, "d": 0, "e": 1, "f": 3}
    c.transfer(1, "started", Ok)
    c.transfer(1, "finished", Ok)
    assert cells(stage.registry)["c"] == 2, "others follow it there"
    stage.registrar.check_invariants()


def test_what_is_told_of_cells() -> None:
    stage = Stage()
    stage.peer("seeder", entry(1))
    bob = stage.peer("bob")
    stage.hints()
    bob.transfer(1, "requesting", Ok)
    assert stage.hints() == [SourceRemoved(CONTENT, "bob", 0)], "it is no source, but it will be one"
    bob.transfer(1, "started", Ok)
    (hint,) = stage.hints()
    assert isinstance(hint, SourceAdded)
    assert hint.cell == 0
    bob.transfer(1, "failed", Ok)
    assert stage.hints() == [SourceRemoved(CONTENT, "bob")]


def test_a_tracker_that_was_restarted_numbers_those_who_fetch_anew() -> None:
    stage = Stage()
    stage.peer("whole", entry(1))
    stage.peer("part", entry(1, "partial"))
    stage.peer("nothing", entry(1, "requesting"))
    assert cells(stage.registry) == {"part": 0, "nothing": 1}
    stage.registrar.check_invariants()


def test_lookups_know_the_cells_however_they_learn_of_them() -> None:
    stage = Stage()
    link = LinkedLookup(stage)
    link.settle()
    stage.peer("seeder", entry(1))
    a, _b, _c = receivers(stage, "a", "b", "c")
    a.leave(Goodbye)
    late = LinkedLookup(stage, seed=2)
    for lookup in (link, late):
        lookup.settle()
        registry = lookup.lookup.replica.registry
        assert registry is not None
        assert cells(registry) == cells(stage.registry) == {"b": 1, "c": 2}
        registry.check_invariants()


def test_of_a_large_swarm_a_receiver_is_told_of_its_row_and_column_first() -> None:
    stage = Stage()
    link = LinkedLookup(stage)
    link.settle()
    stage.peer("seeder", entry(1))
    count = 90
    for actor in receivers(stage, *(f"p{number}" for number in range(count))):
        actor.transfer(1, "started", Ok)
    link.settle()
    own = cells(stage.registry)["p70"]
    reply = link.ask(GetSeederList(1, CONTENT, "p70"))
    assert isinstance(reply, SeederList)
    assert (reply.total, len(reply.seeders), reply.cell, reply.cells) == (count, SEEDERS_COUNT_MAX, own, count)
    assert {one.peer: one.cell for one in reply.seeders}["seeder"] is None
    told = {one.cell for one in reply.seeders}
    assert {other for other in range(count) if other != own and mate(own, other, count)} <= told
    stranger = link.ask(GetSeederList(2, CONTENT, "seeder"))
    assert isinstance(stranger, SeederList)
    assert (stranger.cell, stranger.cells) == (None, count)
