"""The timeline of a download, made of its `Trace`: tracks of slices, which do not overlap within a track. Pure.

One track for each source, with what it was at; below them this machine: phases, what held the download back, threads
that hash and write, and chores on the disk. `trace_events` gives it in the Trace Event Format, which Perfetto opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from node.local_messages import OVER
from node.trace import HERE, Trace, TracedPiece, TraceWay
from service.text import printable
from service.units import counted, format_bytes, format_rate

Group = Literal["sources", "machine"]
WAYS = {
    TraceWay.ASKED: "asked for",
    TraceWay.PUSHED: "pushed",
    TraceWay.ASSIGNED: "assigned",
    TraceWay.REUSED: "reused",
}
CORRUPT = "corrupt"
WAITS = {"sources": "sources", "disk": "hashing and writing", "rate_limit": "the rate limit"}
"""What held the download back, by `node.downloader.bottleneck.Cause`."""
BINS_COUNT = 200
BIN_SECONDS_MIN = 0.02
_MICROSECONDS = 1e6
_PROCESS = 1


class Slice(NamedTuple):
    """Seconds from the beginning of the download. ``kind`` is one of few words, ``text`` what a person reads."""

    start: float
    end: float
    kind: str
    text: str
    facts: dict[str, Any]


class Mark(NamedTuple):
    """A moment."""

    at: float
    text: str


class Track(Struct, frozen=True):
    title: str
    group: Group
    slices: list[Slice]
    marks: list[Mark] = []


class SourceSums(NamedTuple):
    """What came from one source: good pieces and their bytes, corrupt ones, and how long one took."""

    title: str
    pieces: int
    bytes: int
    corrupt: int
    mean_seconds: float
    longest_seconds: float


class Timeline(Struct, frozen=True):
    """``rates``: moments, and the bytes a second that were verified and written up to the next. ``held_back``: seconds
    by cause."""

    title: str
    seconds: float
    tracks: list[Track]
    rates: list[tuple[float, float]]
    sources: list[SourceSums]
    held_back: dict[str, float]
    left_out: int


def timeline(trace: Trace) -> Timeline:
    """That of ``trace``."""
    pieces = list(trace.pieces())
    began = min([at for _, at in trace.phases] + [piece.since for piece in pieces] or [trace.now])
    ended = next((at for name, at in reversed(trace.phases) if name in OVER), trace.now)
    sources = _sources(trace, pieces, began)
    tracks = [
        *(track for track, _ in sources),
        Track("phase", "machine", _phases(trace, began, ended)),
        Track("held back by", "machine", _spans(trace.waits, began, WAITS)),
        *_lanes("hash", ((piece, piece.began, piece.hashed) for piece in pieces), began),
        *_lanes("write", ((piece, piece.hashed, piece.written) for piece in pieces if piece.good), began),
        Track("disk", "machine", _spans(trace.chores, began, {})),
    ]
    held_back: dict[str, float] = {}
    for name, start, end in trace.waits:
        held_back[WAITS.get(name, name)] = held_back.get(WAITS.get(name, name), 0.0) + end - start
    return Timeline(
        title=printable(trace.name),
        seconds=ended - began,
        tracks=[track for track in tracks if track.slices or track.marks],
        rates=_rates(trace, pieces, began, ended),
        sources=[sums for _, sums in sources if sums.pieces or sums.corrupt],
        held_back=held_back,
        left_out=trace.left_out,
    )


def headline(made: Timeline, trace: Trace) -> str:
    """What was downloaded, how long that took, how fast."""
    good = sum(one.bytes for one in made.sources)
    part = "" if good == trace.length else f", {format_bytes(good)} of it"
    rate = f", {format_rate(good / made.seconds)}" if made.seconds > 0 else ""
    what = f"{made.title}  {format_bytes(trace.length)}{part} in {made.seconds:.2f} s{rate}"
    return f"{what} from {counted(len(made.sources), 'source')}"


# --- tracks ---------------------------------------------------------------------------------------------


def _sources(trace: Trace, pieces: Sequence[TracedPiece], began: float) -> list[tuple[Track, SourceSums]]:
    """Those of which something came, or to which something happened, in the order in which that began."""
    by_source: dict[int, list[TracedPiece]] = {}
    for piece in pieces:
        by_source.setdefault(int(piece.source), []).append(piece)
    marks: dict[int, list[Mark]] = {}
    for number, at, text in trace.events:
        marks.setdefault(number, []).append(Mark(at - began, printable(text)))
    made = []
    for number in {**by_source, **marks}:
        title = _title(trace, number)
        sent = sorted(by_source.get(number, []), key=lambda piece: piece.came)
        slices = _one_after_another(sent, began)
        made.append((Track(title, "sources", slices, marks.get(number, [])), _sums(title, sent, slices, trace)))
    return sorted(made, key=_first_moment)


def _first_moment(made: tuple[Track, SourceSums]) -> float:
    track, _ = made
    return min([one.start for one in track.slices] + [mark.at for mark in track.marks])


def _title(trace: Trace, number: int) -> str:
    if number == HERE:
        return "this machine (reused)"
    peer, name = trace.sources[number]
    return f"{printable(name) or 'peer'} ({peer[:8]})"


def _one_after_another(pieces: Iterable[TracedPiece], began: float) -> list[Slice]:
    """A source is at one piece at a time: at the next from when the last one came."""
    slices, free = list[Slice](), 0.0
    for piece in pieces:
        start, end = max(piece.since - began, free), max(piece.came - began, free)
        kind = WAYS[TraceWay(int(piece.way))] if piece.good else CORRUPT
        facts = {"piece": int(piece.piece), "how": kind, "verified_ms": _ms(piece.written - piece.came)}
        slices.append(Slice(min(start, end), end, kind, f"{kind} {int(piece.piece)}", facts))
        free = end
    return slices


def _sums(title: str, pieces: Sequence[TracedPiece], slices: Sequence[Slice], trace: Trace) -> SourceSums:
    good = [piece for piece in pieces if piece.good]
    seconds = [one.end - one.start for one in slices]
    size = sum(_size(trace, piece) for piece in good)
    mean, longest = sum(seconds) / max(1, len(seconds)), max(seconds, default=0.0)
    return SourceSums(title, len(good), size, len(pieces) - len(good), mean, longest)


def _size(trace: Trace, piece: TracedPiece) -> int:
    return min(trace.piece_length, trace.length - int(piece.piece) * trace.piece_length)


def _phases(trace: Trace, began: float, ended: float) -> list[Slice]:
    ends = [*(at for _, at in trace.phases[1:]), ended]
    return [
        Slice(start - began, end - began, name, name, {})
        for (name, start), end in zip(trace.phases, ends, strict=False)  # there may be none yet
        if name not in OVER
    ]


def _spans(spans: Iterable[tuple[str, float, float]], began: float, words: dict[str, str]) -> list[Slice]:
    found = ((words.get(name, name), start - began, end - began) for name, start, end in spans)
    return [Slice(start, end, name, name, {}) for name, start, end in found]


def _lanes(kind: str, spans: Iterable[tuple[TracedPiece, float, float]], began: float) -> list[Track]:
    """As many tracks as there were threads at it at the same time."""
    lanes: list[list[Slice]] = []
    for piece, start, end in sorted(spans, key=lambda span: span[1]):
        what, facts = kind if piece.good else CORRUPT, {"piece": int(piece.piece)}
        made = Slice(start - began, end - began, what, f"{what} {int(piece.piece)}", facts)
        lane = next((lane for lane in lanes if lane[-1].end <= made.start), None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(made)
    return [Track(f"{kind} {number}", "machine", lane) for number, lane in enumerate(lanes, 1)]


def _rates(trace: Trace, pieces: Iterable[TracedPiece], began: float, ended: float) -> list[tuple[float, float]]:
    width = max(BIN_SECONDS_MIN, (ended - began) / BINS_COUNT)
    bins = [0] * (int((ended - began) / width) + 1)
    for piece in pieces:
        if piece.good:
            bins[min(len(bins) - 1, max(0, int((piece.written - began) / width)))] += _size(trace, piece)
    return [(number * width, size / width) for number, size in enumerate(bins)]


def _ms(seconds: float) -> float:
    return round(1_000 * seconds, 3)


# --- the Trace Event Format -----------------------------------------------------------------------------


def trace_events(made: Timeline) -> dict[str, Any]:
    """``made`` as an object of the Trace Event Format, which Perfetto (ui.perfetto.dev) opens. Perfetto gives slices
    colours by their names, digits aside."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": _PROCESS, "args": {"name": made.title}},
    ]
    for tid, track in enumerate(made.tracks, _PROCESS + 1):  # that of the process would be its main thread
        where = {"pid": _PROCESS, "tid": tid}
        events.append({"ph": "M", "name": "thread_name", **where, "args": {"name": track.title}})
        events.append({"ph": "M", "name": "thread_sort_index", **where, "args": {"sort_index": tid}})
        events += [_complete(one, where) for one in track.slices]
        events += [{"ph": "i", "s": "t", "name": mark.text, "ts": _us(mark.at), **where} for mark in track.marks]
    for at, rate in made.rates:
        value = {"MiB/s": round(rate / 2**20, 3)}
        events.append({"ph": "C", "name": "verified", "ts": _us(at), "pid": _PROCESS, "args": value})
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _complete(one: Slice, where: dict[str, int]) -> dict[str, Any]:
    start, end = _us(one.start), _us(one.end)
    return {
        "ph": "X",
        "name": one.text,
        "cat": one.kind,
        "ts": start,
        "dur": round(end - start, 3),
        **where,
        "args": one.facts,
    }


def _us(seconds: float) -> float:
    return round(seconds * _MICROSECONDS, 3)
