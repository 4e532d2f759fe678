"""`node.downloader.job_report`: what a person is told of a download."""

from __future__ import annotations

import pytest

from node.downloader.download import CHECK_SECONDS
from node.downloader.job_report import REPORTED_COUNT_MAX, SourceReports, ranges, waiting_for
from node.downloader.source import RETRY_SECONDS_MAX
from protocol.limits import TEST_TIMEOUT_SECONDS
from protocol.messages import Error, Status
from tests.node.downloader.scene import Scene, entry


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([], ""),
        ([4], "4"),
        ([0, 1, 2], "0-2"),
        ([3, 7, 8, 9, 12], "3, 7-9, 12"),
        ([0, 2, 3, 9], "0, 2-3, ..."),
    ],
)
def test_pieces_are_named_by_ranges(pieces: list[int], text: str) -> None:
    assert ranges(pieces, 3 if pieces[:1] == [3] else 2) == text


def test_a_download_says_which_pieces_nobody_has() -> None:
    scene = Scene("........")
    assert waiting_for(scene.download.pool, scene.download) == "no peer has it at the moment; waiting for one"
    scene.found("a")
    assert waiting_for(scene.download.pool, scene.download) == "", "what is wrong with it is told in its own report"
    scene.ready("a", having="*..*.*..")
    assert waiting_for(scene.download.pool, scene.download) == "nobody has 5 of 8 pieces; waiting for 1-2, 4, 6-7"
    scene.ready("b")
    assert waiting_for(scene.download.pool, scene.download) == ""


def standings(scene: Scene) -> dict[str, tuple[str, str]]:
    reports, more = SourceReports().make(scene.download.pool, scene.download.received_from, scene.now)
    assert more == 0
    return {report.peer: (report.state, report.reason) for report in reports}


def test_each_source_says_how_it_is_with_it() -> None:
    scene = Scene("   ")
    scene.ready("good", "liar")
    scene.found("dialled", "refused", "moved", "without", "away", "mute", "other")
    scene.lost("refused")
    for name, state in (("moved", "other_peer"), ("without", "no"), ("away", "later")):
        scene.connected(name)
        scene.says(name, Status(scene.sessions[name], state))  # type: ignore[arg-type]
    scene.connected("other")
    scene.says("other", Error(0, "bad_message", "Test is no message for a registrar"))
    scene.not_held("liar", 99)
    assert standings(scene) == {
        "good": ("connected", ""),
        "liar": ("banned", "took back a piece that does not exist"),
        "refused": ("unreachable", "refused"),
        "moved": ("other_peer", ""),
        "without": ("no_content", ""),
        "away": ("not_serving", ""),
        "other": ("no_peer", "Test is no message for a registrar"),
        "dialled": ("connecting", ""),
        "mute": ("connecting", ""),
    }
    scene.wait(TEST_TIMEOUT_SECONDS + CHECK_SECONDS, answering=["good"])
    assert standings(scene)["mute"] == ("unreachable", "no answer")


def test_a_reason_stays_until_there_is_another_answer() -> None:
    """Or it would be told and taken back with every attempt."""
    scene = Scene("   ")
    scene.found("a")
    scene.lost("a")
    for _ in range(20):
        if scene.source("a") is not None:
            assert standings(scene) == {"a": ("unreachable", "refused")}
            scene.lost("a")
        scene.wait(1.0)
    scene.wait(RETRY_SECONDS_MAX)
    scene.connected("a")
    assert standings(scene) == {"a": ("unreachable", "refused")}
    scene.status("a")
    assert standings(scene) == {"a": ("connected", "")}


def test_who_is_no_longer_listed_and_of_no_use_is_not_spoken_of() -> None:
    scene = Scene("   ")
    scene.ready("a")
    scene.found("b")
    scene.lost("b")
    scene.download.found([entry("a")], scene.now)
    assert "b" in standings(scene), "a hint names only some"
    scene.download.found([entry("a")], scene.now, listed=2)
    assert "b" in standings(scene), "so does a sample"
    scene.download.found([], scene.now, listed=0)
    assert standings(scene) == {"a": ("connected", "")}


def test_those_that_a_person_asks_about_come_first_and_many_others_are_left_out() -> None:
    scene = Scene("   ", checked=False)
    scene.ready("a")
    scene.piece("a", 0)
    scene.found(*[f"s{number}" for number in range(REPORTED_COUNT_MAX + 9)])
    lost, sent = [name for name in scene.sessions if name != "a"][:2]
    scene.lost(lost)
    reports, more = SourceReports().make(scene.download.pool, {sent: 5}, scene.now)
    assert [report.peer for report in reports[:3]] == ["a", sent, lost]
    assert (len(reports), more) == (REPORTED_COUNT_MAX, 10)
