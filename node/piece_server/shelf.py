"""What a piece server has to give: shared items, growing downloads, and the seeds of both.

Owns what is open behind swarms, and where it and the manifests are read. Items are opened when somebody first asks for
them, so a peer that shares thousands of things starts at once. Leaves who gets what to `uploads`. Pure but for its
port: the files are behind `Files`, and all that touches them is work for `Reading`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from node.local_messages import Serve
from node.piece_server.reading import OpenContent, Reading, Work
from protocol.bitfield import Bitfield
from protocol.manifest import Manifest
from protocol.messages import GetManifest

BOOKS_COUNT_MAX = 64
"""Contents open at a time, besides those that somebody has a session for: each holds a manifest and descriptors."""


class Files(Protocol):
    """Where seeds and contents are read from: `node.piece_server.disk_files`."""

    def load_seed(self, path: str) -> Manifest:
        """Raises `NotFoundError` when the seed is gone, `SeedError` or `ProtocolError` when it is damaged,
        `DiskError` when it cannot be read."""

    def open_content(self, manifest: Manifest, root: str, stamps: bytes | None) -> OpenContent:
        """Touches no disk. ``stamps`` None: a download under way. `ContentChangedError` when they are not those of
        ``manifest``."""

    def seed_page(self, path: str, page: int) -> tuple[int, bytes] | None:
        """Length of the seed file in bytes, and page ``page`` (from 0) of `MANIFEST_PAGE_BYTES`; empty past its end.
        None when it cannot be read."""


@dataclass(slots=True)
class Book:
    """Content that is open for reading."""

    manifest: Manifest
    content: OpenContent
    bits: Bitfield
    spread: Bitfield | None
    relayed: list[int]


class Shelf:
    """Everything this process may serve, by content digest, which is the key in ``reading`` of what is open."""

    def __init__(self, files: Files, reading: Reading[Any]) -> None:
        self._files = files
        self._reading = reading
        self._seed_folders: set[str] = set()
        """Open in ``reading``."""
        self._items: dict[str, Serve] = {}
        self._partial: dict[str, Serve] = {}
        self._gained: dict[str, list[int]] = {}
        """Pieces of a download besides those its `Serve` says..."""
        self._relayed: dict[str, list[int]] = {}
        """...those of them that this peer relays..."""
        self._lost: dict[str, set[int]] = {}
        """...and those it no longer has."""
        self._books: dict[str, Book] = {}

    def put_item(self, item: Serve) -> bool:
        """Whole content; takes the place of a download of the same content. True when an open book changed."""
        if self._items.get(item.digest) == item:
            return False
        self._items[item.digest] = item
        self._forget_published(item.digest)
        return self._close(item.digest)

    def remove_item(self, digest: str) -> str:
        """The whole content is no longer shared; returns where it was, empty if it was not."""
        item, serve = self._items.pop(digest, None), self._partial.get(digest)
        self._forget_published(digest)
        self._close(digest)
        if item is not None:
            return item.root
        return serve.root if serve is not None and serve.stamps else ""

    def put_partial(self, serve: Serve) -> bool:
        """A growing download, or the same one at its new place. True when it is served: not when the whole is."""
        known = self._partial.get(serve.digest)
        self._partial[serve.digest] = serve
        self._gained[serve.digest], self._relayed[serve.digest] = [], []
        self._lost[serve.digest] = set()
        if serve.digest in self._items:
            return False
        book = self._books.get(serve.digest)
        if book is not None and known is not None and not serve.stamps:
            book.content.move(serve.root)
            book.bits = Bitfield.from_bytes(serve.bits, book.bits.size)
            book.spread = _spread(serve, book.bits.size)
        else:
            self._close(serve.digest)
        return True

    def gained(self, digest: str, pieces: list[int], relayed: list[int]) -> None:
        """A download has ``pieces`` too, of which this peer relays ``relayed``: to be known when it is opened again,
        closed meanwhile as it may be."""
        if digest in self._gained:
            self._gained[digest] += pieces
            self._lost[digest].difference_update(pieces)
            self._relayed[digest] += relayed

    def lost(self, digest: str, piece: int) -> None:
        """``piece`` of a download is not what was verified any more, when it is opened again either."""
        if digest in self._lost:
            self._lost[digest].add(piece)

    def remove_partial(self, digest: str) -> bool:
        """The download ended without the whole. True when nothing of it is left to serve."""
        for known in (self._gained, self._relayed, self._lost):
            known.pop(digest, None)
        if self._partial.pop(digest, None) is None or digest in self._items:
            return False
        self._close(digest)
        return True

    def items(self) -> list[str]:
        return list(self._items)

    def partials(self) -> list[str]:
        return list(self._partial)

    def book(self, digest: str) -> Book | None:
        """The book of ``digest`` if it is open."""
        book = self._books.pop(digest, None)
        if book is not None:
            self._books[digest] = book  # the last used is the last to be closed
        return book

    def seed(self, digest: str) -> str:
        """The path of the seed that ``digest`` is opened with, empty when nothing of it is served."""
        served = self._items.get(digest) or self._partial.get(digest)
        return served.seed_path if served is not None else ""

    def load(self, path: str, tag: object) -> None:
        """Load the seed at ``path``: the result is its `Manifest`, or as `Files.load_seed` has it."""
        self._run(path, partial(self._files.load_seed, path), tag)

    def open(self, digest: str, manifest: Manifest) -> Book | None:
        """Open ``digest``, which is not open, with the ``manifest`` from its seed; None when nothing of it is served.

        Raises `ContentChangedError` when its content is not that of ``manifest``.
        """
        item, serve = self._items.get(digest), self._partial.get(digest)
        if item is not None:
            root = item.root
            content = self._files.open_content(manifest, root, item.stamps)
            book = Book(manifest, content, Bitfield.full_of(manifest.piece_count), None, [])
        elif serve is not None:
            bits = Bitfield.from_bytes(serve.bits, manifest.piece_count)
            spread = _spread(serve, bits.size)
            for piece in self._gained[digest]:
                bits.set(piece)
                spread.set(piece)
            for piece in self._lost[digest]:
                bits.clear(piece)
            root = serve.root
            content = self._files.open_content(manifest, root, serve.stamps or None)
            book = Book(manifest, content, bits, spread, [*self._relayed[digest]])
        else:
            return None
        self._books[digest] = book
        self._reading.open(digest, root)
        return book

    def idle(self, in_use: Container[str]) -> list[str]:
        """Close books beyond `BOOKS_COUNT_MAX` that nobody uses, the longest unused first; returns their digests."""
        spare = len(self._books) - BOOKS_COUNT_MAX
        if spare <= 0:
            return []
        closed = [digest for digest in self._books if digest not in in_use][:spare]
        for digest in closed:
            self._close(digest)
        return closed

    def read_page(self, request: GetManifest, tag: object) -> bool:
        """Read the page asked for, straight from the seed file: the result is as `Files.seed_page` has it, or why it
        cannot be read, as `Files.load_seed` says. False when this manifest is not here."""
        path = self._seed_path(request)
        if path:
            self._run(path, partial(_page, self._files, path, request.page), tag)
        return bool(path)

    def _run(self, seed_path: str, work: Work, tag: object) -> None:
        """Seeds may lie on another file system than content. Those of a peer are in one folder."""
        folder = posixpath.dirname(seed_path)
        if folder not in self._seed_folders:
            self._seed_folders.add(folder)
            self._reading.open(folder, folder)
        self._reading.run(folder, work, tag)

    def _seed_path(self, request: GetManifest) -> str:
        item, serve = self._items.get(request.digest), self._partial.get(request.digest)
        for served in (item, serve):
            if served is not None and served.manifest == request.manifest:
                return served.seed_path
        return item.more.get(request.manifest, "") if item is not None else ""

    def _forget_published(self, digest: str) -> None:
        """A download that has its final name is an item, or nothing: not something that still grows."""
        serve = self._partial.get(digest)
        if serve is not None and serve.stamps:
            del self._partial[digest], self._gained[digest], self._relayed[digest], self._lost[digest]

    def _close(self, digest: str) -> bool:
        book = self._books.pop(digest, None)
        if book is None:
            return False
        self._reading.close(digest, book.content.close)
        return True


def _page(files: Files, path: str, page: int) -> tuple[int, bytes] | None:
    found = files.seed_page(path, page)
    if found is None:
        files.load_seed(path)  # says why
    return found


def _spread(serve: Serve, size: int) -> Bitfield:
    """The pieces that others relay; none, if it is not said."""
    return Bitfield.from_bytes(serve.spread, size) if serve.spread else Bitfield(size)
