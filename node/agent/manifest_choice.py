"""Which manifest is fetched of content that a person named by its digest, where lists have several. Pure.

`node.agent.meant` says in which order they come. The others have their turn when the first fails or brings nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from msgspec import Struct

from protocol.messages import TorrentEntry

PATIENCE_SECONDS = 10.0
"""So long a manifest may bring nothing before the next one is tried."""
TURNS_COUNT = 2
"""So often each of them may fail."""


class _Turns(Struct):
    """``manifests`` are tried in turn, the present one in front. The next one's turn is at ``due``, unless pieces of
    this one come."""

    manifests: list[str]
    due: float
    failures: int = 0


class ManifestChoice:
    def __init__(self) -> None:
        self._turns: dict[str, _Turns] = {}
        """By content."""

    def among(self, contents: Sequence[TorrentEntry], now: float) -> None:
        """A digest may mean these, which differ in their manifests, the one that is tried first in front."""
        if len(contents) > 1:
            turns = _Turns([entry.manifest for entry in contents], now + PATIENCE_SECONDS)
            self._turns.setdefault(contents[0].digest, turns)

    def failed(self, digest: str) -> bool:
        """What was tried failed; whether another is to be tried."""
        turns = self._turns.get(digest)
        if turns is None:
            return False
        turns.failures += 1
        return turns.failures < TURNS_COUNT * len(turns.manifests)

    def next(self, digest: str, now: float) -> str:
        """The manifest to try now."""
        turns = self._turns[digest]
        turns.manifests.append(turns.manifests.pop(0))
        turns.due = now + PATIENCE_SECONDS
        return turns.manifests[0]

    def began(self, digest: str) -> None:
        """Pieces have come, and were right: this one is gone on with unless it fails."""
        if digest in self._turns:
            self._turns[digest].due = inf

    def over(self, digest: str) -> None:
        self._turns.pop(digest, None)

    def due(self, now: float) -> list[str]:
        """Contents of which nothing has come for too long."""
        return [digest for digest, turns in self._turns.items() if turns.due <= now]

    def next_deadline(self) -> float | None:
        return min((turns.due for turns in self._turns.values() if turns.due < inf), default=None)
