"""Pieces of a download that this machine has already, in other content: where they may be, and reading them.

An older version of a model or an image has most of its bytes in common with the new one. `find` matches the piece
digests of the download against the manifests of content that the agent names. `Reuse` has threads read what matches, a
little at a time. Nothing here is trusted: what was read is verified and written as if it had been fetched, and what
cannot be read, or is not right, is fetched. Old files are only read.

Reading has threads of its own, which know no file of the download: when a disk hangs, nothing else hangs with it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from node.disk.layout import Layout
from node.disk.store import Buffer, Store
from node.local_messages import LocalCopy
from node.work_queue import WorkQueue
from protocol.bitfield import Bitfield
from protocol.digest import raw_digest
from protocol.errors import ZswarmError
from protocol.limits import MIB
from protocol.manifest import Manifest

BATCH_BYTES = 4 * MIB
"""Read at a time, or one piece if that is longer. A download holds at most two batches, one of them being written."""
LOOKED_AT_COUNT_MAX = 250_000
"""Pieces and files of the manifests that are compared, after which no more are: fetching waits for it."""
PASSES_COUNT = 16
"""The batches are read in so many passes over the content. So what has to be fetched becomes known bit by bit,
wherever the differences are."""
FRUITLESS_COUNT = 8
"""After so many batches without a good piece, content is given up: its files are not what the manifest says."""
SAMPLES_COUNT = 8
"""Pieces of a file without a manifest that are looked at first. If none is right, all are fetched."""
PATIENCE_SECONDS = 10.0
"""When a batch takes longer, everything is fetched that has not been read: the disk hangs, or is slower than a
network."""


class Batch(NamedTuple):
    """``pieces`` of a download, each with its number in the content of ``manifest`` at ``root``."""

    manifest: Manifest
    layout: Layout
    root: str
    pieces: Sequence[tuple[int, int]]

    def read(self, store: Store) -> list[Buffer | None]:
        """Its pieces, right or not; None for those that cannot be read."""
        return store.read_pieces(self.manifest, self.layout, self.root, [at for _, at in self.pieces])


def find(
    manifest: Manifest, have: Bitfield, copies: Sequence[LocalCopy], dest: str, force: bool, store: Store
) -> list[Batch]:
    """Where the pieces of ``manifest`` that are not in ``have`` may be, in the order in which to read them.

    Of ``copies``, those count that have pieces of the same length and algorithm; only their manifests are read. What
    ``force`` is to replace at ``dest`` may have the same bytes at the same places, if no manifest of it is known. A few
    pieces of that are read to find out.
    """
    wanted: dict[bytes, list[int]] = {}
    for piece in have.missing():
        wanted.setdefault(manifest.piece_digest(piece), []).append(piece)
    batches: list[Batch] = []
    looked_at, dest_is_known = 0, False
    for copy in copies:
        if not wanted or looked_at >= LOOKED_AT_COUNT_MAX:
            break
        try:
            other = store.load_seed(copy.seed_path)
        except ZswarmError:  # gone or damaged; what it describes can be fetched
            continue
        looked_at += other.piece_count + len(other.files or ())
        if (other.piece_length, other.algorithm) != (manifest.piece_length, manifest.algorithm):
            continue
        dest_is_known |= copy.root == dest
        same = [(piece, at) for at in range(other.piece_count) for piece in wanted.pop(other.piece_digest(at), ())]
        if same:
            batches += _batches(other, copy.root, same)
    if wanted and force and not dest_is_known:
        places = sorted((piece, piece) for some in wanted.values() for piece in some)
        if _is_similar(manifest, dest, places, store):
            batches += _batches(manifest, dest, places)
    return [batch for start in range(PASSES_COUNT) for batch in batches[start::PASSES_COUNT]]


def _batches(manifest: Manifest, root: str, pieces: Sequence[tuple[int, int]]) -> Iterator[Batch]:
    layout = Layout(manifest)
    count = max(1, BATCH_BYTES // manifest.piece_length)
    for start in range(0, len(pieces), count):
        yield Batch(manifest, layout, root, pieces[start : start + count])


def _is_similar(manifest: Manifest, root: str, places: Sequence[tuple[int, int]], store: Store) -> bool:
    """Whether one of a few pieces, taken from all over ``places``, is right."""
    layout = Layout(manifest)
    for place in places[:: -(-len(places) // SAMPLES_COUNT)]:
        (data,) = Batch(manifest, layout, root, [place]).read(store)
        if data is not None and raw_digest(manifest.algorithm, data) == manifest.piece_digest(place[0]):
            return True
    return False


class Reuse:
    """Reads batches for one download, each while the one before it is written.

    ``write`` takes what was read, piece by piece; `written` has to be called for each. ``miss`` takes pieces that have
    to be fetched. Neither is called after `stop`.
    """

    def __init__(
        self,
        readers: WorkQueue,
        store: Store,
        write: Callable[[int, Buffer], None],
        miss: Callable[[list[int]], None],
    ) -> None:
        self._readers, self._store = readers, store
        self._write, self._miss = write, miss
        self._batches: deque[Batch] = deque()
        self._reading: Batch | None = None
        self._since = 0.0
        self._writing: dict[int, str] = {}
        """Pieces that were read, and from where."""
        self._read_count: Counter[str] = Counter()
        """Batches, by where they are from."""
        self.good: Counter[str] = Counter()
        """Pieces that turned out to be right, by where they are from."""

    @property
    def under_way(self) -> bool:
        return bool(self._batches or self._reading or self._writing)

    def begin(self, batches: Sequence[Batch]) -> None:
        """Read ``batches``, as `tick` is called. Nothing else is under way."""
        self._batches.extend(batches)

    def tick(self, now: float) -> None:
        """Read on, or give up a disk that does not answer."""
        if self._reading is not None and now - self._since >= PATIENCE_SECONDS:
            given_up = [self._reading, *self._batches]
            self._reading = None
            self._batches.clear()
            self._give_up(given_up)
        if self._reading is None and self._batches and len(self._writing) <= len(self._batches[0].pieces):
            batch = self._reading = self._batches.popleft()
            self._since = now
            self._readers.submit(partial(self._on_read, batch), partial(batch.read, self._store))

    def written(self, piece: int, good: bool) -> None:
        """A piece was verified and written, perhaps one that was read here; ``good`` as `Download.written` has it."""
        root = self._writing.pop(piece, None)
        if root is not None and good:
            self.good[root] += 1

    def stop(self) -> None:
        """What is being read is not wanted any more."""
        self._reading = None
        self._batches.clear()

    def _on_read(self, batch: Batch, result: Sequence[Buffer | None] | BaseException) -> None:
        if self._reading is not batch:
            return  # it was given up
        if isinstance(result, BaseException):
            raise result
        self._reading = None
        root = batch.root
        missed: list[int] = []
        for (piece, _), data in zip(batch.pieces, result, strict=True):
            if data is None:
                missed.append(piece)
            else:
                self._writing[piece] = root
                self._write(piece, data)
        self._miss(missed)
        self._read_count[root] += 1
        if self._read_count[root] > FRUITLESS_COUNT and not self.good[root]:  # the last may still be written
            self._give_up([other for other in self._batches if other.root == root])
            self._batches = deque(other for other in self._batches if other.root != root)

    def _give_up(self, batches: Sequence[Batch]) -> None:
        self._miss([piece for batch in batches for piece, _ in batch.pieces])
