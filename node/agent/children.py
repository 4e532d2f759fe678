"""The agent's view of the peer's other two processes: which run of each it talks to, and their reports. Pure."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import asdict

from node.local_messages import DownloadTotals, Hello, UploadReport


class Children:
    """Runs of the child processes, by role."""

    def __init__(self) -> None:
        self._runs: dict[str, Hello] = {}
        self._heard_at: dict[str, float] = {}

    def await_from(self, now: float) -> None:
        """The agent starts: both should be heard of from now on."""
        self._heard_at = {"piece_server": now, "downloader": now}

    def hello(self, message: Hello, now: float) -> bool:
        """Record a sign of life; True if it is from a new run, which knows nothing yet."""
        self._heard_at[message.role] = now
        before = self._runs.get(message.role)
        self._runs[message.role] = message
        return before is None or before.instance != message.instance

    def silent_seconds(self, now: float) -> dict[str, float]:
        """How long each has been silent, though it says hello every second."""
        return {role: now - heard_at for role, heard_at in self._heard_at.items()}

    def pids(self) -> dict[str, int]:
        return {role: run.pid for role, run in self._runs.items()}


class DownloadedTotals:
    """`DownloadTotals` over all runs of the downloader that this agent has heard of."""

    def __init__(self) -> None:
        self._earlier, self._run = DownloadTotals(), DownloadTotals()

    @property
    def totals(self) -> DownloadTotals:
        return _sum(self._earlier, self._run)

    def new_run(self) -> None:
        """The next report counts from zero."""
        self._earlier, self._run = self.totals, DownloadTotals()

    def report(self, run: DownloadTotals) -> None:
        self._run = run


def _sum(one: DownloadTotals, other: DownloadTotals) -> DownloadTotals:
    return DownloadTotals(**{name: value + getattr(other, name) for name, value in asdict(one).items()})


class UploadTotals:
    """Bytes sent, over all runs of the piece server: in total, and for each listed content since this agent started."""

    def __init__(self) -> None:
        self.queued_pieces = 0
        self._sent: dict[str, int] = {}
        self._sessions: dict[str, int] = {}
        self._run = self._earlier = (0, 0)
        """Bytes sent and bad messages, of the current run and of earlier ones."""

    @property
    def sent_bytes(self) -> int:
        return self._earlier[0] + self._run[0]

    @property
    def bad_messages(self) -> int:
        return self._earlier[1] + self._run[1]

    @property
    def sessions(self) -> int:
        return sum(self._sessions.values())

    def of(self, digest: str) -> tuple[int, int]:
        """Bytes sent and sessions open."""
        return self._sent.get(digest, 0), self._sessions.get(digest, 0)

    def new_run(self) -> None:
        """The next report counts from zero."""
        self._earlier, self._run = (self.sent_bytes, self.bad_messages), (0, 0)
        self._sessions, self.queued_pieces = {}, 0

    def report(self, message: UploadReport, is_listed: Callable[[str], object]) -> None:
        """Add a report. Content that the peer does not list (any more) counts only in the total."""
        for swarm in message.swarms:
            if is_listed(swarm.digest):
                self._sent[swarm.digest] = self._sent.get(swarm.digest, 0) + swarm.sent_bytes
            if swarm.sessions:
                self._sessions[swarm.digest] = swarm.sessions
            else:
                self._sessions.pop(swarm.digest, None)
        self._run = (message.sent_bytes, message.bad_messages)
        self.queued_pieces = message.queued_pieces

    def unlisted(self, digest: str) -> None:
        """The peer does not list it any more."""
        self._sent.pop(digest, None)
