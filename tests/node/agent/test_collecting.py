"""``gc`` in the agent: what is in use, of all that it knows."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from msgspec.structs import replace

from node.agent.effects import CollectSeeds, ToDownloader
from node.agent.library import ItemState
from node.api_messages import ApiCollect, ApiCollected, ApiError, ApiShare
from node.local_messages import Collect, Collected, Fetch, SwarmUpload, Unused, UploadReport
from tests.node.agent.scene import Scene, digest, item

UNUSED = Unused("download", "/o/.x.part", 5)


def download(number: int, superseded: bool = False) -> Fetch:
    place = f"/got/{number}"
    return Fetch(digest(number), digest(1_000 + number), str(number), 100, place, "", False, False, superseded)


def hexes(*numbers: int) -> set[str]:
    return {f"{1_000 + number:064x}" for number in numbers}


def asked(scene: Scene, dry_run: bool = False) -> Collect:
    scene.ask(ApiCollect(7, dry_run))
    (order,) = scene.told(ToDownloader, Collect)
    return order


def answered(scene: Scene, answer: Collected) -> CollectSeeds:
    scene.play(scene.core.child_says(answer, scene.now))
    (effect,) = scene.took(CollectSeeds)
    return effect


def test_items_and_downloads_of_all_runs_are_in_use() -> None:
    scene = Scene(
        [item(1), item(2)], [download(3), download(4, superseded=True)], foreground=True, asked=["/data/file 1"]
    )
    order = asked(scene.up(), dry_run=True)
    assert order.dry_run
    assert order.used == [(digest(3), "/got/3"), (digest(4), "/got/4")]
    seeds = answered(scene, Collected(order.tag, [UNUSED], [], ["/seeds/left.seed"]))
    assert seeds.used == hexes(1, 2, 3, 4) | {"left"}
    assert (seeds.removed, len(seeds.left)) == ([UNUSED], 0)


def test_earlier_content_is_in_use_as_long_as_somebody_fetches_it() -> None:
    scene = Scene([item(1)]).up()
    uploads = UploadReport([SwarmUpload(digest(1), 0, 1)], 0, 0, 0)
    scene.play(scene.core.child_says(uploads, scene.now))
    scene.play(scene.core.settle(scene.core.catalogue.add(item(2, "/data/file 1"), keep_earlier=True), scene.now))
    assert answered(scene, Collected(asked(scene).tag, [], [], [])).used == hexes(1, 2)


@pytest.mark.parametrize("state", ["damaged", "changed", "missing"])
def test_notes_of_what_is_being_mended_or_not_served_are_in_use(state: ItemState) -> None:
    """A mend may have been killed while it wrote, and the file cannot be read, or is gone for now."""
    rotten = replace(item(2, origin="downloaded"), state="damaged")
    scene = Scene([item(1), rotten, replace(item(3), state=state)]).up()
    scene.play(scene.core.hash_failed(item(3).path, "disk", "cannot read it: Input/output error", scene.now))
    assert list(scene.core.mends.digests) == [digest(2)]
    used = answered(scene, Collected(asked(scene).tag, [], [], [])).used
    assert used == hexes(1, 2, 3) | {f"{number:064x}" for number in (2, 3)}


def test_while_something_is_hashed_seeds_stay() -> None:
    scene = Scene().up()
    scene.ask(ApiShare(1, "/data/new", "blake3"))
    order = asked(scene)
    scene.done.clear()
    scene.play(scene.core.child_says(Collected(order.tag, [UNUSED], [UNUSED], []), scene.now))
    reply = scene.reply(ApiCollected)
    assert (reply.id, reply.removed) == (7, [UNUSED])
    assert [PurePosixPath(text.split()[0]).name for text in reply.left] == [".x.part", "seeds:"]


def test_what_a_downloader_did_not_answer_the_next_is_told() -> None:
    scene = Scene().up()
    order = asked(scene)
    scene.hello("downloader", instance=6)
    assert scene.told(ToDownloader, Collect) == [order]
    scene.play(scene.core.child_says(Collected(order.tag, [], [], [], "disk", "no journal"), scene.now))
    assert scene.reply(ApiError).detail == "no journal"
    scene.play(scene.core.child_says(Collected(order.tag, [], [], []), scene.now))
    assert scene.took(CollectSeeds) == []
