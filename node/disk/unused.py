"""Files of a data directory that nobody uses any more: seeds, notes of mends, and damaged journals that were put aside.

Only regular files with names that this program gives are touched. Partial downloads are `node.downloader.abandoned`'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from node.disk.errors import disk_error
from node.disk.journal import JOURNAL_NAME
from node.disk.mend_notes import DRAFT_SUFFIX, MENDS_NAME
from node.local_messages import Unused

_SEED = re.compile(r"([0-9a-f]{64})\.seed")
_DRAFT = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{16}")
"""Of a seed whose writer was killed."""
_NOTE = re.compile(rf"([0-9a-f]{{64}})({re.escape(DRAFT_SUFFIX)})?")
_DAMAGED = re.compile(re.escape(JOURNAL_NAME) + r"\.damaged-[0-9]+(-wal|-shm|-journal)?")


def collect_unused(data_dir: Path, used: Collection[str], dry_run: bool, drafts: bool = False) -> list[Unused]:
    """Delete, or with ``dry_run`` find, seeds and notes of mends whose digests in hex are not in ``used``, and damaged
    journals. With ``drafts`` half-written seeds too: no process is writing any. Raises `DiskError`; what was deleted
    then is gone."""
    found = list(_unused(data_dir, used, drafts))
    for unused in [] if dry_run else found:
        try:
            Path(unused.path).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, "delete", Path(unused.path)) from error
    return found


def _unused(data_dir: Path, used: Collection[str], drafts: bool) -> Iterator[Unused]:
    for path in _own_files(data_dir / "seeds"):
        seed = _SEED.fullmatch(path.name)
        if (seed and seed[1] not in used) or (drafts and _DRAFT.fullmatch(path.name)):
            yield Unused("seed", str(path), path.lstat().st_blocks * 512)
    for path in _own_files(data_dir / MENDS_NAME):
        note = _NOTE.fullmatch(path.name)
        if note and note[1] not in used:
            yield Unused("mend", str(path), path.lstat().st_blocks * 512)
    for path in _files(data_dir):
        if _DAMAGED.fullmatch(path.name):
            yield Unused("journal", str(path), path.lstat().st_blocks * 512)


def _own_files(directory: Path) -> list[Path]:
    """What a link leads to may be other peers' too."""
    return [] if directory.is_symlink() else _files(directory)


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.is_file() and not path.is_symlink())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk_error(error, "list", directory) from error
