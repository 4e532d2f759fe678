"""The agent core: from a name, link, digest or seed to a download, and to its end, as stories."""

from __future__ import annotations

import msgspec
import pytest

from node.agent.effects import (
    CheckItem,
    ForgetDownload,
    ForgetItem,
    Note,
    SaveDownload,
    SaveItem,
    Stop,
    StoreSeed,
    ToDownloader,
    ToPieceServer,
)
from node.agent.gets import UNSURE
from node.agent.library import LibraryItem
from node.agent.meant import NEWER_MAY_COME, SETTLED_SECONDS
from node.api_messages import (
    ApiAccepted,
    ApiDone,
    ApiError,
    ApiGet,
    ApiJoin,
    ApiLeave,
    ApiList,
    ApiListReply,
    ApiPeers,
    ApiPeersReply,
    ApiRemove,
    ApiStop,
)
from node.local_messages import (
    AgentToDownloader,
    ContentChanged,
    Copies,
    DeleteFetch,
    DownloadFailed,
    DownloadFinished,
    DownloadReport,
    DownloadStarted,
    Fetch,
    LocalCopy,
    NeedSources,
    Pause,
    SourceLost,
    Sources,
    StopFetch,
    Unserve,
)
from protocol.codec import Decoder, encode
from protocol.digest import short
from protocol.limits import LOCAL_BYTES_MAX
from protocol.link import Link, format_link
from protocol.messages import (
    GetSeederList,
    PeerLeft,
    Roster,
    RosterEvent,
    SeederEntry,
    SourceAdded,
    SourceRemoved,
    TorrentEntry,
)
from tests.node.agent.scene import EPOCH, WALL, Scene, digest, item

NAME = "model.bin"
BEGINNING = digest(1)[:-1]
LINK = Link(digest(1), digest(1_001), NAME, 100)
THERE = TorrentEntry(NAME, 100, digest(1), digest(1_001), 1, 0, 0)
SEEDER = SeederEntry("p", "other", "tcp://h:1", True)
FETCH = Fetch(digest(1), digest(1_001), NAME, 100, f"/out/{NAME}", "", False, False)


def get(target: str = NAME, directory: str = "/out", seed: bytes = b"") -> ApiGet:
    return ApiGet(1, target, directory, seed, False, False, NAME if seed else "")


def with_source(*items: int) -> Scene:
    scene = Scene([item(number) for number in items]).up()
    scene.others.append(THERE)
    scene.seeders.append(SEEDER)
    return scene


def finished(path: str = f"/out/{NAME}") -> DownloadFinished:
    return DownloadFinished(digest(1), digest(1_001), 100, path, "/seeds/1", b"stamps", 5_000.0)


def report(phase: str = "downloading") -> DownloadReport:
    return DownloadReport(digest(1), phase, 100, 4, 2, 50, 0, 60, 0, 9.0, [], "")  # type: ignore[arg-type]


def test_a_download_that_could_not_delete_what_it_replaced_says_so() -> None:
    scene = with_source()
    scene.ask(get())
    left = "Permission denied: /out/.model.bin.part"
    scene.play(scene.core.child_says(msgspec.structs.replace(finished(), left_behind=left), scene.now))
    assert scene.job().phase == "done"
    assert scene.job().detail == f"not all of the old directory could be deleted: {left}"


@pytest.mark.parametrize("target", [NAME, digest(1), BEGINNING, format_link(LINK)])
def test_get_resolves_asks_who_has_it_and_ends_as_an_item(target: str) -> None:
    scene = with_source()
    scene.ask(get(target))
    assert scene.reply(ApiAccepted) == ApiAccepted(1, 1)
    assert scene.told(ToDownloader, Fetch) == [FETCH]
    assert scene.told(ToDownloader, Sources) == [Sources(digest(1), [SEEDER], listed=1)]
    assert scene.took(SaveDownload) == [SaveDownload(FETCH)]
    assert scene.listed[digest(1)].holding == "requesting"
    assert scene.job().phase == "waiting"

    scene.play(scene.core.child_says(report(), scene.now))
    assert (scene.job().phase, scene.job().done_bytes, scene.job().download) == ("downloading", 50, report())
    scene.play(scene.core.child_says(DownloadStarted(digest(1), "/seeds/1", digest(1_001), 100), scene.now))
    assert scene.listed[digest(1)].holding == "partial"

    scene.play(scene.core.child_says(finished(), scene.now))
    assert scene.listed[digest(1)].holding == "whole"
    assert scene.transfers == [(digest(1), state) for state in ("requesting", "started", "finished")]
    assert scene.took(ForgetDownload) == [ForgetDownload(f"/out/{NAME}")]
    assert [effect.item.origin for effect in scene.took(SaveItem)] == ["downloaded"]
    job = scene.job()
    assert (job.phase, job.path, job.link) == ("done", f"/out/{NAME}", format_link(LINK))
    assert (job.seconds, job.ended_monotonic, job.finished_at) == (5_000.0, 5_000.0, WALL + 5_000.0)
    scene.questions.clear()
    scene.pass_time(30)
    assert [question for question in scene.questions if isinstance(question, GetSeederList)] == []


def copies(*items: LibraryItem) -> list[Copies]:
    """What the downloader is told before it is to get `FETCH`."""
    return [Copies(FETCH.digest, [LocalCopy(one.seed_path, one.path) for one in items])]


def test_the_downloader_is_told_first_what_may_have_pieces_of_it_the_likeliest_first() -> None:
    there, namesake, other = item(2, f"/out/{NAME}"), item(3, f"/elsewhere/{NAME}"), item(4)
    longer = msgspec.structs.replace(item(5), length=2**40)
    sha256 = msgspec.structs.replace(item(6), digest=f"sha256:{6:064x}")
    missing = msgspec.structs.replace(item(7), state="missing")
    scene = Scene([missing, other, longer, namesake, sha256, there]).up()
    scene.ask(get(format_link(LINK)))
    orders = [effect.message for effect in scene.done if isinstance(effect, ToDownloader)]
    assert [type(order) for order in orders if isinstance(order, Copies | Fetch)] == [Copies, Fetch]
    assert scene.told(ToDownloader, Copies) == copies(there, namesake, other)
    scene.done.clear()
    scene.hello("downloader", instance=6)
    assert scene.told(ToDownloader, Copies) == copies(there, namesake, other), "a new one has to hear it too"


def test_what_earlier_commands_left_is_reused_and_still_not_shared() -> None:
    scene = Scene([item(2)], foreground=True).up()
    scene.others.append(THERE)
    scene.ask(get())
    assert scene.told(ToDownloader, Copies) == copies(item(2))
    assert digest(2) not in scene.listed


def test_the_downloader_is_told_of_a_limited_number_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.agent.catalogue.COPIES_COUNT_MAX", 3)
    scene = Scene([item(number) for number in range(2, 9)]).up()
    scene.others.append(THERE)
    scene.ask(get())
    assert scene.told(ToDownloader, Copies) == copies(item(2), item(3), item(4))


def test_a_seed_is_checked_and_kept_before_anything_else() -> None:
    scene = with_source()
    scene.ask(get("a file name", seed=b"manifest"))
    assert scene.took(StoreSeed) == [StoreSeed(1, b"manifest", NAME)]
    scene.play(scene.core.seed_stored(1, LINK, "/seeds/1", scene.now))
    (fetch,) = scene.told(ToDownloader, Fetch)
    assert (fetch.digest, fetch.seed_path) == (digest(1), "/seeds/1")


def test_a_bad_seed_or_link_fails_the_job() -> None:
    scene = with_source()
    scene.ask(get("x", seed=b"garbage"))
    scene.core.seed_refused(1, "bad_seed", "no seed", scene.now)
    assert (scene.job().phase, scene.job().code) == ("failed", "bad_seed")
    scene.ask(get("zswarm://nonsense"))
    assert (scene.job().phase, scene.job().code) == ("failed", "bad_seed")


def test_a_name_from_the_wire_that_is_no_name_is_refused() -> None:
    scene = with_source()
    scene.others[:] = [TorrentEntry("../evil", 1, digest(1), digest(2), 1, 0, 0)]
    scene.ask(get(digest(1)))
    assert (scene.job().phase, scene.job().code) == ("failed", "bad_seed")
    assert scene.told(ToDownloader, Fetch) == []


def test_a_name_nobody_has_is_not_found_once_the_tracker_is_sure() -> None:
    scene = Scene().up()
    scene.settling = True
    scene.ask(get("missing"))
    scene.pass_time(5)
    assert (scene.job().phase, scene.job().detail) == ("resolving", UNSURE)
    scene.settling = False
    scene.pass_time(1)
    assert (scene.job().phase, scene.job().code) == ("failed", "not_found")
    scene.settling = True
    scene.ask(get())
    assert scene.job().detail == UNSURE
    scene.others.append(THERE)
    scene.pass_time(5)
    assert (scene.job().phase, scene.job().detail) == ("waiting", ""), "that is no reason any more"


def after_a_restart(target: str = NAME) -> Scene:
    """The tracker has just been restarted, and lists one content, which was announced before."""
    scene = with_source()
    scene.settling = True
    scene.others[:] = [msgspec.structs.replace(THERE, announced=EPOCH * 1_000 - 5)]
    scene.ask(get(target))
    return scene


def test_a_name_waits_for_newer_content_that_a_restarted_tracker_does_not_list_yet() -> None:
    scene = after_a_restart()
    assert (scene.job().phase, scene.job().detail) == ("resolving", NEWER_MAY_COME)
    scene.others.append(TorrentEntry(NAME, 5, digest(2), digest(2_002), 1, 0, 0, EPOCH * 1_000 - 2))
    scene.pass_time(2)
    assert scene.job().phase == "resolving"
    scene.settling = False
    scene.pass_time(1)
    assert (scene.job().phase, scene.job().digest, scene.job().detail) == ("waiting", digest(2), "")


def test_it_does_not_wait_for_ever() -> None:
    scene = after_a_restart()
    scene.pass_time(SETTLED_SECONDS - 1)
    assert scene.job().phase == "resolving"
    scene.pass_time(2)
    assert (scene.job().phase, scene.job().digest) == ("waiting", digest(1))


@pytest.mark.parametrize("target", [digest(1), BEGINNING, format_link(LINK)])
def test_a_digest_or_link_does_not_wait_for_a_restarted_tracker(target: str) -> None:
    assert after_a_restart(target).job().phase == "waiting"


def test_what_was_announced_since_the_tracker_started_is_the_newest() -> None:
    scene = with_source()
    scene.settling = True
    scene.others[:] = [msgspec.structs.replace(THERE, announced=EPOCH * 1_000 + 5)]
    scene.ask(get())
    assert scene.job().phase == "waiting"


def test_what_nobody_has_whole_is_not_meant_while_somebody_with_whole_content_may_come_back() -> None:
    scene = with_source()
    scene.settling = True
    scene.others[:] = [TorrentEntry(NAME, 5, digest(2), digest(2_002), 0, 1, 0, EPOCH * 1_000 + 5)]
    scene.ask(get())
    assert (scene.job().phase, scene.job().detail) == ("resolving", NEWER_MAY_COME)
    scene.others.append(msgspec.structs.replace(THERE, announced=EPOCH * 1_000 - 5))
    scene.settling = False
    scene.pass_time(1)
    assert (scene.job().phase, scene.job().digest) == ("waiting", THERE.digest)


def test_while_the_tracker_is_unreachable_a_get_waits() -> None:
    scene = Scene()
    scene.reachable = False
    scene.up()
    scene.ask(get())
    scene.pass_time(60)
    assert scene.job().phase == "resolving"
    scene.reachable = True
    scene.others.append(THERE)
    scene.pass_time(15)
    assert scene.told(ToDownloader, Fetch) == [FETCH]


@pytest.mark.parametrize(
    ("others", "taken"),
    [
        ([(2, 1, 0, 9)], 2),
        ([(2, 1, 0, 3)], 1),
        ([(2, 1, 0, 9), (3, 1, 0, 11), (4, 1, 0, 10)], 3),
        ([(2, 0, 3, 9)], 1),
        ([(2, 0, 0, 0)], 1),
    ],
    ids=["newer", "older", "newest of many", "newer, and nobody has all of it", "only wanted"],
)
def test_of_several_contents_with_one_name_the_newest_is_taken(others: list[tuple[int, ...]], taken: int) -> None:
    """Each of ``others``: number, how many have it whole and in part, when it was announced."""
    scene = with_source()
    scene.others[:] = [msgspec.structs.replace(THERE, announced=5)]
    for number, have, partial, announced in others:
        scene.others.append(TorrentEntry(NAME, 5, digest(number), digest(1_000 + number), have, partial, 1, announced))
    scene.ask(get())
    assert [fetch.digest for fetch in scene.told(ToDownloader, Fetch)] == [digest(taken)]
    contents = scene.job().contents
    assert (contents[0].digest, len(contents)) == (digest(taken), 1 + len(others))


def test_a_name_that_only_one_content_has_is_no_choice() -> None:
    scene = with_source()
    scene.ask(get())
    assert scene.job().contents == []


def test_several_contents_of_one_beginning_are_listed() -> None:
    scene = with_source()
    scene.others.append(TorrentEntry(NAME, 5, digest(2), digest(3), 1, 0, 0))
    scene.ask(get(BEGINNING))
    job = scene.job()
    assert (job.phase, job.code) == ("failed", "usage")
    assert digest(1) in job.detail
    assert job.detail.isprintable()
    assert digest(2) in job.detail


def test_of_several_manifests_of_one_digest_each_has_its_turn() -> None:
    scene = with_source()
    honest = msgspec.structs.replace(THERE, announced=7)
    scene.others[:] = [honest, msgspec.structs.replace(THERE, manifest=digest(2_001), announced=6)]
    scene.ask(get(digest(1)))
    scene.pass_time(11)
    assert [fetch.manifest for fetch in scene.told(ToDownloader, Fetch)] == [digest(2_001), digest(1_001)]
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "verification", "wrong"), scene.now))
    scene.play(scene.core.child_says(report("pieces"), scene.now))
    scene.pass_time(60)
    assert scene.told(ToDownloader, Fetch)[-1].manifest == digest(2_001), "it brings something"
    for _ in range(4):
        scene.play(scene.core.child_says(DownloadFailed(digest(1), "verification", "wrong"), scene.now))
    assert (scene.job().phase, scene.job().code) == ("failed", "verification")


def test_when_it_was_announced_is_known_of_what_is_fetched_as_soon_as_it_is_there() -> None:
    scene = with_source()
    scene.moments = {digest(1): 9}
    scene.ask(get())
    scene.play(scene.core.child_says(DownloadStarted(digest(1), "/seeds/1", digest(1_001), 100), scene.now))
    scene.reachable = False
    scene.play(scene.core.child_says(finished(), scene.now))
    assert [effect.item.announced for effect in scene.took(SaveItem)] == [0, 9]


def test_a_failed_download_leaves_nothing_announced() -> None:
    scene = with_source()
    scene.ask(get())
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "no space"), scene.now))
    job = scene.job()
    assert (job.phase, job.code, job.detail) == ("failed", "disk", "no space")
    assert (scene.listed, scene.transfers[-1]) == ({}, (digest(1), "failed"))
    assert scene.took(ForgetDownload) == [ForgetDownload(f"/out/{NAME}")]


def test_a_failed_download_of_which_something_is_on_disk_is_remembered_and_can_be_removed() -> None:
    occupied = DownloadFailed(digest(1), "disk", "exists with other content")
    kept = msgspec.structs.replace(FORCED, force=False)
    scene = Scene(downloads=[FORCED]).up()
    scene.play(scene.core.child_says(occupied, scene.now))
    assert scene.took(ForgetDownload) == []
    assert [saved.download for saved in scene.took(SaveDownload)] == [kept]
    assert sorted(job.phase for job in scene.status().jobs) == ["failed", "interrupted"]
    scene.ask(get(format_link(LINK)))
    scene.play(scene.core.child_says(occupied, scene.now))
    assert (scene.took(ForgetDownload), scene.listed) == ([], {})
    scene.ask(ApiRemove(2, BEGINNING))
    assert scene.took(ForgetDownload) == [ForgetDownload(f"/out/{NAME}")]
    assert scene.told(ToDownloader, DeleteFetch) == [DeleteFetch(digest(1), f"/out/{NAME}", "/seeds/1")]


def test_a_download_that_failed_after_its_start_is_remembered_unless_its_content_is_wrong() -> None:
    for code, phases in (("disk", ["failed", "interrupted"]), ("verification", ["failed"])):
        scene = with_source()
        scene.ask(get())
        scene.play(scene.core.child_says(DownloadStarted(digest(1), "/seeds/1", digest(1_001), 100), scene.now))
        scene.play(scene.core.child_says(DownloadFailed(digest(1), code, "why"), scene.now))
        assert sorted(job.phase for job in scene.status().jobs) == phases


@pytest.mark.parametrize("called", [NAME, digest(1), BEGINNING])
def test_remove_cancels_a_download(called: str) -> None:
    scene = with_source()
    scene.ask(get())
    scene.ask(ApiRemove(2, called))
    assert scene.told(ToDownloader, DeleteFetch) == [DeleteFetch(digest(1), f"/out/{NAME}", "")]
    assert (scene.listed, scene.job().code) == ({}, "cancelled")


def test_an_order_that_crossed_the_end_of_its_download_is_taken_back() -> None:
    scene = with_source()
    scene.ask(get())
    (job,) = scene.took(SaveDownload)
    restarted = Scene(downloads=[job.download])
    restarted.hello("downloader")
    assert len(restarted.told(ToDownloader, Fetch)) == 1
    restarted.play(restarted.core.child_says(report(), restarted.now))
    restarted.play(restarted.core.child_says(finished(), restarted.now))
    assert restarted.told(ToDownloader, StopFetch) == []
    restarted.play(restarted.core.child_says(report(), restarted.now))
    assert restarted.told(ToDownloader, StopFetch) == [StopFetch(digest(1))]
    restarted.play(restarted.core.child_says(report("failed"), restarted.now))
    assert restarted.told(ToDownloader, StopFetch) == [], "that is what was asked for"


def test_what_was_removed_while_it_became_complete_stays_on_disk_and_is_not_shared() -> None:
    scene = with_source()
    scene.ask(get())
    scene.ask(ApiRemove(2, NAME))
    scene.done.clear()
    scene.play(scene.core.child_says(finished(), scene.now))
    assert (scene.listed, scene.job().code, scene.took(SaveItem)) == ({}, "cancelled", [])
    assert scene.transfers[-1] == (digest(1), "failed")
    assert scene.told(ToPieceServer, Unserve) == [Unserve(digest(1))]
    (note,) = scene.took(Note)
    assert f"/out/{NAME}" in note.text


def test_content_shared_from_elsewhere_stays_shared_when_its_removed_download_becomes_complete() -> None:
    scene = with_source(1)
    scene.ask(get())
    scene.ask(ApiRemove(2, NAME))
    scene.done.clear()
    scene.play(scene.core.child_says(finished(), scene.now))
    assert scene.listed[digest(1)].holding == "whole"
    assert scene.told(ToPieceServer, Unserve) == []


def test_a_removed_download_that_became_complete_is_not_the_one_asked_for_since() -> None:
    scene = with_source()
    scene.ask(get())
    scene.ask(ApiRemove(2, NAME))
    scene.ask(ApiGet(3, NAME, "/other", b"", False, False))
    scene.play(scene.core.child_says(finished(), scene.now))
    assert (scene.job().phase, scene.took(SaveItem)) == ("waiting", [])
    scene.play(scene.core.child_says(finished(f"/other/{NAME}"), scene.now))
    assert (scene.job().phase, scene.job().path) == ("done", f"/other/{NAME}")


def test_being_told_twice_that_a_download_is_complete_changes_nothing() -> None:
    scene = with_source()
    scene.ask(get())
    scene.play(scene.core.child_says(finished(), scene.now))
    assert scene.play(scene.core.child_says(finished(), scene.now)) == []
    assert scene.listed[digest(1)].holding == "whole"


def test_downloads_are_taken_up_again_at_the_start() -> None:
    scene = Scene(downloads=[FETCH]).up()
    scene.hello("downloader", 6)
    assert scene.told(ToDownloader, Fetch) == [FETCH]
    assert scene.listed[digest(1)].holding == "requesting"
    assert (scene.job().phase, scene.job().path) == ("waiting", f"/out/{NAME}")


ITEM_AT_DEST = item(1, f"/out/{NAME}")
FORCED = msgspec.structs.replace(FETCH, force=True, seed_path="/seeds/1")


def test_a_foreground_peer_takes_up_no_download_but_that_which_is_asked_for() -> None:
    scene = Scene(downloads=[FORCED], foreground=True).up()
    assert (scene.told(ToDownloader, Fetch), scene.listed) == ([], {})
    job = scene.job()
    assert (job.phase, job.name, job.path, job.link) == ("interrupted", NAME, f"/out/{NAME}", format_link(LINK))
    scene.ask(get(format_link(LINK)))
    (fetch,) = scene.told(ToDownloader, Fetch)
    assert (fetch.dest, fetch.seed_path, fetch.force) == (f"/out/{NAME}", "/seeds/1", False)
    assert [job.phase for job in scene.status().jobs] == ["waiting"]


def test_what_this_run_was_asked_for_goes_on_with_its_force_and_the_rest_without() -> None:
    other = Fetch(digest(2), digest(1_002), "other", 100, "/out/other", "/seeds/2", True, False)
    scene = Scene(downloads=[FORCED, other], asked=[FORCED.dest]).up()
    scene.hello("downloader", 6)
    assert [(fetch.name, fetch.force) for fetch in scene.told(ToDownloader, Fetch)] == [(NAME, True), ("other", False)]
    scene = Scene(downloads=[FORCED, other], asked=[FORCED.dest], foreground=True).up()
    scene.hello("downloader", 6)
    assert [(fetch.name, fetch.force) for fetch in scene.told(ToDownloader, Fetch)] == [(NAME, True)]


def test_content_that_is_asked_for_elsewhere_does_not_go_on_where_it_was_interrupted() -> None:
    scene = Scene(downloads=[FETCH], foreground=True).up()
    scene.ask(get(format_link(LINK), "/other"))
    superseded = msgspec.structs.replace(FETCH, superseded=True)
    assert [saved.download for saved in scene.took(SaveDownload)][1:] == [superseded]
    assert [fetch.dest for fetch in scene.told(ToDownloader, Fetch)] == [f"/other/{NAME}"]
    restarted = Scene(downloads=[superseded]).up()
    restarted.hello("downloader", 6)
    assert (restarted.told(ToDownloader, Fetch), restarted.job().phase) == ([], "interrupted")


@pytest.mark.parametrize("named", [NAME, digest(1), f"blake3:{short(digest(1))}"])
def test_an_interrupted_download_can_be_removed(named: str) -> None:
    scene = Scene(downloads=[FORCED], foreground=True).up()
    scene.ask(ApiRemove(2, named))
    assert scene.told(ToDownloader, DeleteFetch) == [DeleteFetch(digest(1), f"/out/{NAME}", "/seeds/1")]
    assert scene.took(ForgetDownload) == [ForgetDownload(f"/out/{NAME}")]
    assert scene.status().jobs == []


def test_a_foreground_peer_shares_nothing_but_what_it_is_asked_for() -> None:
    scene = Scene([item(1), item(2)], foreground=True, asked=["/data/file 2"]).up()
    assert list(scene.listed) == [digest(2)]
    assert [shared.digest for shared in scene.status().shared] == [digest(2)]
    scene.ask(ApiRemove(2, "file 1"))
    assert scene.took(ForgetItem) == [ForgetItem("/data/file 1")]


def test_a_foreground_peer_that_is_asked_for_what_it_has_shares_it() -> None:
    scene = Scene([ITEM_AT_DEST], foreground=True).up()
    scene.ask(get(format_link(LINK)))
    scene.play(scene.core.item_checked(ITEM_AT_DEST, "", scene.now))
    assert (scene.job().phase, scene.listed[digest(1)].holding) == ("done", "whole")
    elsewhere = Scene([item(1)], foreground=True).up()
    elsewhere.ask(get(format_link(LINK)))
    assert elsewhere.listed[digest(1)].holding == "whole"
    assert len(elsewhere.told(ToDownloader, Fetch)) == 1


def test_what_cannot_be_remembered_is_not_begun() -> None:
    scene = with_source()
    scene.full = True
    scene.ask(get())
    job = scene.job()
    assert (job.phase, job.code) == ("failed", "disk")
    assert "the disk is full" in job.detail
    assert (scene.told(ToDownloader, Fetch), scene.listed) == ([], {})
    scene.full = False
    scene.ask(get())
    assert len(scene.told(ToDownloader, Fetch)) == 1


def test_of_two_contents_for_one_path_the_second_is_refused_before_it_is_fetched() -> None:
    other = Link(digest(2), digest(1_002), NAME, 100)
    forced = ApiGet(3, format_link(other), "/out", b"", True, False)
    scene = with_source()
    scene.ask(get(digest(1)))
    scene.ask(forced)
    assert (scene.job().phase, scene.job().code) == ("failed", "usage")
    scene.play(scene.core.child_says(finished(), scene.now))
    scene.ask(forced)
    job = scene.job()
    assert (job.phase, job.code) == ("failed", "usage"), "it would replace what the same command has just got"
    assert all(text in job.detail for text in (f"/out/{NAME}", short(digest(1)), short(digest(2))))
    assert [fetch.digest for fetch in scene.told(ToDownloader, Fetch)] == [digest(1)]
    scene.play(scene.core.api_says(b"another command", forced, scene.now))
    assert [fetch.digest for fetch in scene.told(ToDownloader, Fetch)] == [digest(2)]


def test_where_the_manifest_is_kept_is_remembered() -> None:
    scene = with_source()
    scene.ask(get())
    scene.took(SaveDownload)
    scene.full = True  # it has begun: that cannot end it
    scene.play(scene.core.child_says(DownloadStarted(digest(1), "/seeds/1", digest(1_001), 100), scene.now))
    assert [saved.download.seed_path for saved in scene.took(SaveDownload)] == ["/seeds/1"]
    assert scene.job().phase == "waiting"
    scene.told(ToDownloader, Fetch)
    scene.hello("downloader", 6)
    assert [fetch.seed_path for fetch in scene.told(ToDownloader, Fetch)] == ["/seeds/1"]


def test_getting_the_same_twice_joins_the_download_and_elsewhere_waits_for_it() -> None:
    scene = with_source()
    scene.ask(get())
    scene.ask(get())
    assert len(scene.told(ToDownloader, Fetch)) == 1
    scene.ask(get(directory="/other"))
    waiting = f"the same content is being downloaded to /out/{NAME} first"
    assert (scene.job().phase, scene.job().detail) == ("waiting", waiting)
    assert scene.told(ToDownloader, Fetch) == []
    scene.play(scene.core.child_says(finished(), scene.now))
    assert [job.phase for job in scene.status().jobs] == ["done", "done", "waiting"]
    assert [fetch.dest for fetch in scene.told(ToDownloader, Fetch)] == [f"/other/{NAME}"]
    scene.play(scene.core.child_says(finished(f"/other/{NAME}"), scene.now))
    assert [job.phase for job in scene.status().jobs] == ["done", "done", "done"]


def test_what_waits_for_a_download_to_another_place_begins_when_that_fails_and_ends_when_all_is_removed() -> None:
    scene = with_source()
    scene.ask(get())
    scene.ask(get(directory="/other"))
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "no space"), scene.now))
    assert [fetch.dest for fetch in scene.told(ToDownloader, Fetch)][1:] == [f"/other/{NAME}"]
    scene.ask(get(directory="/third"))
    scene.ask(ApiRemove(2, NAME))
    assert scene.told(ToDownloader, Fetch) == []
    assert [job.code for job in scene.status().jobs] == ["disk", "cancelled", "cancelled"]


def test_who_joins_a_download_that_stands_still_sees_how_far_it_is() -> None:
    scene = with_source()
    scene.ask(get())
    scene.play(scene.core.child_says(report(), scene.now))
    scene.ask(get())
    job = scene.job()
    assert (job.job, job.phase, job.done_bytes, job.download) == (2, "downloading", 50, report())


def test_what_stands_at_the_destination_already_is_looked_at_and_done() -> None:
    scene = with_source(1)
    scene.ask(get(digest(1), "/data"))
    scene.play(scene.core.child_says(finished("/data/model.bin"), scene.now))
    scene.ask(get(digest(1), "/data"))
    (check,) = scene.took(CheckItem)
    scene.play(scene.core.item_checked(check.item, "", scene.now))
    assert scene.job().phase == "done"
    scene.told(ToDownloader, Fetch)
    scene.ask(get(digest(1), "/data"))
    scene.took(CheckItem)
    scene.play(scene.core.item_checked(check.item, "it was deleted", scene.now))
    assert len(scene.told(ToDownloader, Fetch)) == 1


def test_content_this_peer_has_elsewhere_may_come_from_itself() -> None:
    scene = with_source(1)
    scene.ask(get(digest(1), "/out"))
    assert len(scene.told(ToDownloader, Fetch)) == 1
    assert [question.peer for question in scene.questions if isinstance(question, GetSeederList)] == [""]
    assert scene.listed[digest(1)].holding == "whole"
    scene.play(scene.core.child_says(DownloadStarted(digest(1), "/s", digest(1_001), 100), scene.now))
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "full"), scene.now))
    assert scene.listed[digest(1)].holding == "whole"


def test_removing_an_item_keeps_its_download_announced() -> None:
    scene = with_source(1)
    scene.ask(get(digest(1), "/out"))
    scene.play(scene.core.child_says(ContentChanged(digest(1), item(1).path, "it grew"), scene.now))
    assert scene.listed[digest(1)].holding == "requesting"


def test_the_roster_makes_newcomers_and_losses_known_at_once() -> None:
    scene = with_source()
    scene.ask(get())
    scene.told(ToDownloader, Sources)
    newcomer = SeederEntry("q", "new", "tcp://h:2", False)

    def say(event: RosterEvent) -> None:
        scene.play(scene.core.roster_says(0, Roster(3, scene.core.trackers.all[0].follower.seq + 1, event), scene.now))

    say(SourceAdded(digest(1), "q", "new", "tcp://h:2", False))
    assert scene.told(ToDownloader, Sources) == [Sources(digest(1), [newcomer])]
    say(SourceRemoved(digest(1), "q"))
    say(PeerLeft("p", True))
    assert scene.told(ToDownloader, SourceLost) == [SourceLost("q", digest(1)), SourceLost("p", "")]


def test_a_gap_in_the_roster_and_need_both_mean_asking_again() -> None:
    scene = with_source()
    scene.ask(get())
    scene.pass_time(0.5)
    scene.questions.clear()
    scene.play(scene.core.child_says(NeedSources(digest(1)), scene.now))
    assert len(scene.questions) == 1
    gone = PeerLeft("z", False)
    scene.play(scene.core.roster_says(0, Roster(3, scene.core.trackers.all[0].follower.seq + 5, gone), scene.now))
    scene.pass_time(1.3)
    assert len(scene.questions) == 2


def test_leaving_pauses_downloads_and_stop_ends_the_peer() -> None:
    scene = with_source()
    scene.ask(get())
    scene.ask(ApiLeave(2))
    assert scene.told(ToDownloader, Pause) == [Pause(True)]
    scene.ask(ApiJoin(3))
    assert scene.told(ToDownloader, Pause) == [Pause(False)]
    assert scene.listed[digest(1)].holding == "requesting"
    scene.status()
    scene.ask(ApiStop(4))
    assert scene.reply(ApiDone) == ApiDone(4)
    assert scene.took(Stop) == [Stop()]


def test_lists_are_a_lookups_answer_or_an_error_within_seconds() -> None:
    scene = with_source()
    scene.ask(ApiList(1, NAME))
    assert scene.reply(ApiListReply) == ApiListReply(1, False, [THERE], WALL + scene.now)
    scene.ask(ApiPeers(2))
    assert scene.reply(ApiPeersReply) == ApiPeersReply(2, False, [])
    scene.reachable = False
    scene.ask(ApiList(3, ""))
    scene.pass_time(7)
    refusal = scene.reply(ApiError)
    assert (refusal.id, refusal.code) == (3, "network")
    assert "tcp://tracker:5550" in refusal.detail


@pytest.mark.parametrize(
    ("tracker_host", "listed", "told"),
    [
        ("10.0.0.9", "tcp://*:1", "tcp://10.0.0.9:1"),
        ("[fd00::9]", "tcp://*:1", "tcp://[fd00::9]:1"),
        ("127.0.0.1", "tcp://*:1", "tcp://127.0.0.1:1"),
        ("10.0.0.9", "tcp://10.0.0.7:1", "tcp://10.0.0.7:1"),
        ("127.0.0.1", "tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
        ("10.0.0.9", "tcp://127.0.0.1:1", "tcp://127.0.0.1:1 of another machine"),
    ],
)
def test_sources_are_at_addresses_that_can_be_dialled_from_here(tracker_host: str, listed: str, told: str) -> None:
    scene = with_source()
    scene.core.registrar_connected(0, tracker_host, scene.now)
    scene.seeders[:] = [SeederEntry("p", "other", listed, True)]
    scene.ask(get())
    (sources,) = scene.told(ToDownloader, Sources)
    assert [seeder.endpoint for seeder in sources.seeders] == [told]


@pytest.mark.parametrize(
    "listed", [f"tcp://127.0.0.1:{'9' * 240}", f"tcp://*:{'9' * 248}", f"tcp://[::1%{'a' * 240}]:1"]
)
def test_whatever_a_tracker_says_of_an_address_the_downloader_can_read(listed: str) -> None:
    scene = with_source()
    scene.core.registrar_connected(0, "10.200.200.200", scene.now)
    scene.seeders[:] = [SeederEntry("p", "other", listed, True)]
    scene.ask(get())
    (sources,) = scene.told(ToDownloader, Sources)
    assert Decoder(AgentToDownloader, LOCAL_BYTES_MAX).decode(encode(sources, LOCAL_BYTES_MAX)) == sources


def test_a_downloader_that_has_not_said_a_word_to_this_run_of_the_agent_is_the_reason_why_nothing_goes_on() -> None:
    scene = Scene(downloads=[FETCH], asked=[FETCH.dest])
    scene.hello("piece_server", port=9)
    scene.pass_time(15.0)
    (told,) = [beat.downloads for beat in scene.beats if beat.downloads][-1]
    assert (told.state, told.reason) == ("waiting", "no news from the downloader for over 10 s")
