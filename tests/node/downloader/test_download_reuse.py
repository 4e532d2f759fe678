"""One download of which some pieces are read from other content of this machine."""

from __future__ import annotations

from node.downloader.credit import CREDIT_COUNT
from node.downloader.download import Completed, Gained, Write
from node.downloader.source import Send
from protocol.messages import Follow, Get, Received
from tests.node.downloader.scene import PIECE_BYTES, Scene, asked, cancelled, sent
from tests.node.scene_pictures import bits


def aside(have: str, *pieces: int) -> Scene:
    """``pieces`` of those missing in ``have`` are read from the disk."""
    scene = Scene(have, started=False)
    scene.download.pieces.set_aside(pieces)
    scene.start()
    return scene


def test_no_source_is_to_send_what_is_read_from_the_disk() -> None:
    scene = aside("    ", 0, 1)
    scene.found("a")
    scene.connected("a")
    assert scene.status("a") == [Send(1, Follow(1, bits("**  ").to_bytes(), CREDIT_COUNT))]
    assert sorted(asked(scene.idle("a"))[1]) == [2, 3]
    assert scene.open() == "    "


def test_what_was_read_is_gained_like_any_other_piece_and_completes_the_download() -> None:
    scene = aside("*  ", 1, 2)
    assert scene.written(1) == [Gained(1, relay=False)]
    assert scene.written(2) == [Gained(2, relay=False), Completed()]
    assert scene.download.pieces.reused_bytes == 2 * PIECE_BYTES - 40
    assert scene.download.received_bytes == 0


def test_what_turns_out_to_be_wrong_or_unreadable_is_asked_for() -> None:
    scene = aside("    ", 0, 1, 2)
    scene.ready("a", idle=True)
    assert asked(scene.piece("a", 3)) == {}
    scene.written(3)
    assert scene.written(0, good=False) == []
    scene.download.write_failed(1)
    scene.written(2)
    effects = scene.wait(1.0)
    assert sorted(asked([*effects, *scene.idle("a")])[1]) == [0, 1]
    for piece in (0, 1):
        scene.piece("a", piece)
        effects = scene.written(piece)
    assert Completed() in effects
    assert scene.download.pieces.reused_bytes == PIECE_BYTES


def test_a_piece_that_comes_while_it_is_read_is_not_written_twice() -> None:
    scene = aside("  ", 0)
    scene.ready("a")
    effects = scene.piece("a", 0)
    assert Write(0) not in effects
    assert [type(message) for message in sent(effects)] == [Received]
    assert scene.written(0) == [Gained(0, relay=False)]


def test_a_source_that_promises_what_is_read_is_told_that_it_need_not_send_it() -> None:
    scene = aside("   ", 0)
    scene.ready("a")
    assert cancelled(scene.piece("a", 1, promised=[0, 2])) == {1: [0]}
    assert scene.owed("a") == [2]


def test_nobody_is_looked_for_while_all_that_is_missing_is_read() -> None:
    scene = aside("*  ", 1, 2)
    assert scene.wait(10.0) == []
    assert scene.download.nobody_has() == []
    assert Get not in [type(message) for message in sent(scene.ready("a", idle=True))]
