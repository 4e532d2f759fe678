"""One download against scripted sources that send more pieces at a time than usual, because messages take long."""

from __future__ import annotations

import pytest

from node.downloader.claims import CLAIMS_BUSY_COUNT, CLAIMS_COUNT_MAX, CLAIMS_SHARED_COUNT
from protocol.limits import MIB
from tests.node.downloader.scene import Scene, wants


def is_full_with(scene: Scene, name: str, count: int) -> None:
    """So many offers of ``name`` are accepted, and no more."""
    for piece in range(count):
        scene.accepts(name, piece)
    assert scene.refuses(name, count) == "full"


@pytest.mark.parametrize(
    ("at_once", "owed"),
    [
        (0, CLAIMS_SHARED_COUNT),
        (2 * CLAIMS_BUSY_COUNT, 2 * CLAIMS_SHARED_COUNT),
        (10 * CLAIMS_COUNT_MAX, 8 * CLAIMS_SHARED_COUNT),
        (2**53, 8 * CLAIMS_SHARED_COUNT),
    ],
)
def test_a_single_source_may_owe_what_it_sends_at_a_time_and_as_many_again(at_once: int, owed: int) -> None:
    """But no more than eight times the usual, whatever it says."""
    scene = Scene(" " * 200)
    scene.spare = True
    scene.at_once = at_once
    scene.ready("a")
    is_full_with(scene, "a", owed)


def test_of_sources_that_send_more_more_is_accepted_and_who_was_refused_hears_when_one_claim_has_ended() -> None:
    """Some of it is on its way, and each piece has a smaller part of their uplinks."""
    scene = Scene(" " * 40)
    scene.at_once = 2 * CLAIMS_BUSY_COUNT
    names = [f"p{number}" for number in range(2 * CLAIMS_BUSY_COUNT + 1)]
    scene.ready(*names)
    offers = [scene.accepts(name, piece) for piece, name in enumerate(names[:-1])]
    assert scene.refuses(names[-1], 30) == "full"
    assert scene.sessions[names[-1]] in wants(scene.piece(names[0], offers[0], 0))


def test_what_was_accepted_counts_as_it_did_then() -> None:
    """Or a source that sends fewer at a time from one moment on would keep all others from sending anything."""
    scene = Scene(" " * 60)
    scene.at_once = 8 * CLAIMS_BUSY_COUNT
    names = [f"p{number}" for number in range(4)]
    scene.spare = True
    scene.ready(*names)
    for piece in range(2 * CLAIMS_SHARED_COUNT):
        scene.accepts("p0", piece)
    scene.at_once = 0
    scene.offer("p0", 50)
    for piece, name in enumerate(names[1:], 20):
        scene.accepts(name, piece)


def test_of_long_pieces_one_download_does_not_take_the_memory_of_all() -> None:
    """However many a source says that it sends, half of it stays for other downloads."""
    scene = Scene(" " * 60, piece_bytes=4 * MIB)
    scene.spare = True
    scene.at_once = 6 * CLAIMS_BUSY_COUNT
    scene.ready("a")
    is_full_with(scene, "a", CLAIMS_SHARED_COUNT)


def test_who_may_owe_several_is_asked_again_before_it_owes_nothing() -> None:
    scene = Scene(" " * 200)
    names = [f"p{number}" for number in range(2 * CLAIMS_SHARED_COUNT)]
    scene.at_once = 4 * CLAIMS_BUSY_COUNT
    scene.spare = True
    scene.ready(*names)
    offers = [scene.accepts("p0", piece) for piece in range(4)]
    assert scene.refuses("p0", 100) == "full"
    scene.piece("p0", offers[0], 0)
    assert scene.sessions["p0"] in wants(scene.piece("p0", offers[1], 1))
