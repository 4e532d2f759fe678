"""A simulated disk as the downloader sees it (`node.disk.store.Store`), and as the piece server does. Pure.

Paths mean what they do on a real disk: partial content lies beside its destination under a hidden name.
"""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Iterable, Sequence

from cluster.simulated.content import SimulatedContent, StandIn
from cluster.simulated.disk import SimulatedDisk, StoredFile, StoredPartial
from node.agent.library import LibraryItem, Origin
from node.disk.errors import ContentChangedError, NotThereError
from node.disk.layout import Layout, Span
from node.disk.piece_work import digest_of
from node.disk.store import Buffer, Cancelled, JournalEntry, Progress
from protocol.digest import raw_digest, split_digest
from protocol.errors import DiskError, LocalError
from protocol.limits import MANIFEST_PAGE_BYTES
from protocol.manifest import Manifest, manifest_digest


class SimulatedStore:
    """The disk of one downloader process."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self.journal = SimulatedJournal(disk)

    def load_seed(self, path: str) -> Manifest:
        return self._disk.load_seed(path)

    def store_seed(self, data: bytes) -> str:
        return store_seed(self._disk, data)

    def existing_matches(self, dest: str, manifest: Manifest, progress: Progress, cancelled: Cancelled) -> bool:
        file = self._disk.files.get(dest)
        if file is None or file.manifest.length != manifest.length or len(file.pieces) != manifest.piece_count:
            return False
        self._disk.busy(manifest.length)
        chunks = _views(file.pieces[piece] for piece in range(manifest.piece_count))
        return digest_of(chunks, manifest.algorithm, progress, cancelled) == manifest.digest

    def open_partial(self, manifest: Manifest, dest: str, force: bool, keep: int = 0) -> SimulatedPartial:
        del keep  # nobody looks for it here
        disk = self._disk
        if dest in disk.files and not force:
            raise DiskError(f"{dest} exists and is other content; move it away, or use --force")
        root, claim = staged(dest), manifest.digest
        there = disk.partials.get(root)
        resumed = there is not None and there.claim == claim
        held = len(there.pieces) * manifest.piece_length if there is not None and resumed else 0
        disk.check_space(max(0, manifest.length - held))
        if there is None or not resumed:
            there = disk.partials[root] = StoredPartial(claim)
        return SimulatedPartial(disk, manifest, dest, there, resumed)

    def open_in_place(self, manifest: Manifest, dest: str, stamps: bytes) -> SimulatedInPlace:
        if self.take_stamps(dest, manifest) != stamps:
            raise ContentChangedError(f"{dest} was written to after it was hashed; it is left as it is")
        return SimulatedInPlace(self._disk, manifest, dest, stamps)

    def note_mend(self, digest: str, dest: str, right: bytes) -> None:
        """No process is killed within a write here."""

    def take_stamps(self, path: str, manifest: Manifest) -> bytes:
        file = self._disk.files.get(path)
        if file is None:
            raise ContentChangedError(f"{path} is gone")
        if file.manifest.length != manifest.length:
            raise ContentChangedError(f"{path} has {file.manifest.length} bytes instead of {manifest.length}")
        return file.stamps

    def read_pieces(self, manifest: Manifest, layout: Layout, root: str, pieces: Sequence[int]) -> list[Buffer | None]:
        del layout
        file = self._disk.files.get(root)
        if file is None:
            return [None] * len(pieces)
        self._disk.busy(sum(map(manifest.piece_size, pieces)))
        return [file.pieces.get(piece) for piece in pieces]

    def remove_leftovers(self, manifest: Manifest, dest: str) -> None:
        there = self._disk.partials.get(staged(dest))
        if there is not None and there.claim == manifest.digest:
            del self._disk.partials[staged(dest)]

    def partial_size(self, dest: str) -> tuple[str, int]:
        there = self._disk.partials.get(staged(dest))
        return staged(dest), sum(map(len, there.pieces.values())) if there is not None else 0


class SimulatedPartial:
    """As `node.disk.storage.Partial`."""

    def __init__(
        self, disk: SimulatedDisk, manifest: Manifest, dest: str, stored: StoredPartial, resumed: bool
    ) -> None:
        self.manifest = manifest
        self.layout = Layout(manifest)
        self.resumed = resumed
        self.root = staged(dest)
        self.failed = False
        self.left_behind = ""
        self._disk, self._dest, self._stored = disk, dest, stored
        if resumed:
            # Written by a run that may have been killed before its sync.
            stored.dirty = [*dict.fromkeys([*stored.dirty, *(p for p in stored.pieces if p not in stored.durable)])]

    def write(self, piece: int, data: Buffer) -> None:
        self._disk.check_space(1)
        self._disk.busy(self.manifest.piece_size(piece))
        written = bytes(data)
        self._disk.on_write(self.root, piece, written)
        self._stored.pieces[piece] = written
        self._stored.dirty.append(piece)
        self._disk.flipped.pop((self.root, piece), None)

    def interrupt(self) -> None:
        """A write takes no time."""

    def chunks(self, spans: Iterable[Span], buffer: bytearray) -> Generator[memoryview, None, None]:
        del buffer
        length = self.manifest.piece_length
        for span in spans:
            self._disk.busy(span.length)
            for piece in range(span.offset // length, -(-(span.offset + span.length) // length)):
                if piece not in self._stored.pieces:
                    raise NotThereError(f"piece {piece} is not there yet")
                yield memoryview(self._stored.pieces[piece])

    def sync(self) -> list[int]:
        stored = self._stored
        pieces, stored.dirty = stored.dirty, []
        for piece in pieces:
            stored.durable[piece] = stored.pieces[piece]
        return pieces

    def publish(self) -> str:
        disk = self._disk
        if len(self._stored.pieces) != self.manifest.piece_count:
            raise LocalError(f"{self._dest} was never written in full")
        if self._dest in disk.files:
            raise DiskError(f"{self._dest} was made by somebody else meanwhile; move it away, or use --force")
        self.sync()
        del disk.partials[self.root]
        disk.put_file(self._dest, self.manifest, self._stored.pieces)
        for piece in range(self.manifest.piece_count):
            if (self.root, piece) in disk.flipped:
                disk.flipped[self._dest, piece] = disk.flipped.pop((self.root, piece))
        self.root = self._dest
        disk.published(self._dest)
        return self._dest

    def discard(self) -> None:
        self._disk.partials.pop(self.root, None)

    def close(self) -> None:
        """Nothing is held open."""


class SimulatedInPlace:
    """As `node.disk.in_place.InPlace`. A power cut leaves all that was written."""

    resumed, failed, left_behind = True, False, ""

    def __init__(self, disk: SimulatedDisk, manifest: Manifest, dest: str, stamps: bytes) -> None:
        self.manifest = manifest
        self.layout = Layout(manifest)
        self.root = dest
        self._disk, self._stamps = disk, stamps
        self._written: list[int] = []

    def write(self, piece: int, data: Buffer) -> None:
        self._disk.check_space(1)
        self._disk.busy(self.manifest.piece_size(piece))
        file = self._file()
        written = bytes(data)
        self._disk.on_write(self.root, piece, written)
        file.pieces[piece] = written
        self._disk.flipped.pop((self.root, piece), None)
        self._written.append(piece)

    def interrupt(self) -> None:
        """A write takes no time."""

    def chunks(self, spans: Iterable[Span], buffer: bytearray) -> Generator[memoryview, None, None]:
        del buffer
        length = self.manifest.piece_length
        for span in spans:
            self._disk.busy(span.length)
            for piece in range(span.offset // length, -(-(span.offset + span.length) // length)):
                yield memoryview(self._file().pieces[piece])

    def sync(self) -> list[int]:
        pieces, self._written = self._written, []
        return pieces

    def publish(self) -> str:
        self._file()
        self._disk.published(self.root)
        return self.root

    def discard(self) -> None:
        """It is not ours to delete."""

    def close(self) -> None:
        """Nothing is held open."""

    def _file(self) -> StoredFile:
        file = self._disk.files.get(self.root)
        if file is None or file.stamps != self._stamps:
            raise ContentChangedError(f"{self.root} was written to after it was hashed; it is left as it is")
        return file


class SimulatedJournal:
    """As `node.disk.journal.Journal`: durable when a call returns."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    def start(self, digest: str, seed_path: str, dest: str, bits: bytes) -> None:
        self._disk.check_space(1)
        self._disk.journal[digest] = JournalEntry(digest, seed_path, dest, bits)

    def record(self, digest: str, bits: bytes) -> None:
        self._disk.check_space(1)
        entry = self._disk.journal.get(digest)
        if entry is not None:
            self._disk.journal[digest] = entry._replace(bits=bits)

    def get(self, digest: str) -> JournalEntry | None:
        return self._disk.journal.get(digest)

    def remove(self, digest: str) -> None:
        self._disk.journal.pop(digest, None)

    def entries(self) -> list[JournalEntry]:
        return list(self._disk.journal.values())


class SimulatedFiles:
    """What a piece server reads: the port of `node.piece_server.shelf.Shelf`."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    def load_seed(self, path: str) -> Manifest:
        return self._disk.load_seed(path)

    def open_content(self, manifest: Manifest, root: str, stamps: bytes | None) -> OpenFile:
        return OpenFile(self._disk, manifest, root, stamps)

    def seed_page(self, path: str, page: int) -> tuple[int, bytes] | None:
        data = self._disk.seeds.get(path)
        if data is None:
            return None
        return len(data), data[page * MANIFEST_PAGE_BYTES : (page + 1) * MANIFEST_PAGE_BYTES]


class OpenFile:
    """As `node.disk.content.Content`: opened at the first read, and then open whatever becomes of its name."""

    def __init__(self, disk: SimulatedDisk, manifest: Manifest, root: str, stamps: bytes | None) -> None:
        self._disk, self._manifest, self._root, self._stamps = disk, manifest, root, stamps
        self._opened: dict[int, bytes] | None = None

    def read(self, piece: int) -> StandIn:
        return StandIn.of(self._read(piece), self._manifest.piece_size(piece))

    def read_cached(self, piece: int) -> None:
        """Nothing is cached."""

    def check(self, piece: int) -> None:
        data = self._read(piece)
        if not self._is_right(piece, data):
            what = f"piece {piece} of {self._root} is not what was hashed"
            raise NotThereError(what) if self._stamps is None else ContentChangedError(what)

    def _is_right(self, piece: int, data: bytes) -> bool:
        return raw_digest(self._manifest.algorithm, data) == self._manifest.piece_digest(piece)

    def _read(self, piece: int) -> bytes:
        if self._stamps is not None:
            file = self._disk.files.get(self._root)
            if file is None:
                raise ContentChangedError(f"{self._root} was deleted or replaced")
            data = file.pieces[piece]
            if file.stamps != self._stamps and not self._is_right(piece, data):
                raise ContentChangedError(f"{self._root} was written to after it was hashed")
            return data
        if self._opened is None:
            partial, whole = self._disk.partials.get(self._root), self._disk.files.get(self._root)
            if partial is None and whole is None:
                raise NotThereError(f"{self._root} cannot be opened: there is no such file")
            self._opened = partial.pieces if partial is not None else whole.pieces if whole is not None else None
        assert self._opened is not None
        if piece not in self._opened:
            raise NotThereError(f"{self._root} does not have piece {piece}")
        return self._opened[piece]

    def move(self, root: str) -> None:
        self._root = root

    def close(self) -> None:
        self._opened = None


def staged(dest: str) -> str:
    """Where the partial content of ``dest`` lies."""
    head, name = posixpath.split(dest)
    return f"{head}/.{name}.part/content"


def store_seed(disk: SimulatedDisk, data: bytes) -> str:
    """Keep a canonical manifest; its path. As `node.disk.seed_store.store_seed`."""
    path = seed_path(manifest_digest(data, disk.decode(data).algorithm))
    disk.seeds[path] = data
    return path


def shared_item(disk: SimulatedDisk, path: str, origin: Origin, content: SimulatedContent) -> LibraryItem:
    """``content`` is at ``path``: what the library has of it. Its seed is kept."""
    stamps = disk.files[path].stamps
    return LibraryItem(
        path=path,
        origin=origin,
        digest=content.digest,
        manifest=content.manifest_digest,
        name=content.name,
        length=content.manifest.length,
        seed_path=store_seed(disk, content.seed),
        stamps=stamps,
        fingerprint=stamps,
    )


def seed_path(digest: str) -> str:
    return f"/data/seeds/{split_digest(digest)[1].hex()}.seed"


def _views(pieces: Iterable[bytes]) -> Generator[memoryview, None, None]:
    for piece in pieces:
        yield memoryview(piece)
