"""`node.downloader.bottleneck`: what holds a download back, from a few counters."""

from __future__ import annotations

import pytest

from node.downloader.bottleneck import Gauge, Measured, Waits, bottleneck
from node.local_messages import SourceReport
from protocol.limits import MIB
from tests.node.downloader.scene import Scene


def source(name: str, rate: float, on_way: int = 0) -> SourceReport:
    return SourceReport(name, name, "tcp://a:1", "connected", "", 1, rate * MIB, 8, on_way)


def measured(**changes: object) -> Measured:
    facts: dict[str, object] = {
        "shares": {"rate_limit": 0.0, "disk": 0.0, "sources": 1.0},
        "hashing": 0.0,
        "writing": 0.0,
        "busy": 0.0,
        "rate_limit": 0.0,
        "sources": [],
    }
    return Measured(**(facts | changes))  # type: ignore[arg-type]


DISK = {"rate_limit": 0.0, "disk": 0.9, "sources": 0.1}
ONE = [source("a", 2, 3)]
THREE = [source("a", 2, 3), source("b", 4, 1), source("c", 0)]


@pytest.mark.parametrize(
    ("facts", "kind", "text"),
    [
        (
            measured(shares={"rate_limit": 0.97, "disk": 0.0, "sources": 0.03}, rate_limit=5.0 * MIB, sources=ONE),
            "rate_limit",
            "this peer's download limit of 5.0 MiB/s held it back 97 % of the time",
        ),
        (
            measured(shares=DISK, hashing=0.1, writing=1.9),
            "disk",
            "pieces waited to be verified and written 90 % of the time; 5 % of the work was hashing, 95 % writing",
        ),
        (
            measured(shares=DISK, hashing=1.5, writing=0.5),
            "hashing",
            "pieces waited to be verified and written 90 % of the time; 75 % of the work was hashing, 25 % writing",
        ),
        (measured(shares=DISK), "disk", "pieces waited to be verified and written 90 % of the time"),
        (
            measured(sources=ONE, busy=0.98),
            "one_source",
            "waits for its only source, a (2.0 MiB/s): it had pieces on their way 98 % of the time",
        ),
        (
            measured(sources=THREE, busy=2.04),
            "sources",
            "waits for its 3 sources: 2.0 had pieces on their way on average, the fastest was b (4.0 MiB/s)",
        ),
        (
            measured(sources=[source("a", 0.5, 1), source("b", 0), source("c", 0)], busy=1.1),
            "one_source",
            "waits for a (512.0 KiB/s); nothing is on its way from 2 other sources",
        ),
        (
            measured(sources=[source("a", 0), source("b", 0)]),
            "sources",
            "nothing was on its way from any of its 2 sources",
        ),
        (measured(), "no_sources", "no source has answered"),
        (measured(nobody="no peer has it"), "no_sources", "no peer has it"),
        (measured(nobody="nobody has 2 pieces", sources=[source("a", 0)]), "missing_pieces", "nobody has 2 pieces"),
        (
            measured(nobody="nobody has 2 pieces", sources=ONE, busy=1.0),
            "one_source",
            "waits for its only source, a (2.0 MiB/s): it had pieces on their way 100 % of the time",
        ),
    ],
)
def test_one_sentence_says_what_holds_it_back_and_how_that_is_known(facts: Measured, kind: str, text: str) -> None:
    found = bottleneck(facts)
    assert (found.kind, found.text) == (kind, text)


def test_causes_are_shares_of_the_last_seconds() -> None:
    waits, gauge = Waits(), Gauge()
    for second in range(10):
        waits.note("disk" if second < 5 else "sources", float(second))
        found = gauge.read(waits, (second * 0.5, second * 1.5), 0.0, [source("a", 1, 1)], "", float(second))
        if second == 4:
            assert found.shares == {"rate_limit": 0.0, "disk": 1.0, "sources": 0.0}
    assert found.shares == {"rate_limit": 0.0, "disk": 0.0, "sources": 1.0}
    assert (found.hashing, found.writing, found.busy) == (0.5, 1.5, 1.0)


def seconds(scene: Scene) -> dict[str, float]:
    return {cause: round(seconds, 3) for cause, seconds in scene.download.waits.seconds.items()}


def test_a_source_whose_credit_the_rate_holds_back_waits_for_the_rate() -> None:
    scene = Scene("." * 8, rate=100)
    scene.ready("a")
    scene.piece("a", 0)
    assert scene.credit("a") == 0
    scene.tick(0.5)
    assert seconds(scene) == {"rate_limit": 0.5, "disk": 0.0, "sources": 0.0}
    scene.tick(0.5)
    assert scene.credit("a") == 1
    scene.tick(1.0)
    assert seconds(scene) == {"rate_limit": 1.0, "disk": 0.0, "sources": 1.0}


def test_time_in_which_sources_may_send_is_theirs_and_a_pause_is_nobodys() -> None:
    scene = Scene("." * 8)
    scene.ready("a")
    for _ in range(4):
        scene.tick(0.25)
    assert seconds(scene) == {"rate_limit": 0.0, "disk": 0.0, "sources": 1.0}
    scene.download.pause(scene.now)
    scene.tick(0.0)
    scene.tick(9.0)
    assert seconds(scene) == {"rate_limit": 0.0, "disk": 0.0, "sources": 1.0}


def test_when_all_has_come_what_is_left_waits_for_the_disk() -> None:
    scene = Scene("**...")
    scene.ready("a")
    for piece in (2, 3, 4):
        scene.piece("a", piece)
    scene.tick(2.0)
    assert seconds(scene)["disk"] == 2.0
