"""Downloads that peers were told to make in a cluster where everything goes wrong: what has become of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from cluster.local import LocalPeer
from node.api_messages import ApiAccepted, ApiGet, ApiReply, JobStatus, StatusReport
from node.local_messages import DownloadReport

AGAIN_SECONDS = 2.0
"""A download that failed while things went wrong is asked for again, this often."""
_MISSING = re.compile(r"nobody has (\d+) of (\d+) pieces")
_NO_SOURCE = "no peer has it"


class Want:
    """``peer`` is to have ``content``, a share of its seeders. ``is_safe``: one of these is not lost."""

    def __init__(self, peer: LocalPeer, content: JobStatus, is_safe: bool) -> None:
        self.peer = peer
        self.content = content
        self.is_safe = is_safe
        self.done = False
        self._requests: set[int] = set()
        self._accepted = False
        self._asked_at = 0.0
        self._job: JobStatus | None = None

    def ask(self, now: float) -> None:
        """Tell the peer to get it. It may not run just now. ``now`` in monotonic seconds."""
        peer = self.peer
        request = ApiGet(peer.line.next_id(), self.content.link, str(peer.download_dir), b"", False, False)
        self._requests.add(request.id)
        self._asked_at = now
        peer.line.send(request)

    def hear(self, reply: ApiReply) -> None:
        """Something that the peer answered."""
        self._accepted |= isinstance(reply, ApiAccepted) and reply.id in self._requests

    def update(self, status: StatusReport, now: float, tell: Callable[[str], None]) -> None:
        """What the peer says now, when nothing goes wrong any more. Ask again for what has failed."""
        gets = [job for job in status.jobs if job.kind == "get" and job.digest == self.content.digest]
        self._job = gets[-1] if gets else None
        was_done = self.done
        self.done = any(item.digest == self.content.digest and not item.state for item in status.shared)
        if self.done and not was_done:
            tell(f"{self.peer.name} has got {self.content.name}")
        lacking = self._job is None or self._job.phase in ("failed", "interrupted")
        if lacking and not self.done and now - self._asked_at > AGAIN_SECONDS:
            tell(f"{self}; asked again")
            self.ask(now)

    @property
    def progress(self) -> object:
        """Something that changes as long as it goes on."""
        report = self._report
        return self.done, self._job and self._job.phase, report and (report.done_bytes, report.checked_bytes)

    @property
    def is_unobtainable(self) -> bool:
        """Whether it says that it waits for what nobody has."""
        return not self.done and (_NO_SOURCE in self._said or _MISSING.search(self._said) is not None)

    @property
    def held(self) -> int:
        """How many pieces it has."""
        return self._report.done_pieces if self._report is not None else 0

    @property
    def agrees(self) -> bool:
        """Whether the pieces that it says nobody has are all that it lacks."""
        found = _MISSING.search(self._said)
        return found is None or int(found[1]) == int(found[2]) - self.held

    @property
    def _report(self) -> DownloadReport | None:
        return self._job.download if self._job is not None else None

    @property
    def _said(self) -> str:
        job, report = self._job, self._report
        parts = [job.detail if job is not None else "", report.detail if report is not None else ""]
        if report is not None and report.bottleneck is not None:
            parts.append(report.bottleneck.text)
        return "; ".join(filter(None, parts))

    def __str__(self) -> str:
        """Why it is not done: ``peer-02 has not got tree: downloading, 40 of 100 pieces: nobody has ...``."""
        what = f"{self.peer.name} has not got {self.content.name}"
        if self._job is None:
            return f"{what}: it {'accepted that, and ' if self._accepted else ''}knows nothing of it"
        report = self._report
        have = f", {report.done_pieces} of {report.pieces} pieces" if report is not None else ""
        return f"{what}: {self._job.phase}{have}: {self._said or 'it does not say why'}"


def settled(wants: Iterable[Want]) -> bool:
    """Whether each is done; or nobody has all of its content, and those who lack pieces have the same, and say so."""
    by_content: dict[str, list[Want]] = {}
    for want in wants:
        by_content.setdefault(want.content.digest, []).append(want)
    return all(_is_settled(some) for some in by_content.values())


def _is_settled(wants: list[Want]) -> bool:
    if all(want.done for want in wants):
        return True
    if any(want.done or want.is_safe for want in wants):
        return False
    return len({want.held for want in wants}) == 1 and all(want.is_unobtainable and want.agrees for want in wants)
