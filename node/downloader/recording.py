"""What one download does when, for its `Trace`. Pure.

It is always kept, since whoever wants to know asks afterwards. So it is cheap, a row of numbers for each piece, and
bounded: every piece of any content fits once, and of spans of time the longest are kept.
"""

from __future__ import annotations

from array import array

from node.trace import HERE, Trace, TracedPiece, TracedSource, TraceEvent, TraceSpan, TraceWay
from protocol.limits import PIECES_COUNT_MAX
from protocol.messages import SeederEntry

SPANS_COUNT_MAX = 4_096
EVENTS_COUNT_MAX = 1_024
SOURCES_COUNT_MAX = 1_024
ENDED_COUNT_MAX = 64
ROW_BYTES = 8 * len(TracedPiece._fields)


class Longest:
    """Spans of time, one after another, each with a name. When there are too many, the shorter half is forgotten."""

    def __init__(self, count_max: int = SPANS_COUNT_MAX) -> None:
        self._count_max = count_max
        self._least = 0.0
        self._spans: list[TraceSpan] = []
        self._name: str | None = None
        self._since = 0.0

    def turn(self, name: str | None, now: float) -> None:
        """From ``now`` on it is ``name``; None: nothing."""
        if name == self._name:
            return
        if self._name is not None and now - self._since >= self._least:
            self._spans.append((self._name, self._since, now))
            if len(self._spans) > self._count_max:
                self._forget()
        self._name, self._since = name, now

    def spans(self, now: float) -> list[TraceSpan]:
        """With the one that goes on."""
        return [*self._spans, *([] if self._name is None else [(self._name, self._since, now)])]

    def _forget(self) -> None:
        durations = sorted(end - start for _, start, end in self._spans)
        self._least = durations[len(durations) // 2]
        longer = [(name, start, end) for name, start, end in self._spans if end - start > self._least]
        self._spans = longer or self._spans[::2]


class Recording:
    """Of one download, through pauses and repairs. Moments are monotonic seconds."""

    def __init__(self, pieces_max: int = PIECES_COUNT_MAX) -> None:
        self._pieces_max = pieces_max
        self._rows = array("d")
        self.count = 0
        """Rows."""
        self._left_out = 0
        self._arrived: dict[int, tuple[int, TraceWay, float, float]] = {}
        """By piece that is being written: source, way, since when the source was at it, when it came."""
        self._numbers: dict[str, int] = {}
        self._sources: list[TracedSource] = []
        self._phases: list[tuple[str, float]] = []
        self._events: list[TraceEvent] = []
        self.waits, self.chores = Longest(), Longest()
        """What held it back, and what was done on the disk besides writing."""

    def arrived(self, piece: int, sender: SeederEntry, way: TraceWay, since: float, now: float) -> None:
        """A missing ``piece`` has come; ``since`` then ``sender`` was at it."""
        self._arrived[piece] = self._number(sender.peer, sender.name), way, since, now

    def written(self, piece: int, began: float, hashed: float, written: float, good: bool) -> None:
        """A thread has hashed the piece and, if it is ``good``, written it."""
        source, way, since, came = self._arrived.pop(piece, (HERE, TraceWay.REUSED, began, began))
        if self.count == self._pieces_max:
            self._left_out += 1
            return
        self.count += 1
        self._rows.extend((piece, source, way, since, came, began, hashed, written, good))

    def phase(self, name: str, now: float) -> None:
        """It enters a phase, or is in it still."""
        if len(self._phases) < EVENTS_COUNT_MAX and (not self._phases or self._phases[-1][0] != name):
            self._phases.append((name, now))

    def event(self, peer: str, name: str, text: str, now: float) -> None:
        """Something has happened to a source."""
        if len(self._events) < EVENTS_COUNT_MAX:
            self._events.append((self._number(peer, name), now, text))

    def trace(self, name: str, digest: str, length: int, piece_length: int, now: float) -> Trace:
        """What there is so far."""
        return Trace(
            name=name,
            digest=digest,
            length=length,
            piece_length=piece_length,
            now=now,
            sources=list(self._sources),
            rows=self._rows.tobytes(),
            left_out=self._left_out,
            phases=list(self._phases),
            waits=self.waits.spans(now),
            chores=self.chores.spans(now),
            events=list(self._events),
        )

    def _number(self, peer: str, name: str) -> int:
        """Of a source. Those that come after too many have the number of the last."""
        number = self._numbers.get(peer)
        if number is not None:
            return number
        if len(self._sources) == SOURCES_COUNT_MAX:
            return SOURCES_COUNT_MAX - 1
        self._sources.append((peer, name))
        self._numbers[peer] = number = len(self._sources) - 1
        return number


class EndedTraces:
    """Of downloads that are over, by digest: the last one, and as many before it as have together no more pieces than
    one may have."""

    def __init__(self) -> None:
        self._traces: dict[str, Trace] = {}

    def keep(self, trace: Trace) -> None:
        self._traces.pop(trace.digest, None)
        self._traces[trace.digest] = trace
        while len(self._traces) > 1 and self._is_too_much():
            del self._traces[next(iter(self._traces))]

    def get(self, digest: str) -> Trace | None:
        return self._traces.get(digest)

    def _is_too_much(self) -> bool:
        size = sum(len(trace.rows) for trace in self._traces.values())
        return len(self._traces) > ENDED_COUNT_MAX or size > PIECES_COUNT_MAX * ROW_BYTES
