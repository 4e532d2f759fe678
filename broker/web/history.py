"""What the page remembers of the last minutes: rates, and peers that are gone. Bounded. Pure."""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from broker.events import Event, PeerGone, PeerSet
from broker.registry import Registry
from broker.web.flows import content_name, name_of
from broker.web.rows import GoneRow, Rates
from broker.web.survey import main_download
from protocol.standings import percent_of

SAMPLE_SECONDS = 2.0
SAMPLES_COUNT = 300
"""Ten minutes."""
GONE_COUNT_MAX = 50
GONE_SECONDS = 3_600.0


class History:
    """From ``now`` (monotonic seconds) on."""

    def __init__(self, now: float) -> None:
        self.lost_count = self.left_count = 0
        """All peers that fell silent, and all that left."""
        self.sample_at = now
        """When the next rate is due."""
        self._rates: deque[int] = deque(maxlen=SAMPLES_COUNT)
        self._gone: dict[str, tuple[float, GoneRow]] = {}
        """When, and what it was doing."""

    def sample(self, rate: int, now: float) -> None:
        """The rate is due. Moments at which this process stood still are filled with it."""
        missed = int((now - self.sample_at) / SAMPLE_SECONDS) + 1
        self._rates.extend([rate] * min(missed, SAMPLES_COUNT))
        self.sample_at += missed * SAMPLE_SECONDS

    def rates(self) -> Rates:
        return Rates(SAMPLE_SECONDS, list(self._rates))

    def hear(self, events: list[Event], registry: Registry, now: float) -> None:
        """``events`` are about to be applied to ``registry``."""
        for event in events:
            if isinstance(event, PeerGone):
                self._note(event, registry, now)
            elif isinstance(event, PeerSet):
                self._gone.pop(event.peer, None)

    def gone(self, now: float) -> list[GoneRow]:
        """Those of the last hour, the latest first."""
        return [
            replace(row, seconds_ago=round(now - at))
            for at, row in reversed(self._gone.values())
            if now - at < GONE_SECONDS
        ]

    def _note(self, event: PeerGone, registry: Registry, now: float) -> None:
        member = registry.members.get(event.peer)
        if member is None:
            return
        self.lost_count += event.expired
        self.left_count += not event.expired
        state, download = main_download(member)
        content = content_name(member, download.digest, registry) or download.digest
        done = percent_of(download.done, download.length)
        row = GoneRow(event.peer, name_of(event.peer, registry), event.expired, 0.0, state, done, content)
        self._gone.pop(event.peer, None)
        self._gone[event.peer] = now, row
        if len(self._gone) > GONE_COUNT_MAX:
            del self._gone[next(iter(self._gone))]
