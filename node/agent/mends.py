"""Content of this peer that rotted on its disk, mended from the network. Pure.

An item is `damaged` when its bytes have changed although nobody wrote to it (`node.agent.shares` finds that). Meanwhile
its right pieces are served like those of a download, and the wrong ones are fetched again and written in place.
Downloads are mended without being asked; content that a person shared is changed only if they say so (`repair`). The
downloader does the work, as for a download (`node.local_messages.Mend`).
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from node.agent.catalogue import Catalogue
from node.agent.effects import Announce, Note, ToDownloader, UnwantSources, WantSources, Wish, Withdraw
from node.agent.jobs import JobBook
from node.agent.library import LibraryItem
from node.api_messages import JobStatus
from node.local_messages import (
    Copies,
    DownloadFailed,
    DownloadFinished,
    DownloadReport,
    DownloadStarted,
    Mend,
    StopFetch,
)
from protocol.digest import short
from protocol.messages import Entry
from service.units import counted

WAIT_SECONDS = 1.0
"""An item that has to wait, for a download of the same content or to be hashed, is looked at again after this long."""
RETRY_SECONDS = 300.0
"""An item that could not be mended is tried again after this long."""


class Mends:
    """``is_busy``: a path is being hashed, or a digest downloaded, so that it cannot be mended now."""

    def __init__(self, catalogue: Catalogue, jobs: JobBook, is_busy: Callable[[LibraryItem], bool]) -> None:
        self._catalogue, self._jobs, self._is_busy = catalogue, jobs, is_busy
        self._wanted: dict[str, float] = {}
        """Paths of items to be mended, and when to look at them."""
        self._asked: dict[str, str] = {}
        """Paths at which a person wants what is damaged mended, and the digest of that."""
        self._under_way: dict[str, Mend] = {}
        self._job: dict[str, JobStatus] = {}
        self._serving: dict[str, Entry] = {}
        """Digests that are served in part meanwhile."""

    @property
    def digests(self) -> dict[str, Mend]:
        """What is being mended, by digest."""
        return self._under_way

    def covers(self, path: str) -> bool:
        """Whether what is at ``path`` is being written over piece by piece."""
        return any(mend.dest == path for mend in self._under_way.values())

    def start(self, now: float) -> list[Wish]:
        """Begin with the items that the library has as damaged."""
        for item in self._catalogue.items():
            self._look(item, now)
        return self.tick(now)

    def found(self, path: str, now: float) -> list[Wish]:
        """The item at ``path`` was checked."""
        item = self._catalogue.at(path)
        if item is not None:
            self._look(item, now)
        return self.tick(now)

    def repair(self, path: str, now: float) -> list[Wish]:
        """A person wants what is damaged at ``path`` mended, whoever put it there: now, not when it rots again."""
        item = self._catalogue.at(path)
        if item is not None:
            self._asked[path] = item.digest
        self._wanted.pop(path, None)
        return self.found(path, now)

    def entry(self, digest: str) -> Entry | None:
        """What this peer's list says of ``digest`` while it is being mended."""
        return self._serving.get(digest)

    def orders(self) -> list[Wish]:
        """All that a new downloader has to be told."""
        return [wish for mend in self._under_way.values() for wish in self._order(mend)]

    def give_way(self, digest: str, now: float) -> list[Wish]:
        """``digest`` is about to be downloaded, by one process and to one place at a time."""
        mend = self._under_way.get(digest)
        if mend is None:
            return []
        self._wanted[mend.dest] = now + WAIT_SECONDS
        return self._stop(mend, "the same content is being downloaded", now)

    # --- what the downloader says ------------------------------------------------------------------------

    def report(self, report: DownloadReport) -> list[Wish]:
        """Progress; the first report after the check says how much is wrong."""
        job, mend = self._job[report.digest], self._under_way[report.digest]
        begins = report.phase == "downloading" and job.phase != "downloading" and not job.detail
        job.download, job.done_bytes = report, report.done_bytes
        if report.phase not in ("done", "failed") and job.phase != report.phase:
            job.phase = report.phase
            self._jobs.changes_count += 1
        if not begins:
            return []
        wrong = counted(report.pieces - report.done_pieces, "piece")
        job.detail = f"rotted: {wrong} of {report.pieces}"
        note = Note("warning", f"{mend.name} ({short(mend.digest)}), {mend.dest}: {job.detail}; fetching them again")
        return [note, *self._describe(mend.dest, f"{job.detail}, being fetched again")]

    def started(self, message: DownloadStarted) -> list[Wish]:
        """The pieces that are right can be served."""
        mend = self._under_way[message.digest]
        entry = Entry(mend.digest, mend.manifest, mend.name, mend.length, "partial")
        self._serving[message.digest] = entry
        return [] if self._catalogue.with_digest(message.digest) is not None else [Announce(entry)]

    def finished(self, message: DownloadFinished, now: float) -> list[Wish]:
        """The content is right again, and served as before."""
        mend = self._under_way[message.digest]
        job = self._end(mend)
        self._jobs.end(job, "done", "", f"mended; {job.detail or 'nothing was wrong'}", now)
        self._asked.pop(mend.dest, None)
        item = self._catalogue.at(mend.dest)
        wishes: list[Wish] = [UnwantSources(mend.digest)]
        if item is not None and item.digest == mend.digest:
            well = replace(item, stamps=message.stamps, fingerprint=b"", state="", detail="", since=0.0)
            wishes += self._catalogue.add(well)
        note = Note("info", f"mended {mend.name} ({short(mend.digest)}), {mend.dest}")
        return [note, *wishes]

    def download_failed(self, message: DownloadFailed, now: float) -> list[Wish]:
        """It stays damaged, and is tried again later."""
        mend = self._under_way[message.digest]
        self._jobs.fail(self._end(mend), message.code, message.detail, now)
        self._wanted[mend.dest] = now + RETRY_SECONDS
        why = f"it cannot be mended now: {message.detail}"
        note = Note("warning", f"{mend.name} ({short(mend.digest)}), {mend.dest}: {why}")
        return [note, *self._withdraw(mend.digest), *self._describe(mend.dest, f"rotted; {why}")]

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Wish]:
        wishes: list[Wish] = []
        for mend in list(self._under_way.values()):
            item = self._catalogue.at(mend.dest)
            if item is None or item.digest != mend.digest or item.state != "damaged":
                self._asked.pop(mend.dest, None)
                wishes += self._stop(mend, "it is no longer needed", now)
        for path in [path for path, at in self._wanted.items() if now >= at]:
            item = self._catalogue.at(path)
            del self._wanted[path]
            if item is None or item.state != "damaged" or not self._is_allowed(item):
                self._asked.pop(path, None)
                continue
            if item.digest in self._under_way or self._is_busy(item):
                self._wanted[path] = now + WAIT_SECONDS
            else:
                wishes += self._begin(item, now)
        return wishes

    def next_deadline(self) -> float | None:
        return min(self._wanted.values(), default=None)

    # --- steps -------------------------------------------------------------------------------------------

    def _look(self, item: LibraryItem, now: float) -> None:
        if item.state != "damaged":
            self._asked.pop(item.path, None)
        elif self._is_allowed(item):
            self._wanted.setdefault(item.path, now)

    def _is_allowed(self, item: LibraryItem) -> bool:
        return item.origin == "downloaded" or self._asked.get(item.path) == item.digest

    def _begin(self, item: LibraryItem, now: float) -> list[Wish]:
        mend = Mend(item.digest, item.manifest, item.name, item.length, item.path, item.seed_path, item.stamps)
        self._under_way[item.digest] = mend
        job = self._job[item.digest] = self._jobs.new("mend", item.name, item.path, "waiting", now)
        job.digest, job.length = item.digest, item.length
        own_too = self._catalogue.with_digest(item.digest) is not None
        return [*self._order(mend), WantSources(item.digest, own_too)]

    def _order(self, mend: Mend) -> list[Wish]:
        copies = [copy for copy in self._catalogue.copies_for(mend) if copy.root != mend.dest]
        return [*([ToDownloader(Copies(mend.digest, copies))] if copies else []), ToDownloader(mend)]

    def _stop(self, mend: Mend, why: str, now: float) -> list[Wish]:
        self._jobs.fail(self._end(mend), "cancelled", why, now)
        return [ToDownloader(StopFetch(mend.digest)), *self._withdraw(mend.digest)]

    def _end(self, mend: Mend) -> JobStatus:
        del self._under_way[mend.digest]
        self._serving.pop(mend.digest, None)
        return self._job.pop(mend.digest)

    def _withdraw(self, digest: str) -> list[Wish]:
        entry = self._catalogue.entry(digest)
        return [UnwantSources(digest), Withdraw(digest) if entry is None else Announce(entry)]

    def _describe(self, path: str, detail: str) -> list[Wish]:
        item = self._catalogue.at(path)
        if item is None or item.state != "damaged":
            return []
        return self._catalogue.suspend(path, "damaged", detail, item.since)
