"""From content on disk to its manifest, and the check of a copy against one.

Content is read once, in blocks; while a block is read, one thread adds the last block to the digest of the whole and
another makes the digests of its pieces. So memory is bounded by two blocks whatever the size of the content. Content
that changes meanwhile is refused. Downloads check their pieces in `node.disk.piece_work`.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate, cycle
from pathlib import Path

from msgspec import Struct

from node.disk.concatenation import Concatenation, Part
from node.disk.errors import ContentChangedError, StoppedError
from node.disk.share_options import AS_USUAL, ShareOptions, Skipped
from node.disk.stamps import take_stamps
from node.disk.tree_scan import Scan, UnstableContentError, name_of, scan
from protocol import limits as lim
from protocol.digest import ALGORITHMS, format_digest, new_hasher, raw_digest
from protocol.errors import DiskError, NotFoundError, SeedError, UsageError
from protocol.manifest import FileEntry, Manifest, piece_length_for
from protocol.names import check_name, path_problems
from protocol.seed_formats import Seed, format_big_hash, format_seed, seed_format, small_hashes
from service.units import counted

Progress = Callable[[int], None]
"""Called with the bytes read and hashed so far, from the thread that asked, at least once a block."""
Cancelled = Callable[[], bool]
"""Asked once a block; True ends the work with `StoppedError`."""

BLOCK_BYTES = 1 * lim.MIB
"""What is read at a time, or a piece when that is larger: small enough to stay in cache until it is hashed."""


PROBLEMS_SHOWN_COUNT = 3
"""Of names that cannot be shared, and of files that a bad piece is in; all are counted."""


class Hashed(Struct, frozen=True):
    """Content as it was when it was hashed: ``stamps`` (`node.disk.stamps`) tell when a file is not that any more,
    ``fingerprint`` (`node.disk.tree_scan`) also when files were added. ``skipped`` is no part of it."""

    manifest: Manifest
    stamps: bytes
    fingerprint: bytes
    skipped: Skipped


class Problem(Struct, frozen=True):
    """What is wrong with a copy: ``piece`` is the index of a bad piece, or None; ``path`` the file it concerns
    inside a tree, or in words those that a bad piece is in; empty for a single file."""

    path: str
    piece: int | None
    detail: str

    def __str__(self) -> str:
        return f"{self.path} {self.detail}".strip()


def make_seed(path: str | Path, format: str = "text", algorithm: str = ALGORITHMS[0]) -> bytes:
    """The seed of the file or directory at ``path``, as the bytes of a seed file. Directories need ``msgpack``."""
    if not seed_format(format).takes_trees and Path(path).is_dir():
        raise SeedError(f"{path} is a directory, which the {format} format cannot describe; use msgpack")
    return format_seed(Seed(name_of(Path(path)), hash_path(Path(path), algorithm)), format)


def make_big_hash(path: str | Path, algorithm: str = ALGORITHMS[0]) -> str:
    """The digest of all the content at ``path``, as a text seed has it: ``algorithm:hex``, SHA-256 as hex alone."""
    return format_big_hash(hash_path(Path(path), algorithm).digest)


def make_small_hashes(path: str | Path, algorithm: str = ALGORITHMS[0]) -> list[str]:
    """The digests of the pieces of the content at ``path``, in hex, as a text seed has them."""
    return small_hashes(hash_path(Path(path), algorithm))


def hash_path(
    path: Path,
    algorithm: str = ALGORITHMS[0],
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Manifest:
    """The manifest of the file or directory at ``path``. Raises as `hash_content` does."""
    return hash_content(path, algorithm, progress, cancelled).manifest


def hash_content(
    path: Path,
    algorithm: str,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    options: ShareOptions = AS_USUAL,
) -> Hashed:
    """Read the content of the file or directory at ``path`` once, and say what it is.

    Raises `NotFoundError`, `SeedError` (a name that other systems could not store, too much content), `UsageError`
    (nothing but what is left out), `UnstableContentError` (it changed meanwhile), `DiskError` (it cannot be read),
    `StoppedError` (``cancelled``).
    """
    new_hasher(algorithm)
    check_name(name_of(path))
    before = scan(path, options.link_roots)
    _check_shareable(before, bool(options.link_roots))
    for_posix = _check_paths(before, options.posix_names)
    piece_length = piece_length_for(before.length)
    parts = (Part(before.file_path(file), file.path, file.length, file.inode) for file in before.files)
    with Concatenation(parts, _refuse) as content:
        whole, pieces = _hash_stream(content, algorithm, piece_length, progress, cancelled)
    manifest = Manifest(
        length=before.length,
        piece_length=piece_length,
        digest=format_digest(algorithm, whole),
        pieces=pieces,
        files=tuple(FileEntry(f.path, f.length, f.executable) for f in before.files) if before.is_tree else None,
        empty_dirs=tuple(before.empty_dirs),
        posix_names=for_posix,
    )
    try:
        stamps = take_stamps(before.root, manifest)
    except ContentChangedError as error:
        raise UnstableContentError(f"{error}: it changed while it was hashed") from None
    after = scan(path, options.link_roots)  # last: when nothing differs now, the stamps too are of what was read
    if after.fingerprint() != before.fingerprint():
        raise UnstableContentError(f"{_first_change(before, after)} changed while it was hashed")
    return Hashed(manifest, stamps, before.fingerprint(), before.skipped)


def measure(path: Path, options: ShareOptions = AS_USUAL) -> int:
    """The bytes that `hash_content` would read, to show progress against. Raises as `node.disk.tree_scan.scan` does."""
    return scan(path, options.link_roots).length


def drop_cached(found: Scan) -> None:
    """Have the files of ``found`` read from the disk next time, as far as the system allows: what is cached of them may
    be right when the disk is not."""
    for file in found.files:
        with contextlib.suppress(OSError):  # whoever reads it next is told
            fd = os.open(found.file_path(file), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def rot_between(was: Manifest, found: Manifest) -> str:
    """How much of content ``was`` has other bytes in ``found``, for a person; empty if it is not the same files."""
    if any(getattr(was, fact) != getattr(found, fact) for fact in ("algorithm", "length", "files", "empty_dirs")):
        return ""
    wrong = _bad_pieces(was, found.pieces, ())
    where = wrong[0].path
    first = f"piece {wrong[0].piece}{f' in {where}' if where else ''}"
    return f"{counted(len(wrong), 'piece')} of {was.piece_count}, the first {first}"


def verify_path(path: Path, manifest: Manifest, progress: Progress | None = None) -> list[Problem]:
    """All that is wrong with the copy of ``manifest`` at ``path``; nothing when it is right. Files that the manifest
    does not name, and executable bits, are not looked at. Raises `NotFoundError` when there is nothing at ``path``."""
    if not path.exists():
        raise NotFoundError(f"{path} does not exist")
    problems = [
        Problem(directory, None, "is missing (an empty directory)")
        for directory in manifest.empty_dirs
        if not (path / directory).is_dir()
    ]
    if manifest.files is None:
        parts = [Part(path, "", manifest.length)]
    else:
        parts = [Part(path / file.path, file.path, file.length) for file in manifest.files]
    with Concatenation(parts, lambda part, what: problems.append(Problem(part.name, None, str(what)))) as content:
        whole, pieces = _hash_stream(content, manifest.algorithm, manifest.piece_length, progress, None)
    problems += _bad_pieces(manifest, pieces, {problem.path for problem in problems})
    if not problems and format_digest(manifest.algorithm, whole) != manifest.digest:
        problems.append(Problem("", None, "has every piece right but not the whole: the seed contradicts itself"))
    return problems


def _hash_stream(
    content: Concatenation,
    algorithm: str,
    piece_length: int,
    progress: Progress | None,
    cancelled: Cancelled | None,
) -> tuple[bytes, bytes]:
    """(digest of the whole, digests of the pieces one after another), both raw."""
    whole = new_hasher(algorithm)
    pieces = bytearray()

    def add_pieces(block: memoryview) -> None:
        for start in range(0, len(block), piece_length):
            pieces.extend(raw_digest(algorithm, block[start : start + piece_length]))

    done = 0
    hashing: tuple[Future[object], ...] = ()
    hashing_bytes = 0
    with ThreadPoolExecutor(2, "hashing") as threads:
        for block in cycle([memoryview(bytearray(max(BLOCK_BYTES, piece_length))) for _ in range(2)]):
            count = content.read_into(block)
            for future in hashing:
                future.result()
            done += hashing_bytes
            if progress is not None:
                progress(done)
            if not count:
                break
            if cancelled is not None and cancelled():
                raise StoppedError("hashing was stopped")
            filled = block[:count]
            hashing = (threads.submit(whole.update, filled), threads.submit(add_pieces, filled))
            hashing_bytes = count
    return whole.digest(), bytes(pieces)


def _check_shareable(found: Scan, followed: bool) -> None:
    if found.skipped and not found.files:
        what = f"nothing in it can be shared: {found.skipped.described()}{found.skipped.advice(followed)}"
        raise UsageError(f"{found.root}: {what}")
    entries = len(found.files) + len(found.empty_dirs)
    if entries > lim.TREE_FILES_COUNT_MAX:
        raise SeedError(f"{found.root} holds {entries} files; at most {lim.TREE_FILES_COUNT_MAX} are possible")
    if found.length > lim.CONTENT_BYTES_MAX:
        raise SeedError(f"{found.root} holds {found.length} bytes; at most {lim.CONTENT_BYTES_MAX} are possible")


def _check_paths(found: Scan, posix_names: bool) -> bool:
    """Whether only POSIX systems can store the paths of a tree, which is right with ``posix_names`` alone."""
    if not found.is_tree:
        return False
    paths = [*(file.path for file in found.files), *found.empty_dirs]
    unportable = list(path_problems(paths))
    if not unportable:
        return False
    never = list(path_problems(paths, posix_names=True))
    if never:
        raise SeedError(f"{_told(never, len(paths))}: no receiver could store that; rename them")
    if not posix_names:
        what = "some receivers could not store that; rename them, or use --posix-names if all receivers run Linux"
        raise SeedError(f"{_told(unportable, len(paths))}: {what}")
    return True


def _told(problems: Sequence[str], count: int) -> str:
    """How many of ``count`` paths have ``problems``, and the first of these."""
    more = f"; and {len(problems) - PROBLEMS_SHOWN_COUNT} more" if len(problems) > PROBLEMS_SHOWN_COUNT else ""
    return f"{len(problems)} of {count} paths: {'; '.join(problems[:PROBLEMS_SHOWN_COUNT])}{more}"


def _refuse(part: Part, problem: DiskError) -> None:
    when = " while it was hashed" if isinstance(problem, UnstableContentError) else ""
    raise type(problem)(f"{part.where} {problem}{when}")


def _first_change(before: Scan, after: Scan) -> Path:
    for old, new in zip(before.files, after.files, strict=False):
        if old != new:
            return before.file_path(min(old, new))
    return before.root


def _one_of(paths: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or 7 more``."""
    if len(paths) > PROBLEMS_SHOWN_COUNT:
        paths = [*paths[: PROBLEMS_SHOWN_COUNT - 1], f"{len(paths) - PROBLEMS_SHOWN_COUNT + 1} more"]
    *others, last = paths or [""]
    return f"{', '.join(others)} or {last}" if others else last


def _bad_pieces(manifest: Manifest, found: bytes, wrong: Collection[str]) -> list[Problem]:
    """``wrong`` are files that have other problems."""
    if found == manifest.pieces:
        return []
    files = manifest.files or ()
    ends = list(accumulate(file.length for file in files))
    problems = []
    for index in range(manifest.piece_count):
        at = index * lim.DIGEST_BYTES
        if found[at : at + lim.DIGEST_BYTES] != manifest.piece_digest(index):
            start = index * manifest.piece_length
            end = start + manifest.piece_size(index)
            covered = files[bisect_right(ends, start) : bisect_left(ends, end) + 1]
            paths = [file.path for file in covered if file.length]
            where = _one_of([path for path in paths if path in wrong] or paths)
            problems.append(Problem(where, index, f"differs in piece {index} (bytes {start} to {end})"))
    return problems
