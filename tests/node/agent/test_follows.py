"""The agent core: what is followed is fetched, and replaced by what is newer, as stories."""

from __future__ import annotations

import msgspec
import pytest

from node.agent.effects import DELETED, CheckItem, ForgetItem, HashPath, ToDownloader
from node.agent.folders import Listing
from node.agent.follows import (
    FETCHES_COUNT_MAX,
    LEASE_SECONDS,
    LOOK_SECONDS,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    SETTLING_SECONDS,
    matches,
)
from node.agent.library import LibraryItem
from node.api_messages import ApiFollow, ApiFollowed, ApiShare, Following
from node.local_messages import OVERTAKEN, DeleteFetch, DownloadFailed, DownloadFinished, DownloadStarted, Fetch
from protocol.messages import GetTorrentList, Roster, SourceAdded, TorrentEntry
from tests.node.agent.scene import FOLDER, Scene, digest, item

NAME = "model.bin"
PATH = f"/out/{NAME}"
WHAT = Following(NAME, "/out", keep=2)


def listed(number: int, announced: int, name: str = NAME, have: int = 1) -> TorrentEntry:
    return TorrentEntry(name, 100, digest(number), digest(1_000 + number), have, 0, 0, announced)


def fetched(number: int, announced: int = 0) -> LibraryItem:
    """What the library has of content ``number`` that was got to `PATH`."""
    return msgspec.structs.replace(item(number, PATH, "downloaded"), announced=announced)


def stored(number: int) -> Fetch:
    """A download that an earlier run of the peer has left."""
    return Fetch(digest(number), digest(1_000 + number), NAME, 100, PATH, f"/seeds/{number}", True, False)


def follow(scene: Scene, what: Following = WHAT) -> list[int]:
    """A command follows, or goes on to; the jobs it is told of."""
    scene.ask(ApiFollow(1, what))
    return scene.reply(ApiFollowed).jobs


def hint(scene: Scene, number: int, announced: int) -> None:
    """The roster tells of a source."""
    event = SourceAdded(digest(number), "p", "other", "tcp://h:1", True, announced)
    scene.play(scene.core.roster_says(0, Roster(3, scene.core.trackers.all[0].follower.seq + 1, event), scene.now))


def announce(scene: Scene, number: int, announced: int, name: str = NAME) -> None:
    """Somebody shares content ``number``, and the roster tells of it."""
    scene.others.append(listed(number, announced, name))
    hint(scene, number, announced)


def ends(scene: Scene, number: int) -> None:
    """The download of content ``number`` is at its place."""
    scene.play(scene.core.child_says(DownloadStarted(digest(number), "/seeds/1", digest(1_000 + number), 100), 0))
    done = DownloadFinished(digest(number), digest(1_000 + number), 100, PATH, f"/seeds/{number}", b"new", scene.now)
    scene.play(scene.core.child_says(done, scene.now))
    scene.play(scene.core.tick(scene.now))


def checked(scene: Scene, number: int, problem: str = "") -> None:
    """What is at its place was looked at: content ``number``."""
    (check,) = [check for check in scene.took(CheckItem) if check.item.digest]
    assert check.item.digest == digest(number)
    scene.play(scene.core.item_checked(check.item, problem, scene.now))


def orders(scene: Scene) -> list[tuple[int, bool]]:
    """Of each new download its number, and whether it may replace what is there."""
    return [(int(fetch.digest[-4:], 16), fetch.force) for fetch in scene.told(ToDownloader, Fetch)]


def test_what_has_the_name_is_fetched_and_what_is_newer_takes_its_place() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 10), listed(2, 20), listed(3, 30, "another.bin")]
    follow(scene)
    (fetch,) = scene.told(ToDownloader, Fetch)
    assert (fetch.digest, fetch.dest, fetch.keep, fetch.force) == (digest(2), PATH, 2, False)
    ends(scene, 2)
    assert orders(scene) == []
    scene.questions.clear()
    announce(scene, 4, 40)
    assert [question.pattern for question in scene.questions if isinstance(question, GetTorrentList)] == [digest(4)]
    checked(scene, 2)
    assert orders(scene) == [(4, True)]
    ends(scene, 4)
    assert len(follow(scene)) == 2
    scene.questions.clear()
    hint(scene, 4, 40)
    hint(scene, 1, 10)
    hint(scene, 1, 10)
    announce(scene, 5, 50, "another.bin")
    scene.pass_time(1)
    assert [question.pattern for question in scene.questions if isinstance(question, GetTorrentList)] == [
        digest(1),
        digest(5),
    ]
    assert orders(scene) == []


def test_what_is_being_fetched_is_given_up_for_what_is_newer() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 10)]
    follow(scene)
    scene.told(ToDownloader, Fetch)
    announce(scene, 2, 20)
    told = [effect.message for effect in scene.took(ToDownloader)]
    changes = [message for message in told if isinstance(message, Fetch | DeleteFetch)]
    assert [(type(message), message.digest) for message in changes] == [(DeleteFetch, digest(1)), (Fetch, digest(2))]
    first, second = scene.status(follow(scene)).jobs
    assert (first.phase, first.code, second.phase) == ("failed", OVERTAKEN, "waiting")
    # It was complete in that very moment: then it is what may be replaced.
    scene.play(scene.core.child_says(DownloadFinished(digest(1), digest(1_001), 100, PATH, "/seeds/1", b"", 0), 0))
    failed = DownloadFailed(digest(2), "disk", "exists with other content")
    scene.play(scene.core.child_says(failed, scene.now))
    scene.pass_time(2.1)
    checked(scene, 1)
    assert orders(scene) == [(2, True)]


@pytest.mark.parametrize("have", [0, 1])
def test_what_is_older_never_takes_the_place_of_what_is_newer(have: int) -> None:
    """As after a restart of the tracker, which does not know all of its peers yet."""
    scene = Scene([fetched(2, announced=20)]).up()
    scene.others[:] = [listed(1, 10), listed(3, 30, have=0)]
    follow(scene)
    assert (scene.took(CheckItem), orders(scene)) == ([], [])
    if have:
        scene.others[:] = [listed(1, 10), listed(2, 20), listed(1, 40)]  # announced anew
        scene.pass_time(REFRESH_SECONDS * 1.3)
        assert orders(scene) == []
        follow(scene)
        checked(scene, 2)
        assert orders(scene) == [(1, True)]


@pytest.mark.parametrize("problem", ["it changed", DELETED])
def test_what_is_not_as_it_was_fetched_is_not_replaced(problem: str) -> None:
    scene = Scene([fetched(1, announced=10)]).up()
    scene.others[:] = [listed(2, 20)]
    follow(scene)
    checked(scene, 1, problem)
    assert orders(scene) == [(2, False)]


def test_what_others_put_there_is_not_replaced_without_force() -> None:
    scene = Scene([item(1, PATH)]).up()
    scene.others[:] = [listed(2, 20)]
    follow(scene)
    assert (scene.took(CheckItem), orders(scene)) == ([], [(2, False)])
    scene = Scene([item(1, PATH)]).up()
    scene.others[:] = [listed(2, 20)]
    follow(scene, msgspec.structs.replace(WHAT, force=True))
    assert orders(scene) == [(2, True)]


def test_a_download_that_would_replace_what_has_changed_meanwhile_is_given_up() -> None:
    scene = Scene([fetched(1, announced=10)]).up()
    scene.others[:] = [listed(2, 20)]
    follow(scene)
    checked(scene, 1)
    assert orders(scene) == [(2, True)]
    scene.play(scene.core.settle(scene.core.shares.found(PATH, "blake3", "downloaded"), scene.now))
    scene.play(scene.core.hashed(PATH, fetched(7), scene.now))
    scene.play(scene.core.tick(scene.now))
    assert scene.told(ToDownloader, DeleteFetch) == [DeleteFetch(digest(2), PATH, "")]
    assert orders(scene) == [(2, False)]


@pytest.mark.parametrize("items", [[], [fetched(1, announced=10)]], ids=["nothing known", "an older one known"])
@pytest.mark.parametrize("newest", [2, 3])
def test_what_was_put_in_place_when_the_peer_was_killed_is_recognised(items: list[LibraryItem], newest: int) -> None:
    scene = Scene(items, [stored(2)], foreground=True).up()
    scene.others[:] = [listed(2, 20), listed(newest, 30)]
    follow(scene)
    checked(scene, items[0].digest[-1] == "1" and 1 if items else 2, "it changed")
    assert orders(scene) == [(2, False)]
    ends(scene, 2)
    if newest == 3:
        checked(scene, 2)
        assert orders(scene) == [(3, True)]
    else:
        assert (scene.took(CheckItem), orders(scene)) == ([], [])


def test_an_interrupted_download_of_older_content_is_not_gone_on_with() -> None:
    scene = Scene([], [stored(1)], foreground=True).up()
    scene.others[:] = [listed(1, 10), listed(2, 20)]
    follow(scene)
    checked(scene, 1, DELETED)
    assert orders(scene) == [(2, False)]


def test_what_the_peer_itself_shares_elsewhere_is_followed_too() -> None:
    scene = Scene().up()
    follow(scene)
    scene.moments = {digest(1): 10}
    scene.others[:] = [listed(1, 10)]
    scene.ask(ApiShare(1, f"/data/{NAME}", "blake3"))
    scene.play(scene.core.hashed(f"/data/{NAME}", item(1, f"/data/{NAME}"), scene.now))
    assert orders(scene) == [(1, False)]


def test_what_fails_is_tried_again_ever_later() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 10)]
    follow(scene)
    for wait in (2, 4, 8):
        assert orders(scene) == [(1, False)]
        scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "full"), scene.now))
        scene.play(scene.core.tick(scene.now))
        scene.pass_time(wait - 0.1)
        follow(scene)
        assert orders(scene) == []
        scene.pass_time(0.2)


def looked(scene: Scene, problem: str) -> None:
    """It was looked whether anything is at its place."""
    (check,) = scene.took(CheckItem)
    assert (check.item.path, check.item.seed_path) == (PATH, "")
    scene.play(scene.core.item_checked(check.item, problem, scene.now))


def fails(scene: Scene, detail: str) -> None:
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", detail), scene.now))
    scene.play(scene.core.tick(scene.now))


def test_what_failed_is_tried_again_soon_after_what_was_in_its_way_has_gone() -> None:
    scene = Scene(follow=(WHAT,)).up()
    scene.others[:] = [listed(1, 10)]
    scene.pass_time(SETTLING_SECONDS)
    for wait in (2, 4, 8, 16, 32):
        assert orders(scene) == [(1, False)]
        fails(scene, "in the way")
        looked(scene, "something else is there")
        scene.pass_time(wait)
        scene.took(CheckItem)
    fails(scene, "in the way")
    looked(scene, "something else is there")
    orders(scene)
    scene.pass_time(LOOK_SECONDS)
    looked(scene, "something else is there")
    assert orders(scene) == []
    scene.pass_time(LOOK_SECONDS)
    looked(scene, DELETED)
    assert orders(scene) == [(1, False)]


def test_what_failed_with_nothing_in_its_way_waits() -> None:
    scene = Scene(follow=(WHAT,)).up()
    scene.others[:] = [listed(1, 10)]
    scene.pass_time(SETTLING_SECONDS)
    orders(scene)
    fails(scene, "full")
    looked(scene, DELETED)
    scene.pass_time(RETRY_SECONDS - 0.1)
    assert (scene.took(CheckItem), orders(scene)) == ([], [])


@pytest.mark.parametrize("follows", [True, False])
def test_what_somebody_here_made_makes_room_when_it_is_moved_away_even_if_it_is_the_newest(follows: bool) -> None:
    own = msgspec.structs.replace(item(2, PATH), announced=20)
    if not follows:
        own = msgspec.structs.replace(own, state="missing")
    scene = Scene([own], follow=(WHAT,)).up()
    scene.others[:] = [listed(1, 10), listed(2, 20, have=0)] if follows else [listed(1, 10)]
    scene.pass_time(SETTLING_SECONDS)
    if follows:
        assert orders(scene) == []
        scene.others[:] = [listed(1, 10)]
        scene.play(scene.core.settle(scene.core.shares.missing(PATH, "it is not there", scene.now), scene.now))
        scene.pass_time(0.0)
    assert orders(scene) == [(1, False)]


@pytest.mark.parametrize("how", ["followed", "downloaded", "neither"])
def test_older_versions_that_are_kept_in_a_shared_folder_are_no_news(how: str) -> None:
    path = f"{FOLDER}/{NAME}"
    older = [f"{path}.20261130T210405Z", f"{path}.20261130T210405Z.1"]
    followed = (Following(NAME, FOLDER, keep=2),) if how == "followed" else ()
    scene = Scene([item(1, path, "downloaded")] if how == "downloaded" else [], follow=followed).up()
    listing = Listing(dict.fromkeys(older, b"1"), folders={FOLDER: (1, 2)})
    for _ in range(2):
        scene.pass_time(3)
        scene.play(scene.core.scanned(listing, scene.now, scene.now))
    assert [hashed.path for hashed in scene.took(HashPath)] == (older[:1] if how == "neither" else [])
    old = [item(7, older[0], "folder")]
    later = Scene([item(1, path, "downloaded"), *old] if how == "downloaded" else old, follow=followed)
    assert [gone.path for gone in later.took(ForgetItem)] == ([] if how == "neither" else older[:1])


def test_nothing_is_followed_for_a_command_that_has_ended() -> None:
    scene = Scene().up()
    follow(scene)
    scene.pass_time(LEASE_SECONDS - 1)
    follow(scene)
    scene.pass_time(LEASE_SECONDS + 1)
    announce(scene, 1, 10)
    assert orders(scene) == []


def test_of_many_names_some_are_fetched_at_a_time() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(number, number, f"m{number}") for number in range(1, FETCHES_COUNT_MAX + 6)]
    scene.core.follows.request(Following("m*", "/out"), scene.now)
    scene.play(scene.core.settle(scene.core.follows.found(1, "", scene.others, True, scene.now), scene.now))
    assert [number for number, _ in orders(scene)] == list(range(1, FETCHES_COUNT_MAX + 1))
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "full"), scene.now))
    scene.play(scene.core.tick(scene.now))
    assert [number for number, _ in orders(scene)] == [FETCHES_COUNT_MAX + 1]


def test_a_pattern_is_for_the_whole_name() -> None:
    assert matches(Following("m*.bin", "/o"), "model.bin")
    assert not matches(Following("m*.bin", "/o"), "model.bin.old")
    assert not matches(Following("M*", "/o"), "model.bin")
    assert matches(Following("a[1].bin", "/o"), "a[1].bin")
    assert not matches(Following("model", "/o"), "model.bin")
