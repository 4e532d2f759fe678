"""When a content was announced under a name: in the order of announcement, through restarts of peers and registrar."""

from __future__ import annotations

from msgspec.structs import replace

from protocol.limits import ANNOUNCED_AHEAD_SECONDS
from protocol.messages import ANEW, Alias, FileList, ListRequest, Ok, PageOk, Welcome
from tests.broker.scenes import EPOCH, Actor, Stage, digest, entry

FIRST = EPOCH * 1_000
"""The first moment of a registrar that has just started, in microseconds."""


def moment(stage: Stage, number: int, name: str = "m") -> int:
    """When content ``number`` was announced as ``name``, as the registry has it."""
    return stage.registry.announced(digest(number), digest(10_000_000 + number), name, 1_000 + number, b"")


def test_each_name_gets_its_moment_when_it_is_first_announced_and_the_peer_is_told() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1, name="m"))
    assert stage.moments == [FIRST]
    stage.pass_time(2)
    alice.update(Ok, [entry(2, name="m"), entry(3, name="x", aliases=["y"])])
    assert stage.moments == [FIRST + 2_000_000, FIRST + 2_000_001, FIRST + 2_000_002]
    stage.pass_time(1)
    stage.peer("bob", entry(1, name="other", aliases=["m"]))
    assert stage.moments[0] > FIRST + 2_000_002, "another name of it"
    assert (moment(stage, 1), moment(stage, 2)) == (FIRST, FIRST + 2_000_000), "what many have is no newer for that"


def test_what_is_repeated_is_told_again_and_has_no_other_moment() -> None:
    stage = Stage()
    alice = Actor(stage, "alice")
    list_id = alice.ask_join(ListRequest).list_id
    for kind, page in ((PageOk, 0), (PageOk, 0), (Welcome, 1), (Welcome, 1)):
        stage.pass_time(1)
        message = FileList(alice.id(), "alice", alice.token, list_id, page, page == 1, 1, [entry(page)], alice.run)
        stage.ask(message, kind)
        assert stage.moments == [FIRST + (1_000_000 if page == 0 else 3_000_000)]


def test_peers_carry_the_moments_over_a_restart_of_the_registrar_in_whatever_order_they_join() -> None:
    before = Stage()
    before.peer("alice", entry(1, name="m"))
    before.pass_time(10)
    before.peer("bob", entry(2, name="m", aliases=["n"]))
    old, new = moment(before, 1), moment(before, 2)
    stage = Stage(epoch=EPOCH + 60_000)
    again = entry(2, name="m")
    alias = Alias("n", again.manifest, moment(before, 2, "n"))
    stage.peer("bob", replace(again, announced=new, aliases=(alias,)))
    stage.peer("carol", entry(1, name="m"))
    assert moment(stage, 1) > moment(stage, 2), "she does not say that it was announced before"
    stage.peer("alice", replace(entry(1, name="m"), announced=old))
    assert (moment(stage, 2), moment(stage, 2, "n")) == (new, alias.announced)
    assert moment(stage, 1) > new, "it has been announced anew"


def test_a_clock_that_was_set_back_changes_no_order() -> None:
    stage = Stage()
    later = FIRST + int(3_600e6)
    stage.peer("alice", replace(entry(1, name="m"), announced=later))
    stage.peer("bob", entry(2, name="m"))
    assert (moment(stage, 1), moment(stage, 2)) == (later, later + 1)


def test_what_a_peer_makes_up_is_not_the_newest_for_ever() -> None:
    stage = Stage()
    for number, ahead in ((1, ANNOUNCED_AHEAD_SECONDS + 1), (2, 1e9)):
        stage.peer(f"liar-{number}", replace(entry(number, name="m"), announced=FIRST + int(ahead * 1e6)))
        assert moment(stage, number) == FIRST + number - 1
    stage.peer("alice", entry(3, name="m"))
    assert moment(stage, 3) == FIRST + 2


def test_who_only_wants_a_content_does_not_announce_it() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1, "requesting", name="m"))
    assert (stage.moments, moment(stage, 1)) == ([0], 0)
    stage.pass_time(5)
    alice.transfer(1, "started", Ok)
    assert moment(stage, 1) == FIRST + 5_000_000


def test_a_path_that_has_its_old_content_back_announces_that_anew() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1, name="m"))
    stage.peer("bob", entry(1, name="m"))
    stage.pass_time(1)
    alice.update(Ok, [entry(2, name="m")], removed=[1])
    stage.pass_time(1)
    alice.update(Ok, [replace(entry(1, name="m"), announced=ANEW)], removed=[2])
    assert stage.moments == [moment(stage, 1)] == [FIRST + 2_000_000]


def test_the_roster_says_of_a_source_when_its_content_was_announced_and_always_of_the_newest() -> None:
    stage = Stage()
    alice = stage.peer("alice", entry(1, name="m", aliases=["n"]))
    stage.hints()
    assert stage.moments == [FIRST + 1]
    stage.peer("bob", entry(1, name="m"))
    stage.hints()
    assert stage.moments == [FIRST], "of the name that he has for it"
    stage.pass_time(1)
    stage.hints()
    alice.update(Ok, [entry(number) for number in range(2, 40)])
    stage.hints()
    assert stage.moments == [FIRST + 1_000_000 + 37]
