"""Seeds this peer needs again: canonical manifests as files, named by their digest.

``DATA_DIR/seeds/<64 hex digits>.seed`` is written once, whole or not at all, and never changed. Agent and downloader
both store; the piece server reads pages straight from the files.
"""

from __future__ import annotations

import os
from pathlib import Path

from node.disk.errors import disk_error
from protocol.digest import split_digest
from protocol.errors import NotFoundError, SeedError
from protocol.limits import MANIFEST_BYTES_MAX
from protocol.manifest import Manifest, decode_manifest, manifest_digest
from service.private_files import sync_directory

SUFFIX = ".seed"


def seed_path(data_dir: Path, digest: str) -> Path:
    """Where the manifest with manifest digest ``digest`` is kept, once it is stored."""
    return data_dir / "seeds" / f"{split_digest(digest)[1].hex()}{SUFFIX}"


def store_seed(data_dir: Path, manifest_bytes: bytes) -> Path:
    """Keep a canonical manifest, durably; return its file. Storing one again changes nothing.

    Raises `SeedError` when it is malformed or unsafe, `DiskError` when it cannot be written.
    """
    algorithm = decode_manifest(manifest_bytes).algorithm
    path = seed_path(data_dir, manifest_digest(manifest_bytes, algorithm))
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)  # a data directory that is away is not made anew
        if not path.is_file() or path.read_bytes() != manifest_bytes:
            _write(path, manifest_bytes)
    except OSError as error:
        raise disk_error(error, "keep the seed", path) from None
    return path


def load_seed(path: Path) -> Manifest:
    """The manifest stored at ``path``. Raises `NotFoundError` when it is gone, `SeedError` when it is damaged."""
    try:
        with path.open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFoundError(f"the seed {path} is gone") from None
    except OSError as error:
        raise disk_error(error, "read the seed", path) from None
    manifest = decode_manifest(data)
    if split_digest(manifest_digest(data, manifest.algorithm))[1].hex() != path.stem:
        raise SeedError(f"the seed {path} is damaged: its digest is not its name")
    return manifest


def _write(path: Path, data: bytes) -> None:
    """Write beside ``path``, sync, rename. The name is new each time: two processes may store the same seed at once."""
    draft = path.with_name(f".{path.stem}.{os.urandom(8).hex()}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)
