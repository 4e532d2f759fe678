"""The disk of a simulated host: what is written, what is durable, and what a power cut leaves. Pure.

Owns the bytes: seeds, the journal, the library, partial content, files under their final names. A write is in the
page cache until it is synced; after a power cut what was not is lost, kept or torn, piece by piece. Seeds and the
journal are durable when a call returns, as the real ones promise; the library may lose its last changes. The parts
of a peer see it through `store`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from cluster.simulated.content import SimulatedContent
from node.agent.effects import Downloaded
from node.agent.library import LibraryItem
from node.disk.errors import NoSpaceError
from node.disk.store import JournalEntry
from node.local_messages import Fetch
from protocol.errors import NotFoundError
from protocol.manifest import Manifest, decode_manifest

LIBRARY_LOST_SECONDS = 5.0
"""A power cut may take the library's changes of so long before it."""
TORN = b"torn: "
"""What is left of a piece that was half written begins with this."""


class StoredFile:
    """Content under its final name. ``pieces`` are the bytes that stand for each; ``stamp`` changes with them."""

    def __init__(self, manifest: Manifest, pieces: dict[int, bytes], stamp: int) -> None:
        self.manifest = manifest
        self.pieces = pieces
        self.stamp = stamp
        self.rewritten = False
        """Somebody has written to it since."""

    @property
    def stamps(self) -> bytes:
        """As `node.disk.stamps` has them, of the one file."""
        return self.stamp.to_bytes(16, "little")


class StoredPartial:
    """A hidden staging directory. ``claim`` says of which content; ``pieces`` is what a read sees, ``durable`` what
    has been synced."""

    def __init__(self, claim: str) -> None:
        self.claim = claim
        self.pieces: dict[int, bytes] = {}
        self.durable: dict[int, bytes] = {}
        self.dirty: list[int] = []


class SimulatedDisk:
    """``capacity`` and what is used of it in bytes. ``rng`` decides what a power cut leaves. ``decoded`` are seeds of
    which it is known what they say, on all disks of a world."""

    def __init__(
        self,
        rng: Random,
        decoded: dict[bytes, Manifest],
        capacity: float = float("inf"),
        rate: float = float("inf"),
    ) -> None:
        self.capacity = capacity
        self.rate = rate
        """Bytes/s that are written, or read to be checked."""
        self.stuffed = False
        """Somebody else has filled it up."""
        self.seeds: dict[str, bytes] = {}
        self.journal: dict[str, JournalEntry] = {}
        self.items: dict[str, LibraryItem] = {}
        self.downloads: dict[str, Fetch] = {}
        self.downloaded: list[Downloaded] = []
        self.partials: dict[str, StoredPartial] = {}
        """By the path where the bytes are."""
        self.files: dict[str, StoredFile] = {}
        self.flipped: dict[tuple[str, int], bytes] = {}
        """What stands for a piece, by (path, piece), since a bit of it was flipped after it was verified."""
        self.published: Callable[[str], None] = _nothing
        """Told of each path that content has just got as its final name."""
        self.on_write: Callable[[str, int, bytes], None] = _nothing_either
        """Told of each piece that is about to be written: where, its number, its bytes."""
        self.on_hashed: Callable[[SimulatedContent], None] = _not_that
        """Told what a file that is shared turned out to be."""
        self._decoded = decoded
        self._changes: deque[tuple[float, dict[str, object], str, object]] = deque()
        self._rng = rng
        self._stamp = 0
        self._seconds = 0.0

    # --- seeds and names ---------------------------------------------------------------------------------

    def decode(self, data: bytes) -> Manifest:
        """What a seed says. Raises `SeedError`."""
        manifest = self._decoded.get(data)
        if manifest is None:
            manifest = self._decoded[data] = decode_manifest(data)
        return manifest

    def load_seed(self, path: str) -> Manifest:
        """As `node.disk.seed_store.load_seed`."""
        if path not in self.seeds:
            raise NotFoundError(f"the seed {path} is gone")
        return self.decode(self.seeds[path])

    def put_file(self, path: str, manifest: Manifest, pieces: dict[int, bytes]) -> StoredFile:
        """``path`` is this content from now on."""
        self._stamp += 1
        file = self.files[path] = StoredFile(manifest, pieces, self._stamp)
        for piece in range(manifest.piece_count):
            self.flipped.pop((path, piece), None)
        return file

    # --- the library -------------------------------------------------------------------------------------

    def save_item(self, item: LibraryItem, now: float) -> None:
        self._note(self.items, item.path, now)
        self.items[item.path] = item

    def forget_item(self, path: str, now: float) -> None:
        self._note(self.items, path, now)
        self.items.pop(path, None)

    def save_download(self, download: Fetch, now: float) -> None:
        self._note(self.downloads, download.dest, now)
        self.downloads[download.dest] = download

    def forget_download(self, dest: str, now: float) -> None:
        self._note(self.downloads, dest, now)
        self.downloads.pop(dest, None)

    def _note(self, table: dict, key: str, now: float) -> None:  # type: ignore[type-arg]
        self._changes.append((now, table, key, table.get(key)))
        while self._changes[0][0] < now - LIBRARY_LOST_SECONDS:
            self._changes.popleft()

    # --- how long it takes, and what fits ----------------------------------------------------------------

    def busy(self, count: float) -> None:
        """``count`` bytes were written, or read to be checked."""
        self._seconds += count / self.rate

    def take_seconds(self) -> float:
        """How long what was done since the last call takes."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def free(self) -> float:
        """Bytes there is room for."""
        if self.stuffed:
            return 0.0
        if self.capacity == float("inf"):
            return self.capacity
        used = sum(file.manifest.length for file in self.files.values())
        return self.capacity - used

    def check_space(self, count: float) -> None:
        """Raises `NoSpaceError` when ``count`` bytes more do not fit."""
        if self.free() < count:
            raise NoSpaceError("the disk is full; free some space, what is verified is kept")

    # --- what goes wrong ---------------------------------------------------------------------------------

    def power_cut(self, now: float) -> None:
        """Everything that was not synced is at the mercy of chance."""
        rng = self._rng
        for partial in self.partials.values():
            kept = dict(partial.durable)
            for piece in partial.dirty:
                fate = rng.random()
                if fate < 0.3:
                    kept[piece] = partial.pieces[piece]
                elif fate < 0.6:
                    kept[piece] = TORN + partial.pieces[piece]
            partial.pieces, partial.durable, partial.dirty = kept, dict(kept), []
        since = now - rng.uniform(0, LIBRARY_LOST_SECONDS)
        while self._changes and self._changes[-1][0] >= since:
            _, table, key, before = self._changes.pop()
            if before is None:
                table.pop(key, None)
            else:
                table[key] = before

    def flip_bit(self, rng: Random) -> str:
        """One bit of one piece changes, of content whole or partial, and nothing tells; says of which."""
        places = {path: file.pieces for path, file in self.files.items()}
        places |= {root: partial.pieces for root, partial in self.partials.items()}
        places = {path: pieces for path, pieces in places.items() if pieces}
        if not places:
            return "nothing"
        path = rng.choice(sorted(places))
        pieces = places[path]
        piece = rng.choice(sorted(pieces))
        data = bytearray(pieces[piece])
        at, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        data[at] ^= bit
        if data[at] in b"0123456789":
            data[at] ^= 0x80  # or it may be what stands for another piece
        pieces[piece] = bytes(data)
        partial = self.partials.get(path)
        if partial is not None and piece in partial.durable:
            partial.durable[piece] = bytes(data)
        self.flipped[path, piece] = bytes(data)
        return f"piece {piece} of {path}"

    def rewrite(self, path: str, rng: Random) -> bool:
        """Somebody writes to a file that is shared: other bytes, another time. False when there is none."""
        file = self.files.get(path)
        if file is None or not file.pieces:
            return False
        self._stamp += 1
        piece = rng.choice(sorted(file.pieces))
        file.pieces[piece] = b"written over %d" % self._stamp
        file.stamp = self._stamp
        file.rewritten = True
        return True


def _nothing(_path: str) -> None:
    """Nobody wants to know."""


def _not_that(_content: SimulatedContent) -> None:
    """Nobody wants to know."""


def _nothing_either(_root: str, _piece: int, _data: bytes) -> None:
    """Nobody wants to know."""
