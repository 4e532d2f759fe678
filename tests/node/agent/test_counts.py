"""What monitoring counts, as the agent knows it."""

from __future__ import annotations

from msgspec.structs import replace

from node.agent.effects import ReplyApi
from node.api_messages import ApiGetStatus, PeerCounts, StatusReport
from node.local_messages import Bottleneck, DownloadFailed, DownloadReport, DownloadTotals, Fetch, Hello
from tests.node.agent.scene import Scene, digest, item


def counts(scene: Scene) -> PeerCounts:
    (effect,) = scene.play(scene.core.api_says(b"route", ApiGetStatus(1, [], counts=True), scene.now))
    assert isinstance(effect, ReplyApi)
    assert isinstance(effect.reply, StatusReport)
    assert effect.reply.counts is not None
    return effect.reply.counts


def says(scene: Scene, instance: int, totals: DownloadTotals) -> None:
    scene.play(scene.core.child_says(Hello("downloader", instance, 77, totals=totals), scene.now))


def interrupted(number: int) -> Fetch:
    return Fetch(digest(number), digest(1_000 + number), "f", 100, f"/got/{number}", f"/seeds/{number}", False, False)


def test_they_are_there_only_if_they_are_asked_for() -> None:
    scene = Scene().up()
    (effect,) = scene.play(scene.core.api_says(b"route", ApiGetStatus(1, []), scene.now))
    assert isinstance(effect, ReplyApi)
    assert isinstance(effect.reply, StatusReport)
    assert effect.reply.counts is None


def test_totals_go_on_when_the_downloader_is_started_again() -> None:
    scene = Scene().up()
    says(scene, 5, DownloadTotals(100, 10, 1, 1))
    says(scene, 5, DownloadTotals(150, 15, 1, 1))
    says(scene, 6, DownloadTotals())
    says(scene, 6, DownloadTotals(7, 1, 0, 0))
    assert counts(scene).totals == DownloadTotals(157, 16, 1, 1)


def test_items_are_counted_by_state() -> None:
    scene = Scene([item(1), item(2), replace(item(3), state="damaged")]).up()
    assert counts(scene).shared == {"": 2, "damaged": 1}


def test_downloads_are_counted_by_phase_while_they_run_and_once_when_they_end() -> None:
    scene = Scene(downloads=[interrupted(1), interrupted(2)]).up()
    slow = Bottleneck("disk", "the disk is slow")
    for number, phase in ((1, "downloading"), (2, "paused")):
        report = DownloadReport(digest(number), phase, 100, 10, 5, 50, 0, 50, 0, 9.0, [], "", bottleneck=slow)  # type: ignore[arg-type]
        scene.play(scene.core.child_says(report, scene.now))
    found = counts(scene)
    assert found.downloads == {"downloading": 1, "paused": 1, "interrupted": 0}
    assert (found.rate, found.held_back, found.ended) == (18.0, {"disk": 2}, {})
    scene.play(scene.core.child_says(DownloadFailed(digest(1), "disk", "it broke"), scene.now))
    found = counts(scene)
    assert (found.downloads["paused"], found.ended) == (1, {"failed": 1})
