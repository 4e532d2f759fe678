"""What the successive status reports of one peer add up to, across restarts of its processes. Pure."""

from __future__ import annotations

from node.api_messages import JobStatus, StatusReport
from node.local_messages import DownloadReport


class Followed:
    """A peer that was told to get ``digest``. Times are monotonic seconds, sizes bytes.

    ``received`` counts everything that came over the wire, ``sent`` everything sent, ``sources`` the peers that gave
    something. ``finished_at`` is the moment of the verified rename, 0 until then. ``error`` ends it too.
    """

    def __init__(self, name: str, digest: str, length: int) -> None:
        self.name = name
        self.digest = digest
        self.length = length
        self.phase = "waiting"
        self.detail = ""
        self.done = 0
        self.rate = 0.0
        self.sent = 0
        self.received = 0
        self.resumed = 0
        self.path = ""
        self.finished_at = 0.0
        self.error = ""
        self.sources: dict[str, str] = {}
        self._earlier = 0
        self._last = 0

    @property
    def over(self) -> bool:
        """Done or failed."""
        return bool(self.finished_at or self.error)

    def update(self, status: StatusReport, now: float) -> None:
        """Add a report that arrived at ``now``."""
        self.sent = max(self.sent, status.sent_bytes)
        job = self._job(status)
        if job is not None:
            if job.download is not None:
                self._download(job.download)
            self._follow(job)
            return
        item = next((item for item in status.shared if item.digest == self.digest), None)
        if item is not None and not self.over:  # the agent was restarted since, and remembers no finished job
            self.path = item.path
            self._done(now)

    def fail(self, error: str) -> None:
        """Nothing more is expected of it."""
        if not self.over:
            self.phase, self.error, self.rate = "failed", error, 0.0

    def _job(self, status: StatusReport) -> JobStatus | None:
        """The get; the last one, when the agent or the whole peer took it up again."""
        gets = [job for job in status.jobs if job.kind == "get" and job.digest in (self.digest, "")]
        return gets[-1] if gets else None

    def _follow(self, job: JobStatus) -> None:
        if self.over:
            return
        self.phase = job.phase
        self.detail = job.detail or (job.download.detail if job.download is not None else "")
        self.path = job.path
        if job.phase == "done":
            self._done(job.ended_monotonic)
        elif job.phase == "failed":
            self.fail(f"{job.code}: {job.detail}")

    def _download(self, report: DownloadReport) -> None:
        if report.received_bytes < self._last:  # another run of the downloader, which counts from zero
            self._earlier += self._last
        self._last = report.received_bytes
        self.received = self._earlier + self._last
        self.resumed = max(self.resumed, report.resumed_bytes)
        self.done = report.done_bytes
        self.rate = report.rate
        for source in report.sources:
            if source.received_bytes:
                self.sources[source.peer] = source.name

    def _done(self, at: float) -> None:
        self.phase, self.detail, self.rate = "done", "", 0.0
        self.done = self.length
        self.finished_at = at
