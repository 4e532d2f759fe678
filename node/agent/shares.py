"""Sharing: hash, put into the catalogue, announce, and read back from a lookup before giving out a link. Pure.

A path is hashed only once at a time, whether a person, a scan that found a change, or the configuration asks for it.
What a person shared is forgotten only when a person removes it; while it is `missing`, or has other bytes than were
hashed, it is kept but not served. Owns the ``share`` jobs; `node.agent.catalogue` tells other parts when an item comes
or goes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable

import msgspec

from node.agent.catalogue import Catalogue, link_of
from node.agent.effects import CancelHash, FindTorrents, HashPath, Note, SaveItem, Wish
from node.agent.jobs import JobBook
from node.agent.library import ItemState, LibraryItem, Origin
from node.api_messages import JobStatus
from node.disk.share_options import AS_USUAL, NOTHING, ShareOptions, Skipped
from node.trust import Verifier, signers_of
from protocol.digest import begins_digest, short
from protocol.errors import SignatureError
from protocol.limits import ALIASES_COUNT_MAX
from protocol.messages import ANEW, TorrentEntry
from protocol.signature import split_signatures

SAVE_SECONDS = 5.0
"""The library is given again what it could not take, on a full disk, this much later."""
READ_BACK_SECONDS = 1.0
"""A lookup that does not list the announced content (it restarted) is asked again after this time."""
WAITING = "waiting for the tracker to list it"
CHANGED_MEANWHILE = "it has changed since it was hashed for its signature; share it again"
REPAIR = "is the disk failing? 'verify {name} --repair' fetches them again, 'share' accepts it as it is"
MENDING = "is the disk failing? they are fetched again"


class Shares:
    """Adding ``wall_offset`` turns monotonic time into `time.time`. ``is_fetched``: whether a peer is fetching a
    digest; ``is_going``: whether the item at a path is being deleted for the quota."""

    def __init__(
        self,
        catalogue: Catalogue,
        jobs: JobBook,
        wall_offset: float,
        is_fetched: Callable[[str], bool],
        is_going: Callable[[str], bool],
        verifier: Verifier,
    ) -> None:
        self._catalogue = catalogue
        self._verifier = verifier
        self._jobs = jobs
        self._wall_offset = wall_offset
        self._is_fetched, self._is_going = is_fetched, is_going
        self._hashing: dict[str, HashPath] = {}
        """Hashing that was ordered and has not ended, oldest first; in the background one at a time."""
        self._found: dict[str, HashPath] = {}
        """To be hashed in the background next. A person may ask for it before its turn."""
        self._cancelled: dict[str, None] = {}
        """Those of these whose results are not wanted any more."""
        self._stale: dict[str, HashPath] = {}
        """To be hashed when the hashing already ordered for the same path has ended."""
        self._signed: dict[str, bytes] = {}
        """By path, the signature that a person made for the content being hashed there."""
        self._complained: dict[str, str] = {}
        self._announced: dict[str, None] = {}
        self._ask_at: dict[int, float] = {}
        self._unsaved: dict[str, None] = {}
        """Paths of items that the library could not take, and since then has not been given again."""
        self._unsaved_why: dict[str, str] = {}
        self._save_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything is being hashed."""
        return bool(self._hashing)

    def is_announced(self, digest: str) -> bool:
        """Whether the tracker has acknowledged this peer's entry for ``digest``."""
        return digest in self._announced

    def is_hashing(self, path: str) -> bool:
        return path in self._hashing or path in self._found

    def is_audited(self, path: str) -> bool:
        """Whether all that is at ``path`` is being read, for an audit."""
        order = self._hashing.get(path)
        return order is not None and order.rate is not None and path not in self._cancelled

    # --- what is asked for -------------------------------------------------------------------------------

    def request(
        self, path: str, algorithm: str, now: float, options: ShareOptions = AS_USUAL, signature: bytes = b""
    ) -> tuple[JobStatus, list[Wish]]:
        """A person wants ``path`` shared, with this ``signature`` of its content if that is not empty; a repeated
        request joins the running job."""
        if signature:
            self._signed[path] = signature
        for job in self._jobs.active("share"):
            if job.path == path:
                return job, self._sign_announced(job, now)
        job = self._jobs.new("share", posixpath.basename(path), path, "checking", now)
        known = self._catalogue.known(path)
        if known is not None and known.origin == "folder" and options == AS_USUAL:
            options = known.options
        order = self._hashing.get(path)
        if order is None or path in self._cancelled:
            return job, self._hash(path, algorithm, "shared", options)
        if (order.algorithm, order.options, order.rate) == (algorithm, options, None):
            return job, []
        return job, [CancelHash(path), *self._hash(path, algorithm, "shared", options)]

    def found(self, path: str, algorithm: str, origin: Origin, options: ShareOptions = AS_USUAL) -> list[Wish]:
        """``path`` is to be shared, or looks different from what was hashed."""
        return self._hash(path, algorithm, origin, options)

    def audit(self, item: LibraryItem, rate: float) -> list[Wish]:
        """Read ``item`` again, whatever its stamps say, ``rate`` as `HashPath` has it; not while it is being hashed:
        see `is_audited`."""
        if item.path in self._hashing:
            return []
        self._found.pop(item.path, None)
        algorithm = item.digest.partition(":")[0]
        order = HashPath(item.path, algorithm, item.origin, None, item.options, rate > 0, item, rate)
        self._hashing[item.path] = order
        return [order]

    def stop_audit(self, path: str) -> list[Wish]:
        """Read on no more what is read at ``path`` for an audit alone."""
        if not self.is_audited(path) or path in self._stale:
            return []
        self._cancelled[path] = None
        return [CancelHash(path)]

    def called(self, name: str, path: str) -> list[str]:
        """The paths of items and of shares under way that are called ``name`` or have that digest, or one that begins
        so; if there are none, ``path`` when that is one."""
        known = [(item.path, item.name, item.digest) for item in self._catalogue.known_items()]
        known += [(job.path, job.name, job.digest) for job in self._jobs.active("share")]
        named = dict.fromkeys(place for place, own, digest in known if name == own or begins_digest(name, digest))
        return list(named or dict.fromkeys(place for place, *_ in known if place == path))

    def gone(self, path: str, why: str, now: float) -> list[Wish]:
        """Stop sharing ``path``, for the reason ``why``."""
        wishes: list[Wish] = []
        for job in self._jobs.active("share"):
            if job.path == path:
                self._jobs.fail(job, "cancelled", f"{why} before it was shared", now)
        for waiting in (self._found, self._stale, self._complained, self._signed):
            waiting.pop(path, None)
        if path in self._hashing and path not in self._cancelled:
            self._cancelled[path] = None
            wishes.append(CancelHash(path))
        item = self._catalogue.known(path)
        if item is None:
            return wishes
        note = Note("info", f"withdrawing {item.name} ({short(item.digest)}): {why}")
        self._withdraw_jobs(path, why, now)
        return [*wishes, note, *self._catalogue.remove(path)]

    # --- what becomes of items on disk -------------------------------------------------------------------

    def missing(self, path: str, why: str, now: float) -> list[Wish]:
        """The item at ``path`` is missing: it is kept, and looked for. One that is damaged stays that: when it is back
        unchanged, it is no better."""
        item = self._catalogue.at(path)
        if self._is_going(path) or (item is not None and item.state == "damaged"):
            return []
        return self._suspend(path, "missing", why, now)

    def back(self, path: str, now: float) -> list[Wish]:
        """The missing item at ``path`` is back, unchanged."""
        item = self._catalogue.at(path)
        if item is None or item.state != "missing":
            return []
        return self._accept(item, now)

    def replaced(self, path: str, now: float) -> None:
        """The item at ``path`` has changed, or is good again: update the jobs that shared it."""
        item = self._catalogue.at(path)
        assert item is not None
        for job in self._shared_by(path):
            self._describe(job, item, now)
            if job.over:
                job.link = link_of(item)
                self._jobs.done(job, job.ended_monotonic)

    def doubted(self, path: str, digest: str, why: str, now: float) -> list[Wish]:
        """A read found that ``path`` does not hold ``digest`` any more: it is not served until it has been hashed
        again."""
        item = self._catalogue.at(path)
        if item is None or item.digest != digest:
            return self._catalogue.drop_earlier(lambda earlier: (earlier.path, earlier.digest) == (path, digest))
        wishes = self._suspend(path, "changed", why, now)
        algorithm = digest.partition(":")[0]
        return [*wishes, *self._hash(path, algorithm, item.origin, item.options)]

    # --- what happens ------------------------------------------------------------------------------------

    def progress(self, path: str, done: int, total: int) -> None:
        for job in self._jobs.active("share"):
            if job.path == path and job.phase == "checking":
                job.done_bytes, job.length = done, total

    def hashed(
        self, path: str, item: LibraryItem, now: float, skipped: Skipped = NOTHING, rotted: str = ""
    ) -> list[Wish]:
        """``item`` is what is at ``path`` now, ``skipped`` what was left out of it; ``rotted``: what is wrong with
        it, if it is other content though nobody wrote to it."""
        wanted, wishes = self._hash_ended(path)
        if not wanted:
            return wishes
        asked = self._asked(path)
        before = self._catalogue.at(path)
        if rotted and before is not None and not asked:
            advice = MENDING if before.origin == "downloaded" else REPAIR.format(name=before.name)
            return wishes + self._suspend(path, "damaged", f"rotted: {rotted}; {advice}", now)
        signature = self._signed.pop(path, b"")
        if signature and not self._verifier.is_signed(signature, item):
            for job in asked:
                self._jobs.fail(job, SignatureError.code, CHANGED_MEANWHILE, now)
            signature, asked = b"", []
        wishes += self._accept(item, now, signature)
        item = self._catalogue.at(path) or item
        if not skipped:
            self._complained.pop(path, None)
        elif self._complained.get(path) != skipped.described():
            self._complained[path] = skipped.described()
            wishes.append(Note("warning", f"left out of {path}: {skipped.described()}"))
        for job in asked:
            job.phase, job.detail, job.skipped = "waiting", WAITING, skipped
            self._describe(job, item, now)
        return wishes

    def hash_failed(self, path: str, code: str, detail: str, now: float) -> list[Wish]:
        """The content at ``path`` cannot be shared; what was shared there before stays, as far as it can be served."""
        wanted, wishes = self._hash_ended(path)
        if not wanted:
            return wishes
        asked = self._asked(path)
        self._signed.pop(path, None)
        for job in asked:
            self._jobs.fail(job, code, detail, now)
        item = self._catalogue.at(path)
        if code == "not_found" and item is not None:
            return wishes + self.missing(path, detail, now)
        if item is not None and item.state == "changed":
            return wishes + self._suspend(path, "changed", detail, now)
        if not asked and self._complained.get(path) != detail:
            self._complained[path] = detail  # tried again and again, it is said once
            wishes.append(Note("warning", f"cannot share {path}: {detail}"))
        return wishes

    def not_saved(self, item: LibraryItem, code: str, detail: str, now: float) -> list[Wish]:
        """``item`` cannot be stored. If a person shared it, it is withdrawn; if it was found or fetched, it is shared
        as long as the peer runs, and stored as soon as that is possible."""
        asked = [job for job in self._jobs.active("share") if job.path == item.path and job.digest == item.digest]
        for job in asked:
            self._jobs.fail(job, code, f"it cannot be recorded, so it is not shared: {detail}", now)
        if asked:
            return self.gone(item.path, detail, now)
        self._unsaved[item.path] = None
        self._save_at = now + SAVE_SECONDS
        if self._unsaved_why.get(item.path) == detail:
            return []
        self._unsaved_why[item.path] = detail
        what = f"{item.path} cannot be recorded, and is not shared after a restart unless it can be later: {detail}"
        return [Note("error", what)]

    def changing(self, digest: str) -> None:
        """A new entry for ``digest`` is about to be sent to the tracker."""
        self._announced.pop(digest, None)

    def forgotten(self) -> None:
        """Out of the network: nothing of this peer is announced any more."""
        self._announced.clear()

    def announced(self, digests: Iterable[str], now: float) -> None:
        """The registrar has acknowledged this peer's entries for ``digests``."""
        for digest in digests:
            if self._catalogue.with_digest(digest) is not None:
                self._announced[digest] = None
        for job in self._jobs.active("share"):
            if job.phase == "waiting" and job.digest in self._announced:
                self._ask_at[job.job] = now

    def torrents_found(self, number: int, entries: list[TorrentEntry], now: float) -> None:
        """What a lookup lists for the digest of job ``number``."""
        job = self._jobs.get(number)
        if job is None or job.over:
            return
        item = self._catalogue.at(job.path)
        if item is None or item.digest != job.digest or item.state:
            return
        announced = self._catalogue.entry(item.digest)
        assert announced is not None
        name = (item.name, item.manifest, (split_signatures(item.signatures) or [b""])[-1])
        listed = [(entry.name, entry.manifest, entry.signature) for entry in entries]
        fits = name in [(one.name, one.manifest, one.signature) for one in announced.names()]
        if listed and (name in listed or not fits):
            job.link = link_of(item)
            self._jobs.done(job, now)
            if not fits:
                what = f"this peer lists at most {ALIASES_COUNT_MAX + 1} names for one content"
                job.detail = f"{what}, and {item.name} is not among them: fetch it by its link"
        else:
            self._ask_at[number] = now + READ_BACK_SECONDS

    def ask_failed(self, number: int, now: float) -> None:
        self._ask_at[number] = now + READ_BACK_SECONDS

    def tick(self, now: float) -> list[Wish]:
        wishes: list[Wish] = []
        for number in [number for number, moment in self._ask_at.items() if now >= moment]:
            del self._ask_at[number]
            job = self._jobs.get(number)
            if job is not None and not job.over:
                wishes.append(FindTorrents(("share", number), job.digest))
        if self._unsaved and now >= self._save_at:
            items = [item for path in self._unsaved if (item := self._catalogue.at(path)) is not None]
            self._unsaved.clear()
            wishes += [SaveItem(item) for item in items]
        return wishes

    def next_deadline(self) -> float | None:
        saves = [self._save_at] if self._unsaved else []
        return min([*self._ask_at.values(), *saves], default=None)

    # --- hashing -----------------------------------------------------------------------------------------

    def _hash(self, path: str, algorithm: str, origin: Origin, options: ShareOptions) -> list[Wish]:
        """Order ``path`` to be hashed, at once or when the current hashing of it has ended."""
        known = self._catalogue.known(path)
        if known is not None and not (known.digest.startswith(f"{algorithm}:") and known.state in ("", "missing")):
            origin, known = known.origin, None  # its stamps say nothing
        order = HashPath(path, algorithm, origin, known, options, before=self._catalogue.at(path))
        if path in self._hashing:
            self._stale[path] = order
            return []
        return self._order(order)

    def _order(self, order: HashPath) -> list[Wish]:
        """Hash it: at once if a person waits for it, otherwise when nothing else is being hashed in the background."""
        order = msgspec.structs.replace(order, background=not self._asked(order.path))
        if order.background and self._hashes_in_background():
            self._found[order.path] = order
            return []
        self._found.pop(order.path, None)
        self._hashing[order.path] = order
        return [order]

    def _hashes_in_background(self) -> bool:
        return any(order.background and order.rate is None for order in self._hashing.values())

    def _hash_ended(self, path: str) -> tuple[bool, list[Wish]]:
        """Whether the result is wanted; and what is to be hashed next."""
        self._hashing.pop(path, None)
        cancelled = self._cancelled.pop(path, 0) is None
        again = self._stale.pop(path, None)
        wishes: list[Wish] = []
        if self._found and not self._hashes_in_background():
            wishes += self._order(next(iter(self._found.values())))
        if again is not None:
            wishes += self._order(again)
        return again is None and not cancelled, wishes

    def say_who_waits(self) -> None:
        """One path is hashed at a time: jobs of other paths say what they wait for."""
        asked = [path for path, order in self._hashing.items() if not order.background]
        for job in self._jobs.active("share"):
            if job.phase == "checking":
                waits = job.path in asked[1:]
                job.detail = f"waiting for {posixpath.basename(asked[0])} to be hashed" if waits else ""

    def _asked(self, path: str) -> list[JobStatus]:
        return [job for job in self._jobs.active("share") if job.path == path and job.phase == "checking"]

    # --- steps -------------------------------------------------------------------------------------------

    def _sign_announced(self, job: JobStatus, now: float) -> list[Wish]:
        """Have the signature that a person made for what ``job`` has hashed already, if there is one."""
        if job.phase != "waiting" or job.path not in self._signed:
            return []
        item, signature = self._catalogue.at(job.path), self._signed.pop(job.path)
        if item is None or item.state or not self._verifier.is_signed(signature, item):
            self._jobs.fail(job, SignatureError.code, CHANGED_MEANWHILE, now)
            return []
        return self._accept(item, now, signature)

    def _accept(self, item: LibraryItem, now: float, signature: bytes = b"") -> list[Wish]:
        """``item`` is what is at its path now: serve it. A person has made ``signature`` of it, if that is not
        empty: it keeps those it had, and is announced anew if this one is new."""
        before = self._catalogue.at(item.path)
        known = self._catalogue.known(item.path)
        announced = 0 if known is None else known.announced if known.digest == item.digest else ANEW
        same = known is not None and (known.digest, known.manifest) == (item.digest, item.manifest)
        kept = known.signatures if known is not None and same else b""
        if signature and signature not in split_signatures(kept):
            kept, announced = self._verifier.kept(kept + signature, item), ANEW
        item = msgspec.structs.replace(item, state="", detail="", since=0.0, announced=announced, signatures=kept)
        if known is not None and known.digest != item.digest and item.origin == "downloaded":
            item = msgspec.structs.replace(item, origin="shared")  # what was fetched is not what is there
        if before == item:
            return []
        entry = self._catalogue.entry(item.digest)
        wishes = self._catalogue.add(item, before is not None and self._is_fetched(before.digest))
        if self._catalogue.entry(item.digest) != entry:
            self.changing(item.digest)
        self.replaced(item.path, now)
        if before is None or before.digest != item.digest or before.state:
            wishes.append(Note("info", f"sharing {item.name} ({short(item.digest)})"))
        return wishes

    def _suspend(self, path: str, state: ItemState, why: str, now: float) -> list[Wish]:
        item = self._catalogue.at(path)
        if item is None or (item.state, item.detail) == (state, why):
            return []
        since = item.since if item.state else now + self._wall_offset
        self._withdraw_jobs(path, f"{state}: {why}", now)
        note = Note("warning", f"not serving {item.name} ({short(item.digest)}), {path}: {state}: {why}")
        return [note, *self._catalogue.suspend(path, state, why, since)]

    def _describe(self, job: JobStatus, item: LibraryItem, now: float) -> None:
        """``job`` shares ``item``, whose content may differ from before."""
        job.name, job.digest = item.name, item.digest
        job.length = job.done_bytes = item.length
        job.signed_by = signers_of(item.signatures)
        if job.phase == "waiting" and item.digest in self._announced:
            self._ask_at[job.job] = now

    def _withdraw_jobs(self, path: str, why: str, now: float) -> None:
        for job in self._shared_by(path):
            self._jobs.end(job, "withdrawn", "disk", why, job.ended_monotonic or now)

    def _shared_by(self, path: str) -> list[JobStatus]:
        """The jobs that share the item at ``path``, or did until it was withdrawn."""
        phases = ("waiting", "done", "withdrawn")
        return [job for job in self._jobs.all() if job.kind == "share" and job.path == path and job.phase in phases]
