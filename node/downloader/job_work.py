"""What a download does away from the event loop: look at what is there, sync and journal, check the whole, publish.

Each function here runs on a worker thread, touches only what it is given, the disk above all as a `Store`, and returns
its result. Progress is reported in bytes through a callback that must be safe to call from any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.disk.errors import AwayError, NoSpaceError, NotThereError, PassingError
from node.disk.piece_work import check_pieces, whole_digest
from node.disk.store import NOT_LOOKED_AT, Cancelled, JournalEntry, PartialContent, Progress, Store
from node.downloader.reuse import Batch, find
from node.local_messages import LocalCopy
from protocol.bitfield import Bitfield
from protocol.digest import short
from protocol.errors import DiskError, ProtocolError, VerificationError, ZswarmError
from protocol.manifest import Manifest, decode_manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """What a download is and where it goes: content ``digest``, its seed file, the final path."""

    digest: str
    seed_path: str
    dest: str
    force: bool
    copies: tuple[LocalCopy, ...] = ()
    """Other content of this machine that may have some of it."""
    keep: int = 0
    """How many of what it replaces stay."""
    mends: bytes = b""
    """`node.disk.stamps` of the content that stands there, of which wrong pieces are to be fetched again. Empty: what
    stands there is not touched."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The destination is prepared. ``have`` are the pieces on disk that were found good, ``durable`` those that the
    journal names: the one grows with each piece, the other with each `sync`. ``reusable``: where else on this machine
    some of the others may be."""

    manifest: Manifest
    partial: PartialContent
    have: Bitfield
    durable: Bitfield
    reusable: Sequence[Batch] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """The whole verified content stands at ``path``; ``left_behind`` as `node.disk.storage.Partial` has it."""

    manifest: Manifest
    path: str
    stamps: bytes
    left_behind: str = ""


class BegunError(PassingError):
    """The disk is full, read-only or away for a download that had begun: it may wait, and then go on. ``have`` are the
    pieces that are on disk, as far as that is known without looking."""

    def __init__(self, text: str, manifest: Manifest, have: Bitfield) -> None:
        super().__init__(text)
        self.manifest = manifest
        self.have = have


def keep_seed(store: Store, data: bytes, digest: str) -> str:
    """Parse and store a fetched manifest; return its seed file.

    Raises `SeedError` when it is malformed or unsafe, `VerificationError` when it describes other content.
    """
    manifest = decode_manifest(data)
    if manifest.digest != digest:
        raise VerificationError(f"the manifest is of content {short(manifest.digest)}, not {short(digest)}")
    return store.store_seed(data)


def prepare(place: Place, store: Store, progress: Progress, cancelled: Cancelled) -> Ready | Published:
    """Find out what is at the destination already, and make ready to write the rest.

    Content that stands there whole is checked and counts as published. Of a partial download, what the journal names
    is hashed again; of content that is to be mended, all. Raises `DiskError` when the destination cannot be used,
    `BegunError` when the disk is full or away, or that of the journal, and something is there already.
    """
    manifest = store.load_seed(place.seed_path)
    if place.mends:
        return _prepare_mending(place, manifest, store, progress, cancelled)
    if store.existing_matches(place.dest, manifest, progress, cancelled):
        _forget(place, store)
        return Published(manifest, place.dest, store.take_stamps(place.dest, manifest))
    begun = _begun(place, store)
    noted = _noted(begun, manifest)
    if begun is None:  # before there is anything to remove: whoever removes it looks here
        store.journal.start(place.digest, place.seed_path, place.dest, NOT_LOOKED_AT)
    try:
        partial = store.open_partial(manifest, place.dest, place.force, place.keep)
    except DiskError as error:
        if begun is None:
            _forget(place, store)
        elif isinstance(error, NoSpaceError | AwayError):
            have = Bitfield(manifest.piece_count)
            for piece in noted:
                have.set(piece)
            raise BegunError(str(error), manifest, have) from error
        raise
    have = Bitfield(manifest.piece_count)
    try:
        if partial.resumed:
            for piece in check_pieces(partial, manifest, noted, progress, cancelled):
                have.set(piece)
            partial.sync()  # what was found good may so far be in the page cache alone
        store.journal.start(place.digest, place.seed_path, place.dest, have.to_bytes())
    except (NoSpaceError, AwayError) as error:
        partial.close()
        raise BegunError(str(error), manifest, have) from error
    except BaseException:
        partial.close()
        raise
    reusable = find(manifest, have, place.copies, place.dest, place.force, store)
    return Ready(manifest, partial, have, have.copy(), reusable)


def _prepare_mending(place: Place, manifest: Manifest, store: Store, progress: Progress, cancelled: Cancelled) -> Ready:
    """Find the wrong pieces of content that stands there. After a restart all are checked again."""
    content = store.open_in_place(manifest, place.dest, place.mends)
    have = Bitfield(manifest.piece_count)
    try:
        for piece in check_pieces(content, manifest, range(manifest.piece_count), progress, cancelled):
            have.set(piece)
        store.note_mend(place.digest, place.dest, have.to_bytes())
    except BaseException:
        content.close()
        raise
    return Ready(manifest, content, have, have.copy(), find(manifest, have, place.copies, place.dest, False, store))


def _begun(place: Place, store: Store) -> JournalEntry | None:
    entry = store.journal.get(place.digest)
    return entry if entry is not None and entry.dest == place.dest else None


def _noted(entry: JournalEntry | None, manifest: Manifest) -> Iterable[int]:
    """The pieces worth hashing again: those the journal names, or all of them when it knows nothing."""
    if entry is None or entry.bits == NOT_LOOKED_AT:
        return range(manifest.piece_count)
    try:
        return Bitfield.from_bytes(entry.bits, manifest.piece_count).indices()
    except ProtocolError as error:
        log.warning("the journal is damaged (%s): %s is checked in full", error, entry.dest)
        return range(manifest.piece_count)


def _forget(place: Place, store: Store) -> None:
    """A row too many is hashed again for nothing, some day: no reason to fail."""
    try:
        store.journal.remove(place.digest)
    except DiskError as error:
        log.warning("the journal still names %s: %s", short(place.digest), error)


def sync(place: Place, ready: Ready, store: Store) -> None:
    """Make written pieces durable and note them in the journal."""
    for piece in ready.partial.sync():
        ready.durable.set(piece)
    store.journal.record(place.digest, ready.durable.to_bytes())


def finish(place: Place, ready: Ready, store: Store, progress: Progress, cancelled: Cancelled) -> Published | Ready:
    """Check the digest of the whole content and give it its final name; `Ready` to be written again is what turns out
    to have changed on the disk since it was written.

    Raises `VerificationError`, with the partial content deleted, when the pieces are what the manifest says but the
    whole is not: then the manifest itself is wrong, and nothing of it is worth keeping.
    """
    manifest = ready.manifest
    try:
        whole = whole_digest(ready.partial, manifest, progress, cancelled)
    except NotThereError:  # somebody deleted a file of it, or cut it short
        whole = False
    if not whole:
        have = Bitfield(manifest.piece_count)
        for piece in check_pieces(ready.partial, manifest, range(manifest.piece_count), progress, cancelled):
            have.set(piece)
        if not have.full:
            ready.partial.sync()
            store.journal.record(place.digest, have.to_bytes())
            return Ready(manifest, ready.partial, have, have.copy())
        ready.partial.discard()
        _forget(place, store)
        raise VerificationError(f"the content is not {place.digest}, though every piece is what its seed says")
    path = ready.partial.publish()
    _forget(place, store)
    return Published(manifest, path, store.take_stamps(path, manifest), ready.partial.left_behind)


def release(place: Place, ready: Ready | None, store: Store, discard: bool) -> None:
    """Use the files no longer: ``discard`` deletes what there is, also what an earlier run left."""
    if ready is None:
        if discard:
            sweep(place, store)
    elif discard:
        abandon(place, ready, store)
    else:
        put_away(place, ready, store)


def put_away(place: Place, ready: Ready, store: Store) -> None:
    """Stop for now: what is on disk is noted, as far as the disk still allows, and taken up again later."""
    try:
        if not ready.partial.failed:
            sync(place, ready, store)
    except DiskError as error:
        log.warning("what was written of %s since the last note will be fetched again: %s", short(place.digest), error)
    ready.partial.close()


def sweep(place: Place, store: Store) -> bool:
    """Delete what an earlier run left of a cancelled download; what cannot be deleted is said. False then."""
    try:
        begun = _begun(place, store)
        seed_path = place.seed_path or (begun.seed_path if begun is not None else "")
        if seed_path:
            store.remove_leftovers(store.load_seed(seed_path), place.dest)
    except ZswarmError as error:
        log.warning("what there is of %s beside %s is left there: %s", short(place.digest), place.dest, error)
        return False
    if begun is not None:
        _forget(place, store)
    return True


def abandon(place: Place, ready: Ready, store: Store) -> None:
    """Delete what there is of a cancelled download."""
    ready.partial.discard()
    _forget(place, store)
