"""The agent core: content that rotted, mended from the network; and audits, which look for it. Stories."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from node.agent.effects import HashPath, Note, SaveItem, ToDownloader, ToPieceServer
from node.agent.library import LibraryItem
from node.api_messages import ApiAccepted, ApiAudit, ApiDone, ApiError, ApiGet, ApiRemove, ApiShare, JobStatus
from node.local_messages import (
    ContentChanged,
    DownloadFailed,
    DownloadFinished,
    DownloadReport,
    DownloadStarted,
    Fetch,
    Mend,
    Serve,
    StopFetch,
)
from tests.node.agent.scene import Scene, digest, item

PATH = "/data/file 1"
ROT = "2 pieces of 7, the first piece 3"


def rotten(scene: Scene, number: int = 1) -> None:
    """A read finds ``item(number)`` wrong, and hashing it that nobody wrote to it."""
    path = item(number).path
    scene.play(scene.core.child_says(ContentChanged(digest(number), path, "piece 3 differs"), scene.now))
    (order,) = scene.took(HashPath)
    other = replace(item(90 + number, path), stamps=item(number).stamps)
    assert order.before is not None
    scene.play(scene.core.hashed(path, other, scene.now, rotted=ROT))


def mend_of(it: LibraryItem) -> Mend:
    return Mend(it.digest, it.manifest, it.name, it.length, it.path, it.seed_path, it.stamps)


def downloaded(number: int = 1) -> LibraryItem:
    return item(number, origin="downloaded")


def report(scene: Scene, phase: str = "downloading", done: int = 5) -> None:
    said = DownloadReport(digest(1), phase, 100, 7, done, 80, 0, 0, 80, 0.0, [], "")  # type: ignore[arg-type]
    scene.play(scene.core.child_says(said, scene.now))


def started(scene: Scene) -> None:
    it = item(1)
    scene.play(scene.core.child_says(DownloadStarted(it.digest, it.seed_path, it.manifest, it.length), scene.now))


def finished(scene: Scene) -> None:
    it = item(1)
    done = DownloadFinished(it.digest, it.manifest, it.length, it.path, it.seed_path, b"mended", scene.now, "", True)
    scene.play(scene.core.child_says(done, scene.now))


def mends(scene: Scene) -> list[JobStatus]:
    return [job for job in scene.status().jobs if job.kind == "mend"]


def test_what_was_downloaded_and_rots_is_mended_and_meanwhile_served_in_part() -> None:
    scene = Scene([downloaded()]).up()
    rotten(scene)
    assert scene.listed == {}
    assert scene.told(ToDownloader, Mend) == [mend_of(downloaded())]
    started(scene)
    assert scene.listed[digest(1)].holding == "partial"
    report(scene)
    (shown,) = scene.status().shared
    assert (shown.state, shown.detail) == ("damaged", "rotted: 2 pieces of 7, being fetched again")
    scene.took(Note), scene.told(ToPieceServer, Serve)
    finished(scene)
    (shown,) = scene.status().shared
    assert (shown.state, shown.origin) == ("", "downloaded")
    assert scene.listed[digest(1)].holding == "whole"
    assert [serve.stamps for serve in scene.told(ToPieceServer, Serve)] == [b"mended"]
    assert "mended file 1" in scene.took(Note)[0].text
    (job,) = mends(scene)
    assert (job.phase, job.detail) == ("done", "mended; rotted: 2 pieces of 7")


def test_what_a_person_shares_is_mended_only_when_they_say_so() -> None:
    scene = Scene([item(1)]).up()
    rotten(scene)
    assert scene.told(ToDownloader, Mend) == []
    scene.pass_time(1_000)
    assert scene.told(ToDownloader, Mend) == []
    scene.ask(ApiAudit(2, "file 1", PATH, repair=True))
    assert scene.reply(ApiAccepted).job
    assert scene.told(ToDownloader, Mend) == [mend_of(item(1))]
    report(scene)
    finished(scene)
    assert (scene.status().shared[0].state, scene.core.catalogue.items()[0].origin) == ("", "shared")


def test_to_have_it_mended_once_allows_nothing_later() -> None:
    scene = Scene([item(1)]).up()
    rotten(scene)
    scene.ask(ApiAudit(2, "file 1", PATH, repair=True))
    scene.ask(ApiRemove(6, "file 1"))
    scene.pass_time(1)
    scene.play(scene.core.settle(scene.core.catalogue.add(item(1)), scene.now))
    scene.told(ToDownloader, Mend), scene.took(HashPath)
    rotten(scene)
    scene.pass_time(1_000)
    assert scene.told(ToDownloader, Mend) == []


@pytest.mark.parametrize("since", ["somebody wrote to it", "it was right again"])
def test_nor_does_it_once_the_mend_has_failed_and_the_file_has_changed(since: str) -> None:
    scene = Scene([item(1)]).up()
    rotten(scene)
    scene.ask(ApiAudit(2, "file 1", PATH, repair=True))
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "cannot mend it: not allowed"), scene.now))
    assert len(scene.told(ToDownloader, Mend)) == 1
    now = item(2, PATH) if since == "somebody wrote to it" else item(1)
    scene.play(scene.core.hashed(PATH, now, scene.now))
    assert scene.status().shared[0].state == ""
    scene.play(scene.core.child_says(ContentChanged(now.digest, PATH, "piece 3 differs"), scene.now))
    other = replace(item(91, PATH), stamps=now.stamps)
    scene.play(scene.core.hashed(PATH, other, scene.now, rotted=ROT))
    assert (scene.status().shared[0].state, scene.status().shared[0].digest) == ("damaged", now.digest)
    scene.pass_time(1_000)
    assert scene.told(ToDownloader, Mend) == []


def test_a_restart_of_either_process_takes_it_up_again() -> None:
    damaged = replace(downloaded(), state="damaged", detail="rotted: 2 pieces", since=5.0)
    scene = Scene([damaged])
    scene.hello("downloader")
    assert mend_of(downloaded()) in scene.told(ToDownloader, Mend)
    scene.hello("downloader", 6)
    assert scene.told(ToDownloader, Mend) == [mend_of(downloaded())]


def test_what_is_damaged_stays_so_while_its_disk_is_away_and_when_it_is_back() -> None:
    damaged = replace(downloaded(), state="damaged", detail="rotted: 2 pieces", since=5.0)
    scene = Scene([damaged]).up()
    shares, path = scene.core.shares, damaged.path
    scene.play(scene.core.settle(shares.missing(path, "it is gone", 10.0), 10.0))
    scene.play(scene.core.settle(shares.back(path, 20.0), 20.0))
    assert [item.state for item in scene.status().shared] == ["damaged"]


def test_what_cannot_be_mended_stays_damaged_says_why_and_is_tried_again() -> None:
    scene = Scene([downloaded()]).up()
    rotten(scene)
    scene.told(ToDownloader, Mend)
    started(scene)
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "cannot mend it: not allowed"), scene.now))
    assert scene.listed == {}
    (shown,) = scene.status().shared
    assert shown.detail == "rotted; it cannot be mended now: cannot mend it: not allowed"
    scene.pass_time(299)
    assert scene.told(ToDownloader, Mend) == []
    scene.pass_time(2)
    assert len(scene.told(ToDownloader, Mend)) == 1
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "cannot mend it: not allowed"), scene.now))
    scene.ask(ApiAudit(2, "file 1", PATH, repair=True))
    assert len(scene.told(ToDownloader, Mend)) == 1, "a person does not wait for that"


def test_it_gives_way_to_a_download_of_the_same_content_and_goes_on_after_it() -> None:
    scene = Scene([downloaded()]).up()
    rotten(scene)
    scene.told(ToDownloader, Mend)
    link = scene.core.catalogue.items()[0]
    target = f"zswarm://{link.digest}/{link.manifest}/100/file%201"
    scene.ask(ApiGet(5, target, "/elsewhere", b"", False, False))
    said = [effect.message for effect in scene.took(ToDownloader)]
    kinds = [type(message) for message in said if isinstance(message, StopFetch | Fetch)]
    assert kinds == [StopFetch, Fetch]
    scene.pass_time(5)
    assert scene.told(ToDownloader, Mend) == []
    scene.ask(ApiRemove(6, "file 1"))
    scene.pass_time(2)
    assert scene.told(ToDownloader, Mend) == [mend_of(downloaded())]


def test_what_is_shared_no_longer_is_mended_no_longer() -> None:
    scene = Scene([downloaded()]).up()
    rotten(scene)
    scene.ask(ApiRemove(6, "file 1"))
    scene.pass_time(1)
    scene.play(scene.core.tick(scene.now))
    assert scene.told(ToDownloader, StopFetch) == [StopFetch(digest(1))]
    assert mends(scene)[0].code == "cancelled"


# --- audits ----------------------------------------------------------------------------------------------


def audit(scene: Scene, name: str = "", rate: float = 10.0) -> HashPath | None:
    scene.ask(ApiAudit(1, name, "", rate))
    scene.reply(ApiAccepted)
    orders = scene.took(HashPath)
    return orders[0] if orders else None


def test_an_audit_reads_one_item_after_another_and_changes_nothing_where_all_is_right() -> None:
    scene = Scene([item(1), item(2)]).up()
    order = audit(scene)
    assert order == HashPath(PATH, "blake3", "shared", None, background=True, before=item(1), rate=10.0)
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    (order,) = scene.took(HashPath)
    scene.play(scene.core.hashed(order.path, item(2), scene.now))
    job = scene.job()
    assert (job.phase, job.done_bytes, job.problems) == ("done", 200, [])
    assert job.detail == "2 items, 200 B, read; no problems"
    assert scene.took(SaveItem) == []


def test_an_audit_names_what_is_wrong_and_reads_on() -> None:
    scene = Scene([item(1), item(2), replace(item(3), state="missing", detail="it is not there")]).up()
    audit(scene)
    scene.play(scene.core.hashed(PATH, replace(item(91, PATH), stamps=item(1).stamps), scene.now, rotted=ROT))
    (order,) = scene.took(HashPath)
    scene.play(scene.core.hash_failed(order.path, "disk", "cannot be read", scene.now))
    job = scene.job()
    assert (job.phase, job.code) == ("failed", "verification")
    assert [problem.partition(": ")[2].partition(";")[0] for problem in job.problems] == [
        f"damaged: rotted: {ROT}",
        "cannot be read",
        "missing: it is not there",
    ]


def test_a_person_who_waits_for_one_item_does_not_wait_for_an_audit_of_all() -> None:
    scene = Scene([item(1), item(2)]).up()
    audit(scene)
    order = audit(scene, "file 2", 0.0)
    assert order is not None
    assert (order.path, order.background) == (item(2).path, False)
    scene.ask(ApiAudit(3, "nothing of that name"))
    assert scene.reply(ApiError).code == "not_found"


def test_what_is_being_hashed_for_another_reason_is_read_after_that() -> None:
    """Nothing is read of what looks as it did when it was hashed."""
    scene = Scene([item(1)]).up()
    scene.ask(ApiShare(7, PATH, "blake3"))
    scene.reply(ApiAccepted)
    (shared,) = scene.took(HashPath)
    assert shared.known is not None
    assert audit(scene, "file 1", 0.0) is None
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    (order,) = scene.took(HashPath)
    assert (order.known, order.rate) == (None, 0.0)
    scene.play(scene.core.hashed(PATH, replace(item(91, PATH), stamps=item(1).stamps), scene.now, rotted=ROT))
    (job,) = [job for job in scene.status().jobs if job.kind == "audit"]
    assert (job.phase, job.code) == ("failed", "verification")


def test_what_is_to_be_hashed_again_meanwhile_is_read_after_that() -> None:
    """What was read is not believed then."""
    scene = Scene([item(1)]).up()
    audit(scene)
    scene.ask(ApiShare(7, PATH, "blake3"))
    scene.play(scene.core.hashed(PATH, replace(item(91, PATH), stamps=item(1).stamps), scene.now, rotted=ROT))
    assert [order.known for order in scene.took(HashPath)] == [item(1)]
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    assert [order.rate for order in scene.took(HashPath)] == [10.0]


def in_doubt(scene: Scene) -> JobStatus:
    """A read finds the item wrong, and a person wants it repaired before it has been hashed again."""
    scene.play(scene.core.child_says(ContentChanged(digest(1), PATH, "piece 3 differs"), scene.now))
    assert len(scene.took(HashPath)) == 1
    scene.ask(ApiAudit(1, "file 1", "", 0.0, repair=True))
    scene.reply(ApiAccepted)
    assert scene.took(HashPath) == []
    return scene.job()


def test_what_is_in_doubt_is_mended_if_it_turns_out_to_have_rotted() -> None:
    scene = Scene([item(1)]).up()
    assert in_doubt(scene).phase == "checking"
    scene.play(scene.core.hashed(PATH, replace(item(91, PATH), stamps=item(1).stamps), scene.now, rotted=ROT))
    (job,) = [job for job in scene.status().jobs if job.kind == "audit"]
    assert (job.code, job.problems[0].startswith(f"{PATH}: damaged: rotted")) == ("verification", True)
    assert scene.told(ToDownloader, Mend) == [mend_of(item(1))]


def test_what_is_in_doubt_is_read_once_it_was_right_or_named_with_the_reason() -> None:
    scene = Scene([item(1)]).up()
    in_doubt(scene)
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    (order,) = scene.took(HashPath)
    assert order.rate == 0.0
    scene = Scene([item(1)]).up()
    in_doubt(scene)
    scene.play(scene.core.hash_failed(PATH, "disk", "cannot read it: Input/output error", scene.now))
    assert scene.job().problems == [f"{PATH}: changed: cannot read it: Input/output error"]


def test_after_a_stop_an_audit_reads_anew() -> None:
    scene = Scene([item(1)]).up()
    audit(scene)
    scene.ask(ApiAudit(2, stop=True))
    scene.reply(ApiDone)
    assert audit(scene) is None
    scene.play(scene.core.hash_failed(PATH, "cancelled", "hashing was stopped", scene.now))
    assert len(scene.took(HashPath)) == 1
    scene.play(scene.core.hashed(PATH, item(1), scene.now))
    assert scene.job().phase == "done"


def test_audits_are_stopped() -> None:
    scene = Scene([item(1)]).up()
    audit(scene)
    scene.ask(ApiAudit(2, stop=True))
    assert scene.reply(ApiDone).detail == "stopped 1 audit"
    scene.play(scene.core.hash_failed(PATH, "cancelled", "hashing was stopped", scene.now))
    assert scene.job().code == "cancelled"
    assert audit(scene) is not None


def test_the_library_is_given_again_what_it_could_not_take() -> None:
    scene = Scene([downloaded()]).up()
    rotten(scene)
    report(scene)
    scene.took(SaveItem)
    scene.full = True
    finished(scene)
    assert len(scene.took(SaveItem)) == 1
    scene.pass_time(20)
    assert len(scene.took(SaveItem)) == 4
    assert len([note for note in scene.took(Note) if note.level == "error"]) == 1, "said once"
    scene.full = False
    scene.pass_time(5)
    (saved,) = scene.took(SaveItem)
    assert saved.item.stamps == b"mended"
    scene.pass_time(60)
    assert scene.took(SaveItem) == []
