"""Which manifest is fetched of content that a person named by its digest, where lists have several. Pure.

`node.agent.meant` says in which order they come. The others have their turn when the first fails or brings nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.messages import TorrentEntry

PATIENCE_SECONDS = 10.0
"""So long a manifest may bring nothing before the next one is tried."""
TURNS_COUNT = 2
"""So often each of them may fail."""


class ManifestChoice:
    def __init__(self) -> None:
        self._manifests: dict[str, list[str]] = {}
        """By content, those that are tried in turn, the present one in front."""
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}

    def among(self, contents: Sequence[TorrentEntry], now: float) -> None:
        """A digest may mean these, which differ in their manifests, the one that is tried first in front."""
        digest = contents[0].digest
        if len(contents) > 1 and digest not in self._manifests:
            self._manifests[digest], self._failures[digest] = [entry.manifest for entry in contents], 0
            self._due[digest] = now + PATIENCE_SECONDS

    def failed(self, digest: str) -> bool:
        """What was tried failed; whether another is to be tried."""
        if digest not in self._manifests:
            return False
        self._failures[digest] += 1
        return self._failures[digest] < TURNS_COUNT * len(self._manifests[digest])

    def next(self, digest: str, now: float) -> str:
        """The manifest to try now."""
        manifests = self._manifests[digest]
        manifests.append(manifests.pop(0))
        self._due[digest] = now + PATIENCE_SECONDS
        return manifests[0]

    def began(self, digest: str) -> None:
        """Pieces have come, and were right: this one is gone on with unless it fails."""
        self._due.pop(digest, None)

    def over(self, digest: str) -> None:
        for each in (self._manifests, self._failures, self._due):
            each.pop(digest, None)

    def due(self, now: float) -> list[str]:
        """Contents of which nothing has come for too long."""
        return [digest for digest, at in self._due.items() if at <= now]

    def next_deadline(self) -> float | None:
        return min(self._due.values(), default=None)
