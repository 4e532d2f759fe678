"""Small contents with their manifests, made in memory for tests of storage."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from node.disk.store import PartialContent
from protocol.digest import format_digest, raw_digest
from protocol.limits import PIECE_BYTES_MIN
from protocol.manifest import FileEntry, Manifest, check_manifest, piece_length_for

PIECE = PIECE_BYTES_MIN


class Made:
    """``data`` is all the content in order; ``files`` its parts by path for a tree."""

    def __init__(self, manifest: Manifest, data: bytes, files: dict[str, bytes] | None) -> None:
        self.manifest = manifest
        self.data = data
        self.files = files

    def piece(self, index: int) -> bytes:
        start = index * self.manifest.piece_length
        return self.data[start : start + self.manifest.piece_size(index)]

    def write(self, partial: PartialContent, pieces: Iterable[int] | None = None) -> None:
        for piece in range(self.manifest.piece_count) if pieces is None else pieces:
            partial.write(piece, self.piece(piece))

    def put(self, root: Path) -> Path:
        """Write the whole content to ``root`` as a person would have it."""
        if self.files is None:
            root.write_bytes(self.data)
            return root
        root.mkdir()
        for path, data in self.files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        for entry in self.manifest.files or ():
            if entry.executable:
                (root / entry.path).chmod(0o755)
        for path in self.manifest.empty_dirs:
            (root / path).mkdir(parents=True)
        return root


def some_bytes(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def made_file(length: int = 3 * PIECE + 1000, seed: int = 1, algorithm: str = "blake3") -> Made:
    data = some_bytes(length, seed)
    return Made(_manifest(data, algorithm, None, ()), data, None)


def made_sparse(pieces: list[bytes]) -> Made:
    """One file of ``pieces``."""
    data = b"".join(pieces)
    return Made(_manifest(data, "blake3", None, ()), data, None)


def made_tree(
    lengths: dict[str, int] | None = None,
    empty_dirs: Iterable[str] = (),
    programs: Iterable[str] = (),
    seed: int = 1,
    fill: Callable[[int, int], bytes] = some_bytes,
    posix_names: bool = False,
) -> Made:
    """A tree of files with random bytes, or what ``fill`` gives for a length and a seed. By default one with files of
    every awkward kind, in 3 pieces and a bit."""
    if lengths is None:
        lengths = {
            "a/b/deep.bin": PIECE + 5,
            "a/empty": 0,
            "a/tool": 100,
            "big": 2 * PIECE,
            "tiny/1": 1,
            "tiny/2": 1,
            "ünïcödé/ß": 7,
            "zero": 0,
        }
        empty_dirs, programs = ("hollow/inner", "void"), ("a/tool",)
    programs = set(programs)
    files = {path: fill(length, seed + number) for number, (path, length) in enumerate(sorted(lengths.items()))}
    data = b"".join(files.values())
    entries = tuple(FileEntry(path, len(part), path in programs) for path, part in files.items())
    return Made(_manifest(data, "blake3", entries, tuple(sorted(empty_dirs)), posix_names), data, files)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def open_fds() -> set[int]:
    """The descriptors this process has open."""
    listed = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    return {fd for fd in listed if Path(f"/proc/self/fd/{fd}").exists() or Path(f"/proc/self/fd/{fd}").is_symlink()}


def tree_on_disk(root: Path) -> dict[str, bytes | None]:
    """Every file below ``root`` with its bytes, every directory with None."""
    return {path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def tree_expected(made: Made) -> dict[str, bytes | None]:
    assert made.files is not None
    expected: dict[str, bytes | None] = dict(made.files)
    for path in [*made.files, *(f"{path}/x" for path in made.manifest.empty_dirs)]:
        while path := path.rpartition("/")[0]:
            expected[path] = None
    return expected


def _manifest(
    data: bytes,
    algorithm: str,
    files: tuple[FileEntry, ...] | None,
    empty_dirs: tuple[str, ...],
    posix_names: bool = False,
) -> Manifest:
    size = piece_length_for(len(data))
    pieces = b"".join([raw_digest(algorithm, data[start : start + size]) for start in range(0, len(data), size)])
    digest = format_digest(algorithm, raw_digest(algorithm, data))
    return check_manifest(Manifest(len(data), size, digest, pieces, files, empty_dirs, posix_names))
