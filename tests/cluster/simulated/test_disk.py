"""`cluster.simulated.disk`: what a power cut and time do to what was written."""

from __future__ import annotations

from random import Random

from cluster.simulated.content import make_content
from cluster.simulated.disk import LIBRARY_LOST_SECONDS, TORN, SimulatedDisk
from cluster.simulated.store import SimulatedPartial, SimulatedStore
from node.local_messages import Fetch
from protocol.limits import PIECE_BYTES_MIN

PIECES = 300
CONTENT = make_content("data.bin", PIECES * PIECE_BYTES_MIN)
DEST = "/got/data.bin"


def partly_synced() -> tuple[SimulatedDisk, SimulatedPartial]:
    """The first hundred pieces are synced, the second hundred written."""
    disk = SimulatedDisk(Random(1), {})
    partial = SimulatedStore(disk).open_partial(CONTENT.manifest, DEST, False)
    for piece in range(100):
        partial.write(piece, CONTENT.stand_ins[piece])
    partial.sync()
    for piece in range(100, 200):
        partial.write(piece, CONTENT.stand_ins[piece])
    return disk, partial


def test_what_was_synced_survives_and_the_rest_is_lost_kept_or_torn() -> None:
    disk, partial = partly_synced()
    disk.power_cut(10.0)
    pieces = disk.partials[partial.root].pieces
    assert all(pieces[piece] == CONTENT.stand_ins[piece] for piece in range(100))
    assert all(piece not in pieces for piece in range(200, 300))
    fates = {
        "lost": sum(piece not in pieces for piece in range(100, 200)),
        "kept": sum(pieces.get(piece) == CONTENT.stand_ins[piece] for piece in range(100, 200)),
        "torn": sum(pieces.get(piece, b"").startswith(TORN) for piece in range(100, 200)),
    }
    assert sum(fates.values()) == 100
    assert min(fates.values()) >= 15


def test_what_is_taken_up_after_it_becomes_durable_with_the_next_sync() -> None:
    disk, partial = partly_synced()
    disk.power_cut(10.0)
    again = SimulatedStore(disk).open_partial(CONTENT.manifest, DEST, False)
    again.sync()
    before = dict(disk.partials[partial.root].pieces)
    disk.power_cut(20.0)
    assert disk.partials[partial.root].pieces == before


def test_the_library_loses_its_last_changes_at_most() -> None:
    lost = 0
    for seed in range(20):
        disk = SimulatedDisk(Random(seed), {})
        download = Fetch("d", "m", "n", 1, DEST, "", False, False)
        disk.save_download(download, 1.0)
        disk.forget_download(DEST, 100.0)
        disk.power_cut(100.0 + LIBRARY_LOST_SECONDS / 2)
        assert disk.downloads in ({}, {DEST: download})
        lost += bool(disk.downloads)
    assert 0 < lost < 20
    disk.power_cut(100.0 + 2 * LIBRARY_LOST_SECONDS)


def test_a_flipped_bit_is_known_until_the_piece_is_written_again() -> None:
    disk, partial = partly_synced()
    assert disk.flip_bit(Random(1)).endswith(partial.root)
    ((root, piece),) = disk.flipped
    stored = disk.partials[root]
    assert stored.pieces[piece] == disk.flipped[root, piece] != CONTENT.stand_ins[piece]
    partial.write(piece, CONTENT.stand_ins[piece])
    assert disk.flipped == {}


def test_work_takes_as_long_as_the_disk_needs() -> None:
    disk = SimulatedDisk(Random(1), {}, rate=PIECE_BYTES_MIN)
    partial = SimulatedStore(disk).open_partial(CONTENT.manifest, DEST, False)
    partial.write(0, CONTENT.stand_ins[0])
    partial.write(1, CONTENT.stand_ins[1])
    assert disk.take_seconds() == 2.0
    assert disk.take_seconds() == 0.0
