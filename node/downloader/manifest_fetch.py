"""Getting the manifest of a link from a peer, before any content is asked for. PROTOCOL.md, section 6.1.

Pure. One source is asked at a time, page by page, and a few more when nothing comes. What one hands out must have the
manifest digest of the link: a peer can substitute neither pieces nor paths. A source with another manifest of the
same content is passed over; one that hands out something else under the right name is banned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from node.downloader.source import Banned, Connect, Disconnect, Farewell, Send, Source, SourcePool, SourceState
from protocol.digest import split_digest
from protocol.limits import MANIFEST_PAGE_BYTES
from protocol.manifest import manifest_digest
from protocol.messages import GetManifest, ManifestPage, SeederEntry

CHECK_SECONDS = 0.25
IMPATIENT_SECONDS = 0.5
"""After this long without a page one more source is asked at the same time..."""
ASKED_COUNT_MAX = 4
"""...up to this many, because what each has sent is kept in memory."""


@dataclass(frozen=True, slots=True)
class GotManifest:
    """The canonical manifest; its digest is the one that was asked for."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NoManifest:
    """Every source there is was asked, and none has it. ``detail`` says what they answered."""

    detail: str


Effect = Connect | Disconnect | Send | Banned | GotManifest | NoManifest


@dataclass(slots=True)
class _Got:
    """What one source has sent so far of ``total`` bytes."""

    total: int
    pages: list[bytes]

    def fits(self, message: ManifestPage) -> bool:
        """Whether ``message`` is as long as the next page must be."""
        rest = self.total - len(self.pages) * MANIFEST_PAGE_BYTES
        return message.total == self.total and len(message.data) == min(MANIFEST_PAGE_BYTES, rest)


class ManifestFetch:
    """Fetches the manifest with digest ``manifest`` of content ``digest``; ``rng`` chooses whom to ask."""

    def __init__(self, digest: str, manifest: str, sessions: Iterator[int], rng: Random) -> None:
        self._digest = digest
        self._manifest = manifest
        self._pool = SourcePool(0, sessions, rng, limit=1)
        self._got: dict[int, _Got] = {}
        self._heard_at: float | None = None
        self._refusals: dict[str, str] = {}
        self._check_at = float("-inf")
        self._over = False

    def found(self, entries: Sequence[SeederEntry], now: float) -> list[Effect]:
        """A lookup or the roster names sources."""
        self._pool.learn(entry for entry in entries if entry.peer not in self._refusals)
        return self._connect(now)

    def peer_lost(self, peer: str, now: float) -> list[Effect]:
        self._pool.forget(peer)
        source = self._pool.of_peer(peer)
        return [] if source is None else self._next(source, now, Farewell.FOREVER)

    def connected(self, session: int, now: float) -> list[Effect]:
        source = self._pool.get(session)
        return [] if source is None else [self._ask(source, now)]

    def disconnected(self, session: int, now: float) -> list[Effect]:
        source = self._pool.get(session)
        return [] if source is None else self._next(source, now)

    def misbehaved(self, session: int, reason: str, now: float) -> list[Effect]:
        source = self._pool.get(session)
        return [] if source is None else self._refused(source, reason, now, ban=True)

    def handle(self, session: int, message: object, now: float) -> list[Effect]:
        """A message of a source; all but a page of the manifest means that it cannot help."""
        source = self._pool.get(session)
        if source is None:
            return []
        if not isinstance(message, ManifestPage):
            return self._next(source, now)
        got = self._got.setdefault(session, _Got(message.total, []))
        if message.page != len(got.pages):
            return []
        self._heard_at = now
        if message.total == 0:
            return self._refused(source, "has the content under another manifest", now)
        if not got.fits(message):
            return self._refused(source, "sent a manifest page of the wrong size", now, ban=True)
        got.pages.append(message.data)
        if len(got.pages) * MANIFEST_PAGE_BYTES < got.total:
            return [self._ask(source, now)]
        data = b"".join(got.pages)
        if manifest_digest(data, split_digest(self._manifest)[0]) != self._manifest:
            return self._refused(source, "hands out a manifest that is not the one asked for", now, ban=True)
        return [*self.close(now), GotManifest(data)]

    def tick(self, now: float) -> list[Effect]:
        if self._over or now < self._check_at:
            return []
        self._check_at = now + CHECK_SECONDS
        effects: list[Effect] = []
        for source in self._pool.unresponsive(now):
            effects += self._next(source, now)
        if self._heard_at is not None and now - self._heard_at >= IMPATIENT_SECONDS:
            self._heard_at = now
            self._pool.limit = min(ASKED_COUNT_MAX, self._pool.limit + 1)
        return effects + self._connect(now)

    def next_deadline(self, _now: float) -> float | None:
        return None if self._over else self._check_at

    def close(self, now: float) -> list[Effect]:
        """Stop asking."""
        self._over = True
        effects: list[Effect] = []
        for source in self._pool:
            self._pool.drop(source, now, Farewell.FRIENDLY)
            effects.append(Disconnect(source.session))
        return effects

    def _connect(self, now: float) -> list[Effect]:
        if self._over:
            return []
        opened = self._pool.connect(now)
        if opened and self._heard_at is None:
            self._heard_at = now
        return [Connect(source.session, source.entry.endpoint) for source in opened]

    def _ask(self, source: Source, now: float) -> Effect:
        source.state = SourceState.TESTING
        source.since = now
        got = self._got.get(source.session)
        page = 0 if got is None else len(got.pages)
        return Send(source.session, GetManifest(source.session, self._digest, self._manifest, page))

    def _refused(self, source: Source, reason: str, now: float, ban: bool = False) -> list[Effect]:
        self._refusals[source.entry.peer] = f"{source.entry.name} {reason}"
        effects: list[Effect] = []
        if ban:
            self._pool.ban(source.entry.peer, reason)
            effects.append(Banned(source.entry.peer, source.entry.name, reason))
        effects += self._next(source, now, Farewell.FOREVER)
        if self._pool.known():
            return effects
        self._over = True
        return [*effects, NoManifest("; ".join(list(self._refusals.values())[:3]))]

    def _next(self, source: Source, now: float, farewell: Farewell = Farewell.RETRY) -> list[Effect]:
        self._pool.drop(source, now, farewell)
        self._got.pop(source.session, None)
        return [Disconnect(source.session), *self._connect(now)]
