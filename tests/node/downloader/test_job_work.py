"""`node.downloader.job_work`: the order in which a download uses its disk, over a store that only notes it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace

import pytest

from node.disk.errors import NoSpaceError, NotThereError, PassingError
from node.disk.layout import Layout, Span
from node.disk.store import Buffer, Cancelled, JournalEntry, Progress
from node.downloader import job_work
from node.downloader.job_work import BegunError, Place, Published, Ready
from protocol.bitfield import Bitfield
from protocol.errors import DiskError, VerificationError
from protocol.manifest import Manifest, encode_manifest
from tests.node.disk.made_content import PIECE, Made, made_file

MADE = made_file(3 * PIECE)
PLACE = Place(MADE.manifest.digest, "/seed", "/out/data.bin", force=False)


class NotedDisk:
    """Journal, store and partial content of one download in memory. ``did`` is what was done with them, in order;
    ``fails``: errors by what is done."""

    def __init__(self, made: Made) -> None:
        self.made = made
        self.did: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.entry: JournalEntry | None = None
        self.there = False
        self.data = bytearray(made.manifest.length)
        self.dirty: list[int] = []
        self.journal = self
        self.manifest = made.manifest
        self.layout = Layout(made.manifest)
        self.resumed = False
        self.root = "/out/.data.bin.part/content"
        self.failed = False
        self.left_behind = ""
        self.lost = -1
        """A piece that is not on the disk any more."""

    def _do(self, what: str) -> None:
        self.did.append(what)
        if what in self.fails:
            raise self.fails[what]

    def noted(self) -> list[int]:
        assert self.entry is not None
        return list(Bitfield.from_bytes(self.entry.bits, self.manifest.piece_count).indices())

    # --- `JournalPort` ---

    def start(self, digest: str, seed_path: str, dest: str, bits: bytes) -> None:
        self._do("start")
        self.entry = JournalEntry(digest, seed_path, dest, bits)

    def record(self, digest: str, bits: bytes) -> None:
        self._do("record")
        assert self.entry is not None
        assert self.entry.digest == digest
        self.entry = self.entry._replace(bits=bits)

    def entries(self) -> list[JournalEntry]:
        return [self.entry] if self.entry is not None else []

    def partial_size(self, dest: str) -> tuple[str, int]:
        return dest, len(self.data) if self.there else 0

    def get(self, digest: str) -> JournalEntry | None:
        return self.entry if self.entry is not None and self.entry.digest == digest else None

    def remove(self, digest: str) -> None:
        assert digest == PLACE.digest
        self._do("forget")
        self.entry = None

    # --- `Store` ---

    def load_seed(self, path: str) -> Manifest:
        assert path == PLACE.seed_path
        return self.manifest

    def store_seed(self, data: bytes) -> str:
        assert data == encode_manifest(self.manifest)
        self._do("store seed")
        return PLACE.seed_path

    def existing_matches(self, dest: str, manifest: Manifest, progress: Progress, cancelled: Cancelled) -> bool:
        assert (dest, manifest, cancelled()) == (PLACE.dest, self.manifest, False)
        progress(0)
        self._do("look")
        return self.there

    def open_partial(self, manifest: Manifest, dest: str, force: bool, keep: int = 0) -> NotedDisk:
        assert (dest, manifest, force, keep) == (PLACE.dest, self.manifest, PLACE.force, PLACE.keep)
        self._do("open")
        return self

    def open_in_place(self, manifest: Manifest, dest: str, stamps: bytes) -> NotedDisk:
        assert (dest, manifest, stamps) == (PLACE.dest, self.manifest, PLACE.mends)
        self._do("open in place")
        return self

    def note_mend(self, digest: str, dest: str, right: bytes) -> None:
        assert (digest, dest, bool(right)) == (PLACE.digest, PLACE.dest, True)
        self._do("note mend")

    def take_stamps(self, path: str, manifest: Manifest) -> bytes:
        assert (path, manifest) == (PLACE.dest, self.manifest)
        self._do("stamp")
        return b"stamps"

    def read_pieces(self, manifest: Manifest, layout: Layout, root: str, pieces: Sequence[int]) -> list[Buffer | None]:
        assert (manifest, layout.files) == (self.manifest, self.layout.files)
        raise AssertionError(f"pieces {pieces} of {root} are read, though nothing is to be replaced there")

    def remove_leftovers(self, manifest: Manifest, dest: str) -> None:
        assert (dest, manifest) == (PLACE.dest, self.manifest)
        self._do("remove leftovers")

    # --- `PartialContent` ---

    def write(self, piece: int, data: Buffer) -> None:
        self.data[piece * PIECE : (piece + 1) * PIECE] = data
        self.dirty.append(piece)

    def interrupt(self) -> None:
        self._do("interrupt")

    def chunks(self, spans: Iterable[Span], buffer: bytearray) -> Generator[memoryview, None, None]:
        del buffer
        self._do("read")
        for span in spans:
            if span.offset <= self.lost * PIECE < span.offset + span.length:
                raise NotThereError("somebody deleted it")
            yield memoryview(self.data)[span.offset : span.offset + span.length]

    def sync(self) -> list[int]:
        self._do("sync")
        pieces, self.dirty = self.dirty, []
        return pieces

    def publish(self) -> str:
        self._do("publish")
        return PLACE.dest

    def discard(self) -> None:
        self._do("discard")

    def close(self) -> None:
        self._do("close")


@pytest.fixture
def disk() -> NotedDisk:
    return NotedDisk(MADE)


def prepare(disk: NotedDisk) -> Ready | Published:
    return job_work.prepare(PLACE, disk, lambda _: None, lambda: False)


def finish(disk: NotedDisk, ready: Ready) -> Ready | Published:
    return job_work.finish(PLACE, ready, disk, lambda _: None, lambda: False)


def prepared(disk: NotedDisk, pieces: Iterable[int] = ()) -> Ready:
    """What a download begins with, once it has written ``pieces``; from here on ``disk.did`` counts."""
    ready = prepare(disk)
    assert isinstance(ready, Ready)
    disk.made.write(disk, pieces)
    disk.did.clear()
    return ready


def test_a_new_download(disk: NotedDisk) -> None:
    ready = prepare(disk)
    assert isinstance(ready, Ready)
    assert ready.have.count_set == 0
    assert disk.did == ["look", "start", "open", "start"]
    assert disk.noted() == []


def test_what_the_journal_names_is_read_and_synced_before_it_is_noted_again(disk: NotedDisk) -> None:
    disk.resumed = True
    disk.made.write(disk, [0, 2])
    named = Bitfield(3)
    named.set(0)
    named.set(1)
    disk.entry = JournalEntry(PLACE.digest, PLACE.seed_path, PLACE.dest, named.to_bytes())
    ready = prepare(disk)
    assert isinstance(ready, Ready)
    assert list(ready.have.indices()) == disk.noted() == [0]
    assert disk.did == ["look", "open", "read", "read", "sync", "start"]


def test_a_note_about_another_place_says_nothing(disk: NotedDisk) -> None:
    disk.resumed = True
    disk.made.write(disk, [2])
    disk.entry = JournalEntry(PLACE.digest, PLACE.seed_path, "/elsewhere", b"\x80")
    ready = prepare(disk)
    assert isinstance(ready, Ready)
    assert list(ready.have.indices()) == disk.noted() == [2]


@pytest.mark.parametrize("bits", [b"", b"\x80\x00", b"\x01"])
def test_a_damaged_note_says_nothing(disk: NotedDisk, bits: bytes) -> None:
    disk.resumed = True
    disk.made.write(disk, [2])
    disk.entry = JournalEntry(PLACE.digest, PLACE.seed_path, PLACE.dest, bits)
    ready = prepare(disk)
    assert isinstance(ready, Ready)
    assert list(ready.have.indices()) == disk.noted() == [2]


def test_what_is_there_already_is_forgotten_and_stamped(disk: NotedDisk) -> None:
    disk.there = True
    assert prepare(disk) == Published(disk.manifest, PLACE.dest, b"stamps")
    assert disk.did == ["look", "forget", "stamp"]


@pytest.mark.parametrize("begun", [True, False])
def test_no_room_to_begin(disk: NotedDisk, begun: bool) -> None:
    disk.fails["open"] = NoSpaceError("full")
    dest = PLACE.dest if begun else "/elsewhere"
    disk.entry = JournalEntry(PLACE.digest, PLACE.seed_path, dest, b"\x00")
    with pytest.raises(PassingError) as raised:
        prepare(disk)
    assert isinstance(raised.value, BegunError) is begun


def test_what_cannot_be_noted_is_not_begun(disk: NotedDisk) -> None:
    disk.fails["start"] = DiskError("no journal today")
    with pytest.raises(DiskError, match="no journal"):
        prepare(disk)
    assert disk.did == ["look", "start"]


def test_what_was_found_and_cannot_be_noted_is_closed(disk: NotedDisk) -> None:
    disk.resumed = True
    disk.entry = JournalEntry(PLACE.digest, PLACE.seed_path, PLACE.dest, b"\x00")
    disk.fails["start"] = DiskError("no journal today")
    with pytest.raises(DiskError, match="no journal"):
        prepare(disk)
    assert disk.did == ["look", "open", "sync", "start", "close"]


def test_what_was_just_begun_is_removed_by_whoever_does_not_know_its_seed(disk: NotedDisk) -> None:
    """Whoever has it removed is told of the seed only later."""
    prepare(disk)
    assert job_work.sweep(replace(PLACE, seed_path=""), disk)
    assert disk.did[-2:] == ["remove leftovers", "forget"]
    assert job_work.sweep(replace(PLACE, seed_path=""), disk)
    assert disk.did[-1] == "forget"


def test_synced_and_then_noted(disk: NotedDisk) -> None:
    ready = prepared(disk, [0])
    job_work.sync(PLACE, ready, disk)
    disk.made.write(disk, [1])
    job_work.sync(PLACE, ready, disk)
    assert disk.did == ["sync", "record", "sync", "record"]
    assert disk.noted() == [0, 1]


def test_nothing_is_noted_that_was_not_synced(disk: NotedDisk) -> None:
    ready = prepared(disk, [0])
    disk.fails["sync"] = DiskError("input/output error")
    with pytest.raises(DiskError):
        job_work.sync(PLACE, ready, disk)
    assert disk.did == ["sync"]
    assert disk.noted() == []


def test_checked_published_forgotten_stamped(disk: NotedDisk) -> None:
    assert finish(disk, prepared(disk, [0, 1, 2])) == Published(disk.manifest, PLACE.dest, b"stamps")
    assert disk.did == ["read", "publish", "forget", "stamp"]


def test_what_could_not_be_published_stays_noted(disk: NotedDisk) -> None:
    ready = prepared(disk, [0, 1, 2])
    disk.fails["publish"] = DiskError("was made by somebody else meanwhile")
    with pytest.raises(DiskError):
        finish(disk, ready)
    assert disk.did == ["read", "publish"]
    assert disk.entry is not None


def test_what_was_spoilt_is_taken_out_of_the_journal(disk: NotedDisk) -> None:
    ready = prepared(disk, [0, 1, 2])
    disk.data[PIECE] ^= 1
    again = finish(disk, ready)
    assert isinstance(again, Ready)
    assert list(again.have.indices()) == disk.noted() == [0, 2]
    assert disk.did == ["read"] + 3 * ["read"] + ["sync", "record"]


def test_what_somebody_deleted_is_fetched_again(disk: NotedDisk) -> None:
    ready = prepared(disk, [0, 1, 2])
    disk.lost = 1
    again = finish(disk, ready)
    assert isinstance(again, Ready)
    assert list(again.have.indices()) == disk.noted() == [0, 2]


def test_a_manifest_that_lies_about_the_whole_leaves_nothing(disk: NotedDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepared(disk, [0, 1, 2])
    monkeypatch.setattr(job_work, "whole_digest", lambda *_: False)
    with pytest.raises(VerificationError):
        finish(disk, ready)
    assert disk.did == 3 * ["read"] + ["discard", "forget"]


def test_put_away_notes_what_it_can(disk: NotedDisk) -> None:
    ready = prepared(disk, [0])
    job_work.release(PLACE, ready, disk, discard=False)
    assert disk.did == ["sync", "record", "close"]
    disk.did.clear()
    disk.failed = True
    job_work.release(PLACE, ready, disk, discard=False)
    assert disk.did == ["close"]
    disk.did.clear()
    disk.failed = False
    disk.fails["sync"] = NoSpaceError("full")
    job_work.release(PLACE, ready, disk, discard=False)
    assert disk.did == ["sync", "close"]


def test_deleted_and_then_forgotten(disk: NotedDisk) -> None:
    ready = prepared(disk, [0])
    job_work.release(PLACE, ready, disk, discard=True)
    assert disk.did == ["discard", "forget"]
    disk.did.clear()
    job_work.release(PLACE, None, disk, discard=True)
    assert disk.did == ["remove leftovers"], "nothing is noted of it"
    disk.start(PLACE.digest, PLACE.seed_path, PLACE.dest, b"")
    job_work.release(PLACE, None, disk, discard=True)
    assert disk.did == ["remove leftovers", "start", "remove leftovers", "forget"]
    disk.did.clear()
    disk.fails["remove leftovers"] = DiskError("another download is writing there")
    job_work.release(PLACE, None, disk, discard=True)
    assert disk.did == ["remove leftovers"]
    disk.did.clear()
    job_work.release(PLACE, None, disk, discard=False)
    assert disk.did == []


def test_only_the_right_manifest_is_kept(disk: NotedDisk) -> None:
    data = encode_manifest(disk.manifest)
    assert job_work.keep_seed(disk, data, PLACE.digest) == PLACE.seed_path
    assert disk.did == ["store seed"]
    with pytest.raises(VerificationError, match="the manifest is of content"):
        job_work.keep_seed(disk, data, "blake3:" + 64 * "0")
    assert disk.did == ["store seed"]
