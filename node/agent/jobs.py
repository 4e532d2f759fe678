"""The work a person asked for over the API, as `StatusReport` shows it. Pure.

Owns their numbers, and how many finished ones are remembered. What a job does is in `node.agent.shares`,
`node.agent.gets`, `node.agent.mends` and `node.agent.audits`.
"""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from node.api_messages import JobKind, JobStatus
from node.local_messages import Phase

FINISHED_COUNT_MAX = 200
"""Finished jobs that status still shows."""


class JobBook:
    """Adding ``wall_offset`` turns monotonic time into `time.time`."""

    def __init__(self, wall_offset: float) -> None:
        self._wall_offset = wall_offset
        self._jobs: dict[int, JobStatus] = {}
        self._commands: dict[int, bytes] = {}
        self._next = 1
        self.ended: Counter[tuple[JobKind, Phase]] = Counter()
        self.changes_count = 0
        """Counts starts and ends of jobs, and those phase changes that their owners report."""

    def new(self, kind: JobKind, name: str, path: str, phase: Phase, now: float, command: bytes = b"") -> JobStatus:
        """``command`` is the same for all that one command asks for."""
        self._prune()
        started_at = now + self._wall_offset
        job = JobStatus(self._next, kind, phase, name, path=path, started_at=started_at, started_monotonic=now)
        self._jobs[job.job], self._commands[job.job] = job, command
        self._next += 1
        self.changes_count += 1
        return job

    def get(self, number: int) -> JobStatus | None:
        return self._jobs.get(number)

    def all(self) -> list[JobStatus]:
        return list(self._jobs.values())

    def active(self, kind: JobKind) -> list[JobStatus]:
        return [job for job in self._jobs.values() if job.kind == kind and not job.over]

    def of_same_command(self, job: JobStatus) -> list[JobStatus]:
        return [other for other in self._jobs.values() if self._commands[other.job] == self._commands[job.job]]

    def done(self, job: JobStatus, now: float) -> None:
        job.done_bytes = job.length
        self.end(job, "done", "", "", now)

    def fail(self, job: JobStatus, code: str, detail: str, now: float) -> None:
        self.end(job, "failed", code, detail, now)

    def end(self, job: JobStatus, phase: Phase, code: str, detail: str, now: float) -> None:
        if not job.over:
            self.ended[job.kind, phase] += 1
        job.phase, job.code, job.detail = phase, code, detail
        job.ended_monotonic, job.finished_at = now, now + self._wall_offset
        job.seconds = max(0.0, now - job.started_monotonic)
        self.changes_count += 1

    def _prune(self) -> None:
        over = [number for number, job in self._jobs.items() if job.over]
        for number in over[: max(0, len(over) - FINISHED_COUNT_MAX)]:
            del self._jobs[number], self._commands[number]


def reported(job: JobStatus, downloader_silent_seconds: float, now: float) -> JobStatus:
    """``job`` as a report has it."""
    if job.over:
        return replace(job)
    silent = downloader_silent_seconds if job.kind in ("get", "mend") else 0.0
    return replace(job, seconds=now - job.started_monotonic, silent_seconds=silent)
