"""The agent core: of what is signed by nobody who is believed nothing is taken, as stories."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from node.agent.announced import AnnouncedList, ToldList
from node.agent.effects import CheckItem, HashPath, SaveItem, StoreSeed, ToDownloader
from node.agent.library import LibraryItem
from node.agent.meant import NEWER_MAY_COME
from node.api_messages import ApiAccepted, ApiFollow, ApiGet, ApiShare, Following, JobStatus
from node.local_messages import DownloadFailed, DownloadFinished, DownloadStarted, Fetch
from node.trust import signers_of
from protocol.codec import encode
from protocol.limits import ALIASES_COUNT_MAX, CONTROL_BYTES_MAX, FORGED_COUNT_MAX, SIGNATURES_KEPT_COUNT_MAX
from protocol.link import Link, format_link
from protocol.messages import ANEW, Alias, Entry, GetTorrentList, Order, OrderEntry, TorrentEntry
from protocol.signature import format_key, moment_of, public_key, sign, split_signatures
from tests.node.agent.scene import EPOCH, Scene, digest, item

ALICE, MALLORY = b"a" * 32, b"m" * 32
KEY, MALLORYS = format_key(public_key(ALICE)), format_key(public_key(MALLORY))
NAME = "model.bin"
PATH = f"/out/{NAME}"
STARTED = EPOCH * 1_000
"""When the tracker did, in microseconds."""


def content(number: int, name: str = NAME) -> Link:
    return Link(digest(number), digest(1_000 + number), name, 100)


def listed(number: int, moment: int = 0, secret: bytes = ALICE, announced: int = 0, have: int = 1) -> TorrentEntry:
    """Content ``number``, signed unless ``moment`` is 0."""
    signature = sign(secret, content(number), moment) if moment else b""
    return TorrentEntry(NAME, 100, digest(number), digest(1_000 + number), have, 0, 0, announced, signature)


def get(scene: Scene, target: str = NAME, by: tuple[str, ...] = (KEY,), **more: Any) -> list[int]:
    """The numbers of the contents whose download begins."""
    scene.ask(ApiGet(1, target, "/out", more.pop("seed", b""), more.pop("force", False), False, signed_by=by, **more))
    scene.reply(ApiAccepted)
    return begun(scene)


def begun(scene: Scene) -> list[int]:
    return [int(fetch.digest[-4:], 16) for fetch in scene.told(ToDownloader, Fetch)]


def ends(scene: Scene, number: int) -> LibraryItem:
    """The download of content ``number`` is over; the item that it became."""
    scene.play(scene.core.child_says(DownloadStarted(digest(number), "/seeds/1", digest(1_000 + number), 100), 0))
    done = DownloadFinished(digest(number), digest(1_000 + number), 100, PATH, f"/seeds/{number}", b"new", scene.now)
    scene.play(scene.core.child_says(done, scene.now))
    found = scene.core.catalogue.at(PATH)
    assert found is not None
    return found


def refused(scene: Scene) -> JobStatus:
    job = scene.job()
    assert (job.phase, job.code) == ("failed", "signature"), job
    return job


# --- get -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "announced"),
    [(STARTED - 5, STARTED + 5), (STARTED - 5, 0), (STARTED + 5, STARTED - 5)],
    ids=["announced again", "wanted by others", "the signer's clock is ahead"],
)
def test_a_name_waits_for_what_the_key_may_have_signed_later_while_a_restarted_tracker_may_not_list_it(
    moment: int, announced: int
) -> None:
    scene = Scene().up()
    scene.settling = True
    scene.others[:] = [listed(1, moment, announced=announced)]
    assert get(scene) == []
    assert (scene.job().phase, scene.job().detail) == ("resolving", NEWER_MAY_COME)
    scene.others.append(listed(2, moment + 1, announced=STARTED - 9))
    scene.settling = False
    scene.pass_time(1)
    assert begun(scene) == [2]


def test_what_the_key_has_signed_since_a_tracker_started_is_the_newest() -> None:
    scene = Scene().up()
    scene.settling = True
    scene.others[:] = [listed(1, STARTED + 5, announced=STARTED + 6, have=0)]
    assert get(scene) == [1]


def test_a_name_means_what_the_key_signed_last_and_the_signature_is_passed_on() -> None:
    scene = Scene().up()
    scene.others[:] = [
        listed(1, 10, announced=99, have=9),
        listed(2, 20, announced=1),
        listed(3, announced=100),
        listed(4, 30, MALLORY, announced=101),
    ]
    assert get(scene) == [2]
    assert scene.job().signed_by == [KEY]
    assert [name.signature for name in scene.listed[digest(2)].names()] == [listed(2, 20).signature]
    assert ends(scene, 2).signatures == listed(2, 20).signature
    assert scene.listed[digest(2)].signature == listed(2, 20).signature
    assert scene.took(SaveItem)[-1].item.signatures == listed(2, 20).signature


def test_an_older_content_that_is_signed_again_is_the_newest_whoever_still_lists_its_first_signature() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 10), listed(2, 20), listed(1, 30)]
    assert get(scene) == [1]
    assert scene.job().signed_by == [KEY]


def test_without_keys_too_what_was_announced_again_is_the_newest() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 10, announced=1), listed(2, announced=2), listed(1, announced=3)]
    assert get(scene, by=()) == [1]


def test_the_newest_is_waited_for_even_if_nobody_has_it_yet() -> None:
    """Otherwise whoever stops a seeder, or says that it is gone, could make others take what was signed before."""
    scene = Scene().up()
    scene.others[:] = [listed(1, 10), listed(2, 20, have=0)]
    assert get(scene) == [2]


def test_what_nobody_believed_has_signed_is_refused() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1), listed(4, 30, MALLORY)]
    assert get(scene) == []
    assert "not signed by ed25519:" in refused(scene).detail
    assert get(scene, by=(KEY, MALLORYS)) == [4]


def test_while_the_tracker_may_not_know_all_it_is_asked_again() -> None:
    scene = Scene().up()
    scene.settling = True
    scene.others[:] = [listed(1)]
    assert get(scene) == []
    assert scene.job().phase == "resolving"
    scene.others.append(listed(2, STARTED + 5))
    scene.pass_time(1.0)
    assert begun(scene) == [2]


def test_what_is_not_there_at_all_is_not_found() -> None:
    scene = Scene().up()
    assert get(scene) == []
    assert scene.job().code == "not_found"


@pytest.mark.parametrize("target", [digest(1), digest(1)[:25], format_link(content(1))])
def test_digests_and_links_need_a_signature_too(target: str) -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1)]
    assert get(scene, target) == []
    refused(scene)
    scene.others.append(listed(1, 7))
    assert get(scene, target) == [1]


def test_a_link_under_another_name_than_the_signed_one_is_refused() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 7)]
    assert get(scene, format_link(content(1, "other.bin"))) == []
    refused(scene)


def test_a_link_to_another_manifest_than_the_signed_one_is_refused() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 7)]
    assert get(scene, format_link(Link(digest(1), digest(6), NAME, 100))) == []
    refused(scene)


def test_a_signature_of_another_name_digest_or_manifest_counts_for_nothing() -> None:
    scene = Scene().up()
    good = listed(1, 7)
    scene.others[:] = [
        msgspec.structs.replace(listed(2), signature=good.signature),
        msgspec.structs.replace(good, manifest=digest(6)),
        msgspec.structs.replace(good, length=101),
        msgspec.structs.replace(listed(5), signature=sign(ALICE, content(5, "another name"), 9)),
        msgspec.structs.replace(listed(6), signature=good.signature[:-1]),
        msgspec.structs.replace(listed(7), signature=good.signature[:32] + (99).to_bytes(8, "big") + bytes(64)),
    ]
    assert get(scene) == []
    refused(scene)
    scene.others.append(good)
    assert get(scene) == [1]


def test_a_flood_of_false_signatures_is_an_error_and_not_a_standstill() -> None:
    scene = Scene().up()
    false = public_key(ALICE) + (50).to_bytes(8, "big") + bytes(64)
    scene.others[:] = [msgspec.structs.replace(listed(n), signature=false) for n in range(FORGED_COUNT_MAX + 10)]
    scene.others.append(listed(9_000, 7))
    assert get(scene) == []
    assert "is flooding" in refused(scene).detail
    assert get(scene, format_link(content(9_000))) == [9_000]


def test_a_seed_brings_its_signature_along() -> None:
    scene = Scene().up()
    signature = listed(1, 7).signature
    assert get(scene, "m.seed", seed=b"seed", name=NAME, signatures=signature) == []
    (request,) = scene.took(StoreSeed)
    scene.play(scene.core.seed_stored(request.job, content(1), "/seeds/1", scene.now))
    assert begun(scene) == [1]
    assert get(scene, "n.seed", seed=b"seed", name=NAME, signatures=sign(MALLORY, content(2), 7)) == []
    (request,) = scene.took(StoreSeed)
    scene.play(scene.core.seed_stored(request.job, content(2), "/seeds/2", scene.now))
    assert begun(scene) == []
    assert scene.job().code == "signature"


def test_what_is_here_already_with_another_manifest_is_not_taken_for_it() -> None:
    here = msgspec.structs.replace(item(1, PATH, "downloaded"), manifest=digest(6))
    scene = Scene([here]).up()
    scene.others[:] = [listed(1, 7)]
    assert get(scene) == [1]


def test_it_does_not_join_a_download_of_another_manifest() -> None:
    scene = Scene().up()
    hostile = msgspec.structs.replace(listed(1), manifest=digest(6))
    scene.others[:] = [hostile]
    assert get(scene, by=()) == [1]
    scene.others.append(listed(1, 7))
    assert get(scene) == []
    assert scene.job().phase == "waiting"
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "network", "it is gone"), scene.now))
    (fetch,) = scene.told(ToDownloader, Fetch)
    assert (fetch.manifest, fetch.signatures) == (digest(1_001), listed(1, 7).signature)


def by_digest(scene: Scene, *manifests: int) -> None:
    """A download of content 1 begins, which lists have under these ``manifests``, the first listed longest."""
    scene.others[:] = [
        msgspec.structs.replace(listed(1), manifest=digest(manifest), announced=number + 1)
        for number, manifest in enumerate(manifests)
    ]
    assert get(scene, digest(1), by=()) == [1]


def test_a_download_that_is_joined_stays_at_the_signed_manifest() -> None:
    scene = Scene().up()
    by_digest(scene, 1_001, 6)
    scene.others.append(listed(1, 7))
    assert get(scene) == []
    scene.pass_time(60.0)
    assert begun(scene) == []


def test_another_manifest_has_not_the_signature_of_the_first() -> None:
    scene = Scene().up()
    by_digest(scene, 1_001, 6)
    scene.others.append(listed(1, 7))
    job = scene.core.gets.digests[digest(1)]
    assert job.signatures == b""
    scene = Scene().up()
    scene.others[:] = [msgspec.structs.replace(listed(1), manifest=digest(6), announced=9), listed(1, 7, announced=1)]
    assert get(scene, digest(1), by=()) == [1]
    assert scene.core.gets.digests[digest(1)].signatures == listed(1, 7).signature
    scene.pass_time(15.0)
    (fetch,) = scene.told(ToDownloader, Fetch)
    assert (fetch.manifest, fetch.signatures) == (digest(6), b"")


def test_what_was_complete_under_a_manifest_that_was_given_up_is_not_taken_for_the_signed_one() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 7)]
    assert get(scene) == [1]
    late = DownloadFinished(digest(1), digest(6), 100, PATH, "/seeds/6", b"late", scene.now)
    scene.play(scene.core.child_says(late, scene.now))
    assert scene.job().phase == "waiting"
    here = scene.core.catalogue.at(PATH)
    assert here is not None
    assert (here.manifest, here.signatures) == (digest(6), b"")
    assert ends(scene, 1).signatures == listed(1, 7).signature
    assert scene.job().phase == "done"


def test_a_copy_that_is_here_gets_the_signature_too() -> None:
    scene = Scene([item(1, PATH, "downloaded")]).up()
    scene.others[:] = [listed(1, 7)]
    assert get(scene) == []
    (check,) = scene.took(CheckItem)
    scene.play(scene.core.item_checked(check.item, "", scene.now))
    assert (scene.job().phase, scene.job().signed_by) == ("done", [KEY])
    assert scene.listed[digest(1)].signature == listed(1, 7).signature
    assert scene.took(SaveItem)[-1].item.signatures == listed(1, 7).signature


def test_what_this_peer_knows_to_be_signed_needs_no_tracker() -> None:
    scene = Scene([msgspec.structs.replace(item(1, f"/a/{NAME}"), signatures=listed(1, 7).signature)]).up()
    scene.reachable = False
    assert get(scene, format_link(content(1))) == [1]


def test_a_download_that_is_joined_gets_the_signature() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1)]
    assert get(scene, by=()) == [1]
    scene.others.append(listed(1, 7))
    assert get(scene) == []
    assert ends(scene, 1).signatures == listed(1, 7).signature
    assert [job.phase for job in scene.status().jobs] == ["done", "done"]


def test_whoever_believes_everybody_passes_signatures_on_all_the_same() -> None:
    scene = Scene().up()
    by_many = [listed(1, 7 + n, bytes([n]) * 32) for n in range(1, 2 * ALIASES_COUNT_MAX)]
    forged = msgspec.structs.replace(listed(1), signature=listed(2, 7).signature)
    scene.others[:] = [listed(1), forged, *by_many]
    assert get(scene, by=()) == [1]
    kept = split_signatures(ends(scene, 1).signatures)
    assert len(kept) == SIGNATURES_KEPT_COUNT_MAX
    assert set(kept) <= {entry.signature for entry in by_many}
    assert [name.signature for name in scene.listed[digest(1)].names()] == kept


# --- the configuration -----------------------------------------------------------------------------------


def test_with_keys_in_the_configuration_every_get_needs_one() -> None:
    scene = Scene(signed_by=(KEY,)).up()
    scene.others[:] = [listed(1), listed(4, 30, MALLORY)]
    assert get(scene, by=()) == []
    refused(scene)
    assert get(scene, by=(MALLORYS,)) == []
    assert scene.job().code == "usage"
    scene.others.append(listed(2, 3))
    assert get(scene, by=()) == [2]


def test_orders_of_others_need_one_too() -> None:
    scene = Scene(signed_by=(KEY,), rollouts="/rollouts")
    orders = [Order(f"o{n}", digest(n), digest(1_000 + n), NAME, 100, directory=f"d{n}") for n in (1, 2)]
    scene.ordered = [OrderEntry("boss", "the boss", order) for order in orders]
    scene.others[:] = [listed(1), listed(2, 7)]
    scene.up()
    scene.pass_time(1.0)
    assert begun(scene) == [2]
    assert [(job.phase, job.code) for job in scene.status().jobs][:1] == [("failed", "signature")]


def test_a_restart_goes_on_only_with_what_is_still_allowed() -> None:
    signed = sign(ALICE, content(1), 7)
    fetches = [
        Fetch(digest(1), digest(1_001), NAME, 100, "/a/model.bin", "/seeds/1", False, False, signatures=signed),
        Fetch(digest(2), digest(1_002), NAME, 100, "/b/model.bin", "/seeds/2", False, False),
    ]
    assert begun(Scene(downloads=fetches, signed_by=(KEY,), asked=["/a/model.bin", "/b/model.bin"])) == []
    scene = Scene(downloads=fetches, signed_by=(KEY,))
    scene.hello("downloader")
    assert begun(scene) == [1]
    assert [job.phase for job in scene.status().jobs if job.digest == digest(2)] == ["interrupted"]


# --- follow ----------------------------------------------------------------------------------------------


def follow(scene: Scene, by: tuple[str, ...] = (KEY,)) -> None:
    scene.ask(ApiFollow(1, Following(NAME, "/out", signed_by=by)))


def test_following_a_key_goes_by_what_it_signed_and_never_back() -> None:
    scene = Scene().up()
    scene.others[:] = [listed(1, 10), listed(3, announced=50), listed(4, 99, MALLORY, announced=51)]
    follow(scene)
    assert begun(scene) == [1]
    assert all(question.pattern == NAME for question in scene.questions if isinstance(question, GetTorrentList))
    ends(scene, 1)
    scene.others[:] = [listed(2, 9, announced=1_000), listed(1, 10, announced=2)]
    scene.pass_time(200.0)
    follow(scene)
    assert begun(scene) == []
    scene.took(CheckItem)
    scene.others[:] = [listed(2, 9, announced=1_000)]
    scene.pass_time(200.0)
    follow(scene)
    assert scene.took(CheckItem) == []
    here = msgspec.structs.replace(item(1, PATH, "downloaded"), signatures=listed(1, 10).signature)
    scene = Scene([msgspec.structs.replace(here, state="missing")]).up()
    scene.others[:] = [listed(2, 9, announced=1_000)]
    follow(scene)
    assert scene.took(CheckItem) == []
    scene = Scene([here]).up()
    scene.others[:] = [listed(2, 11, announced=1)]
    follow(scene)
    assert len(scene.took(CheckItem)) == 1


def test_a_followed_content_that_is_signed_again_has_the_later_signature() -> None:
    scene = Scene([msgspec.structs.replace(item(1, PATH, "downloaded"), signatures=listed(1, 10).signature)]).up()
    scene.others[:] = [listed(1, 30), listed(2, 20)]
    follow(scene)
    assert scene.took(CheckItem) == []
    assert scene.took(SaveItem)[-1].item.signatures == listed(1, 30).signature
    assert scene.listed[digest(1)].signature == listed(1, 30).signature


def test_keys_of_the_configuration_hold_for_what_is_followed() -> None:
    scene = Scene(signed_by=(KEY,), follow=(Following(NAME, "/out"),)).up()
    scene.others[:] = [listed(3, announced=50), listed(4, 99, MALLORY, announced=51)]
    scene.pass_time(100.0)
    assert begun(scene) == []
    scene.others.append(listed(1, 10))
    scene.pass_time(100.0)
    assert begun(scene) == [1]


def test_what_an_earlier_run_left_unsigned_is_not_gone_on_with_instead() -> None:
    """Where something else stands that is not known."""
    left = Fetch(digest(3), digest(1_003), NAME, 100, PATH, "/seeds/3", True, False)
    scene = Scene(downloads=[left], signed_by=(KEY,), follow=(Following(NAME, "/out"),)).up()
    scene.others[:] = [listed(1, 10), listed(3)]
    scene.pass_time(70.0)
    (check,) = scene.took(CheckItem)
    scene.play(scene.core.item_checked(check.item, "it changed", scene.now))
    assert begun(scene) == [1]


# --- share -----------------------------------------------------------------------------------------------


def share(scene: Scene, found: LibraryItem, signature: bytes = b"") -> JobStatus:
    scene.ask(ApiShare(1, found.path, "blake3", signature=signature))
    scene.reply(ApiAccepted)
    for request in scene.took(HashPath):
        scene.play(scene.core.hashed(request.path, found, scene.now))
    return scene.job()


def test_what_is_shared_is_announced_with_the_signature_and_without_it_again() -> None:
    scene, here = Scene().up(), item(1)
    assert share(scene, here).phase == "done"
    assert scene.listed[digest(1)].signature == b""
    signature = sign(ALICE, here, 7)
    job = share(scene, here, signature)
    assert (job.phase, job.signed_by) == ("done", [KEY])
    assert scene.listed[digest(1)].signature == signature
    assert scene.listed[digest(1)].announced == ANEW  # the name means this now
    kept = scene.core.catalogue.at(here.path)
    assert kept is not None
    assert signers_of(kept.signatures) == [KEY]
    assert share(scene, kept).signed_by == [KEY]
    job = share(scene, kept, sign(MALLORY, here, 3))
    assert job.signed_by == [KEY, MALLORYS]
    assert len(scene.listed[digest(1)].names()) == 2


def test_a_later_signature_by_the_same_key_takes_the_place_of_the_earlier() -> None:
    scene, here = Scene().up(), item(1)
    share(scene, here, sign(ALICE, here, 7))
    share(scene, here, sign(ALICE, here, 8))
    assert [moment_of(name.signature) for name in scene.listed[digest(1)].names()] == [8]


def test_content_that_changes_is_not_signed_any_more() -> None:
    scene, here = Scene().up(), item(1)
    share(scene, here, sign(ALICE, here, 7))
    changed = msgspec.structs.replace(item(2), path=here.path, name=here.name)
    assert share(scene, changed).signed_by == []
    assert scene.listed[digest(2)].signature == b""


def test_a_signature_of_what_was_there_before_fails_and_is_not_announced() -> None:
    scene, here = Scene().up(), item(1)
    share(scene, here)
    changed = msgspec.structs.replace(item(2), path=here.path, name=here.name)
    job = share(scene, changed, sign(ALICE, here, 7))
    assert (job.phase, job.code) == ("failed", "signature")
    assert scene.listed[digest(2)].signature == b""


def test_a_share_that_waits_for_the_tracker_takes_its_signature() -> None:
    scene, here = Scene().up(), item(1)
    scene.reachable = False
    assert share(scene, here).phase == "waiting"
    signature = sign(ALICE, here, 7)
    assert share(scene, here, signature).phase == "waiting"
    assert scene.core.catalogue.signatures_of(here) == signature
    assert share(scene, here, sign(ALICE, item(2), 8)).code == "signature"
    assert scene.core.catalogue.signatures_of(here) == signature


def test_an_entry_has_as_many_names_as_fit() -> None:
    """However many paths the content is at, and by however many keys each of them is signed."""
    copies = []
    for number in range(ALIASES_COUNT_MAX):
        copy = item(1, f"/data/{number}")
        signatures = b"".join(sign(bytes([key]) * 32, copy, 7) for key in range(3))
        copies.append(msgspec.structs.replace(copy, signatures=signatures))
    scene = Scene(copies).up()
    assert len(scene.listed[digest(1)].names()) == ALIASES_COUNT_MAX + 1


def test_pages_of_signed_names_fit_a_message() -> None:
    listed_names = AnnouncedList()
    told = ToldList(listed_names, "p" * 64, b"t" * 64)
    for number in range(200):
        names = (digest(number), digest(number), "ü" * 127)
        aliases = tuple(Alias("é" * 127, digest(number), 2**52, b"s" * 104) for _ in range(number % 16))
        listed_names.set(Entry(*names, 2**42, "requesting", aliases, 2**52, b"s" * 104))
    told.snapshot()
    page, offset, last = 0, 0, False
    while not last:
        message, offset = told.page(2**32, 2**52, 2**32, page, offset)
        page, last = page + 1, message.last
        assert len(encode(message, CONTROL_BYTES_MAX)) <= CONTROL_BYTES_MAX
    assert offset == 200
