"""What holds a running download back: time measured by cause, and one sentence for a person. Pure.

`Waits` is kept by `download`, the seconds that hashing and writing take by `job_disk`. Whether sources are slow because
of their uplinks or of this peer's downlink cannot be measured here: only that they have pieces on their way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from node.downloader.rate_meter import RateMeter
from node.downloader.recording import Longest
from node.local_messages import Bottleneck, SourceReport
from service.units import counted, format_rate

Cause = Literal["rate_limit", "disk", "sources"]
"""``rate_limit``: a source has no credit, and the rate allows none. ``disk``: sources get no credit, or have sent all,
while pieces wait to be verified and written. ``sources``: they may send."""


@dataclass(slots=True)
class Waits:
    """Seconds that each cause has held a download back so far."""

    seconds: dict[Cause, float] = field(default_factory=lambda: {"rate_limit": 0.0, "disk": 0.0, "sources": 0.0})
    record: Longest = field(default_factory=Longest)
    """The same as spans of time."""
    _cause: Cause | None = None
    _since: float = 0.0

    def note(self, cause: Cause | None, now: float) -> None:
        """From ``now`` on it is ``cause``; None: the download does not run."""
        if self._cause is not None:
            self.seconds[self._cause] += now - self._since
        self._cause, self._since = cause, now
        self.record.turn(cause, now)


@dataclass(frozen=True, slots=True)
class Measured:
    """Of the last seconds: the share of the time that each cause held the download back, threads that were hashing and
    writing, and sources that had pieces on their way, all on average. ``rate_limit`` in bytes/s; ``sources`` are those
    that are connected; ``nobody`` says what none of them has."""

    shares: Mapping[Cause, float]
    hashing: float
    writing: float
    busy: float
    rate_limit: float
    sources: Sequence[SourceReport]
    nobody: str = ""


def bottleneck(measured: Measured) -> Bottleneck:
    """What holds the download back most."""
    shares, sources = measured.shares, measured.sources
    cause = max(shares, key=shares.__getitem__)
    time = f"{_percent(shares[cause])} of the time"
    if cause == "rate_limit":
        return Bottleneck(
            "rate_limit", f"this peer's download limit of {format_rate(measured.rate_limit)} held it back {time}"
        )
    if cause == "disk":
        return _disk(time, measured.hashing, measured.writing)
    at_work = [source for source in sources if source.on_way]
    if measured.nobody and not at_work:
        return Bottleneck("missing_pieces" if sources else "no_sources", measured.nobody)
    if len(sources) == 1:
        only = sources[0]
        on_way = f"it had pieces on their way {_percent(measured.busy)} of the time"
        return Bottleneck("one_source", f"waits for its only source, {_called(only)}: {on_way}")
    if not at_work:
        what = f"nothing was on its way from any of its {len(sources)} sources" if sources else "no source has answered"
        return Bottleneck("sources" if sources else "no_sources", what)
    fastest = max(at_work, key=lambda source: source.rate)
    if len(at_work) == 1 and measured.busy < 1.5:
        others = counted(len(sources) - 1, "other source")
        return Bottleneck("one_source", f"waits for {_called(fastest)}; nothing is on its way from {others}")
    on_way = f"{min(measured.busy, len(sources)):.1f} had pieces on their way on average"
    return Bottleneck("sources", f"waits for its {len(sources)} sources: {on_way}, the fastest was {_called(fastest)}")


def _percent(share: float) -> str:
    return f"{100 * min(1.0, share):.0f} %"


def _disk(time: str, hashing: float, writing: float) -> Bottleneck:
    kind: Literal["disk", "hashing"] = "hashing" if hashing > writing else "disk"
    text = f"pieces waited to be verified and written {time}"
    if hashing + writing > 0:
        part = hashing / (hashing + writing)
        text += f"; {_percent(part)} of the work was hashing, {_percent(1 - part)} writing"
    return Bottleneck(kind, text)


def _called(source: SourceReport) -> str:
    return f"{source.name or source.peer[:8]} ({format_rate(source.rate)})"


class Gauge:
    """Turns counters that only grow into what was `Measured` of the last seconds."""

    def __init__(self) -> None:
        self._meters: dict[str, RateMeter] = {}
        self._busy_seconds = 0.0
        self._busy, self._at = 0, 0.0

    def read(
        self,
        waits: Waits,
        work: tuple[float, float],
        rate_limit: float,
        sources: Sequence[SourceReport],
        nobody: str,
        now: float,
    ) -> Measured:
        """``work``: seconds that hashing and writing took so far; ``sources`` as in a report, all of them."""
        connected = [source for source in sources if source.state == "connected"]
        self._busy_seconds += self._busy * (now - self._at)
        self._busy, self._at = sum(source.on_way > 0 for source in connected), now
        totals: dict[str, float] = {"hashing": work[0], "writing": work[1], "busy": self._busy_seconds}
        totals.update(waits.seconds.items())
        rates = {key: self._meters.setdefault(key, RateMeter()).rate(total, now) for key, total in totals.items()}
        shares = {cause: rates[cause] for cause in waits.seconds}
        return Measured(shares, rates["hashing"], rates["writing"], rates["busy"], rate_limit, connected, nobody)
