"""Sharing: hash, put into the catalogue, announce, and read it back from a lookup before a link is given. Pure.

A path is hashed once at a time, whoever asks: a person over the API, a shared folder that changed, the configuration.
Owns the ``share`` jobs; what the others are told when an item comes or goes is `node.agent.catalogue`'s.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from node.agent.catalogue import Catalogue, link_of
from node.agent.effects import CancelHash, FindTorrents, HashPath, Note, Wish
from node.agent.jobs import Job, JobBook
from node.agent.library import LibraryItem, Origin
from node.disk.share_options import AS_USUAL, NOTHING, ShareOptions, Skipped
from protocol.digest import short
from protocol.limits import ALIASES_COUNT_MAX
from protocol.messages import Alias, TorrentEntry

READ_BACK_SECONDS = 1.0
"""A lookup that does not list what was announced (it restarted) is asked again this much later."""
WAITING = "waiting for the tracker to list it"


class Shares:
    def __init__(self, catalogue: Catalogue, jobs: JobBook) -> None:
        self._catalogue = catalogue
        self._jobs = jobs
        self._hashing: dict[str, HashPath] = {}
        self._stale: dict[str, HashPath] = {}
        self._complained: dict[str, str] = {}
        self._announced: dict[str, tuple[int, int]] = {}
        self._ask_at: dict[int, float] = {}

    # --- what is asked for -------------------------------------------------------------------------------

    def request(
        self, path: str, algorithm: str, now: float, options: ShareOptions = AS_USUAL
    ) -> tuple[Job, list[Wish]]:
        """A person wants ``path`` shared; the same path again joins the job that is under way."""
        for job in self._jobs.active("share"):
            if job.path == path:
                return job, []
        job = self._jobs.new("share", posixpath.basename(path), path, "checking", now)
        known = self._catalogue.known(path)
        if known is not None and known.origin == "folder" and options == AS_USUAL:
            options = known.options
        if path in self._hashing and self._hashing[path].options == options:
            return job, []
        return job, self._hash(path, algorithm, "shared", options)

    def found(self, path: str, algorithm: str, origin: Origin, options: ShareOptions = AS_USUAL) -> list[Wish]:
        """``path`` is to be shared, or has changed: found in a folder, or named in the configuration. What a person
        shared by command stays shared as that person said."""
        known = self._catalogue.known(path)
        if known is not None and known.origin == "shared":
            options = known.options
        return self._hash(path, algorithm, origin, options)

    def gone(self, path: str, why: str) -> list[Wish]:
        """``path`` is not what was shared, or is not there any more."""
        wishes: list[Wish] = []
        self._stale.pop(path, None)
        if path in self._hashing:
            wishes.append(CancelHash(path))
        item = self._catalogue.known(path)
        if item is None:
            return wishes
        note = Note("info", f"withdrawing {item.name} ({short(item.digest)}): {why}")
        return [*wishes, note, *self._catalogue.remove(path)]

    # --- what happens ------------------------------------------------------------------------------------

    def progress(self, path: str, done: int, total: int) -> None:
        for job in self._jobs.active("share"):
            if job.path == path and job.phase == "checking":
                job.done_bytes, job.length = done, total

    def hashed(self, path: str, item: LibraryItem, now: float, skipped: Skipped = NOTHING) -> list[Wish]:
        """``item`` is what is at ``path`` now, ``skipped`` what was left out of it."""
        self._hashing.pop(path, None)
        again = self._stale.pop(path, None)
        if again is not None:
            self._hashing[path] = again
            return [again]
        if not skipped:
            self._complained.pop(path, None)
        wishes: list[Wish] = []
        if self._catalogue.at(path) != item:
            before = self._catalogue.entry(item.digest)
            wishes += self._catalogue.add(item)
            if self._catalogue.entry(item.digest) != before:
                self.changing(item.digest)
            wishes.append(Note("info", f"sharing {item.name} ({short(item.digest)})"))
        if skipped and self._complained.get(path) != skipped.described():
            self._complained[path] = skipped.described()
            wishes.append(Note("warning", f"left out of {path}: {skipped.described()}"))
        for job in self._jobs.active("share"):
            if job.path == path and job.phase == "checking":
                job.name, job.digest, job.manifest = item.name, item.digest, item.manifest
                job.length = job.done_bytes = item.length
                job.skipped = skipped
                job.phase, job.detail = "waiting", WAITING
                if item.digest in self._announced:
                    self._ask_at[job.number] = now
        return wishes

    def hash_failed(self, path: str, code: str, detail: str, now: float) -> list[Wish]:
        """What is at ``path`` cannot be shared; what was shared there before is withdrawn."""
        request = self._hashing.pop(path, None)
        again = self._stale.pop(path, None)
        if again is not None:
            self._hashing[path] = again
            return [again]
        wishes: list[Wish] = self.gone(path, detail)
        asked = [job for job in self._jobs.active("share") if job.path == path and job.phase == "checking"]
        for job in asked:
            job.fail(code, detail, now)
        news = self._complained.get(path) != detail
        if not asked and request is not None and code != "cancelled" and news:
            self._complained[path] = detail  # tried again and again, it is said once
            wishes.append(Note("warning", f"cannot share {path}: {detail}"))
        return wishes

    def not_saved(self, item: LibraryItem, code: str, detail: str, now: float) -> list[Wish]:
        """``item`` cannot be remembered. What a person shares is withdrawn then; what was found or fetched is shared
        as long as the peer runs."""
        asked = [job for job in self._jobs.active("share") if job.path == item.path and job.digest == item.digest]
        for job in asked:
            job.fail(code, f"it cannot be remembered, so it is not shared: {detail}", now)
        if asked:
            return self.gone(item.path, detail)
        what = f"{item.path} cannot be remembered, and is not shared after a restart: {detail}"
        return [Note("error", what)]

    def changing(self, digest: str) -> None:
        """The tracker is about to be told something new of ``digest``."""
        self._announced.pop(digest, None)

    def forgotten(self) -> None:
        """Out of the network: nothing of this peer is announced any more."""
        self._announced.clear()

    def announced(self, digests: Iterable[str], epoch: int, seq: int, now: float) -> None:
        """The registrar has what this peer says of ``digests``."""
        for digest in digests:
            if self._catalogue.with_digest(digest) is not None:
                self._announced[digest] = (epoch, seq)
        for job in self._jobs.active("share"):
            if job.phase == "waiting" and job.digest in self._announced:
                self._ask_at[job.number] = now

    def torrents_found(self, number: int, entries: list[TorrentEntry], now: float) -> None:
        """What a lookup lists under the digest of job ``number``."""
        job = self._jobs.get(number)
        if job is None or job.over:
            return
        item = self._catalogue.at(job.path)
        if item is None or item.digest != job.digest:
            job.fail("disk", f"{job.path} changed or was removed while it was announced", now)
            return
        announced = self._catalogue.entry(item.digest)
        assert announced is not None
        name, listed = Alias(item.name, item.manifest), [Alias(entry.name, entry.manifest) for entry in entries]
        fits = name in announced.names()
        if listed and (name in listed or not fits):
            job.link = link_of(item)
            job.done(now)
            if not fits:
                what = f"this peer lists no more than {ALIASES_COUNT_MAX + 1} names of one content"
                job.detail = f"{what}, and {item.name} is not among them: it can be had by its link"
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
                after = self._announced.get(job.digest, (0, 0))
                wishes.append(FindTorrents(("share", number), job.digest, after=after))
        return wishes

    def next_deadline(self) -> float | None:
        return min(self._ask_at.values(), default=None)

    # --- steps -------------------------------------------------------------------------------------------

    def _hash(self, path: str, algorithm: str, origin: Origin, options: ShareOptions) -> list[Wish]:
        if path in self._hashing:
            self._stale[path] = HashPath(path, algorithm, origin, None, options)
            return []
        known = self._catalogue.known(path)
        if known is not None and not known.digest.startswith(f"{algorithm}:"):
            known = None
        self._hashing[path] = HashPath(path, algorithm, origin, known, options)
        return [self._hashing[path]]
