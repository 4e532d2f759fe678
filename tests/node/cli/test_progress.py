"""What progress looks like, on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys
from itertools import pairwise

import pytest

from node.cli.live import UploadMeter, upload_line
from node.cli.progress import LiveDisplay, PlainDisplay, PlainLines, SilentDisplay, open_display
from node.client.view import JobView, view_of
from tests.node.cli.fakes import MIB, download, job, report, source


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def view(done: int, verb: str = "downloading", final: bool = False) -> JobView:
    return JobView(1, "model.bin", verb, done * MIB, 100 * MIB, final=final)


def test_a_download_that_stands_still_says_why() -> None:
    why = "nobody has 3 of 100 pieces; waiting for 7-9"
    still = download(rate=0.0, sources=[source("a"), source("b", "unreachable", "refused")], detail=why)
    unreachable = "2 sources known, not reachable: b (tcp://b:1): refused"
    assert view_of(job(phase="downloading", download=still)).tail == f"{why}; {unreachable}"
    lost = view_of(job(phase="downloading", download=still), problem="the tracker is silent")
    assert lost.tail == f"{why}; {unreachable}; the tracker is silent"
    moving = download(detail="nobody has 3 of 100 pieces; waiting for them")
    assert "20.0 MiB/s" in view_of(job(phase="downloading", download=moving)).tail


def test_plain_lines_come_on_a_new_phase_and_each_ten_percent_at_most_once_a_second() -> None:
    lines = PlainLines()
    said = []
    for tick in range(200):
        now = tick * 0.1
        said += [(now, line) for line in lines.lines([view(tick // 2)], now)]
    assert len(said) == 10
    assert said[0] == (0.0, "model.bin: downloading 0 %, 0 B of 100.0 MiB")
    assert all(later - earlier >= 1.0 for (earlier, _), (later, _) in pairwise(said))
    assert lines.lines([view(99, "verifying")], 20.0) == ["model.bin: verifying 99 %, 99.0 MiB of 100.0 MiB"]
    assert lines.lines([view(100, "done", final=True)], 30.0) == []


def test_a_fast_job_has_at_most_one_line_a_second_and_a_stalled_one_a_line_now_and_then() -> None:
    lines = PlainLines()
    assert len([line for tick in range(100) for line in lines.lines([view(tick)], tick * 0.01)]) == 1
    assert [tick for tick in range(100) if lines.lines([view(99)], 1.0 + tick)] == [0, 30, 60, 90]


def test_a_mend_that_is_paused_says_what_it_waits_for() -> None:
    paused = job(
        kind="mend", phase="paused", detail="rotted: 1 piece", download=download(detail="the disk is read-only")
    )
    assert view_of(paused).tail == "the disk is read-only"


def test_a_new_reason_to_wait_is_said() -> None:
    lines = PlainLines()
    waiting = view_of(job(phase="waiting", download=None, length=0, detail="nobody has it"))
    assert lines.lines([waiting], 0.0) == ["model.bin: waiting, nobody has it"]
    assert lines.lines([waiting], 5.0) == []
    unreachable = view_of(job(phase="waiting", download=None, length=0), problem="the tracker is silent")
    assert lines.lines([unreachable], 6.0) == ["model.bin: waiting, the tracker is silent"]


@pytest.mark.parametrize(
    ("quiet", "stream", "kind"),
    [(True, Terminal(), SilentDisplay), (False, Terminal(), LiveDisplay), (False, io.StringIO(), PlainDisplay)],
)
def test_the_display_suits_the_stream(
    quiet: bool, stream: io.StringIO, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    assert type(open_display(quiet)) is kind


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert type(open_display(False)) is PlainDisplay


def test_live_bars_show_pieces_rate_time_left_and_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with open_display(False) as display:
        display.show([view_of(job(phase="downloading", download=download()))], 0.0)
        display.show([view_of(job(phase="waiting", download=None, detail="nobody\x1b[31m has [it]"))], 0.1)
    drawn = screen.getvalue()
    for text in ("model.bin", "40 %", "20.0 MiB/s", "left", "2 sources", "40/100 pieces", r"nobody\x1b[31m has [it]"):
        assert text in drawn


@pytest.mark.parametrize(("columns", "verbs"), [(40, False), (80, True)])
def test_a_narrow_terminal_keeps_rates_and_reasons(columns: int, verbs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    waits = job(phase="waiting", number=2, download=None, detail="nobody in the network has pieces 4 and 5 of it")
    with open_display(False) as display:
        display.show([view_of(job(phase="downloading", download=download())), view_of(waits)], 0.0)
    drawn = screen.getvalue()
    assert "20.0 MiB/s" in drawn
    assert "…" in drawn
    assert all(word in drawn for word in waits.detail.split())
    assert ("downloading" in drawn) == verbs


def test_views_of_phases() -> None:
    checking = view_of(job(phase="checking", download=download("checking", 0, checked_bytes=30 * MIB)))
    assert (checking.verb, checking.percent) == ("checking", 30)
    verifying = view_of(job(phase="verifying", download=download("verifying", 100, checked_bytes=50 * MIB)))
    assert (verifying.verb, verifying.percent) == ("verifying", 50)
    hashing = view_of(job("share", "checking", done_bytes=25 * MIB))
    assert (hashing.verb, hashing.percent) == ("hashing", 25)
    unnamed = view_of(job(phase="resolving", name="", length=0, download=None), "wanted.bin")
    assert (unnamed.label, unnamed.verb, unnamed.total) == ("wanted.bin", "looking up", 0)
    paused = view_of(job(phase="paused", download=download("paused", detail="no space left; free some")))
    assert paused.tail == "no space left; free some"


def test_empty_content_is_never_divided_by() -> None:
    assert view_of(job(length=0, download=download("done", 0, length=0))).percent == 0


def test_the_upload_rate_is_the_mean_of_the_last_seconds() -> None:
    meter = UploadMeter()
    assert meter.rate(0, 0.0) == 0.0
    assert meter.rate(10 * MIB, 1.0) == 10 * MIB
    for second in range(2, 12):
        rate = meter.rate(10 * MIB + (second - 1) * MIB, float(second))
    assert rate == MIB
    assert meter.rate(0, 12.0) == 0.0


def test_the_upload_line() -> None:
    assert upload_line(report(sent_bytes=3 * MIB), 2.0 * MIB) == "serving 0 items, 0 uploads, sent 3.0 MiB, 2.0 MiB/s"
    problem = "tracker tcp://10.0.0.1:5550: no answer"
    assert problem in upload_line(report(network="unreachable", problem=problem), 0.0)
