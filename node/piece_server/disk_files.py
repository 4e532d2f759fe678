"""The files behind a `shelf.Shelf`: seeds and contents on the disk of this machine."""

from __future__ import annotations

import os
from pathlib import Path

from node.disk.content import Content
from node.disk.seed_store import load_seed
from protocol.limits import MANIFEST_PAGE_BYTES
from protocol.manifest import Manifest


class DiskFiles:
    """`shelf.Files` on the disk."""

    def load_seed(self, path: str) -> Manifest:
        return load_seed(Path(path))

    def open_content(self, manifest: Manifest, root: str, stamps: bytes | None) -> Content:
        return Content(manifest, Path(root), stamps)

    def seed_page(self, path: str, page: int) -> tuple[int, bytes] | None:
        """A page straight from the file: nobody needs the whole manifest for it."""
        try:
            with Path(path).open("rb") as file:
                total = os.fstat(file.fileno()).st_size
                start = min(page * MANIFEST_PAGE_BYTES, total)  # no file has the offset of any page whatever
                return total, os.pread(file.fileno(), MANIFEST_PAGE_BYTES, start)
        except OSError:
            return None
