"""The agent's view of the peer's other two processes: which run of each it talks to, and what they report. Pure."""

from __future__ import annotations

from node.local_messages import Hello, UploadReport


class Children:
    """Runs of the child processes, by role."""

    def __init__(self) -> None:
        self._runs: dict[str, Hello] = {}
        self._heard_at: dict[str, float] = {}

    def hello(self, message: Hello, now: float) -> bool:
        """Note a sign of life; True when it is of a run not heard of before, which knows nothing yet."""
        self._heard_at[message.role] = now
        before = self._runs.get(message.role)
        self._runs[message.role] = message
        return before is None or before.instance != message.instance

    def silent_seconds(self, now: float) -> dict[str, float]:
        """How long each said nothing, though it says hello every second."""
        return {role: now - heard_at for role, heard_at in self._heard_at.items()}

    def pids(self) -> dict[str, int]:
        return {role: run.pid for role, run in self._runs.items()}


class UploadTotals:
    """What was sent since the agent started, over all runs of the piece server."""

    def __init__(self) -> None:
        self.queued_pieces = 0
        self._sent: dict[str, int] = {}
        self._earlier: dict[str, int] = {}
        self._sessions: dict[str, int] = {}
        self._bad = 0
        self._bad_earlier = 0

    @property
    def bad_messages(self) -> int:
        return self._bad_earlier + self._bad

    @property
    def sent_bytes(self) -> int:
        return sum(self._earlier.values()) + sum(self._sent.values())

    @property
    def sessions(self) -> int:
        return sum(self._sessions.values())

    def of(self, digest: str) -> tuple[int, int]:
        """Bytes sent and sessions open."""
        return self._earlier.get(digest, 0) + self._sent.get(digest, 0), self._sessions.get(digest, 0)

    def new_run(self) -> None:
        """The next report counts from zero."""
        for digest, sent in self._sent.items():
            self._earlier[digest] = self._earlier.get(digest, 0) + sent
        self._bad_earlier += self._bad
        self._sent, self._sessions, self._bad, self.queued_pieces = {}, {}, 0, 0

    def report(self, message: UploadReport) -> None:
        self._sent = {swarm.digest: swarm.sent_bytes for swarm in message.swarms}
        self._sessions = {swarm.digest: swarm.sessions for swarm in message.swarms}
        self._bad = message.bad_messages
        self.queued_pieces = message.queued_pieces
