"""The disk as a downloader uses it: `node.disk.store.Store` over real files.

Gathers what the modules of this package do, and turns text into paths. The journal belongs to whoever made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from node.disk import seed_store, stamps, storage
from node.disk.content import Content
from node.disk.existing import existing_matches
from node.disk.in_place import InPlace
from node.disk.layout import Layout
from node.disk.mend_notes import MendNote
from node.disk.staging import bytes_on_disk, staging_path
from node.disk.store import Buffer, Cancelled, JournalPort, PartialContent, Progress
from protocol.errors import DiskError
from protocol.manifest import Manifest


class DiskStore:
    """Seeds in ``data_dir``, content wherever a download is told to put it."""

    def __init__(self, data_dir: Path, journal: JournalPort) -> None:
        self.journal = journal
        self._data_dir = data_dir

    def load_seed(self, path: str) -> Manifest:
        """`node.disk.seed_store.load_seed`."""
        return seed_store.load_seed(Path(path))

    def store_seed(self, data: bytes) -> str:
        """`node.disk.seed_store.store_seed`."""
        return str(seed_store.store_seed(self._data_dir, data))

    def existing_matches(self, dest: str, manifest: Manifest, progress: Progress, cancelled: Cancelled) -> bool:
        """`node.disk.existing.existing_matches`."""
        return existing_matches(Path(dest), manifest, progress, cancelled)

    def open_partial(self, manifest: Manifest, dest: str, force: bool, keep: int = 0) -> PartialContent:
        """`node.disk.storage.Partial.open`."""
        return storage.Partial.open(manifest, Path(dest), force, keep)

    def open_in_place(self, manifest: Manifest, dest: str, stamps: bytes) -> PartialContent:
        """`node.disk.in_place.InPlace`."""
        return InPlace(manifest, Path(dest), stamps, MendNote(self._data_dir, manifest.digest))

    def note_mend(self, digest: str, dest: str, right: bytes) -> None:
        """`node.disk.mend_notes.MendNote.draft`."""
        MendNote(self._data_dir, digest).draft(dest, right)

    def take_stamps(self, path: str, manifest: Manifest) -> bytes:
        """`node.disk.stamps.take_stamps`."""
        return stamps.take_stamps(Path(path), manifest)

    def read_pieces(self, manifest: Manifest, layout: Layout, root: str, pieces: Sequence[int]) -> list[Buffer | None]:
        """`node.disk.content.Content`, as far as it can be read."""
        with closing(Content(manifest, Path(root), None, layout)) as content:
            return [_read(content, piece) for piece in pieces]

    def remove_leftovers(self, manifest: Manifest, dest: str) -> None:
        """`node.disk.storage.remove_leftovers`."""
        storage.remove_leftovers(manifest, Path(dest))

    def partial_size(self, dest: str) -> tuple[str, int]:
        """`node.disk.staging.staging_path`, and what is there."""
        path = staging_path(Path(dest))
        return str(path), bytes_on_disk(path)


def _read(content: Content, piece: int) -> bytes | None:
    try:
        return content.read(piece)
    except DiskError:  # whoever asks can do without
        return None
