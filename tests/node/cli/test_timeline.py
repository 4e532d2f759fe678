"""From the trace of a download to its timeline, and to the Trace Event Format."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from node.client.timeline import Timeline, Track, headline, timeline, trace_events
from node.trace import TracedPiece
from tests.node.cli.traces import BEGAN, PIECES, TRACE


def track(made: Timeline, title: str) -> Track:
    return next(one for one in made.tracks if one.title == title)


def shown(one: Track) -> list[tuple[float, float, str, str]]:
    return [(round(each.start, 3), round(each.end, 3), each.kind, each.text) for each in one.slices]


def test_each_source_has_a_track_with_what_it_was_at() -> None:
    made = timeline(TRACE)
    assert [one.title for one in made.tracks if one.group == "sources"] == [
        "\\x1b[31mbob (bbbbbbbb)",
        "this machine (reused)",
        "alice (aaaaaaaa)",
    ]
    assert shown(track(made, "alice (aaaaaaaa)")) == [
        (1.0, 1.5, "assigned", "assigned 1"),
        (1.5, 2.0, "pushed", "pushed 3"),
        (2.1, 2.5, "asked for", "asked for 2"),
    ]
    bob = track(made, "\\x1b[31mbob (bbbbbbbb)")
    assert shown(bob) == [(1.2, 1.5, "corrupt", "corrupt 2")]
    assert [(round(mark.at, 3), mark.text) for mark in bob.marks] == [
        (0.6, "connected"),
        (1.7, "banned: sent a damaged piece 2"),
    ]


def test_this_machine_has_tracks_of_phases_waits_threads_and_disk() -> None:
    made = timeline(TRACE)
    assert [one.title for one in made.tracks if one.group == "machine"] == [
        *("phase", "held back by", "hash 1", "hash 2", "write 1", "disk"),
    ]
    assert shown(track(made, "phase")) == [
        (0.0, 0.5, "checking", "checking"),
        (0.5, 3.0, "downloading", "downloading"),
        (3.0, 4.0, "verifying", "verifying"),
    ]
    assert [one[2] for one in shown(track(made, "held back by"))] == ["hashing and writing", "sources"]
    assert [one[3] for one in shown(track(made, "hash 2"))] == ["corrupt 2"], "two threads hashed at the same time"
    assert [one[2] for one in shown(track(made, "disk"))] == ["check", "sync"]


def test_sums_and_rates() -> None:
    made = timeline(TRACE)
    assert made.seconds == pytest.approx(4.0)
    assert made.held_back == pytest.approx({"hashing and writing": 0.5, "sources": 1.5})
    alice = next(one for one in made.sources if one.title.startswith("alice"))
    assert (alice.pieces, alice.bytes, alice.corrupt) == (3, 25, 0)
    assert alice.mean_seconds == pytest.approx(1.4 / 3)
    bob = next(one for one in made.sources if "bob" in one.title)
    assert (bob.pieces, bob.bytes, bob.corrupt) == (0, 0, 1)
    width = made.rates[1][0]
    assert sum(rate * width for _, rate in made.rates) == pytest.approx(35)
    assert headline(made, TRACE) == "model.bin  35 B in 4.00 s, 9 B/s from 3 sources"


def test_one_that_goes_on_ends_now() -> None:
    made = timeline(replace(TRACE, phases=TRACE.phases[:2], rows=b"", events=[]))
    assert (made.seconds, made.sources) == (60.0, [])
    assert [one.title for one in made.tracks] == ["phase", "held back by", "disk"]


def test_one_that_has_only_begun() -> None:
    nothing = replace(TRACE, phases=[], rows=b"", waits=[], chores=[], events=[], sources=[])
    made = timeline(nothing)
    assert (made.seconds, made.tracks) == (0.0, [])
    assert headline(made, nothing) == "model.bin  35 B, 0 B of it in 0.00 s from 0 sources"


def test_the_format_is_that_of_perfetto() -> None:
    events: list[dict[str, Any]] = trace_events(timeline(TRACE))["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X", "i", "C"}
    titles = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert len(titles) == 9
    assert {event["tid"] for event in events if event["ph"] in ("X", "i")} == set(titles)
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert processes == {1: "model.bin"}
    assert list(titles.values())[:3] == ["\\x1b[31mbob (bbbbbbbb)", "this machine (reused)", "alice (aaaaaaaa)"]
    assert not set(titles) & set(processes), "no track is the main thread"
    corrupt = [(event["cat"], event["ts"], event["dur"]) for event in events if event["name"] == "corrupt 2"]
    assert corrupt == [("corrupt", 1_200_000.0, 300_000.0), ("corrupt", 1_550_000.0, 100_000.0)]
    assert [event["name"] for event in events if event["ph"] == "i"] == ["connected", "banned: sent a damaged piece 2"]


Times = st.floats(min_value=0.0, max_value=100.0)


@given(st.lists(st.tuples(st.integers(0, 1), Times, Times, Times, Times, Times, st.integers(0, 1))))
def test_slices_of_a_track_never_overlap_and_all_pieces_are_there(rows: list[tuple[float, ...]]) -> None:
    pieces = []
    for number, (source, *times, good) in enumerate(rows):
        since, came, began, hashed, written = sorted(time + BEGAN for time in times)
        pieces.append(TracedPiece(number % 4, source, 0, since, came, began, hashed, written, good))
    made = timeline(replace(TRACE, rows=_rows(pieces)))
    for one in made.tracks:
        assert all(each.start <= each.end for each in one.slices)
        assert all(first.end <= second.start + 1e-9 for first, second in itertools.pairwise(one.slices))
    of_sources = [each for one in made.tracks if one.group == "sources" for each in one.slices]
    assert len(of_sources) == len(pieces)
    assert sum(len(one.slices) for one in made.tracks if one.title.startswith("hash ")) == len(pieces)


def _rows(pieces: Iterable[TracedPiece]) -> bytes:
    return array("d", [number for piece in pieces for number in piece]).tobytes()


def test_the_sample_has_every_way() -> None:
    assert {int(piece.way) for piece in PIECES} == {0, 1, 2, 3}
