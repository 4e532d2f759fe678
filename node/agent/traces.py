"""Traces of downloads, which a command asks for and the downloader has. Pure."""

from __future__ import annotations

from node.agent.effects import ReplyApi, ToDownloader
from node.agent.jobs import JobBook
from node.api_messages import ApiError, ApiTrace, ApiTraceReply, JobStatus
from node.local_messages import GetTrace, Traced

NONE_KNOWN = (
    "no trace of {name}: this peer knows of no such download since its downloader started; 'status' shows its downloads"
)


class Traces:
    """Requests that wait for the downloader."""

    def __init__(self, jobs: JobBook) -> None:
        self._jobs = jobs
        self._waiting: dict[int, tuple[bytes, ApiTrace]] = {}
        """By the tag of the message to it."""
        self._last_tag = 0

    def request(self, route: bytes, request: ApiTrace) -> ToDownloader | ReplyApi:
        """The last download that is meant counts."""
        meant = (job for job in reversed(self._jobs.all()) if job.kind in ("get", "mend") and _is_meant(job, request))
        job = next(meant, None)
        if job is None:
            return _refusal(route, request)
        self._last_tag += 1
        self._waiting[self._last_tag] = (route, request)
        return ToDownloader(GetTrace(self._last_tag, job.digest))

    def answered(self, message: Traced) -> list[ReplyApi]:
        route, request = self._waiting.pop(message.tag, (b"", None))
        if request is None:
            return []
        if message.trace is None:
            return [_refusal(route, request)]
        return [ReplyApi(route, ApiTraceReply(request.id, message.trace))]

    def lost(self) -> list[ReplyApi]:
        """The downloader was started again, and knows nothing of what was asked and done before."""
        waiting, self._waiting = self._waiting, {}
        return [_refusal(route, request) for route, request in waiting.values()]


def _is_meant(job: JobStatus, request: ApiTrace) -> bool:
    by_digest = ":" in request.name and job.digest.startswith(request.name)
    by_path = bool(request.path) and request.path == job.path
    return bool(job.digest) and (request.name == job.name or by_digest or by_path)


def _refusal(route: bytes, request: ApiTrace) -> ReplyApi:
    return ReplyApi(route, ApiError(request.id, "not_found", NONE_KNOWN.format(name=request.name)))
