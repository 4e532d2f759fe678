"""What a download does away from the event loop: look at what is there, sync and journal, check the whole, publish.

Each function here runs on a worker thread, touches only what it is given, and returns its result. Progress is
reported in bytes through a callback that must be safe to call from any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from node.disk.errors import NoSpaceError
from node.disk.existing import existing_matches
from node.disk.journal import Journal
from node.disk.piece_work import check_pieces, whole_digest
from node.disk.seed_store import load_seed, store_seed
from node.disk.staging import Staging
from node.disk.stamps import take_stamps
from node.disk.storage import Partial, claim_of
from protocol.bitfield import Bitfield
from protocol.digest import short
from protocol.errors import DiskError, VerificationError, ZswarmError
from protocol.manifest import Manifest, decode_manifest

log = logging.getLogger(__name__)

Progress = Callable[[int], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Place:
    """What a download is and where it goes: content ``digest``, its seed file, the final path."""

    digest: str
    seed_path: Path
    dest: Path
    force: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The destination is prepared. ``have`` are the pieces on disk that were found good, ``durable`` those that the
    journal names: the one grows with each piece, the other with each `sync`."""

    manifest: Manifest
    partial: Partial
    have: Bitfield
    durable: Bitfield


@dataclass(frozen=True, slots=True)
class Published:
    """The whole verified content stands at ``path``."""

    manifest: Manifest
    path: Path
    stamps: bytes


class BegunError(NoSpaceError):
    """The disk is full for a download that had begun: it may wait for space, and then go on."""


def keep_seed(data_dir: Path, data: bytes, digest: str) -> Path:
    """Parse and store a fetched manifest; return its seed file.

    Raises `SeedError` when it is malformed or unsafe, `VerificationError` when it describes other content.
    """
    manifest = decode_manifest(data)
    if manifest.digest != digest:
        raise VerificationError(f"the manifest is of content {short(manifest.digest)}, not {short(digest)}")
    return store_seed(data_dir, data)


def prepare(place: Place, journal: Journal, progress: Progress, cancelled: Cancelled) -> Ready | Published:
    """Find out what is at the destination already, and make ready to write the rest.

    Content that stands there whole is checked and counts as published. Of a partial download, what the journal names
    is hashed again. Raises `DiskError` when the destination cannot be used, `BegunError` when the disk is full, or
    that of the journal, and something is there already.
    """
    manifest = load_seed(place.seed_path)
    if existing_matches(place.dest, manifest, progress, cancelled):
        _forget(place, journal)
        return Published(manifest, place.dest, take_stamps(place.dest, manifest))
    try:
        partial = Partial.open(manifest, place.dest, place.force)
    except NoSpaceError as error:
        if not _begun(place, journal):
            raise
        raise BegunError(str(error)) from error
    have = Bitfield(manifest.piece_count)
    try:
        if partial.resumed:
            for piece in check_pieces(partial, manifest, _noted(place, manifest, journal), progress, cancelled):
                have.set(piece)
            partial.sync()  # what was found good may so far be in the page cache alone
        journal.start(place.digest, str(place.seed_path), str(place.dest), have.to_bytes())
    except NoSpaceError as error:
        partial.close()
        raise BegunError(str(error)) from error
    except BaseException:
        partial.close()
        raise
    return Ready(manifest, partial, have, have.copy())


def _begun(place: Place, journal: Journal) -> bool:
    entry = journal.get(place.digest)
    return entry is not None and entry.dest == str(place.dest)


def _noted(place: Place, manifest: Manifest, journal: Journal) -> Iterable[int]:
    """The pieces worth hashing again: those the journal names, or all of them when it knows nothing."""
    entry = journal.get(place.digest)
    if entry is None or entry.dest != str(place.dest):
        return range(manifest.piece_count)
    return Bitfield.from_bytes(entry.bits, manifest.piece_count).indices()


def _forget(place: Place, journal: Journal) -> None:
    """A row too many is hashed again for nothing, some day: no reason to fail."""
    try:
        journal.remove(place.digest)
    except DiskError as error:
        log.warning("the journal still names %s: %s", short(place.digest), error)


def sync(place: Place, ready: Ready, journal: Journal) -> None:
    """Make written pieces durable and note them in the journal."""
    for piece in ready.partial.sync():
        ready.durable.set(piece)
    journal.record(place.digest, ready.durable.to_bytes())


def finish(place: Place, ready: Ready, journal: Journal, progress: Progress, cancelled: Cancelled) -> Published | Ready:
    """Check the digest of the whole content and give it its final name; `Ready` to be written again is what turns out
    to have changed on the disk since it was written.

    Raises `VerificationError`, with the partial content deleted, when the pieces are what the manifest says but the
    whole is not: then the manifest itself is wrong, and nothing of it is worth keeping.
    """
    manifest = ready.manifest
    if not whole_digest(ready.partial, manifest, progress, cancelled):
        have = Bitfield(manifest.piece_count)
        for piece in check_pieces(ready.partial, manifest, range(manifest.piece_count), progress, cancelled):
            have.set(piece)
        if not have.full:
            ready.partial.sync()
            journal.record(place.digest, have.to_bytes())
            return Ready(manifest, ready.partial, have, have.copy())
        ready.partial.discard()
        _forget(place, journal)
        raise VerificationError(f"the content is not {place.digest}, though every piece is what its seed says")
    path = ready.partial.publish()
    _forget(place, journal)
    return Published(manifest, path, take_stamps(path, manifest))


def release(place: Place, ready: Ready | None, journal: Journal, discard: bool) -> None:
    """Use the files no longer: ``discard`` deletes what there is, also what an earlier run left."""
    if ready is None:
        if discard:
            sweep(place, journal)
    elif discard:
        abandon(place, ready, journal)
    else:
        put_away(place, ready, journal)


def put_away(place: Place, ready: Ready, journal: Journal) -> None:
    """Stop for now: what is on disk is noted, as far as the disk still allows, and taken up again later."""
    try:
        if not ready.partial.failed:
            sync(place, ready, journal)
    except DiskError as error:
        log.warning("what was written of %s since the last note will be fetched again: %s", short(place.digest), error)
    ready.partial.close()


def sweep(place: Place, journal: Journal) -> None:
    """Delete what an earlier run left of a cancelled download; what cannot be deleted is said.

    Not by way of `Partial`, which wants room for the rest: a full disk is a reason to cancel.
    """
    try:
        claim = claim_of(load_seed(place.seed_path))
        staging = Staging(place.dest)
        if staging.is_spare(claim):
            staging.remove()
        else:
            staging.close()
    except ZswarmError as error:
        log.warning("what there is of %s beside %s is left there: %s", short(place.digest), place.dest, error)
        return
    _forget(place, journal)


def abandon(place: Place, ready: Ready, journal: Journal) -> None:
    """Delete what there is of a cancelled download."""
    ready.partial.discard()
    _forget(place, journal)
