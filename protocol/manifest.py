"""The manifest: what a content consists of, and its canonical encoding (PROTOCOL.md, section 3.4).

Swarms are keyed by the content digest; the digest of the canonical encoding, the manifest digest, pins the piece
table and the paths, so a peer can substitute neither. What the content is called is no part of it: equal contents have
equal manifests, and the name stands beside, in a link, a list or a seed. A decoded `Manifest` has been checked in full.
Seeds are in `seed_formats`; where the bytes of a piece lie on disk is `node.disk.layout`.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgpack
import msgspec
from msgspec import Meta, Struct

from protocol import limits as lim
from protocol.digest import format_digest, raw_digest, split_digest
from protocol.errors import SeedError
from protocol.names import check_distinct, check_path, path_problems

FORMAT = "zswarm-manifest"
VERSION = 1

F = TypeVar("F")
_Length = Annotated[int, Meta(ge=0, le=lim.CONTENT_BYTES_MAX)]


class FileEntry(Struct, frozen=True, array_like=True):
    """A file of a tree: path inside it with ``/`` between names, length in bytes, whether it is a program."""

    path: str
    length: _Length
    executable: bool


class Manifest(Struct, frozen=True):
    """A content: its bytes are those of ``files`` one after another, or of the one file when ``files`` is None.

    ``digest`` is written ``algorithm:hex``; ``pieces`` holds the raw digests of the pieces one after another, in the
    same algorithm. ``files`` and ``empty_dirs`` are sorted. Content of no bytes has no pieces. ``posix_names``: not
    every system can store the paths, only a POSIX one.
    """

    length: _Length
    piece_length: int
    digest: str
    pieces: bytes
    files: Annotated[tuple[FileEntry, ...], Meta(max_length=lim.TREE_FILES_COUNT_MAX)] | None
    empty_dirs: Annotated[tuple[str, ...], Meta(max_length=lim.TREE_FILES_COUNT_MAX)]
    posix_names: bool = False

    @property
    def algorithm(self) -> str:
        return self.digest.partition(":")[0]

    @property
    def piece_count(self) -> int:
        return len(self.pieces) // lim.DIGEST_BYTES

    def piece_digest(self, index: int) -> bytes:
        """The raw digest of piece ``index``."""
        self._check(index)
        return self.pieces[index * lim.DIGEST_BYTES : (index + 1) * lim.DIGEST_BYTES]

    def piece_size(self, index: int) -> int:
        """The bytes of piece ``index``: ``piece_length``, or what is left for the last one."""
        self._check(index)
        return min(self.piece_length, self.length - index * self.piece_length)

    def _check(self, index: int) -> None:
        if not 0 <= index < self.piece_count:
            raise IndexError(f"piece {index} of {self.piece_count}")


def piece_length_for(length: int) -> int:
    """The piece length, in bytes, of a content of ``length`` bytes (PROTOCOL.md, section 3.3). It depends on nothing
    else, so equal contents have equal pieces."""
    enough = 1 << max(0, (length // lim.PIECES_WANTED_COUNT).bit_length() - 1)
    few = 1 << max(0, _pieces(length, lim.PIECES_COUNT_MAX) - 1).bit_length()
    return max(lim.PIECE_BYTES_MIN, min(enough, lim.PIECE_BYTES_USUAL_MAX), few)


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical encoding: the one sequence of bytes that stands for ``manifest``."""
    files = manifest.files
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "length": manifest.length,
        "piece_length": manifest.piece_length,
        "digest": manifest.digest,
        "pieces": manifest.pieces,
        "files": None if files is None else [(file.path, file.length, file.executable) for file in files],
        "empty_dirs": manifest.empty_dirs,
    }
    if manifest.posix_names:
        fields["posix_names"] = True
    encoded: bytes = msgpack.packb(fields)
    return encoded


def manifest_digest(data: bytes, algorithm: str) -> str:
    """The manifest digest, ``algorithm:hex``, of a canonical encoding; ``algorithm`` is that of its content."""
    return format_digest(algorithm, raw_digest(algorithm, data))


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in its canonical encoding, checked in full; `SeedError` that says what is wrong with it."""
    if len(data) > lim.MANIFEST_BYTES_MAX:
        raise SeedError(f"manifest of {len(data)} bytes is over the limit of {lim.MANIFEST_BYTES_MAX}")
    manifest = check_manifest(decode_fields(data, _DECODER, "manifest", FORMAT, VERSION))
    if encode_manifest(manifest) != data:
        raise SeedError("manifest is not in its canonical encoding, so its digest would not be that of its meaning")
    return manifest


def check_manifest(manifest: Manifest) -> Manifest:
    """``manifest``, when all its parts are allowed and fit each other; `SeedError` that says what does not."""
    split_digest(manifest.digest)
    length, piece_length = manifest.length, manifest.piece_length
    if not 0 <= length <= lim.CONTENT_BYTES_MAX:
        raise SeedError(f"content of {length} bytes; at most {lim.CONTENT_BYTES_MAX} are possible")
    if piece_length != piece_length_for(length):
        raise SeedError(f"content of {length} bytes has pieces of {piece_length_for(length)} bytes, not {piece_length}")
    count, rest = divmod(len(manifest.pieces), lim.DIGEST_BYTES)
    if rest:
        raise SeedError(f"the piece table has {len(manifest.pieces)} bytes, no multiple of {lim.DIGEST_BYTES}")
    if count != _pieces(length, piece_length):
        expected = _pieces(length, piece_length)
        raise SeedError(f"content of {length} bytes has {expected} pieces of {piece_length} bytes, not {count}")
    _check_tree(manifest)
    return manifest


def _check_tree(manifest: Manifest) -> None:
    files, empty_dirs = manifest.files, manifest.empty_dirs
    if files is None:
        if empty_dirs or manifest.posix_names:
            raise SeedError("a single file has no empty directories, and no names in it")
        return
    if len(files) + len(empty_dirs) > lim.TREE_FILES_COUNT_MAX:
        raise SeedError(f"a tree of {len(files) + len(empty_dirs)} entries; at most {lim.TREE_FILES_COUNT_MAX}")
    posix_names = manifest.posix_names
    paths = [check_path(file.path, posix_names) for file in files]
    directories = [check_path(path, posix_names) for path in empty_dirs]
    check_distinct(paths + directories, posix_names)
    if posix_names and next(path_problems(paths + directories), None) is None:
        raise SeedError("the manifest says that only POSIX systems can store its paths, and all can")
    if paths != sorted(paths) or directories != sorted(directories):
        raise SeedError("the paths of a tree have to be sorted")
    if any(file.length < 0 for file in files) or sum(file.length for file in files) != manifest.length:
        raise SeedError(f"the lengths of the files do not add up to the length of the content, {manifest.length}")


def _pieces(length: int, piece_length: int) -> int:
    return -(-length // piece_length)


def decode_fields(data: bytes, decoder: msgspec.msgpack.Decoder[F], what: str, format: str, *versions: int) -> F:
    """The msgpack map in ``data`` when it says that it is of ``format`` and one of ``versions``; `SeedError` about
    ``what`` otherwise. Nothing is made of fields that the decoder's type does not have: a map of a hundred million
    empty maps would take 9 GB."""
    try:
        head = _HEAD.decode(data)
        if head.format != format:
            raise SeedError(f"not a zswarm {what}: its first field does not say so")
        if head.version not in versions:
            known = " and ".join(map(str, versions))
            raise SeedError(f"{what} of format version {head.version}; this program reads version {known}")
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise SeedError(f"{what}: {error}") from None
    except msgspec.DecodeError as error:
        if "trailing" in str(error):
            raise SeedError(f"{what} goes on after its end") from None
        raise SeedError(f"{what} is truncated or garbled: {error!s:.200}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise SeedError(f"{what} is truncated or garbled: {error!s:.200}") from None


class _Head(Struct, frozen=True):
    format: str = ""
    version: int = 0


_HEAD = msgspec.msgpack.Decoder(_Head)
_DECODER = msgspec.msgpack.Decoder(Manifest)
