"""Audits: what is shared is read again from the disk, at a rate a person states, to find out whether it is still right.

Pure. Owns the ``audit`` jobs and their order: one with a rate and one without at a time, so that whoever waits for one
item does not wait for all. Hashing, and what becomes of an item that is not as it was hashed, is `node.agent.shares`'.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from node.agent.catalogue import Catalogue
from node.agent.effects import Wish
from node.agent.jobs import JobBook
from node.agent.library import LibraryItem
from node.agent.shares import Shares
from node.api_messages import ApiAudit, JobStatus
from protocol.digest import short
from protocol.errors import DiskError, NotFoundError, VerificationError


class _Audit(Struct):
    job: JobStatus
    rate: float
    repair: bool


class Audits:
    """``repair``: have what is damaged at a path mended."""

    def __init__(
        self, catalogue: Catalogue, jobs: JobBook, shares: Shares, repair: Callable[[str, float], list[Wish]]
    ) -> None:
        self._catalogue, self._jobs, self._shares, self._repair = catalogue, jobs, shares, repair
        self._waiting: list[_Audit] = []
        self._current: dict[bool, _Audit] = {}
        """Of those with a rate, and of those without."""

    def request(self, request: ApiAudit, now: float) -> tuple[list[int], list[Wish]]:
        """Begin, or put in line, an audit of each item that ``request`` means; none if there is no such item."""
        for audit in [audit for audit in self._waiting if audit.rate and not request.name]:
            self._waiting.remove(audit)
            self._jobs.fail(audit.job, "cancelled", "another audit of all was asked for", now)
        numbers: list[int] = []
        for item in self._meant(request):
            job = self._jobs.new("audit", item.name, item.path, "waiting", now)
            job.digest, job.length = item.digest, item.length
            numbers.append(job.job)
            self._waiting.append(_Audit(job, request.rate, request.repair))
        return numbers, self._go_on(now)

    def hash_ended(self, path: str, trouble: tuple[str, str] | None, now: float) -> list[Wish]:
        """``path`` was hashed, or could not be for a reason (code and words)."""
        for audit in list(self._current.values()):
            if audit.job.path == path and not self._shares.is_hashing(path):
                del self._current[bool(audit.rate)]
                return [*self._judge(audit, trouble, now), *self._go_on(now)]
        return []

    def progress(self, path: str, done: int, total: int) -> None:
        for audit in self._current.values():
            if audit.job.path == path:
                audit.job.done_bytes, audit.job.length = done, total

    def _meant(self, request: ApiAudit) -> list[LibraryItem]:
        if not request.name:
            return self._catalogue.items()
        paths = self._shares.called(request.name, request.path)
        return [item for path in paths if (item := self._catalogue.at(path)) is not None]

    def _go_on(self, now: float) -> list[Wish]:
        """Begin what is next."""
        wishes: list[Wish] = []
        for audit in list(self._waiting):
            lane = bool(audit.rate)
            if lane in self._current:
                continue
            self._waiting.remove(audit)
            item = self._catalogue.at(audit.job.path)
            if item is None or item.state not in ("", "changed"):
                wishes += self._judge(audit, None, now)
                continue
            self._current[lane] = audit
            audit.job.phase = "checking"
            wishes += self._shares.audit(item, audit.rate)
        return wishes

    def _judge(self, audit: _Audit, trouble: tuple[str, str] | None, now: float) -> list[Wish]:
        """Say in the job what was found."""
        job, item = audit.job, self._catalogue.at(audit.job.path)
        if trouble is not None:
            self._jobs.fail(job, *trouble, now)
        elif item is None:
            self._jobs.fail(job, NotFoundError.code, "it is not shared any more", now)
        elif item.digest != job.digest:
            what = f"somebody has changed it; it is shared as what it is now, {short(item.digest)}"
            self._jobs.fail(job, VerificationError.code, what, now)
        elif item.state == "damaged":
            self._jobs.fail(job, VerificationError.code, item.detail, now)
            return self._repair(item.path, now) if audit.repair else []
        elif item.state:
            self._jobs.fail(job, DiskError.code, f"{item.state}: {item.detail}", now)
        else:
            self._jobs.done(job, now)
        return []
