"""What a download relies on of its disk: the same for the real one and for the simulated one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Protocol

import pytest

from cluster.simulated.content import make_content
from cluster.simulated.disk import SimulatedDisk
from cluster.simulated.store import SimulatedFiles, SimulatedStore
from node.disk.disk_store import DiskStore
from node.disk.errors import ContentChangedError, NotThereError
from node.disk.journal import Journal
from node.disk.layout import Layout
from node.disk.store import PartialContent, Store
from node.piece_server.disk_files import DiskFiles
from node.piece_server.shelf import Files
from protocol.errors import DiskError, NotFoundError
from protocol.limits import PIECE_BYTES_MIN
from protocol.manifest import Manifest, encode_manifest
from tests.node.disk.made_content import made_file

PIECES = 4
LENGTH = (PIECES - 1) * PIECE_BYTES_MIN + 1_000


class Machine(Protocol):
    """A disk, and the content that is to get onto it. ``other`` is other content of the same shape."""

    store: Store
    files: Files
    manifest: Manifest
    other: Manifest
    dest: str

    def piece(self, index: int) -> bytes: ...
    def restart(self) -> None:
        """The processes are killed; new ones use the same disk."""

    def touch(self) -> None:
        """Somebody writes to what stands at ``dest``."""

    def close(self) -> None: ...


class Real:
    def __init__(self, base: Path) -> None:
        self._base = base
        self._made = made_file(LENGTH)
        self.manifest, self.other = self._made.manifest, made_file(LENGTH, seed=2).manifest
        self.dest = str(base / "data.bin")
        self._open()

    def _open(self) -> None:
        self._journal = Journal(self._base)
        self.store: Store = DiskStore(self._base, self._journal)
        self.files: Files = DiskFiles()

    def piece(self, index: int) -> bytes:
        return self._made.piece(index)

    def restart(self) -> None:
        self._journal.close()
        self._open()

    def touch(self) -> None:
        with Path(self.dest).open("r+b") as file:
            file.truncate(LENGTH - 1)

    def close(self) -> None:
        self._journal.close()


class Simulated:
    def __init__(self, base: Path) -> None:
        del base
        self._content = make_content("data.bin", LENGTH)
        self.manifest, self.other = self._content.manifest, make_content("other.bin", LENGTH).manifest
        self.dest = "/got/data.bin"
        self.disk = SimulatedDisk(Random(1), {})
        self.restart()

    def piece(self, index: int) -> bytes:
        return self._content.stand_ins[index]

    def restart(self) -> None:
        self.store: Store = SimulatedStore(self.disk)
        self.files: Files = SimulatedFiles(self.disk)

    def touch(self) -> None:
        assert self.disk.rewrite(self.dest, Random(1))

    def close(self) -> None:
        pass


@pytest.fixture(params=[Real, Simulated])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    made: Callable[[Path], Machine] = request.param
    one = made(tmp_path)
    yield one
    one.close()


def opened(machine: Machine, manifest: Manifest | None = None) -> PartialContent:
    return machine.store.open_partial(manifest or machine.manifest, machine.dest, False)


def write(machine: Machine, partial: PartialContent, *pieces: int) -> None:
    for piece in pieces:
        partial.write(piece, machine.piece(piece))


def read(partial: PartialContent, piece: int) -> bytes:
    return b"".join(bytes(chunk) for chunk in partial.chunks(partial.layout.spans(piece), bytearray(1 << 20)))


def never() -> bool:
    return False


def matches(machine: Machine, manifest: Manifest | None = None) -> bool:
    return machine.store.existing_matches(machine.dest, manifest or machine.manifest, lambda _: None, never)


def test_what_was_written_is_read_and_before_that_nothing_is_there(machine: Machine) -> None:
    partial = opened(machine)
    assert not partial.resumed
    with pytest.raises(NotThereError):
        read(partial, 1)
    write(machine, partial, 1)
    assert read(partial, 1) == machine.piece(1)
    partial.discard()


def test_a_sync_tells_each_piece_once(machine: Machine) -> None:
    partial = opened(machine)
    write(machine, partial, 2, 0)
    assert partial.sync() == [2, 0]
    assert partial.sync() == []
    write(machine, partial, 1)
    assert partial.sync() == [1]
    partial.discard()


def test_pieces_of_other_content_are_read_as_far_as_they_are_there(machine: Machine) -> None:
    def found(pieces: list[int]) -> list[bytes | None]:
        read = machine.store.read_pieces(machine.manifest, Layout(machine.manifest), machine.dest, pieces)
        return [None if data is None else bytes(data) for data in read]

    assert found([0, 1]) == [None, None]
    partial = opened(machine)
    write(machine, partial, *range(PIECES))
    partial.publish()
    assert found([2, 0, 3]) == [machine.piece(piece) for piece in (2, 0, 3)]
    machine.touch()
    assert sum(data == machine.piece(piece) for piece, data in enumerate(found([*range(PIECES)]))) == PIECES - 1


def test_published_content_stands_at_its_place_and_nothing_else_gets_there(machine: Machine) -> None:
    assert not matches(machine)
    partial = opened(machine)
    write(machine, partial, *range(PIECES))
    assert partial.publish() == machine.dest == partial.root
    assert matches(machine)
    assert not matches(machine, machine.other)
    with pytest.raises(DiskError):
        opened(machine, machine.other)


def test_partial_content_is_taken_up_after_a_restart(machine: Machine) -> None:
    partial = opened(machine)
    write(machine, partial, 0, 2)
    partial.close()
    machine.restart()
    again = opened(machine)
    assert again.resumed
    assert read(again, 2) == machine.piece(2)
    write(machine, again, 1, 3)
    assert {1, 3} <= set(again.sync())
    again.publish()
    assert matches(machine)


def test_partial_content_of_something_else_is_not(machine: Machine) -> None:
    partial = opened(machine)
    write(machine, partial, 0)
    partial.close()
    other = opened(machine, machine.other)
    assert not other.resumed
    other.discard()


def test_discarded_content_is_gone(machine: Machine) -> None:
    partial = opened(machine)
    write(machine, partial, 0)
    partial.discard()
    again = opened(machine)
    assert not again.resumed
    again.close()


def test_leftovers_are_removed_if_they_are_what_is_meant(machine: Machine) -> None:
    partial = opened(machine)
    write(machine, partial, 0)
    partial.close()
    machine.store.remove_leftovers(machine.other, machine.dest)
    kept = opened(machine)
    assert kept.resumed
    kept.close()
    machine.store.remove_leftovers(machine.manifest, machine.dest)
    again = opened(machine)
    assert not again.resumed
    again.discard()


def test_the_journal_survives_a_restart(machine: Machine) -> None:
    machine.store.journal.start("d1", "/seed", machine.dest, b"\x00")
    machine.store.journal.record("d1", b"\xa0")
    machine.store.journal.record("unknown", b"\xff")
    machine.restart()
    entry = machine.store.journal.get("d1")
    assert entry is not None
    assert (entry.seed_path, entry.dest, entry.bits) == ("/seed", machine.dest, b"\xa0")
    assert machine.store.journal.get("unknown") is None
    machine.store.journal.remove("d1")
    machine.store.journal.remove("d1")
    assert machine.store.journal.get("d1") is None


def test_seeds_are_found_again(machine: Machine) -> None:
    path = machine.store.store_seed(encode_manifest(machine.manifest))
    machine.restart()
    assert machine.store.load_seed(path) == machine.manifest == machine.files.load_seed(path)
    data = encode_manifest(machine.manifest)
    assert machine.files.seed_page(path, 0) == (len(data), data)
    assert machine.files.seed_page(path, 1) == (len(data), b"")
    gone = path.replace(".seed", "0.seed")
    assert machine.files.seed_page(gone, 0) is None
    with pytest.raises(NotFoundError):
        machine.store.load_seed(gone)


def test_a_growing_download_is_read_under_both_its_names(machine: Machine) -> None:
    partial = opened(machine)
    content = machine.files.open_content(machine.manifest, partial.root, None)
    with pytest.raises(NotThereError):
        content.read(0)
    write(machine, partial, *range(PIECES))
    assert bytes(memoryview(content.read(1))) == machine.piece(1)
    content.move(partial.publish())
    assert bytes(memoryview(content.read(2))) == machine.piece(2)
    content.close()


def test_content_that_changed_is_not_served(machine: Machine) -> None:
    partial = opened(machine)
    write(machine, partial, *range(PIECES))
    partial.publish()
    stamps = machine.store.take_stamps(machine.dest, machine.manifest)
    content = machine.files.open_content(machine.manifest, machine.dest, stamps)
    assert bytes(memoryview(content.read(0))) == machine.piece(0)
    machine.touch()
    for reading in (content.check, content.read):
        assert any(raises_changed(reading, piece) for piece in range(PIECES))
    content.close()


def raises_changed(reading: Callable[[int], object], piece: int) -> bool:
    try:
        reading(piece)
    except ContentChangedError:
        return True
    return False


def test_what_the_journal_names_is_told_with_its_size(machine: Machine) -> None:
    assert machine.store.journal.entries() == []
    assert machine.store.partial_size(machine.dest)[1] == 0
    partial = opened(machine)
    write(machine, partial, 0)
    partial.sync()
    partial.close()
    machine.store.journal.start(machine.manifest.digest, "/seed", machine.dest, b"\x80")
    assert [(entry.dest, entry.bits) for entry in machine.store.journal.entries()] == [(machine.dest, b"\x80")]
    assert machine.store.partial_size(machine.dest)[1] > 0
