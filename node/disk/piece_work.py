"""The work that threads do for a download: hash and write a piece, check what is on disk, hash the whole.

Plain functions for `node.workers`. ``progress`` gets the number of bytes done so far (not a difference), in the
working thread; ``cancelled`` is asked about once a megabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from node.disk.errors import NotThereError, StoppedError
from node.disk.store import Buffer, Cancelled, PartialContent, Progress
from protocol.digest import format_digest, new_hasher, raw_digest
from protocol.errors import ZswarmError
from protocol.limits import KIB, MIB
from protocol.manifest import Manifest

BUFFER_BYTES = 2 * MIB
"""Half of it is read at a time: large enough for a disk, small enough to stay in the cache while it is hashed."""
BEHIND_BYTES_MIN = 256 * KIB
"""Less is hashed sooner than it is handed to another thread."""


@dataclass(slots=True)
class WorkTimes:
    """Seconds of ``clock`` that one thread has spent hashing and writing. ``spans``: for each piece, when it began to
    hash it, had hashed it, and had written it."""

    clock: Callable[[], float]
    hashing: float = 0.0
    writing: float = 0.0
    spans: list[tuple[float, float, float]] = field(default_factory=list)


def verify_and_write(
    partial: PartialContent, manifest: Manifest, piece: int, data: Buffer, times: WorkTimes | None = None
) -> bool:
    """Write ``data`` as ``piece`` if that is what it is; False, and nothing written, if not. Errors of
    `Partial.write`. Bytes of another length have another digest, so the length is not looked at. Adds to ``times``."""
    view = memoryview(data).cast("B")
    times = WorkTimes(lambda: 0.0) if times is None else times
    began = times.clock()
    good = raw_digest(manifest.algorithm, view) == manifest.piece_digest(piece)
    written = hashed = times.clock()
    times.hashing += hashed - began
    try:
        if not good:
            return False
        partial.write(piece, view)
        written = times.clock()
        times.writing += written - hashed
        return True
    finally:
        times.spans.append((began, hashed, written))


def verify_and_write_each(
    partial: PartialContent, manifest: Manifest, pieces: Sequence[tuple[int, Buffer]], times: WorkTimes | None = None
) -> list[bool | ZswarmError]:
    """`verify_and_write` for each of ``pieces``; an error of one is its result, and the others are tried."""
    results: list[bool | ZswarmError] = []
    for piece, data in pieces:
        try:
            results.append(verify_and_write(partial, manifest, piece, data, times))
        except ZswarmError as error:
            results.append(error)
    return results


def check_pieces(
    partial: PartialContent,
    manifest: Manifest,
    pieces: Iterable[int],
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> list[int]:
    """Those of ``pieces`` whose bytes on disk are good, in order. What is missing or cut short is not good.
    `StoppedError` when cancelled: half a check is no reason to forget the rest. `DiskError` when the disk fails."""
    buffer = bytearray(BUFFER_BYTES)
    good: list[int] = []
    checked = 0
    for piece in pieces:
        if cancelled is not None and cancelled():
            raise StoppedError("stopped while checking what is on disk")
        hasher = new_hasher(manifest.algorithm)
        try:
            for chunk in partial.chunks(partial.layout.spans(piece), buffer):
                hasher.update(chunk)
        except NotThereError:
            pass  # never written: bad, like a hole
        else:
            if hasher.digest() == manifest.piece_digest(piece):
                good.append(piece)
        checked += manifest.piece_size(piece)
        if progress is not None:
            progress(checked)
    return good


def whole_digest(
    partial: PartialContent, manifest: Manifest, progress: Progress | None = None, cancelled: Cancelled | None = None
) -> bool:
    """Whether all the bytes on disk, read again in order, have the digest of ``manifest``. `StoppedError` when
    cancelled, `NotThereError` when some are missing, `DiskError` when the disk cannot be read."""
    chunks = partial.chunks(partial.layout.whole(), bytearray(BUFFER_BYTES))
    return digest_of(chunks, manifest.algorithm, progress, cancelled) == manifest.digest


def digest_of(
    chunks: Generator[memoryview, None, None], algorithm: str, progress: Progress | None, cancelled: Cancelled | None
) -> str:
    """The digest, as text, of ``chunks`` one after another; `StoppedError` when cancelled. Each is hashed while the
    next one is made, and stays as it is meanwhile."""
    hasher = new_hasher(algorithm)
    done = 0
    with closing(chunks), ThreadPoolExecutor(1) as thread:
        behind: Future[object] | None = None
        for chunk in chunks:
            if behind is not None:
                behind.result()
            behind = None
            if cancelled is not None and cancelled():
                raise StoppedError("stopped while checking the whole content")
            if len(chunk) >= BEHIND_BYTES_MIN:
                behind = thread.submit(hasher.update, chunk)
            else:
                hasher.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done)
        if behind is not None:
            behind.result()
    return format_digest(algorithm, hasher.digest())
