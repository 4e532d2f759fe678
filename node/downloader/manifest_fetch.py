"""Getting the manifest of a link from a peer, before any content is asked for. PROTOCOL.md, section 6.1.

Pure. One source is asked at a time, page by page, and more of them the longer nothing comes. What one hands out must
have the manifest digest of the link: a peer can substitute neither pieces nor paths. A source that cannot help makes
room for others and is asked again later; one that hands out something else under the right name is banned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from node.downloader.source import (
    NO_ANSWER,
    NOT_SERVING,
    OTHER_MANIFEST,
    UNABLE,
    Banned,
    Connect,
    Disconnect,
    Farewell,
    Send,
    Source,
    SourcePool,
    SourceState,
    Trouble,
)
from protocol.digest import split_digest
from protocol.limits import MANIFEST_PAGE_BYTES, SOURCES_PER_DOWNLOAD_COUNT_MAX
from protocol.manifest import manifest_digest
from protocol.messages import Error, GetManifest, ManifestPage, SeederEntry, Status

CHECK_SECONDS = 0.25
IMPATIENT_SECONDS = 0.5
"""After this long without a page twice as many sources are asked at the same time, as many as a download has, and after
ten times as long in any case..."""
GIVING_COUNT_MAX = 4
"""...but no more than this may give more than a page each, because what they have sent is kept in memory."""


@dataclass(frozen=True, slots=True)
class GotManifest:
    """The canonical manifest; its digest is the one that was asked for."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NoManifest:
    """Every source that the tracker lists was asked, and none has it."""

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
    """Fetches the manifest with digest ``manifest`` of content ``digest``; ``rng`` chooses whom to ask. The connection
    over which it came is kept, and looked after, until `close` or until a `Download` takes the ``pool``."""

    def __init__(self, digest: str, manifest: str, sessions: Iterator[int], rng: Random) -> None:
        self._digest = digest
        self._manifest = manifest
        self._pool = SourcePool(sessions, rng)
        self._got: dict[int, _Got] = {}
        self._heard_at: float | None = None
        self._asked_more_at = inf
        """When more sources were last asked than before, or the first."""
        self._listed = 0
        self._check_at = float("-inf")
        self._over = False

    @property
    def pool(self) -> SourcePool:
        """The sources; do not change."""
        return self._pool

    def found(self, entries: Sequence[SeederEntry], now: float, listed: int | None = None) -> list[Effect]:
        """As `Download.found`. When all that there are have another manifest there is nobody left to ask."""
        self._pool.learn(entries, listed)
        if listed is not None:
            self._listed = listed
        return [*self._connect(now), *self._end_in_vain(now)]

    def peer_lost(self, peer: str, now: float) -> list[Effect]:
        self._pool.forget(peer)
        source = self._pool.of_peer(peer)
        return [] if source is None else self._next(source, now, Farewell.FOREVER)

    def connected(self, session: int, now: float) -> list[Effect]:
        source = self._pool.get(session)
        return [] if source is None else [self._ask(source, now)]

    def disconnected(self, session: int, reason: str, now: float) -> list[Effect]:
        source = self._pool.get(session)
        return [] if source is None else self._next(source, now, Trouble("unreachable", reason))

    def misbehaved(self, session: int, reason: str, now: float) -> list[Effect]:
        """What is at the source's address is no peer or, where a peer has answered already, one that breaks the
        protocol."""
        source = self._pool.get(session)
        if source is None:
            return []
        if session in self._got:
            return self._ban(source, reason, now)
        return self._next(source, now, Trouble("no_peer", reason))

    def handle(self, session: int, message: object, now: float) -> list[Effect]:
        """A message of a source; all but a page of the manifest means that it cannot help now."""
        source = self._pool.get(session)
        if source is None:
            return []
        if self._over:
            return self._useless(source, now)
        if isinstance(message, ManifestPage):
            return self._page(source, message, now)
        trouble = NOT_SERVING
        if isinstance(message, Status):
            trouble = UNABLE.get(message.state, NOT_SERVING)
        elif isinstance(message, Error):
            trouble = Trouble("not_serving" if session in self._got else "no_peer", message.detail)
        return self._next(source, now, trouble)

    def _page(self, source: Source, message: ManifestPage, now: float) -> list[Effect]:
        session = source.session
        if session not in self._got and message.total:
            if len(self._got) >= GIVING_COUNT_MAX:
                return self._next(source, now, Farewell.USELESS)
            self._pool.answered(source)
        got = self._got.setdefault(session, _Got(message.total, []))
        if message.page != len(got.pages):
            return self._useless(source, now)
        self._heard_at = now
        if message.total == 0:
            return [*self._next(source, now, OTHER_MANIFEST), *self._end_in_vain(now)]
        if not got.fits(message):
            return self._ban(source, "sent a page of the manifest of the wrong size", now)
        got.pages.append(message.data)
        if len(got.pages) * MANIFEST_PAGE_BYTES < got.total:
            return [self._ask(source, now)]
        data = b"".join(got.pages)
        if manifest_digest(data, split_digest(self._manifest)[0]) != self._manifest:
            return self._ban(source, "sent another manifest than it was asked for", now)
        return [*self._end(now, source), GotManifest(data)]

    def _useless(self, source: Source, now: float) -> list[Effect]:
        """A message that answers nothing."""
        return self._ban(source, "floods us with messages", now) if source.floods(now) else []

    def tick(self, now: float) -> list[Effect]:
        if self._over or now < self._check_at:
            return []
        self._check_at = now + CHECK_SECONDS
        effects: list[Effect] = []
        for source in self._pool:
            if source.is_unanswered(now):
                effects += self._next(source, now, NO_ANSWER)
        quiet = self._heard_at is not None and now - self._heard_at >= IMPATIENT_SECONDS
        slow = now - self._asked_more_at >= 10 * IMPATIENT_SECONDS and self._pool.limit < GIVING_COUNT_MAX
        if quiet or slow:
            self._heard_at = self._asked_more_at = now
            self._pool.limit = min(SOURCES_PER_DOWNLOAD_COUNT_MAX, 2 * self._pool.limit)
        return effects + self._connect(now)

    def next_deadline(self, _now: float) -> float | None:
        return None if self._over else self._check_at

    def close(self, now: float) -> list[Effect]:
        """Stop asking, and part with the source that is kept."""
        return self._end(now, None)

    def _end(self, now: float, kept: Source | None) -> list[Effect]:
        self._over = True
        effects: list[Effect] = []
        for source in self._pool:
            if source is not kept:
                self._pool.drop(source, now, Farewell.FRIENDLY)
                effects.append(Disconnect(source.session))
        return effects

    def _connect(self, now: float) -> list[Effect]:
        if self._over:
            return []
        opened = self._pool.connect(now)
        if opened and self._heard_at is None:
            self._heard_at = self._asked_more_at = now
        return [source.dial() for source in opened]

    def _ask(self, source: Source, now: float) -> Effect:
        source.state = SourceState.TESTING
        source.since = now
        got = self._got.get(source.session)
        page = 0 if got is None else len(got.pages)
        wanted = GetManifest(source.session, self._digest, self._manifest, page, source.entry.peer)
        return Send(source.session, wanted)

    def _ban(self, source: Source, reason: str, now: float) -> list[Effect]:
        self._pool.ban(source.entry, reason)
        banned = Banned(source.entry.peer, source.entry.name, reason)
        return [banned, *self._next(source, now, Farewell.FRIENDLY), *self._end_in_vain(now)]

    def _next(self, source: Source, now: float, why: Trouble | Farewell) -> list[Effect]:
        self._pool.drop(source, now, why)
        self._got.pop(source.session, None)
        return [Disconnect(source.session), *self._connect(now)]

    def _end_in_vain(self, now: float) -> list[Effect]:
        """Give up when everybody the tracker lists was asked and has another manifest: then the link is wrong. Who
        could not be asked may have it."""
        asked = [candidate for candidate in self._pool.candidates() if candidate.named]
        in_vain = all(one.trouble is not None and one.trouble.state in ("other_manifest", "banned") for one in asked)
        if self._over or not self._listed or len(asked) < self._listed or not in_vain:
            return []
        what = f"each of those asked ({len(asked)}) has another manifest or none; is the link right?"
        return [*self.close(now), NoManifest(what)]
