"""What a download needs of the disk, as protocols: its partial content, the journal, seeds, what stands at its place.

`node.disk.disk_store.DiskStore` is the real one. Whatever else fits runs the same downloads, a disk in memory too, so
nothing here knows files: paths are plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple, Protocol

from node.disk.layout import Layout, Span
from protocol.manifest import Manifest

Buffer = bytes | bytearray | memoryview
Progress = Callable[[int], None]
"""Told how many bytes of long work are done so far (not a difference), from any thread."""
Cancelled = Callable[[], bool]


NOT_LOOKED_AT = b""
"""The bits of a journal entry whose partial content has yet to be hashed, or made."""


class JournalEntry(NamedTuple):
    """``bits`` is the `protocol.bitfield` of the pieces that are durable."""

    digest: str
    seed_path: str
    dest: str
    bits: bytes


class JournalPort(Protocol):
    """What is noted of downloads for the run after a crash. As `node.disk.journal.Journal`, which has the contract."""

    def start(self, digest: str, seed_path: str, dest: str, bits: bytes) -> None: ...
    def record(self, digest: str, bits: bytes) -> None: ...
    def get(self, digest: str) -> JournalEntry | None: ...
    def remove(self, digest: str) -> None: ...
    def entries(self) -> list[JournalEntry]: ...


class PartialContent(Protocol):
    """The partial content of one download. As `node.disk.storage.Partial`, which has the contract."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def layout(self) -> Layout: ...
    @property
    def resumed(self) -> bool: ...
    @property
    def root(self) -> str: ...
    @property
    def failed(self) -> bool: ...
    @property
    def left_behind(self) -> str: ...

    def write(self, piece: int, data: Buffer) -> None: ...
    def interrupt(self) -> None: ...
    def chunks(self, spans: Iterable[Span], buffer: bytearray) -> Generator[memoryview, None, None]: ...
    def sync(self) -> list[int]: ...
    def publish(self) -> str: ...
    def discard(self) -> None: ...
    def close(self) -> None: ...


class Store(Protocol):
    """The disk of a downloader. Any thread may call; errors are those of `node.disk` and `protocol.errors`."""

    @property
    def journal(self) -> JournalPort: ...

    def load_seed(self, path: str) -> Manifest:
        """The manifest in the seed file at ``path``."""

    def store_seed(self, data: bytes) -> str:
        """Keep a canonical manifest, durably; return the path of its seed file."""

    def existing_matches(self, dest: str, manifest: Manifest, progress: Progress, cancelled: Cancelled) -> bool:
        """Whether ``dest`` holds exactly the content of ``manifest`` already."""

    def open_partial(self, manifest: Manifest, dest: str, force: bool, keep: int = 0) -> PartialContent:
        """Start or take up the download of ``manifest`` to ``dest``. With ``force`` it replaces what is there; ``keep``
        such stay beside it."""

    def open_in_place(self, manifest: Manifest, dest: str, stamps: bytes) -> PartialContent:
        """Mend the content of ``manifest`` at ``dest``, which had ``stamps``: pieces are written over those there, and
        `discard` deletes nothing. `ContentChangedError` when somebody has written to it."""

    def note_mend(self, digest: str, dest: str, right: bytes) -> None:
        """Of content ``digest`` at ``dest`` all pieces that are not in the bitfield ``right`` will be written over."""

    def take_stamps(self, path: str, manifest: Manifest) -> bytes:
        """What tells later whether the content at ``path`` changed."""

    def read_pieces(self, manifest: Manifest, layout: Layout, root: str, pieces: Sequence[int]) -> list[Buffer | None]:
        """What is at ``root`` in the places of ``pieces`` of the content of ``manifest``, right or not; None for a
        piece that cannot be read. ``layout`` is that of the manifest."""

    def remove_leftovers(self, manifest: Manifest, dest: str) -> None:
        """Delete the partial content of ``manifest`` for ``dest``, if it is that; it needs no room on the disk."""

    def partial_size(self, dest: str) -> tuple[str, int]:
        """Where the partial content for ``dest`` lies, and the bytes that it takes on disk; 0 if there is none."""
