"""Which pieces of rotten content are being written over, noted while they are.

A process may be killed after a write and before the modification time is put back. The content then looks as if
somebody had written to it, and would be announced as new content, half mended. The note tells: if only pieces that were
to be written over are wrong, nobody else has written there. That is believed only of a process killed while it was
writing: a mend may wait for its sources for days, and what a person writes meanwhile is theirs. `DATA_DIR/mends` has a
note for each content, as a draft (``.new``) while nothing is being written.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from node.disk.errors import disk_error
from node.disk.layout import Layout
from node.disk.stamps import put_back_times
from protocol.bitfield import Bitfield
from protocol.digest import split_digest
from protocol.errors import ProtocolError
from protocol.manifest import Manifest
from service.private_files import sync_directory

MENDS_NAME = "mends"
DRAFT_SUFFIX = ".new"


class Note(Struct, frozen=True):
    root: str
    right: bytes
    """The pieces that are not written over, as a `protocol.bitfield`."""


class MendNote:
    """That of content ``digest``. `DiskError` when it cannot be written or read."""

    def __init__(self, data_dir: Path, digest: str) -> None:
        self._path = data_dir / MENDS_NAME / split_digest(digest)[1].hex()
        self._draft = self._path.with_suffix(DRAFT_SUFFIX)

    def draft(self, root: str, right: bytes) -> None:
        """The pieces of the content at ``root`` that are not ``right`` are to be written over. No note holds yet."""
        try:
            self._draft.parent.mkdir(mode=0o700, exist_ok=True)
            with self._draft.open("wb") as file:
                file.write(msgspec.json.encode(Note(root, right)))
                file.flush()
                os.fsync(file.fileno())
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, "write", self._draft) from error

    def hold(self) -> None:
        """They are about to be: from now on it holds, after a power cut too."""
        try:
            self._draft.replace(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            raise disk_error(error, "write", self._path) from error

    def rest(self) -> None:
        """All times are as they were: until `hold` it is a draft again."""
        with suppress(OSError):  # one that holds too long matters only if the process is killed
            self._path.replace(self._draft)

    def forget(self) -> None:
        """All times are as they were, or are to stay as they are."""
        with suppress(OSError):  # one too many is looked at only if the content has rotted
            self._draft.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)

    def put_back(self, root: str, was: Manifest, found: Manifest, before: bytes, stamps: bytes) -> bool:
        """Put the modification times of the content at ``root`` back if a mend of it was killed and nobody else has
        written to it: ``was`` is the right content and ``before`` its stamps, ``found``, of the same files, what is
        there with ``stamps``. False if that is not so, or cannot be done."""
        try:
            note = msgspec.json.decode(self._path.read_bytes(), type=Note)
            right = Bitfield.from_bytes(note.right, was.piece_count)
        except FileNotFoundError:
            return False
        except (msgspec.MsgspecError, RecursionError, ProtocolError):
            return False  # nobody can tell any more
        except OSError as error:
            raise disk_error(error, "read", self._path) from error
        if note.root != root:
            return False
        layout = Layout(was)
        paths = [layout.path_under(root, index) for index in range(len(layout.files))]
        ours = all(was.piece_digest(piece) == found.piece_digest(piece) for piece in right.indices())
        done = ours and put_back_times(paths, before, stamps)
        self.forget()
        return done
