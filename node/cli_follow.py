"""Follows the jobs a command started until each is done or failed, through any restart of the peer's processes."""

from __future__ import annotations

import msgspec

from node.cli_progress import Display
from node.cli_session import Session
from node.cli_view import FINAL, Outcome, outcome_of, view_of
from node.local_messages import JobStatus, StatusReport
from protocol.errors import NetworkError

LOST_SECONDS = 15.0
"""How long the peer may be silent, or not know a job: its agent is back within a second when it is restarted."""


class JobTracker:
    """The jobs of one command as the latest reports show them. Pure.

    A restarted agent numbers its jobs anew, so a job is known by its number and, once that is known, its digest.
    """

    def __init__(self, targets: dict[int, str]) -> None:
        self._targets = targets
        self._jobs: dict[int, JobStatus] = {}
        self._missing_since: dict[int, float] = {}

    def update(self, report: StatusReport, now: float) -> None:
        """Take in ``report``; raises `NetworkError` when the peer has forgotten a job."""
        for number in self._targets:
            if self._is_final(number):
                continue
            found = _find(report, number, self._jobs.get(number))
            if found is not None:
                self._jobs[number] = msgspec.structs.replace(found, job=number)
                self._missing_since.pop(number, None)
            elif now - self._missing_since.setdefault(number, now) > LOST_SECONDS:
                raise NetworkError(f"the peer no longer knows of {self._targets[number]!r}; ask for it again")

    def jobs(self) -> list[tuple[str, JobStatus]]:
        """(target, job) of every job seen so far, in the order they were asked for."""
        return [(target, self._jobs[number]) for number, target in self._targets.items() if number in self._jobs]

    def finished(self) -> bool:
        return all(self._is_final(number) for number in self._targets)

    def outcomes(self) -> list[Outcome]:
        """The results of the jobs that have ended."""
        return [outcome_of(job, target) for target, job in self.jobs() if job.phase in FINAL]

    def unfinished(self) -> list[str]:
        """The targets that have not ended."""
        return [target for number, target in self._targets.items() if not self._is_final(number)]

    def _is_final(self, number: int) -> bool:
        job = self._jobs.get(number)
        return job is not None and job.phase in FINAL


def _find(report: StatusReport, number: int, known: JobStatus | None) -> JobStatus | None:
    digest = known.digest if known is not None else ""
    by_number = [job for job in report.jobs if job.job == number]
    by_digest = [job for job in report.jobs if known is not None and job.kind == known.kind and job.digest == digest]
    for job in by_number:
        if known is None or not digest or job.digest == digest:
            return job
    if digest and by_digest:
        return by_digest[-1]
    for item in report.shared:
        if known is not None and digest and item.digest == digest:
            return msgspec.structs.replace(known, phase="done", path=item.path, link=item.link, length=item.length)
    return None


class Patience:
    """Asks for status, and forgives the silence of an agent that is being restarted."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answered = session.now()

    def status(self) -> StatusReport | None:
        """The status; None while the peer is silent, `NetworkError` after `LOST_SECONDS` of it."""
        try:
            report = self._session.status()
        except NetworkError:
            if self._session.now() - self._answered > LOST_SECONDS:
                raise
            return None
        self._answered = self._session.now()
        return report


def follow(session: Session, tracker: JobTracker, display: Display, timeout: float) -> bool:
    """Show the jobs of ``tracker`` on ``display`` until all have ended; False when ``timeout`` seconds (0: for
    ever) passed first."""
    patience = Patience(session)
    started = session.now()
    while True:
        report = patience.status()
        now = session.now()
        if report is not None:
            tracker.update(report, now)
        display.show([view_of(job, target) for target, job in tracker.jobs()], now)
        if tracker.finished():
            return True
        if timeout and now - started >= timeout:
            return False
        session.pause(display.interval)
