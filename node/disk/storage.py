"""A download's partial content on disk: written piece by piece, synced in groups, put in place at the end.

`Partial` owns the bytes; which pieces are good is for `piece_work` to say and for `journal` to remember. Nothing
unfinished stands under the final name: see `staging`. Where the destination may be: `destination`.

Durability: `Partial.sync` returns the pieces that a crash of the machine can no longer take, and only those may go
into the journal. Few dirty files are fsynced one by one; many, and those that were not kept open, with one ``syncfs``.
That took 30 ms where 2,000 single fsyncs took 400 ms, but it also writes what others left dirty on that file system,
and fails when something of theirs was lost. After a sync that failed the kernel may have dropped the data and forget
the error, so the `Partial` refuses everything: open it anew, and go on from the journal.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from node.disk import durable
from node.disk.destination import check_destination, check_paths, check_space
from node.disk.errors import AwayError, NotThereError, StoppedError, disk_error
from node.disk.layout import Layout, Span
from node.disk.leftovers import find_leftovers
from node.disk.open_files import OPEN_FILES_COUNT_MAX, OneOpenFile, OpenFiles, read_chunks
from node.disk.sparse import write_sparse
from node.disk.staging import CONTENT, Staging
from node.disk.store import Buffer
from protocol.errors import DiskError, LocalError
from protocol.manifest import Manifest, encode_manifest, manifest_digest

SYNC_EACH_COUNT_MAX = 32
"""With more dirty files and directories than this, one syncfs is cheaper than as many fsyncs."""


class Partial:
    """The partial content of one download; made by `open`.

    `write`, `chunks` and `sync` may be called by several threads at once; `publish`, `discard` and
    `close` by one, when no `write` is under way.

    ``resumed``: partial content of this very manifest was found; what of it is good has to be checked.
    """

    def __init__(
        self, manifest: Manifest, staging: Staging, layout: Layout, force: bool, resumed: bool, keep: int
    ) -> None:
        self.manifest = manifest
        self.layout = layout
        self.resumed = resumed
        self._staging = staging
        self._force = force
        self._keep = keep
        self._root = staging.path / CONTENT
        self._files = OpenFiles(self._open_file)
        self._many = len(layout.files) > OPEN_FILES_COUNT_MAX
        self._there: set[int] = set()
        self._dirs: set[str] = {""}
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._dirty_pieces: list[int] = []
        self._dirty_files: set[int] = set()
        self._dirty_closed = False
        """Some of `_dirty_files` are closed."""
        self._dirty_dirs: set[str] = {"."}
        self._failed = ""
        self._interrupted = False
        self._closed = False

    @classmethod
    def open(cls, manifest: Manifest, dest: Path, force: bool = False, keep: int = 0) -> Partial:
        """Start or take up the download of ``manifest`` to ``dest``, whose parent directory must exist.

        Raises `DiskError` when something stands at ``dest`` that may not be replaced (all that does, without
        ``force``: ask `existing.existing_matches` first), when another download is writing there or nothing can
        be written, `NoSpaceError` when the rest does not fit. Walks what was there before: not for an event loop.
        """
        layout = Layout(manifest)
        staging = Staging(dest)
        try:
            check_destination(dest, staging.parent_fd, layout.is_tree, force)
            check_paths(staging.path / CONTENT, layout)
            if staging.fresh:
                check_space(dest.parent, staging.parent_fd, manifest, {})
            if manifest.posix_names and not staging.takes_posix_names():
                raise DiskError(
                    f"{dest.parent} cannot hold names that only POSIX systems can store, which the content has"
                )
            resumed = staging.claim(_claim_of(manifest))
            partial = cls(manifest, staging, layout, force, resumed, keep)
            on_disk = partial._take_up()
            check_space(dest.parent, staging.parent_fd, manifest, on_disk)
        except (DiskError, OSError) as error:
            _give_up(staging)
            if isinstance(error, OSError):
                raise disk_error(error, "write to", staging.path) from error
            raise
        return partial

    @property
    def root(self) -> str:
        """The file or directory where the bytes are now: hidden, or after `publish` the destination."""
        return str(self._root)

    @property
    def left_behind(self) -> str:
        """After `publish`: why all of the directory that was replaced could not be deleted, and where the rest is."""
        return self._staging.left_behind

    @property
    def failed(self) -> bool:
        """A sync failed: this object takes no more, and has to be closed and opened anew."""
        return bool(self._failed)

    def write(self, piece: int, data: Buffer) -> None:
        """Write the bytes of ``piece``, which the caller has verified. ``data`` is not kept.

        Raises `NoSpaceError` when the disk is full: the piece is not there then, all others are, and it may be
        written again later. `StoppedError` after `interrupt`. `DiskError` for anything else the disk refuses.
        """
        self._check_usable()
        view = memoryview(data).cast("B")
        if len(view) != self.manifest.piece_size(piece):
            raise LocalError(f"{len(view)} bytes written as piece {piece} of {self.manifest.piece_size(piece)}")
        spans = self.layout.spans(piece)
        start = 0
        closed = False
        for span in spans:
            if self._interrupted:
                raise StoppedError("stopped while writing")
            closed |= self._write_span(span, view[start : start + span.length])
            start += span.length
        with self._lock:
            self._dirty_pieces.append(piece)
            self._dirty_files.update([span.file_index for span in spans])
            self._dirty_closed |= closed

    def interrupt(self) -> None:
        """Have `write` give up before its next file, in whatever thread: a piece may be 100,000 of them."""
        self._interrupted = True

    def chunks(self, spans: Iterable[Span], buffer: bytearray) -> Generator[memoryview, None, None]:
        """The bytes on disk for ``spans`` in order, good or not, as `node.disk.open_files.read_chunks` gives them.
        `NotThereError` when a file is missing or too short, `DiskError` when it cannot be read."""
        files = OneOpenFile(lambda index: self._open(index, os.O_RDONLY)) if self._many else self._files
        try:
            yield from read_chunks(files, self._only_there(spans), buffer)
        except FileNotFoundError:
            raise NotThereError(f"a file of {self._root} was deleted by somebody else") from None
        except OSError as error:
            raise disk_error(error, "read", self._root) from error

    def sync(self) -> list[int]:
        """Make durable what was written so far; return the pieces written since the last sync that now are.

        None of a closed `Partial`. Raises `DiskError` (`NoSpaceError` when the disk turned out to be full): none of
        them can be relied on, and the `Partial` is ``failed``.
        """
        with self._sync_lock:
            if self._closed:
                return []
            self._check_usable()
            with self._lock:
                pieces, self._dirty_pieces = self._dirty_pieces, []
                files, self._dirty_files = self._dirty_files, set()
                dirs, self._dirty_dirs = self._dirty_dirs, set()
                closed, self._dirty_closed = self._dirty_closed, False
            try:
                self._flush(sorted(files), sorted(dirs), closed)
            except OSError as error:
                self._failed = f"writing {self._root} out failed: {error.strerror}; it has to be taken up anew"
                self._files.drop_cached(files)
                raise disk_error(error, "write out", self._root) from error
            return pieces

    def publish(self) -> str:
        """Give the content its final name, atomically and durably, and return that path.

        The caller has checked the whole content. When it raises, nothing has changed for whoever looks at the
        destination, and it may be called again. What is replaced (``force``) is kept beside it (``keep`` such), or else
        deleted last.
        """
        dest = self._staging.dest
        self._check_usable()
        try:
            self._check_parent()
            self._complete()
            self.sync()
            check_destination(dest, self._staging.parent_fd, self.layout.is_tree, self._force)
            self._check_parent()
            self._staging.publish(self._force, self._keep)
        except FileExistsError:
            raise DiskError(f"{dest} was made by somebody else meanwhile; move it away, or use --force") from None
        except FileNotFoundError:
            raise AwayError(f"what was fetched for {dest} is gone: somebody deleted or moved it") from None
        except OSError as error:
            raise disk_error(error, "put in place", dest) from error
        self._root = dest
        self.close(remove=True)
        return self.root

    def discard(self) -> None:
        """Delete the partial content and close."""
        self.close(remove=True)

    def close(self, remove: bool = False) -> None:
        """Close the files and unlock the destination. The partial content stays, unless ``remove``."""
        with self._sync_lock:
            if self._closed:
                return
            self._closed = True
            self._files.close()
            if remove:
                self._staging.remove()
            else:
                self._staging.close()

    # --- files --------------------------------------------------------------------------------------------

    def _name(self, index: int) -> str:
        return self.layout.path_under(CONTENT, index)

    def _write_span(self, span: Span, view: memoryview) -> bool:
        """Whether the file is closed again."""
        index, offset, length = span
        try:
            if self._many and length == self.layout.files[index].length and index not in self._there:
                self._write_new(index, view)
                return True
            fd = self._files.acquire(index)
            try:
                write_sparse(fd, view, offset)
            finally:
                self._files.release(index)
        except FileNotFoundError:
            raise AwayError(f"{self._root} is gone: somebody deleted or moved it") from None
        except OSError as error:
            raise disk_error(error, "write", self._root / self.layout.files[index].path) from error
        return False

    def _write_new(self, index: int, view: memoryview) -> None:
        """A whole file at once. Not kept open: there is nothing more to write, and it would only put another out."""
        fd = self._create(index, os.O_WRONLY)
        try:
            write_sparse(fd, view, 0)
            if os.fstat(fd).st_size < len(view):  # it ends in a hole
                os.ftruncate(fd, len(view))
        finally:
            os.close(fd)  # network file systems report lost writes here: then this one is lost
        self._there.add(index)

    def _only_there(self, spans: Iterable[Span]) -> Iterator[Span]:
        for span in spans:
            if span.file_index not in self._there:
                raise NotThereError(f"{self._name(span.file_index)} is not there yet")
            yield span

    def _open_file(self, index: int) -> int:
        """Open, and make on first use, one file; `OpenFiles` calls it with its lock held, one at a time."""
        entry = self.layout.files[index]
        new = index not in self._there
        fd = self._create(index, os.O_RDWR) if new else self._open(index, os.O_RDWR | os.O_CREAT)
        try:
            if os.fstat(fd).st_size != entry.length:  # it is new, or somebody deleted it or cut it short
                os.ftruncate(fd, entry.length)
                self._soil_dir_of(index)
        except OSError:
            os.close(fd)
            raise
        if new:
            self._there.add(index)
        return fd

    def _create(self, index: int, flags: int) -> int:
        """Open a file that need not be there yet, nor its directory."""
        with self._lock:
            self._make_dirs(self._dir_of(index))
        fd = self._open(index, flags | os.O_CREAT)
        self._soil_dir_of(index)  # not before it is there: a sync between the two would have it without the file
        return fd

    def _dir_of(self, index: int) -> str:
        return self.layout.files[index].path.rpartition("/")[0]

    def _soil_dir_of(self, index: int) -> None:
        """There is a new name in it."""
        name = _directory_name(self._dir_of(index)) if self.layout.is_tree else "."
        with self._lock:
            self._dirty_dirs.add(name)

    def _open(self, index: int, flags: int) -> int:
        # Modes are final at once, less the umask: nobody else gets through the staging directory.
        mode = 0o777 if self.layout.files[index].executable else 0o666
        return os.open(self._name(index), flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self._staging.fd)

    def _make_dirs(self, path: str) -> None:
        """Make directory ``path`` of the tree and those above it; each that gets something new becomes dirty. With the
        lock held."""
        missing = []
        while path not in self._dirs:
            missing.append(path)
            path = path.rpartition("/")[0]
        self._dirty_dirs.add(_directory_name(path) if self.layout.is_tree else ".")
        for made in reversed(missing):
            os.mkdir(f"{CONTENT}/{made}", dir_fd=self._staging.fd)
            self._dirs.add(made)
            self._dirty_dirs.add(_directory_name(made))

    def _take_up(self) -> dict[int, int]:
        """Find what an earlier run left; bytes on disk by file number."""
        found = find_leftovers(self._staging.fd, self.layout, self.manifest.empty_dirs) if self.resumed else None
        self.resumed = found is not None
        if found is None:
            if self.layout.is_tree:
                os.mkdir(CONTENT, dir_fd=self._staging.fd)
            return {}
        self._there.update(found.files)
        # The run that wrote it may have been killed before its sync: what is found good must still become durable.
        self._dirty_files.update(found.files)
        self._dirty_dirs.update(found.dirs)
        self._dirs.update([name[len(CONTENT) + 1 :] for name in found.dirs])
        return found.files

    def _lstat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._staging.fd, follow_symlinks=False)

    # --- syncing and publishing ---------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._closed:
            raise LocalError(f"{self._root} is closed")
        if self._failed:
            raise DiskError(self._failed)

    def _flush(self, files: list[int], dirs: list[str], closed: bool) -> None:
        # Whoever opens a file again may not be told what of it was lost before; the file system as a whole tells.
        each = not (closed or self._files.gave_up) and len(files) + len(dirs) <= SYNC_EACH_COUNT_MAX
        if each or not durable.sync_file_system(self._staging.fd):
            for index in files:
                self._files.sync(index)
            for name in dirs:
                durable.sync_at(name, self._staging.fd)
        if self._files.close_error is not None:
            raise self._files.close_error

    def _complete(self) -> None:
        """Make what no piece makes, empty files and directories, and see that nothing is missing."""
        for index, entry in enumerate(self.layout.files):
            if entry.length == 0:
                self._files.acquire(index)
                self._files.release(index)
            elif index not in self._there:
                raise LocalError(f"{self._name(index)} was never written")
            if self._lstat(self._name(index)).st_size != entry.length:
                raise DiskError(f"{self._root / entry.path} was cut short by somebody else")
        with self._lock:
            for path in self.manifest.empty_dirs:
                self._make_dirs(path)

    def _check_parent(self) -> None:
        parent = self._staging.dest.parent
        try:
            found, ours = parent.stat(), os.fstat(self._staging.parent_fd)
        except FileNotFoundError:
            raise AwayError(
                f"{parent} is not there any more: was its disk unmounted, or the directory moved?"
            ) from None
        if (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino):
            raise AwayError(f"{parent} was moved or replaced during the download")


def remove_leftovers(manifest: Manifest, dest: Path) -> None:
    """Delete what a download of ``manifest`` left beside ``dest``, if nothing else is there. `DiskError` when another
    download has it, or when it is not ours.

    Not by way of `Partial`, which wants room for the rest: a full disk is a reason to cancel.
    """
    staging = Staging(dest)
    if staging.is_spare(_claim_of(manifest)):
        staging.remove()
    else:
        staging.close()


def _claim_of(manifest: Manifest) -> str:
    """What a staging directory says it holds."""
    return f"zswarm {manifest_digest(encode_manifest(manifest), manifest.algorithm)}\n"


def _directory_name(path: str) -> str:
    return f"{CONTENT}/{path}" if path else CONTENT


def _give_up(staging: Staging) -> None:
    if staging.fresh:
        staging.remove()
    else:
        staging.close()
