"""Audits: shared content is read again from the disk, at a rate that a person sets, to find out whether it has rotted.

Pure. Owns the ``audit`` jobs. Those with a rate are one queue, and those without are another: a check of one item does
not wait for a slow audit of everything. `node.agent.shares` hashes, and handles items that do not match their digest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from node.agent.catalogue import Catalogue
from node.agent.effects import Wish
from node.agent.jobs import JobBook
from node.agent.library import LibraryItem
from node.agent.shares import Shares
from node.api_messages import PROBLEMS_TOLD_COUNT, ApiAudit, JobStatus
from protocol.digest import short
from protocol.errors import VerificationError
from service.units import counted, format_bytes

ALL = "everything shared"


class _Audit(Struct):
    """``items`` are still to be read, the first of them now (``is_reading``) or when it is not hashed any more for
    another reason; ``read_bytes`` were read before it."""

    job: JobStatus
    items: deque[LibraryItem]
    rate: float
    repair: bool
    count: int
    is_reading: bool = False
    wrong: int = 0
    read_bytes: int = 0


class Audits:
    """``repair``: have what is damaged at a path mended."""

    def __init__(
        self, catalogue: Catalogue, jobs: JobBook, shares: Shares, repair: Callable[[str, float], list[Wish]]
    ) -> None:
        self._catalogue, self._jobs, self._shares, self._repair = catalogue, jobs, shares, repair
        self._lanes: dict[bool, deque[_Audit]] = {True: deque(), False: deque()}
        """Those with a rate, and those without; the first of each is at work."""

    def request(self, request: ApiAudit, now: float) -> tuple[JobStatus | None, list[Wish]]:
        """Audit what ``request`` names; no job if that is nothing."""
        items = self._meant(request)
        if request.name and not items:
            return None, []
        job = self._jobs.new("audit", request.name or ALL, request.path, "waiting", now)
        job.length = sum(item.length for item in items)
        if len(items) == 1:
            job.digest, job.path = items[0].digest, items[0].path
        lane = self._lanes[request.rate > 0]
        lane.append(_Audit(job, deque(items), request.rate, request.repair, len(items)))
        return job, self._begin(lane, now) if len(lane) == 1 else []

    def stop(self, now: float) -> tuple[int, list[Wish]]:
        """Stop all audits. Returns how many there were."""
        wishes: list[Wish] = []
        audits = [audit for lane in self._lanes.values() for audit in lane]
        for lane in self._lanes.values():
            if lane:
                wishes += self._shares.stop_audit(lane[0].items[0].path)
            lane.clear()
        for audit in audits:
            self._jobs.fail(audit.job, "cancelled", "it was stopped", now)
        return len(audits), wishes

    def hash_ended(self, path: str, trouble: str, now: float) -> list[Wish]:
        """``path`` was hashed, or could not be for the reason ``trouble``."""
        wishes: list[Wish] = []
        for lane in self._at(path):
            audit = lane[0]
            if audit.is_reading and not self._shares.is_hashing(path):  # else what was read does not count
                wishes += self._judge(audit, audit.items.popleft(), trouble, now)
            wishes += self._begin(lane, now)
        return wishes

    def progress(self, path: str, done: int) -> None:
        """``done`` bytes of ``path`` are hashed."""
        for lane in self._at(path):
            lane[0].job.done_bytes = lane[0].read_bytes + done

    def _at(self, path: str) -> list[deque[_Audit]]:
        """Those of the lanes that have come to ``path``."""
        return [lane for lane in self._lanes.values() if lane and lane[0].items[0].path == path]

    def _meant(self, request: ApiAudit) -> list[LibraryItem]:
        if not request.name:
            return self._catalogue.items()
        paths = self._shares.called(request.name, request.path)
        return [item for path in paths if (item := self._catalogue.at(path)) is not None]

    def _begin(self, lane: deque[_Audit], now: float) -> list[Wish]:
        """Read the next item of ``lane``, and end the audits that have none left."""
        wishes: list[Wish] = []
        while lane:
            audit = lane[0]
            audit.job.phase = "checking"
            while audit.items:
                item = audit.items[0]
                there = self._catalogue.at(item.path)
                if there is not None and there.digest == item.digest:
                    audit.is_reading = False
                    if there.state == "":
                        wishes += self._shares.audit(there, audit.rate)
                        audit.is_reading = self._shares.is_audited(item.path)
                        return wishes
                    if there.state == "changed" and self._shares.is_hashing(item.path):
                        return wishes
                wishes += self._judge(audit, audit.items.popleft(), "", now)
            lane.popleft()
            self._end(audit, now)
        return wishes

    def _judge(self, audit: _Audit, item: LibraryItem, trouble: str, now: float) -> list[Wish]:
        """Record the result for ``item``."""
        there = self._catalogue.at(item.path)
        audit.read_bytes += item.length
        audit.job.done_bytes = audit.read_bytes
        wishes: list[Wish] = []
        if there is None:
            problem = "it is not shared any more"
        elif there.digest != item.digest:
            problem = f"somebody has changed it; it is now shared as {short(there.digest)}"
        elif there.state:
            problem = f"{there.state}: {there.detail}"
            if there.state == "damaged" and audit.repair:
                wishes = self._repair(item.path, now)
        else:
            problem = trouble
        if problem:
            audit.wrong += 1
            if len(audit.job.problems) < PROBLEMS_TOLD_COUNT:
                audit.job.problems.append(f"{item.path}: {problem}")
        return wishes

    def _end(self, audit: _Audit, now: float) -> None:
        read = f"{counted(audit.count, 'item')}, {format_bytes(audit.job.length)}, read"
        if audit.wrong:
            self._jobs.fail(audit.job, VerificationError.code, f"{read}; {audit.wrong} with problems", now)
        else:
            self._jobs.end(audit.job, "done", "", f"{read}; no problems", now)
