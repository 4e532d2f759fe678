"""What a download records: bounds, and which numbers belong to a piece."""

from __future__ import annotations

from node.downloader.recording import (
    EVENTS_COUNT_MAX,
    ROW_BYTES,
    SOURCES_COUNT_MAX,
    EndedTraces,
    Longest,
    Recording,
)
from node.trace import HERE, Trace, TracedPiece, TraceWay
from protocol.limits import PIECES_COUNT_MAX
from protocol.messages import SeederEntry


def entry(number: int) -> SeederEntry:
    return SeederEntry(f"p{number}", f"name {number}", "tcp://a:1", True)


def trace(recording: Recording, now: float = 9.0) -> Trace:
    return recording.trace("f", "blake3:aa", 100, 10, now)


def test_a_piece_has_its_source_and_its_times() -> None:
    recording = Recording()
    recording.arrived(7, entry(1), TraceWay.ASKED, 1.0, 2.0)
    recording.arrived(8, entry(2), TraceWay.PUSHED, 1.5, 2.5)
    recording.written(8, 2.6, 2.7, 2.7, False)
    recording.written(7, 3.0, 3.1, 3.2, True)
    recording.written(9, 4.0, 4.1, 4.2, True)
    found = trace(recording)
    assert found.sources == [("p1", "name 1"), ("p2", "name 2")]
    assert list(found.pieces()) == [
        TracedPiece(8, 1, TraceWay.PUSHED, 1.5, 2.5, 2.6, 2.7, 2.7, 0),
        TracedPiece(7, 0, TraceWay.ASKED, 1.0, 2.0, 3.0, 3.1, 3.2, 1),
        TracedPiece(9, HERE, TraceWay.REUSED, 4.0, 4.0, 4.0, 4.1, 4.2, 1),
    ]


def test_pieces_sources_and_events_are_bounded() -> None:
    recording = Recording(pieces_max=5)
    for number in range(2 * SOURCES_COUNT_MAX):
        recording.arrived(number, entry(number), TraceWay.PUSHED, 0.0, 0.0)
        recording.written(number, 0.0, 0.0, 0.0, True)
        recording.event(f"p{number}", "", "connected", 0.0)
        recording.phase(f"phase {number}", 0.0)
    found = trace(recording)
    assert len(list(found.pieces())) == 5
    assert found.left_out == 2 * SOURCES_COUNT_MAX - 5
    assert len(found.sources) == SOURCES_COUNT_MAX
    assert (len(found.events), len(found.phases)) == (EVENTS_COUNT_MAX, EVENTS_COUNT_MAX)
    assert max(number for number, _, _ in found.events) < SOURCES_COUNT_MAX


def test_a_phase_is_told_once() -> None:
    recording = Recording()
    for name in ("checking", "downloading", "downloading", "paused", "downloading"):
        recording.phase(name, 1.0)
    assert [name for name, _ in trace(recording).phases] == ["checking", "downloading", "paused", "downloading"]


def test_spans_follow_each_other_and_the_last_goes_on() -> None:
    spans = Longest()
    for name, now in (("disk", 1.0), ("disk", 2.0), ("sources", 3.0), (None, 5.0), (None, 6.0), ("disk", 7.0)):
        spans.turn(name, now)
    assert spans.spans(9.0) == [("disk", 1.0, 3.0), ("sources", 3.0, 5.0), ("disk", 7.0, 9.0)]


def test_of_many_spans_the_longest_are_kept() -> None:
    spans, now = Longest(count_max=100), 0.0
    for number in range(1_000):
        spans.turn("long" if number % 50 == 0 else "short", now)
        now += 1.0 if number % 50 == 0 else 0.001 * (number % 7 + 1)
        spans.turn(None, now)
    names = [name for name, _, _ in spans.spans(now)]
    assert len(names) <= 100
    assert names.count("long") == 20


def test_spans_of_one_length_are_bounded_too() -> None:
    spans = Longest(count_max=10)
    for number in range(1_000):
        spans.turn(str(number), float(number))
    assert len(spans.spans(1_000.0)) <= 11


def test_traces_that_ended_are_bounded_by_their_pieces() -> None:
    def ended(number: int, pieces: int) -> Trace:
        rows = bytes(pieces * ROW_BYTES)
        return Trace("f", f"blake3:{number}", 1, 1, 0.0, [], rows, 0, [], [], [], [])

    traces = EndedTraces()
    traces.keep(ended(1, PIECES_COUNT_MAX))
    assert traces.get("blake3:1") is not None
    traces.keep(ended(2, 1))
    assert (traces.get("blake3:1"), traces.get("blake3:2") is not None) == (None, True)
    traces.keep(ended(3, PIECES_COUNT_MAX))
    assert [traces.get(f"blake3:{number}") is not None for number in (1, 2, 3)] == [False, False, True]
    for number in range(100):
        traces.keep(ended(number, 0))
    assert [traces.get(f"blake3:{number}") is not None for number in (0, 35, 36, 99)] == [False, False, True, True]
