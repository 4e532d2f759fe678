"""Rollouts at a peer: orders that it gives, and orders of others that it carries out."""

from __future__ import annotations

from typing import Any

from node.agent.effects import Note, ToDownloader
from node.agent.library import KeptOrders, TakenOrder
from node.api_messages import (
    ApiCancelRollout,
    ApiDone,
    ApiError,
    ApiOrders,
    ApiOrdersReply,
    ApiRemove,
    ApiRollout,
    ApiRolloutReply,
)
from node.local_messages import DeleteFetch, DownloadFailed, DownloadFinished, Fetch
from protocol.limits import MIB, ORDERS_TOLD_COUNT_MAX
from protocol.link import Link, format_link
from protocol.messages import Order, OrderEntry, OrdersChanged, Roster
from tests.node.agent.scene import Scene, digest

BASE = "/rollouts"


def link(number: int = 1, name: str = "m.bin") -> str:
    return format_link(Link(digest(number), digest(1_000 + number), name, 100))


def order(number: int = 1, identity: str = "o1", **more: Any) -> Order:
    return Order(identity, digest(number), digest(1_000 + number), "m.bin", 100, **more)


def ordered(*orders: Order) -> list[OrderEntry]:
    return [OrderEntry("boss", "the boss", one) for one in orders]


def give(scene: Scene, number: int = 1, name: str = "m.bin", **more: Any) -> Order:
    scene.ask(ApiRollout(1, link(number, name), **more))
    return scene.reply(ApiRolloutReply).order


def hint(scene: Scene) -> None:
    """The roster says that there is something new."""
    follower = scene.core.trackers.all[0].follower
    scene.play(scene.core.roster_says(0, Roster(follower.epoch, follower.seq + 1, OrdersChanged("boss")), scene.now))
    scene.pass_time(1.0)


def taker(*orders: Order, **more: Any) -> Scene:
    """A peer that accepts orders, and has joined where there are ``orders``."""
    scene = Scene(rollouts=BASE, **more)
    scene.ordered = ordered(*orders)
    scene.up()
    scene.pass_time(1.0)
    return scene


# --- given -----------------------------------------------------------------------------------------------


def test_an_order_is_kept_told_and_told_again_by_the_next_run() -> None:
    scene = Scene().up()
    given = give(scene, directory="models", peers="lab*")
    assert (given.digest, given.directory, given.peers, given.attempt) == (digest(1), "models", "lab*", 1)
    scene.pass_time(5.0)
    assert scene.beats[-1].orders == [given]
    later = Scene(kept=scene.kept).up()
    later.pass_time(1.0)
    assert later.beats[0].orders == [given]


def test_the_same_order_again_is_another_attempt_and_a_new_version_cancels_the_old_one() -> None:
    scene = Scene().up()
    first = give(scene)
    again = give(scene)
    assert (again.order, again.attempt) == (first.order, 2)
    newer, elsewhere = give(scene, 2), give(scene, 1, directory="x")
    told = {one.order: one.cancelled for one in scene.core.orders.given}
    assert told == {first.order: True, newer.order: False, elsewhere.order: False}
    scene.ask(ApiCancelRollout(2, elsewhere.order))
    scene.reply(ApiDone)
    assert [one.order for one in scene.core.orders.given if not one.cancelled] == [newer.order]


def test_a_cancelled_order_is_told_as_such() -> None:
    scene = Scene().up()
    given = give(scene)
    scene.ask(ApiCancelRollout(2, "other"))
    assert scene.reply(ApiError).code == "not_found"
    scene.ask(ApiCancelRollout(3, given.digest[:19]))
    assert "cancelled" in scene.reply(ApiDone).detail
    scene.pass_time(5.0)
    told = scene.beats[-1].orders
    assert told is not None
    assert [one.cancelled for one in told] == [True]


def test_orders_are_bounded_and_cancelled_ones_make_room() -> None:
    scene = Scene().up()
    for number in range(ORDERS_TOLD_COUNT_MAX):
        give(scene, number, f"file {number}")
    scene.ask(ApiRollout(1, link(99, "more")))
    assert "rollout --cancel NAME" in scene.reply(ApiError).detail
    scene.ask(ApiCancelRollout(2, "file 3"))
    scene.reply(ApiDone)
    give(scene, 99, "more")
    assert len(scene.core.orders.given) == ORDERS_TOLD_COUNT_MAX
    assert not any(one.cancelled for one in scene.core.orders.given)


def test_an_order_that_cannot_be_kept_or_leads_elsewhere_is_not_given() -> None:
    scene = Scene().up()
    scene.full = True
    scene.ask(ApiRollout(1, link()))
    assert scene.reply(ApiError).code == "disk"
    scene.full = False
    scene.ask(ApiRollout(2, link(), directory="../up"))
    assert scene.reply(ApiError).code == "bad_seed"
    assert scene.core.orders.given == []


# --- taken -----------------------------------------------------------------------------------------------


def test_an_order_becomes_a_download_below_the_place_for_rollouts() -> None:
    scene = taker(order(directory="a/b", force=True))
    (fetch,) = scene.told(ToDownloader, Fetch)
    assert (fetch.digest, fetch.dest, fetch.force) == (digest(1), f"{BASE}/a/b/m.bin", True)
    assert scene.kept.taken == [TakenOrder("o1", digest(1), f"{BASE}/a/b/m.bin")]
    scene.pass_time(2.0)
    assert scene.beats[-1].free == 992 * MIB
    downloads = [one for beat in scene.beats for one in beat.downloads or ()]
    assert (downloads[-1].order, downloads[-1].attempt, downloads[-1].state) == ("o1", 1, "waiting")


def test_orders_are_for_those_who_accept_some_and_whose_name_matches() -> None:
    assert taker(order(peers="two")).told(ToDownloader, Fetch) == []
    assert len(taker(order(peers="O*")).told(ToDownloader, Fetch)) == 1
    scene = Scene()
    scene.ordered = ordered(order())
    scene.up()
    scene.pass_time(6.0)
    assert scene.told(ToDownloader, Fetch) == []
    assert scene.beats[-1].free is None


def test_a_hint_is_enough_and_the_same_order_is_begun_once() -> None:
    scene = taker()
    scene.ordered = ordered(order())
    hint(scene)
    assert len(scene.told(ToDownloader, Fetch)) == 1
    hint(scene)
    assert scene.told(ToDownloader, Fetch) == []


def test_a_cancelled_order_is_stopped_and_what_there_is_of_it_deleted() -> None:
    scene = taker(order())
    scene.ordered = ordered(order(cancelled=True))
    hint(scene)
    (deleted,) = scene.told(ToDownloader, DeleteFetch)
    assert (deleted.digest, deleted.dest) == (digest(1), f"{BASE}/m.bin")
    assert scene.kept.taken == []


def test_what_another_order_wants_is_not_stopped_with_the_one_that_is_cancelled() -> None:
    scene = taker(order())
    (fetch,) = scene.told(ToDownloader, Fetch)
    scene.ordered = ordered(order(cancelled=True), order(identity="o2"))
    hint(scene)
    assert scene.told(ToDownloader, DeleteFetch) == []
    assert scene.kept.taken == [TakenOrder("o2", digest(1), fetch.dest)]
    scene.ordered = ordered(order(identity="o2", cancelled=True))
    hint(scene)
    assert len(scene.told(ToDownloader, DeleteFetch)) == 1


def test_what_is_complete_stays_when_its_order_is_cancelled() -> None:
    scene = taker(order())
    dest = f"{BASE}/m.bin"
    done = DownloadFinished(digest(1), digest(1_001), 100, dest, "/seeds/1", b"stamps", 2.0)
    scene.play(scene.core.child_says(done, scene.now))
    scene.ordered = ordered(order(cancelled=True))
    hint(scene)
    assert scene.told(ToDownloader, DeleteFetch) == []
    assert [item.path for item in scene.core.catalogue.items()] == [dest]


def test_only_the_word_cancelled_ends_a_download() -> None:
    scene = taker(order())
    scene.ordered = []
    hint(scene)
    assert scene.told(ToDownloader, DeleteFetch) == []


def test_an_order_that_was_cancelled_while_the_peer_was_away_ends_its_download_too() -> None:
    before = taker(order())
    (fetch,) = before.told(ToDownloader, Fetch)
    scene = taker(order(cancelled=True), downloads=[fetch], kept=before.kept)
    assert [one.dest for one in scene.told(ToDownloader, DeleteFetch)] == [fetch.dest]
    own = taker(order(cancelled=True), downloads=[fetch], kept=KeptOrders())
    assert own.told(ToDownloader, DeleteFetch) == [], "a person here wanted it"


def test_one_that_failed_is_told_of_and_tried_again_when_it_is_ordered_again() -> None:
    scene = taker(order())
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "in the way"), scene.now))
    scene.pass_time(7_200.0)
    told = [beat.downloads for beat in scene.beats if beat.downloads][-1]
    assert [(one.state, one.reason, one.order, one.attempt) for one in told] == [("failed", "in the way", "o1", 1)]
    scene.told(ToDownloader, Fetch)
    scene.ordered = ordered(order(attempt=2))
    hint(scene)
    assert len(scene.told(ToDownloader, Fetch)) == 1


def test_a_place_that_cannot_be_and_a_person_who_does_not_want_it_are_told_of() -> None:
    scene = taker(order(directory="bad"))
    assert scene.job().detail == "bad is a symbolic link"
    assert any("cannot carry out" in note.text for note in scene.took(Note))
    scene = taker(order())
    scene.ask(ApiRemove(1, "m.bin"))
    scene.pass_time(5.0)
    told = [beat.downloads for beat in scene.beats if beat.downloads][-1]
    assert [(one.state, one.order) for one in told] == [("failed", "o1")]


def test_what_is_over_and_ordered_no_more_is_forgotten() -> None:
    scene = taker(order())
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "in the way"), scene.now))
    assert scene.core.orders.jobs
    scene.ordered = []
    hint(scene)
    assert scene.core.orders.jobs == {}


def test_its_own_orders_are_for_others_and_everybody_can_ask_for_all() -> None:
    scene = taker()
    scene.ordered = [OrderEntry("me", "one", order())]
    hint(scene)
    assert scene.told(ToDownloader, Fetch) == []
    scene.done.clear()
    scene.ask(ApiOrders(4))
    assert scene.reply(ApiOrdersReply).entries == scene.ordered
