"""The agent core: sharing by command and from folders, and what the others are told, as stories."""

from __future__ import annotations

import msgspec
import pytest

from node.agent import status
from node.agent.effects import (
    CancelHash,
    ForgetItem,
    HashPath,
    KeepAway,
    Note,
    ReplyApi,
    SaveItem,
    ScanShares,
    ToPieceServer,
)
from node.agent.folders import Listing
from node.agent.library import LibraryItem
from node.api_messages import ApiAccepted, ApiDone, ApiError, ApiJoin, ApiLeave, ApiRemove, ApiShare
from node.disk.share_options import AS_USUAL, ShareOptions, Skipped
from node.local_messages import (
    ContentChanged,
    DownloadReport,
    Serve,
    ShareState,
    SourceReport,
    SwarmUpload,
    Unserve,
    UploadReport,
)
from protocol.digest import short
from protocol.limits import ALIASES_COUNT_MAX
from protocol.messages import ANEW, Alias
from tests.node.agent.scene import FOLDER, WALL, Scene, digest, item

PATH = "/data/file 1"


def shared(scene: Scene, number: int = 1) -> None:
    """Share ``item(number)`` by command, to the end."""
    scene.ask(ApiShare(1, item(number).path, "blake3"))
    scene.reply(ApiAccepted)
    (request,) = scene.took(HashPath)
    scene.play(scene.core.hashed(request.path, item(number), scene.now))


def test_what_cannot_be_remembered_is_not_shared() -> None:
    scene = Scene().up()
    scene.full = True
    shared(scene)
    job = scene.job()
    assert (job.phase, job.code) == ("failed", "disk")
    assert "the disk is full" in job.detail
    assert scene.core.catalogue.items() == []
    assert scene.listed == {}


def test_share_hashes_announces_reads_back_and_only_then_gives_the_link() -> None:
    scene = Scene().up()
    scene.ask(ApiShare(4, PATH, "blake3"))
    assert scene.reply(ApiAccepted) == ApiAccepted(4, 1)
    assert scene.took(HashPath) == [HashPath(PATH, "blake3", "shared", None)]
    scene.core.hash_progress(PATH, 40, 100)
    job = scene.job()
    assert (job.phase, job.done_bytes, job.length, job.link) == ("checking", 40, 100, "")
    scene.questions.clear()
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    assert scene.took(SaveItem) == [SaveItem(item(1))]
    assert [message.digest for message in scene.told(ToPieceServer, Serve)] == [digest(1)]
    assert scene.listed[digest(1)].holding == "whole"
    assert [getattr(question, "min_seq", 0) for question in scene.questions] == [scene.seq]
    job = scene.job()
    assert (job.phase, job.digest, job.finished_at) == ("done", digest(1), WALL)
    assert job.link.startswith(f"zswarm://{digest(1)}/")


def test_sharing_again_what_is_unchanged_hashes_nothing_and_gives_the_link() -> None:
    scene = Scene().up()
    shared(scene)
    scene.ask(ApiShare(2, PATH, "blake3"))
    scene.reply(ApiAccepted)
    (request,) = scene.took(HashPath)
    assert request.known == item(1)
    scene.took(SaveItem)
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    assert scene.took(SaveItem) == []
    assert scene.job().phase == "done"


def test_another_algorithm_means_hashing_again() -> None:
    scene = Scene([item(1)]).up()
    scene.ask(ApiShare(2, PATH, "sha256"))
    assert scene.took(HashPath) == [HashPath(PATH, "sha256", "shared", None, before=item(1))]


def test_two_who_share_one_path_share_one_job() -> None:
    scene = Scene().up()
    scene.ask(ApiShare(1, PATH, "blake3"))
    scene.ask(ApiShare(2, PATH, "blake3"))
    assert [effect.reply for effect in scene.took(ReplyApi)] == [ApiAccepted(1, 1), ApiAccepted(2, 1)]
    assert len(scene.took(HashPath)) == 1


def test_without_a_tracker_a_share_waits_and_ends_when_it_is_there() -> None:
    scene = Scene()
    scene.reachable = False
    scene.up()
    shared(scene)
    scene.pass_time(60)
    assert (scene.job().phase, scene.status().network) == ("waiting", "unreachable")
    scene.reachable = True
    scene.pass_time(15)
    assert (scene.job().phase, scene.status().network) == ("done", "joined")


def test_a_lookup_that_does_not_show_it_is_asked_again() -> None:
    scene = Scene().up()
    scene.ask(ApiShare(1, PATH, "blake3"))
    scene.reachable = False
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    assert scene.job().phase == "waiting"
    scene.reachable = True
    scene.pass_time(10)
    assert scene.job().phase == "done"


def test_what_cannot_be_hashed_fails_with_its_reason() -> None:
    scene = Scene().up()
    scene.ask(ApiShare(1, PATH, "blake3"))
    scene.play(scene.core.hash_failed(PATH, "not_found", "no such file", scene.now))
    job = scene.job()
    assert (job.phase, job.code, job.detail) == ("failed", "not_found", "no such file")


def test_the_library_is_announced_at_the_start_and_told_to_every_new_piece_server() -> None:
    scene = Scene([item(1), item(2)])
    scene.hello("piece_server", 5, 9)
    assert sorted(scene.listed) == [digest(1), digest(2)]
    (state,) = scene.told(ToPieceServer, ShareState)
    assert [shared.digest for shared in state.items] == [digest(1), digest(2)]
    scene.hello("piece_server", 5, 9)
    assert scene.told(ToPieceServer, ShareState) == []
    scene.hello("piece_server", 6, 9)
    assert len(scene.told(ToPieceServer, ShareState)) == 1


def doubt(scene: Scene, number: int = 1) -> HashPath:
    """The piece server finds that ``item(number)`` is not what was hashed; the order to hash it that follows."""
    changed = ContentChanged(digest(number), item(number).path, "piece 3 differs")
    scene.play(scene.core.child_says(changed, scene.now))
    (order,) = scene.took(HashPath)
    return order


def test_content_that_a_read_found_changed_is_withdrawn_everywhere_and_hashed_again() -> None:
    scene = Scene([item(1)]).up()
    order = doubt(scene)
    assert order.before is not None
    assert order.before.state == "changed"
    assert order == HashPath(PATH, "blake3", "shared", None, background=True, before=order.before)
    assert scene.listed == {}
    assert scene.took(ForgetItem) == []
    (shown,) = scene.status().shared
    assert (shown.state, shown.since, shown.detail) == ("changed", WALL, "piece 3 differs; being hashed again")
    scene.play(scene.core.hashed(PATH, touched(1), scene.now))
    assert list(scene.listed) == [digest(1)], "it was as it should be"
    assert scene.status().shared[0].state == ""


def test_what_is_in_doubt_and_cannot_be_read_says_why_and_that_nothing_goes_on() -> None:
    scene = Scene([item(1)]).up()
    doubt(scene)
    assert scene.status().shared[0].hashing
    scene.play(scene.core.hash_failed(PATH, "disk", "cannot read it: Input/output error", scene.now))
    (shown,) = scene.status().shared
    assert (shown.state, shown.detail, shown.hashing) == ("changed", "cannot read it: Input/output error", False)
    assert scene.listed == {}
    assert [note.text.rpartition(": changed: ")[2] for note in scene.took(Note)][1:] == [shown.detail]
    scene.play(scene.core.hash_failed(PATH, "disk", "cannot read it: Input/output error", scene.now))
    assert scene.took(Note) == [], "it is said once"


def test_other_bytes_that_nobody_wrote_are_damage_and_no_new_content() -> None:
    scene = Scene([item(1)]).up()
    doubt(scene)
    scene.took(Note)
    rotten = msgspec.structs.replace(item(2, PATH), stamps=item(1).stamps)
    scene.play(scene.core.hashed(PATH, rotten, scene.now, rotted="1 piece of 7"))
    assert scene.listed == {}
    (shown,) = scene.status().shared
    assert (shown.state, shown.digest) == ("damaged", digest(1))
    assert shown.detail.startswith("rotted: 1 piece of 7; is the disk failing? 'verify file 1 --repair' fetches them")
    (note,) = scene.took(Note)
    assert note.level == "warning"
    assert f"not serving file 1 ({short(digest(1))}), {PATH}: damaged" in note.text
    shared_again(scene, rotten)
    assert list(scene.listed) == [digest(2)], "a person may want it as it is"


def test_what_was_damaged_stays_so_over_a_restart_and_is_well_once_it_was_fetched_again() -> None:
    damaged = msgspec.structs.replace(item(1), state="damaged", detail="piece 3", since=5.0)
    scene = Scene([damaged]).up()
    assert scene.listed == {}
    scene.hello("piece_server", 6, 9)
    (state,) = scene.told(ToPieceServer, ShareState)
    assert state.items == []
    scene.play(scene.core.settle(scene.core.catalogue.add(touched(1)), scene.now))
    assert list(scene.listed) == [digest(1)]


def touched(number: int) -> LibraryItem:
    """``item(number)`` with other stamps."""
    return msgspec.structs.replace(item(number), stamps=b"new", fingerprint=b"touched")


def shared_again(scene: Scene, now: LibraryItem) -> None:
    """A person shares `PATH`, which is ``now``."""
    scene.ask(ApiShare(1, PATH, "blake3"))
    (order,) = scene.took(HashPath)
    assert order.known is None
    scene.play(scene.core.hashed(PATH, now, scene.now))


# --- what is not there -----------------------------------------------------------------------------------


def look(scene: Scene, **entries: bytes) -> None:
    """One look at the items in /data, of which ``entries`` are there."""
    scene.pass_time(2.1)
    assert len(scene.took(ScanShares)) == 1
    listing = Listing({f"/data/{name.replace('_', ' ')}": mark for name, mark in entries.items()})
    scene.play(scene.core.scanned(listing, scene.now, scene.now))


def test_what_is_not_there_is_kept_as_missing_and_served_again_when_it_is_back() -> None:
    scene = Scene([item(1)]).up()
    look(scene)
    assert scene.listed == {}
    assert scene.told(ToPieceServer, Unserve) == [Unserve(digest(1))]
    (shown,) = scene.status().shared
    assert (shown.state, shown.since, shown.detail) == ("missing", WALL + 2.1, "it is not there")
    (kept,) = [saved.item for saved in scene.took(SaveItem)]
    again = Scene([kept]).up()
    assert again.listed == {}, "nor after a restart"
    look(again)
    look(again, file_1=b"as hashed 1")
    assert list(again.listed) == [digest(1)]
    assert again.took(HashPath) == []
    assert again.took(SaveItem)[-1] == SaveItem(item(1))


def test_what_was_touched_is_hashed_again_and_nobody_hears_of_it() -> None:
    scene = Scene([item(1)]).up()
    version = scene.core.trackers.all[0].membership.told.version
    for _ in range(2):
        look(scene, file_1=b"touched")
    assert scene.took(HashPath) == [HashPath(PATH, "blake3", "shared", item(1), background=True, before=item(1))]
    scene.took(Note)
    scene.play(scene.core.hashed(PATH, touched(1), scene.now))
    assert [message.stamps for message in scene.told(ToPieceServer, Serve)] == [b"new"]
    assert scene.took(SaveItem) == [SaveItem(touched(1))]
    assert scene.told(ToPieceServer, Unserve) == []
    assert scene.took(Note) == []
    assert scene.core.trackers.all[0].membership.told.version == version, "the tracker was told nothing"
    look(scene, file_1=b"touched")
    assert scene.took(HashPath) == []


def test_new_content_takes_the_place_of_the_old_which_those_who_fetch_it_still_get() -> None:
    scene = Scene([item(1)]).up()
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 0, 2)], 0, 0, 0), scene.now))
    for _ in range(2):
        look(scene, file_1=b"with more")
    assert list(scene.listed) == [digest(1)], "until it is known what it is now"
    scene.play(scene.core.hashed(PATH, item(2, PATH), scene.now))
    assert sorted(scene.listed) == [digest(1), digest(2)]
    assert scene.told(ToPieceServer, Unserve) == []
    assert [(one.digest, one.state) for one in scene.status().shared] == [(digest(2), ""), (digest(1), "earlier")]
    scene.hello("piece_server", 6, 9)
    (state,) = scene.told(ToPieceServer, ShareState)
    assert {one.digest for one in state.items} == {digest(1), digest(2)}
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 9, 0)], 0, 0, 0), scene.now))
    assert list(scene.listed) == [digest(2)]
    assert scene.told(ToPieceServer, Unserve) == [Unserve(digest(1))]


def test_old_content_that_nobody_fetches_or_that_changed_is_served_no_longer() -> None:
    scene = Scene([item(1)]).up()
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 0, 2)], 0, 0, 0), scene.now))
    for number in range(2, 9):
        shared_as(scene, item(number, PATH))
        fetched = [SwarmUpload(digest(old), 0, 1) for old in range(1, number + 1)]
        scene.play(scene.core.child_says(UploadReport(fetched, 0, 0, 0), scene.now))
    assert sorted(scene.listed) == [digest(number) for number in range(4, 9)], "a bounded number"
    scene.play(scene.core.child_says(ContentChanged(digest(5), PATH, "written over"), scene.now))
    assert digest(5) not in scene.listed
    assert scene.took(HashPath) == [], "the path is known to hold something else"
    scene.took(ReplyApi)
    scene.ask(ApiRemove(1, "file 1"))
    assert scene.listed == {}


def shared_as(scene: Scene, now: LibraryItem) -> None:
    scene.ask(ApiShare(1, now.path, "blake3"))
    scene.took(HashPath)
    scene.play(scene.core.hashed(now.path, now, scene.now))


def test_what_changes_and_cannot_be_hashed_stays_what_it_was() -> None:
    scene = Scene([item(1)]).up()
    for _ in range(2):
        look(scene, file_1=b"growing")
    scene.play(scene.core.hash_failed(PATH, "disk", "changed while it was hashed", scene.now))
    assert list(scene.listed) == [digest(1)]
    assert [note.text for note in scene.took(Note)][-1].startswith(f"cannot share {PATH}")
    scene.play(scene.core.hash_failed(PATH, "not_found", "it does not exist", scene.now))
    assert scene.listed == {}
    assert scene.status().shared[0].state == "missing"


# --- a share under way, and what becomes of its job -------------------------------------------------------


def test_a_share_says_when_its_content_is_withdrawn_and_when_it_is_back() -> None:
    scene = Scene().up()
    shared(scene)
    look(scene)
    job = scene.job()
    assert (job.phase, job.detail) == ("withdrawn", "missing: it is not there")
    look(scene, file_1=b"as hashed 1")
    assert (scene.job().phase, scene.job().detail) == ("done", "")
    scene.ask(ApiRemove(1, "file 1"))
    scene.took(ReplyApi)
    assert (scene.job().phase, scene.job().detail) == ("withdrawn", "removed on request")


def test_a_share_follows_its_path_to_new_content() -> None:
    scene = Scene().up()
    shared(scene)
    for _ in range(2):
        look(scene, file_1=b"other")
    scene.play(scene.core.hashed(PATH, item(2, PATH), scene.now))
    job = scene.job()
    assert (job.phase, job.digest) == ("done", digest(2))
    assert digest(2) in job.link


@pytest.mark.parametrize("said", ["file 1", PATH])
def test_what_is_being_hashed_can_be_removed(said: str) -> None:
    scene = Scene().up()
    scene.ask(ApiShare(1, PATH, "blake3"))
    scene.took(ReplyApi)
    scene.ask(ApiRemove(2, said, said))
    scene.reply(ApiDone)
    assert scene.took(CancelHash) == [CancelHash(PATH)]
    assert (scene.job().phase, scene.job().code) == ("failed", "cancelled")
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    assert scene.listed == {}, "it was too late to stop the hashing, and is not shared all the same"


def test_what_was_removed_while_it_was_hashed_can_be_shared_at_once() -> None:
    scene = Scene([item(1)]).up()
    for _ in range(2):
        look(scene, file_1=b"touched")
    scene.took(HashPath)
    scene.ask(ApiRemove(1, "file 1"))
    scene.ask(ApiShare(2, PATH, "blake3"))
    scene.play(scene.core.hash_failed(PATH, "cancelled", "hashing was stopped", scene.now))
    assert scene.job().phase == "checking"
    assert scene.took(HashPath) == [HashPath(PATH, "blake3", "shared", None)]
    scene.play(scene.core.hashed(PATH, touched(1), scene.now))
    assert scene.job().phase == "done"


def test_who_waits_for_another_to_be_hashed_says_so() -> None:
    scene = Scene().up()
    for number in (1, 2, 3):
        scene.ask(ApiShare(number, item(number).path, "blake3"))
    assert [job.detail for job in scene.status().jobs] == ["", *2 * ["waiting for file 1 to be hashed"]]
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    assert [job.detail for job in scene.status().jobs] == ["", "", "waiting for file 2 to be hashed"]


def test_what_nothing_is_called_is_removed_by_its_path() -> None:
    scene = Scene([item(1, "/a/same"), item(2, "/b/same")]).up()
    scene.ask(ApiRemove(1, "b/same", "/b/same"))
    scene.reply(ApiDone)
    assert list(scene.listed) == [digest(1)]


def test_of_two_equal_contents_the_second_takes_over() -> None:
    twin = item(1, "/data/twin")
    scene = Scene([item(1), twin]).up()
    assert scene.listed[digest(1)].name == "file 1"
    scene.ask(ApiRemove(1, "file 1"))
    assert scene.listed[digest(1)].name == "twin"
    assert scene.told(ToPieceServer, Unserve) == []
    assert [message.root for message in scene.told(ToPieceServer, Serve)] == ["/data/twin"]
    scene.ask(ApiRemove(2, "twin"))
    assert scene.listed == {}


def test_remove_takes_a_digest_and_refuses_what_is_unknown_or_ambiguous() -> None:
    scene = Scene([item(1, "/a/same"), item(2, "/b/same")]).up()
    scene.ask(ApiRemove(1, "other"))
    assert scene.reply(ApiError).code == "not_found"
    scene.ask(ApiRemove(2, "same"))
    refusal = scene.reply(ApiError)
    assert refusal.code == "usage"
    assert digest(2) in refusal.detail
    scene.ask(ApiRemove(3, digest(2)[:-1]))
    assert scene.reply(ApiError).code == "usage"
    scene.ask(ApiRemove(4, digest(2)))
    scene.reply(ApiDone)
    assert list(scene.listed) == [digest(1)]
    scene.ask(ApiRemove(5, digest(1)[:19]))
    scene.reply(ApiDone)
    assert scene.listed == {}


# --- shared folders --------------------------------------------------------------------------------------


def scan(scene: Scene, **entries: bytes) -> None:
    """One look at the shared folder, which has ``entries``."""
    scene.pass_time(2.1)
    assert len(scene.took(ScanShares)) == 1
    listing = Listing({f"{FOLDER}/{name}": mark for name, mark in entries.items()}, folders={FOLDER: (1, 2)})
    scene.play(scene.core.scanned(listing, scene.now, scene.now))


def test_what_was_complained_about_is_forgotten_once_it_was_deleted() -> None:
    scene = Scene().up()
    scene.took(Note)
    for _ in range(2):
        scan(scene, CON=b"1")
        scan(scene, CON=b"1")
        (request,) = scene.took(HashPath)
        scene.play(scene.core.hash_failed(request.path, "bad_seed", "reserved", scene.now))
        assert [note.text for note in scene.took(Note)] == [f"cannot share {request.path}: reserved"]
        scan(scene)
        assert scene.took(Note) == []


def test_a_new_entry_of_a_folder_is_shared_once_it_has_come_to_rest() -> None:
    scene = Scene().up()
    scan(scene, new=b"growing")
    scan(scene, new=b"grown")
    assert scene.took(HashPath) == []
    scan(scene, new=b"grown")
    (request,) = scene.took(HashPath)
    assert (request.path, request.origin) == (f"{FOLDER}/new", "folder")
    scene.play(scene.core.hashed(request.path, item(3, request.path, "folder"), scene.now))
    assert scene.listed[digest(3)].name == "new"
    assert scene.status().jobs == []


def test_a_changed_entry_is_shared_as_what_it_is_now_once_that_is_known() -> None:
    path = f"{FOLDER}/x"
    scene = Scene([item(1, path, "folder")]).up()
    scan(scene, x=b"as hashed 1")
    assert list(scene.listed) == [digest(1)]
    scan(scene, x=b"other")
    assert list(scene.listed) == [digest(1)]
    scan(scene, x=b"other")
    assert len(scene.took(HashPath)) == 1
    scene.play(scene.core.hashed(path, item(2, path, "folder"), scene.now))
    assert list(scene.listed) == [digest(2)]
    scan(scene)
    assert scene.listed == {}


def test_what_the_tracker_says_of_when_it_was_announced_is_kept_and_said_again() -> None:
    scene = Scene([item(1)]).up()
    scene.moments = {digest(1): 7, digest(2): 9}
    shared(scene, 2)
    dated = msgspec.structs.replace(item(2), announced=9)
    assert scene.took(SaveItem) == [SaveItem(item(2)), SaveItem(dated)]
    scene.ask(ApiLeave(1))
    scene.ask(ApiJoin(2))
    assert scene.took(SaveItem) == [SaveItem(msgspec.structs.replace(item(1), announced=7))]
    again = Scene(scene.core.catalogue.items()).up()
    assert {entry.digest: entry.announced for entry in again.listed.values()} == scene.moments


def test_other_content_of_a_path_is_announced_anew_and_the_same_is_not() -> None:
    path = f"{FOLDER}/x"
    scene = Scene([msgspec.structs.replace(item(1, path, "folder"), announced=7)]).up()
    for mark, number, announced in ((b"2", 2, ANEW), (b"3", 2, 9), (b"4", 1, ANEW)):
        scan(scene, x=mark)
        scan(scene, x=mark)
        fresh = msgspec.structs.replace(item(number, path, "folder"), fingerprint=mark)
        scene.play(scene.core.hashed(path, fresh, scene.now))
        says = {entry.digest: entry.announced for entry in scene.core.trackers.list.entries()}
        assert says == {digest(number): announced}
        scene.moments = {digest(number): 9}
        scene.ask(ApiLeave(1))
        scene.ask(ApiJoin(2))


def test_what_changes_while_it_is_hashed_is_hashed_again() -> None:
    path = f"{FOLDER}/x"
    scene = Scene().up()
    for _ in range(2):
        scan(scene, x=b"one")
    assert len(scene.took(HashPath)) == 1
    for _ in range(2):
        scan(scene, x=b"two")
    assert scene.took(HashPath) == []
    scene.play(scene.core.hash_failed(path, "disk", "changed while it was hashed", scene.now))
    assert [request.path for request in scene.took(HashPath)] == [path]


def test_what_was_found_is_hashed_one_after_another_and_what_a_person_shares_at_once() -> None:
    scene = Scene().up()
    for _ in range(2):
        scan(scene, a=b"1", b=b"2", c=b"3", d=b"4")
    paths = [f"{FOLDER}/{name}" for name in "abcd"]
    assert [request.path for request in scene.took(HashPath)] == paths[:1]
    scene.ask(ApiShare(1, paths[2], "blake3"))
    scene.ask(ApiShare(2, paths[0], "blake3"))
    scene.took(ReplyApi)
    (request,) = scene.took(HashPath)
    assert (request.path, request.background) == (paths[2], False), "the first is being hashed already"
    assert [job.detail for job in scene.status().jobs] == ["", ""]
    scan(scene, a=b"1", c=b"3", d=b"4")
    scene.play(scene.core.hashed(paths[2], item(3, paths[2]), scene.now))
    assert scene.took(HashPath) == []
    scene.play(scene.core.hashed(paths[0], item(1, paths[0]), scene.now))
    assert [job.phase for job in scene.status().jobs] == ["done", "done"]
    assert [request.path for request in scene.took(HashPath)] == paths[3:]


@pytest.mark.parametrize(("algorithm", "options"), [("sha256", AS_USUAL), ("blake3", ShareOptions(("/data",)))])
def test_a_share_does_not_wait_until_what_was_found_is_hashed_in_another_way(
    algorithm: str, options: ShareOptions
) -> None:
    scene = Scene().up()
    for _ in range(2):
        scan(scene, a=b"1")
    scene.took(HashPath)
    path = f"{FOLDER}/a"
    scene.ask(ApiShare(1, path, algorithm, options))
    assert scene.took(CancelHash) == [CancelHash(path)]
    scene.play(scene.core.hash_failed(path, "cancelled", "hashing was stopped", scene.now))
    (request,) = scene.took(HashPath)
    assert (request.algorithm, request.options, request.background) == (algorithm, options, False)


def test_what_changes_again_and_again_does_not_keep_the_rest_from_being_hashed() -> None:
    scene = Scene().up()
    for mark in (b"1", b"1", b"2", b"2"):
        scan(scene, a=mark, b=b"1")
    a, b = f"{FOLDER}/a", f"{FOLDER}/b"
    assert [request.path for request in scene.took(HashPath)] == [a]
    scene.play(scene.core.hashed(a, item(1, a), scene.now))
    assert [request.path for request in scene.took(HashPath)] == [b]
    scene.play(scene.core.hashed(b, item(2, b), scene.now))
    assert [request.path for request in scene.took(HashPath)] == [a]


def test_a_share_whose_file_changes_meanwhile_stays_ahead_of_what_was_found() -> None:
    scene = Scene([item(1)]).up()
    scene.ask(ApiShare(1, PATH, "blake3"))
    for mark in (b"x", b"x"):
        look(scene, file_1=mark)
    scene.took(HashPath)
    scene.play(scene.core.hash_failed(PATH, "disk", "changed while it was hashed", scene.now))
    assert [request.background for request in scene.took(HashPath)] == [False]


def test_what_is_left_out_is_told_to_whoever_asked_and_in_the_log() -> None:
    scene = Scene().up()
    scene.ask(ApiShare(1, PATH, "blake3"))
    scene.reply(ApiAccepted)
    scene.play(scene.core.hashed(PATH, item(1), scene.now, Skipped(2, 1, ("a", "b", "c"))))
    assert scene.job().skipped.links == 2
    notes = [note.text for note in scene.took(Note)]
    assert f"left out of {PATH}: 2 symbolic links and 1 special file (a, b, c)" in notes


def test_how_a_path_is_shared_is_kept_with_it() -> None:
    options = ShareOptions(("/data",))
    scene = Scene().up()
    path = f"{FOLDER}/x"
    scene.ask(ApiShare(1, path, "blake3", options))
    scene.reply(ApiAccepted)
    (request,) = scene.took(HashPath)
    assert request.options == options
    mine = msgspec.structs.replace(item(1, path), options=options)
    scene.play(scene.core.hashed(path, mine, scene.now))
    for _ in range(2):
        scan(scene, x=b"other")
    (request,) = scene.took(HashPath)
    assert request.options == options


def test_items_of_a_folder_that_is_shared_no_longer_are_forgotten() -> None:
    scene = Scene([item(1, "/elsewhere/x", "folder"), item(2)]).up()
    assert list(scene.listed) == [digest(2)]


def test_an_entry_that_is_to_be_ignored_is_shared_only_by_name() -> None:
    path = f"{FOLDER}/x.tmp"
    scene = Scene([item(1, path), item(2, f"{FOLDER}/y.tmp", "folder")]).up()
    assert list(scene.listed) == [digest(1)]
    scene.pass_time(0.1)
    assert scene.took(ScanShares) == [ScanShares([path])]


def test_items_outside_of_folders_are_looked_at_too() -> None:
    scene = Scene([item(1), item(2, f"{FOLDER}/x", "folder")]).up()
    scene.pass_time(0.1)
    assert scene.took(ScanShares) == [ScanShares([PATH])]


# --- network ---------------------------------------------------------------------------------------------


def test_leave_announces_nothing_and_join_everything() -> None:
    scene = Scene([item(1)]).up()
    scene.ask(ApiLeave(1))
    assert scene.reply(ApiDone) == ApiDone(1)
    assert (scene.listed, scene.status().network) == ({}, "left")
    shared(scene, 2)
    scene.pass_time(20)
    assert (scene.listed, scene.job().phase) == ({}, "waiting")
    scene.ask(ApiJoin(2))
    assert sorted(scene.listed) == [digest(1), digest(2)]
    assert scene.job().phase == "done"


def test_uploads_are_counted_over_restarts_of_the_piece_server() -> None:
    scene = Scene([item(1)]).up()
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 100, 2)], 3, 1, 100), scene.now))
    scene.hello("piece_server", 6, 9)
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 11, 1)], 0, 0, 11), scene.now))
    report = scene.status()
    assert (report.sent_bytes, report.bad_messages, report.queued_pieces) == (111, 1, 0)
    assert (report.shared[0].sent_bytes, report.shared[0].sessions) == (111, 1)


def test_uploads_of_what_is_shared_no_longer_count_in_all_only() -> None:
    scene = Scene([item(1), item(2)]).up()
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 100, 0)], 0, 0, 100), scene.now))
    scene.ask(ApiRemove(1, item(1).name))
    scene.play(scene.core.child_says(UploadReport([SwarmUpload(digest(1), 5, 0)], 0, 0, 105), scene.now))
    assert (scene.core.uploads.of(digest(1)), scene.status().sent_bytes) == ((0, 0), 105)


def test_a_status_is_a_page_of_everything_or_the_jobs_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PAGE_COUNT", 10)
    scene = Scene([item(number) for number in range(1, 20)]).up()
    shared(scene, 20)
    pages = [scene.status()]
    while pages[-1].more:
        pages.append(scene.status(first=pages[-1].more))
    assert [(len(page.jobs), len(page.shared), page.shared_count) for page in pages] == [
        (1, 9, 20),
        (0, 10, 20),
        (0, 1, 20),
    ]
    assert len({shown.path for page in pages for shown in page.shared}) == 20
    alone = scene.status(jobs=[1, 77])
    assert ([job.job for job in alone.jobs], alone.shared, alone.more, alone.shared_count) == (
        [1],
        [],
        0,
        20,
    )


def test_a_page_of_status_has_few_jobs_that_have_many_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PAGE_COUNT", 10)
    scene = Scene([item(number) for number in range(1, 20)]).up()
    source = SourceReport("p", "other", "tcp://10.0.0.7:1", "known", "", 0, 0.0, 0)
    shared(scene, 20)
    scene.core.jobs.all()[0].download = DownloadReport(digest(20), "done", 1, 1, 1, 1, 1, 1, 0, 0.0, [source] * 20, "")
    page = scene.status()
    assert (len(page.jobs), len(page.shared), page.more) == (1, 0, 1)
    assert len(scene.status(first=page.more).shared) == 10


def test_a_piece_server_on_another_port_means_joining_again() -> None:
    scene = Scene([item(1)]).up()
    scene.listed.clear()
    scene.hello("piece_server", 6, 10)
    assert list(scene.listed) == [digest(1)]


def test_a_restarted_agent_stays_out_of_the_network_until_it_is_to_join() -> None:
    scene = Scene([item(1)], away=True)
    scene.hello("piece_server", 5, 9)
    (state,) = scene.told(ToPieceServer, ShareState)
    assert not state.serving
    assert (scene.listed, scene.status().network) == ({}, "left")
    scene.ask(ApiJoin(1))
    assert scene.took(KeepAway) == [KeepAway(False)]
    assert list(scene.listed) == [digest(1)]


def test_joining_overtakes_a_leave_that_is_not_acknowledged() -> None:
    scene = Scene([item(1)]).up()
    scene.reachable = False
    scene.ask(ApiLeave(1))
    assert scene.took(KeepAway) == [KeepAway(True)]
    scene.ask(ApiJoin(2))
    assert [effect.reply.id for effect in scene.took(ReplyApi)] == [1, 2]
    scene.reachable = True
    scene.pass_time(10)
    assert list(scene.listed) == [digest(1)]


def test_what_does_not_fit_one_message_to_the_piece_server_follows_it() -> None:
    wide = [msgspec.structs.replace(item(number), stamps=bytes(9_000_000)) for number in range(4)]
    scene = Scene(wide)
    scene.hello("piece_server", 5, 9)
    (state,) = scene.told(ToPieceServer, ShareState)
    assert len(state.items) == 2
    assert [added.digest for added in scene.told(ToPieceServer, Serve)] == [digest(2), digest(3)]


@pytest.mark.parametrize("reachable", [True, False])
def test_the_process_leaves_before_it_ends(reachable: bool) -> None:
    scene = Scene([item(1)]).up()
    scene.reachable = reachable
    scene.play(scene.core.leave(scene.now))
    scene.pass_time(2.5)
    assert scene.core.trackers.has_left


def test_what_in_a_folder_cannot_be_shared_is_complained_about_once() -> None:
    scene = Scene().up()
    path = f"{FOLDER}/CON"
    listing = Listing({path: b"1"})
    said: list[str] = []
    for reason in ("reserved", "reserved", "cannot be read"):
        for _ in range(2):
            scene.pass_time(1_000.0)
            scene.play(scene.core.scanned(listing, scene.now, scene.now))
        assert len(scene.took(HashPath)) == 1
        scene.play(scene.core.hash_failed(path, "bad_seed", reason, scene.now))
        said += [note.text for note in scene.took(Note)]
    assert said == [f"cannot share {path}: {reason}" for reason in ("reserved", "cannot be read")]


def twin(path: str, number: int = 1_001) -> LibraryItem:
    """The content of item 1 at another path, with manifest ``number``."""
    return msgspec.structs.replace(item(1, path), manifest=digest(number), seed_path=f"/seeds/{number}")


def share_twin(scene: Scene, second: LibraryItem) -> None:
    scene.ask(ApiShare(1, second.path, "blake3"))
    scene.play(scene.core.hashed(second.path, second, scene.now))


def test_the_same_content_under_a_second_name_is_listed_under_both() -> None:
    scene = Scene([item(1)]).up()
    scene.questions.clear()
    share_twin(scene, twin("/data/second"))
    assert scene.told(ToPieceServer, Serve) == []
    assert scene.listed[digest(1)].names() == [Alias("file 1", digest(1_001)), Alias("second", digest(1_001))]
    assert [getattr(question, "min_seq", 0) for question in scene.questions] == [scene.seq]
    assert (scene.job().phase, scene.job().detail) == ("done", "")
    scene.took(ReplyApi)
    scene.ask(ApiRemove(2, "file 1"))
    assert scene.listed[digest(1)].names() == [Alias("second", digest(1_001))]
    assert [message.root for message in scene.told(ToPieceServer, Serve)] == ["/data/second"]
    assert scene.told(ToPieceServer, Unserve) == []
    scene.ask(ApiRemove(3, "second"))
    assert scene.listed == {}


def test_the_same_bytes_under_other_paths_have_both_manifests_handed_out() -> None:
    scene = Scene([item(1)]).up()
    second = twin("/data/tree", 2_000)
    share_twin(scene, second)
    assert scene.listed[digest(1)].names() == [Alias("file 1", digest(1_001)), Alias("tree", digest(2_000))]
    (told,) = scene.told(ToPieceServer, Serve)
    assert (told.root, told.more) == (PATH, {digest(2_000): second.seed_path})
    scene.hello("piece_server", instance=6, port=9)
    assert [state.items for state in scene.told(ToPieceServer, ShareState)] == [[told]]
    scene.took(ReplyApi)
    scene.ask(ApiRemove(2, "tree"))
    assert [message.more for message in scene.told(ToPieceServer, Serve)] == [{}]


def test_names_beyond_the_bound_are_had_by_link() -> None:
    many = [item(1), *(twin(f"/data/{number:02}") for number in range(ALIASES_COUNT_MAX))]
    scene = Scene(many).up()
    share_twin(scene, twin("/data/one more"))
    assert len(scene.listed[digest(1)].names()) == ALIASES_COUNT_MAX + 1
    job = scene.job()
    assert job.phase == "done"
    assert "at most 16 names for one content, and one more is not among them" in job.detail


def test_what_is_hashed_again_stays_the_one_that_is_served() -> None:
    scene = Scene([item(1), twin("/data/second")]).up()
    scene.ask(ApiShare(1, PATH, "blake3"))
    scene.play(scene.core.hashed(PATH, touched(1), scene.now))
    assert [message.stamps for message in scene.told(ToPieceServer, Serve)] == [b"new"]
    assert scene.job().phase == "done"
