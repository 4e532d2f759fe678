"""The work a person asked for over the API, as `StatusReport` shows it. Pure.

Owns numbering, what is over and how much of that is remembered. What a job does is in `node.agent.shares` and
`node.agent.gets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from node.disk.share_options import NOTHING, Skipped
from node.local_messages import OVER, DownloadReport, JobStatus, Phase

FINISHED_COUNT_MAX = 200
"""Finished jobs that status still shows."""


@dataclass
class Job:
    """Times are monotonic seconds. ``command`` is the same for all that one command asks for."""

    number: int
    kind: Literal["share", "get"]
    name: str
    path: str
    started: float
    phase: Phase
    command: bytes = b""
    digest: str = ""
    manifest: str = ""
    length: int = 0
    done_bytes: int = 0
    link: str = ""
    code: str = ""
    detail: str = ""
    skipped: Skipped = NOTHING
    finished: float = 0.0
    download: DownloadReport | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        return self.phase in OVER

    def done(self, now: float) -> None:
        self.phase, self.finished, self.done_bytes = "done", now, self.length
        self.code = self.detail = ""

    def fail(self, code: str, detail: str, now: float) -> None:
        self.phase, self.code, self.detail, self.finished = "failed", code, detail, now

    def status(self, wall_offset: float, silent_seconds: float, now: float) -> JobStatus:
        """``wall_offset``: what turns a monotonic moment into `time.time`. ``silent_seconds``: of the downloader."""
        return JobStatus(
            job=self.number,
            kind=self.kind,
            phase=self.phase,
            name=self.name,
            digest=self.digest,
            length=self.length,
            done_bytes=self.done_bytes,
            path=self.path,
            link=self.link,
            code=self.code,
            detail=self.detail,
            skipped=self.skipped,
            started_at=self.started + wall_offset,
            finished_at=self.finished + wall_offset if self.over else 0.0,
            download=self.download,
            silent_seconds=silent_seconds if self.kind == "get" and not self.over else 0.0,
            seconds=max(0.0, (self.finished if self.over else now) - self.started),
            ended_monotonic=self.finished,
        )


class JobBook:
    def __init__(self) -> None:
        self._jobs: dict[int, Job] = {}
        self._next = 1

    def new(self, kind: Literal["share", "get"], name: str, path: str, phase: Phase, now: float) -> Job:
        self._prune()
        job = Job(self._next, kind, name, path, now, phase)
        self._jobs[job.number] = job
        self._next += 1
        return job

    def get(self, number: int) -> Job | None:
        return self._jobs.get(number)

    def all(self) -> list[Job]:
        return list(self._jobs.values())

    def active(self, kind: Literal["share", "get"]) -> list[Job]:
        return [job for job in self._jobs.values() if job.kind == kind and not job.over]

    def _prune(self) -> None:
        over = [job.number for job in self._jobs.values() if job.over]
        for number in over[: max(0, len(over) - FINISHED_COUNT_MAX)]:
            del self._jobs[number]
