"""The content of a run: made, or copied from what a person names; one copy for each seeder."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from msgspec import Struct

from node.disk.tree_scan import name_of, scan
from protocol.errors import DiskError, UsageError
from service.units import format_bytes

RANDOM_NAME = "random.bin"
BLOCK_BYTES = 4 * 1024 * 1024
FILES_PER_DIRECTORY = 100


class Original(Struct, frozen=True):
    """What every peer is to have in the end: the file or directory at ``path``, of ``size`` bytes in all."""

    path: Path
    name: str
    size: int


def make_random(original: Original) -> None:
    """Write random bytes where it says."""
    with original.path.open("wb") as file:
        for start in range(0, original.size, BLOCK_BYTES):
            file.write(os.urandom(min(BLOCK_BYTES, original.size - start)))


def make_random_tree(root: Path, files: int, size: int) -> None:
    """Make a directory ``root`` of so many ``files`` of ``size`` random bytes, a hundred in each directory of it."""
    for number in range(files):
        directory, place = divmod(number, FILES_PER_DIRECTORY)
        if not place:
            (root / f"{directory:03}").mkdir(parents=True)
        (root / f"{directory:03}" / f"{place:02}.bin").write_bytes(os.urandom(size))


def existing(path: Path) -> Original:
    """The file or directory at ``path``. Raises `NotFoundError`, `DiskError`."""
    name = name_of(path)
    if not name:
        raise UsageError(f"{path} has no name to share it under")
    return Original(path, name, scan(path).length)


def copy_content(original: Original, directory: Path) -> Path:
    """A copy in ``directory``, its own bytes on disk. Raises `DiskError`.

    Of a tree, what a share leaves out (symbolic links, special files) is left out here too.
    """
    target = directory / original.name
    try:
        if original.path.is_dir():
            shutil.copytree(original.path, target, ignore=_not_shared)
        else:
            shutil.copy(original.path, target)
    except OSError as error:
        raise DiskError(f"cannot copy {original.path} to {directory}: {error}") from None
    return target


def check_space(directory: Path, size: int, copies: int) -> None:
    """Raises `DiskError` when ``copies`` of ``size`` bytes do not fit into ``directory``."""
    free = shutil.disk_usage(directory).free
    if size * copies > free:
        needed = f"{copies} copies of {format_bytes(size)}"
        raise DiskError(
            f"{needed} do not fit into {directory}: {format_bytes(free)} free. Take fewer peers or less content, "
            "or another directory by --keep DIR or TMPDIR"
        )


def _not_shared(directory: str, names: list[str]) -> list[str]:
    def is_shared(name: str) -> bool:
        mode = Path(directory, name).lstat().st_mode
        return stat.S_ISREG(mode) or stat.S_ISDIR(mode)

    return [name for name in names if not is_shared(name)]
