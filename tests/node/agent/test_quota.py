"""The quota of downloads in the agent: what is deleted for it, in which order, and what never is."""

from __future__ import annotations

import msgspec
import pytest

from node.agent.effects import (
    DeleteItem,
    Downloaded,
    ForgetItem,
    KeepDownloaded,
    Note,
    ToDownloader,
    ToPieceServer,
)
from node.agent.folders import Listing
from node.agent.library import LibraryItem
from node.agent.quota import AGAIN_SECONDS, ANSWER_SECONDS, KEEP_SECONDS, mark_of
from node.api_messages import ApiGet, ApiLeave, ApiShare, Following
from node.local_messages import DownloadFinished, Fetch, Serve, SwarmUpload, Unserve, UploadReport
from protocol.link import Link, format_link
from protocol.messages import RegistrarReply, RegistrarRequest, TorrentEntry, Update
from tests.node.agent.scene import Scene, digest, item

NEW = format_link(Link(digest(9), digest(1_009), "new", 100))


def got(number: int) -> LibraryItem:
    return item(number, origin="downloaded")


def elsewhere(number: int, have: int = 1, manifest: int = 0) -> TorrentEntry:
    """Another peer has it."""
    return TorrentEntry(f"file {number}", 100, digest(number), digest(manifest or 1_000 + number), have, 0, 0)


def holding(*numbers: int, quota: int = 300, others: bool = True) -> Scene:
    """Downloads of 100 bytes each, the least recently served first."""
    items = [got(number) for number in numbers]
    scene = Scene(items, quota=quota, downloaded=[Downloaded(each.path, mark_of(each)) for each in items])
    scene.others = [elsewhere(number) for number in numbers] if others else []
    return scene.up()


def ask(scene: Scene, target: str = NEW) -> None:
    scene.ask(ApiGet(1, target, "/out", b"", False, False))
    scene.pass_time(0.0)


def deletions(scene: Scene) -> list[str]:
    return [effect.item.path for effect in scene.took(DeleteItem)]


def begun(scene: Scene) -> list[str]:
    return [fetch.name for fetch in scene.told(ToDownloader, Fetch)]


def deleted(scene: Scene, number: int, problem: str = "") -> None:
    scene.play(scene.core.item_deleted(got(number), problem, scene.now))
    scene.pass_time(0.0)


def test_there_is_room_and_nothing_is_deleted() -> None:
    scene = holding(1, 2)
    ask(scene)
    assert (begun(scene), deletions(scene)) == (["new"], [])


def test_the_least_recently_served_goes_first_once_it_is_withdrawn() -> None:
    scene = holding(1, 2, 3)
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 50, 0)], 0, 0, 50), scene.now))
    ask(scene)
    assert (begun(scene), deletions(scene)) == ([], ["/data/file 2"])
    assert digest(2) not in scene.listed
    assert scene.job().detail == "making room for it within the quota"
    deleted(scene, 2)
    assert begun(scene) == ["new"]
    assert scene.took(ForgetItem) == [ForgetItem("/data/file 2")]
    status = scene.status().quota
    assert status is not None
    assert (status.limit, status.used, status.kept) == (300, 300, [])
    assert status.deleted == ["deleted /data/file 2 (100 B, 000000000000) to keep to the quota"]
    assert status.deleted[0] in [note.text for note in scene.took(Note)]
    assert [each.path for each in scene.took(KeepDownloaded)[-1].items] == ["/data/file 3", "/data/file 1"]


def test_what_is_followed_stays() -> None:
    scene = Scene(
        [got(1), got(2)],
        quota=200,
        downloaded=[Downloaded(each.path, mark_of(each)) for each in (got(1), got(2))],
        follow=(Following("file 1", "/data"),),
    )
    scene.others = [elsewhere(1), elsewhere(2)]
    ask(scene.up())
    assert deletions(scene) == ["/data/file 2"]
    status = scene.status().quota
    assert status is not None
    assert any("it is followed" in why for why in status.kept)


def test_several_go_where_one_is_not_enough() -> None:
    scene = holding(1, 2, 3)
    ask(scene, format_link(Link(digest(9), digest(1_009), "new", 200)))
    assert deletions(scene) == ["/data/file 1"]
    deleted(scene, 1)
    assert (begun(scene), deletions(scene)) == ([], ["/data/file 2"])
    deleted(scene, 2)
    assert begun(scene) == ["new"]


class Rival(Scene):
    """Another peer has withdrawn its copy as well by the time the tracker takes what this one withdraws."""

    def _registrar(self, message: RegistrarRequest) -> RegistrarReply:
        if isinstance(message, Update) and message.removed:
            self.others = []
        return super()._registrar(message)


def test_of_two_that_delete_the_same_at_once_the_last_keeps_it() -> None:
    one = got(1)
    scene = Rival([one], quota=100, downloaded=[Downloaded(one.path, mark_of(one))]).up()
    scene.others = [elsewhere(1)]
    ask(scene)
    assert (deletions(scene), scene.job().code) == ([], "disk")
    assert digest(1) in scene.listed
    assert scene.told(ToPieceServer, Unserve) == [Unserve(digest(1))]
    assert [serve.digest for serve in scene.told(ToPieceServer, Serve)] == [digest(1)]


@pytest.mark.parametrize(
    "others",
    [
        [],
        [elsewhere(1, have=0)],
        [elsewhere(1, manifest=5)],
        [elsewhere(1), elsewhere(1, manifest=5)],
    ],
)
def test_the_last_copy_stays_and_is_announced_again(others: list[TorrentEntry]) -> None:
    scene = holding(1, 2, 3, others=False)
    scene.others = [*others, elsewhere(2)]
    ask(scene)
    assert deletions(scene) == ["/data/file 2"]
    assert digest(1) in scene.listed
    assert digest(2) not in scene.listed


def test_when_nothing_can_go_the_download_is_refused_as_for_a_full_disk() -> None:
    scene = holding(1, 2, 3, others=False)
    ask(scene)
    job = scene.job()
    assert (job.phase, job.code) == ("failed", "disk")
    assert job.detail.startswith("the quota of 300 B has no room for 100 B: 300 B are used by downloads")
    assert "/data/file 1 stays: no other peer has all of it" in job.detail
    assert (begun(scene), deletions(scene), set(scene.listed)) == ([], [], {digest(1), digest(2), digest(3)})
    status = scene.status().quota
    assert status is not None
    assert [text.rpartition(": ")[2] for text in status.kept] == ["no other peer has all of it"] * 3


def test_what_is_larger_than_the_quota_is_refused_and_nothing_is_deleted_for_it() -> None:
    scene = holding(1, 2)
    ask(scene, format_link(Link(digest(9), digest(1_009), "new", 301)))
    assert scene.job().code == "disk"
    assert "it is larger" in scene.job().detail
    assert deletions(scene) == []


def test_while_the_tracker_knows_not_everybody_nothing_is_deleted() -> None:
    scene = holding(1, 2, 3)
    scene.settling = True
    ask(scene)
    assert (deletions(scene), scene.job().phase) == ([], "failed")
    assert "does not know all peers yet" in scene.job().detail
    scene.settling = False
    ask(scene)
    assert deletions(scene) == ["/data/file 1"]


def test_a_tracker_that_does_not_answer_is_not_waited_for_longer_than_is_said() -> None:
    scene = holding(1, 2, 3)
    scene.reachable = False
    ask(scene)
    scene.pass_time(3 * ANSWER_SECONDS + 1)
    assert (deletions(scene), scene.job().phase) == ([], "failed")


def test_out_of_the_network_nothing_is_deleted() -> None:
    scene = holding(1, 2, 3)
    scene.ask(ApiLeave(1))
    ask(scene)
    assert (deletions(scene), scene.job().code) == ([], "disk")


def test_what_is_served_or_fetched_or_was_not_downloaded_or_changed_stays() -> None:
    served, shared, changed, old, damaged, twice = got(1), item(2), got(3), got(4), got(5), got(6)
    changed_then = Downloaded(changed.path, "as it was then")
    marked = [Downloaded(each.path, mark_of(each)) for each in (served, shared, damaged, twice)]
    damaged = msgspec.structs.replace(damaged, state="damaged")
    copy = item(6, "/other/copy")
    items = [served, shared, changed, old, damaged, twice, copy]
    scene = Scene(items, quota=300, downloaded=[*marked, changed_then]).up()
    scene.others = [elsewhere(number) for number in range(1, 7)]
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 0, 1)], 0, 0, 0), scene.now))
    ask(scene)
    assert (deletions(scene), scene.job().code) == ([], "disk")
    status = scene.status().quota
    assert status is not None
    assert status.used == 500
    assert {text.partition(": ")[0]: text.partition(": ")[2] for text in status.kept} == {
        served.path: "it is being served",
        changed.path: "it is not known to be unchanged since it was downloaded",
        old.path: "it is not known to be unchanged since it was downloaded",
        damaged.path: "it is damaged",
        twice.path: "this peer shares the same content at another path too",
    }


def test_what_a_person_shares_is_not_only_a_download_any_more() -> None:
    scene = holding(1, 2, 3)
    scene.ask(ApiShare(1, got(1).path, "blake3"))
    assert [each.path for each in scene.took(KeepDownloaded)[-1].items] == [got(2).path, got(3).path]
    scene.play(scene.core.hashed(got(1).path, got(1), scene.now))
    ask(scene)
    assert deletions(scene) == [got(2).path]


def test_what_the_disk_refuses_is_announced_again_and_the_next_goes() -> None:
    scene = holding(1, 2, 3)
    ask(scene)
    assert deletions(scene) == ["/data/file 1"]
    deleted(scene, 1, "it also has notes, which was not downloaded")
    assert digest(1) in scene.listed
    assert deletions(scene) == ["/data/file 2"]
    status = scene.status().quota
    assert status is not None
    assert status.kept == ["/data/file 1: it also has notes, which was not downloaded"]


def test_what_is_being_deleted_is_not_said_to_be_missing() -> None:
    scene = holding(1, 2, 3)
    ask(scene)
    entries = {got(number).path: got(number).fingerprint for number in (2, 3)}
    scene.play(scene.core.scanned(Listing(entries, missing=(got(1).path,)), scene.now, scene.now))
    assert not any("missing" in note.text for note in scene.took(Note))
    assert not any(each.state for each in scene.status().shared)
    deleted(scene, 1)
    assert begun(scene) == ["new"]


@pytest.mark.parametrize("problem", ["", "it is there"])
def test_a_deletion_during_which_the_agent_was_killed_goes_on_when_it_starts_again(problem: str) -> None:
    scene = holding(1, 2, 3)
    ask(scene)
    kept = scene.took(DeleteItem)[-1].kept
    assert kept is not None
    assert [each.path for each in kept if each.going] == ["/data/file 1"]
    scene = Scene([got(1), got(2), got(3)], quota=300, downloaded=kept).up()
    scene.pass_time(0.0)
    assert scene.took(DeleteItem) == [DeleteItem(got(1))]
    deleted(scene, 1, problem)
    assert not any(each.going for each in scene.took(KeepDownloaded)[-1].items)
    assert scene.took(ForgetItem) == ([] if problem else [ForgetItem("/data/file 1")])
    assert not any("is not deleted" in note.text for note in scene.took(Note))
    assert (digest(1) in scene.listed) == bool(problem)


def test_what_begins_to_be_served_meanwhile_stays() -> None:
    scene = holding(1, 2, 3)
    scene.reachable = False
    ask(scene)
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 0, 1)], 0, 0, 0), scene.now))
    scene.reachable = True
    scene.pass_time(ANSWER_SECONDS - 1)
    assert "/data/file 1" not in deletions(scene)
    assert digest(1) in scene.listed


def test_a_quota_that_was_lowered_is_kept_to_without_a_get() -> None:
    scene = holding(1, 2, 3, quota=150)
    scene.pass_time(AGAIN_SECONDS + 1)
    assert deletions(scene) == ["/data/file 1"]
    deleted(scene, 1)
    assert deletions(scene) == ["/data/file 2"]
    deleted(scene, 2)
    scene.pass_time(2 * AGAIN_SECONDS)
    assert deletions(scene) == []


def test_why_nothing_can_go_is_said_once() -> None:
    scene = holding(1, quota=50, others=False)
    scene.pass_time(10 * AGAIN_SECONDS)
    told = [note.text for note in scene.took(Note) if "quota" in note.text]
    assert len(set(told)) == len(told) == 1


def test_what_one_command_gets_is_not_deleted_for_the_rest_of_it() -> None:
    scene = holding(1, quota=200, others=False)
    first = format_link(Link(digest(8), digest(1_008), "first", 100))
    ask(scene, first)
    assert begun(scene) == ["first"]
    done = DownloadFinished(digest(8), digest(1_008), 100, "/out/first", "/seeds/8", b"stamps 8", 0.0, written=True)
    scene.play(scene.core.child_says(done, scene.now))
    assert [each.path for each in scene.took(KeepDownloaded)[-1].items] == ["/data/file 1", "/out/first"]
    scene.others = [elsewhere(8)]
    ask(scene)
    assert (deletions(scene), scene.job().code) == ([], "disk")
    assert "the same command has fetched it" in scene.job().detail


def test_what_was_at_its_destination_already_is_not_a_download_of_this_peer() -> None:
    scene = holding(quota=100)
    ask(scene)
    there = DownloadFinished(digest(9), digest(1_009), 100, "/out/new", "/seeds/9", b"stamps 9", 0.0)
    scene.play(scene.core.child_says(there, scene.now))
    assert scene.took(KeepDownloaded) == []
    scene.others = [elsewhere(9)]
    scene.ask(ApiGet(1, format_link(Link(digest(7), digest(1_007), "next", 100)), "/out", b"", False, False))
    scene.pass_time(0.0)
    assert deletions(scene) == []


def test_the_order_is_written_down_once_a_minute() -> None:
    scene = holding(1, 2)
    for second in range(int(2.5 * KEEP_SECONDS)):
        number = 1 + second % 2
        scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(number), 1, 0)], 0, 0, 1), scene.now))
        scene.pass_time(1.0)
        scene.play(scene.core.tick(scene.now))
    assert len(scene.took(KeepDownloaded)) == 3


def test_without_a_quota_nothing_is_deleted_and_status_says_nothing() -> None:
    scene = holding(1, 2, 3, quota=0)
    ask(scene)
    scene.pass_time(2 * AGAIN_SECONDS)
    assert (begun(scene), deletions(scene), scene.status().quota) == (["new"], [], None)
