"""What a person is told of the sources of a download, and of figures that are old."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from node.cli.live import upload_line
from node.cli.output import status_text
from node.client.source_words import ROWS_COUNT, aged, source_rows, source_tables
from node.client.view import view_of
from node.reasons import why_no_source
from protocol.errors import NetworkError
from tests.node.cli.fakes import MIB, download, job, peer_with, report, source

REFUSED = source("a", "unreachable", "refused")


def test_a_source_that_cannot_be_used_is_named_with_the_reason() -> None:
    still = download(phase="resolving", rate=0.0, sources=[REFUSED])
    why = "1 source known, not reachable: a (tcp://a:1): refused"
    assert view_of(job(phase="resolving", download=still)).tail == why
    assert view_of(job(phase="downloading", download=still)).tail == why
    assert view_of(job(phase="downloading", download=still), problem="no tracker").tail == f"{why}; no tracker"


def test_those_with_the_same_trouble_are_named_together_and_many_are_counted() -> None:
    some = [source("b", "unreachable", "no answer"), source("c", "other_peer"), source("d"), source("e", "known")]
    assert why_no_source(download(sources=[REFUSED, *some])) == (
        "5 sources known, not reachable: a (tcp://a:1): refused, b (tcp://b:1): no answer; "
        "another peer answers there: c (tcp://c:1)"
    )
    many = [source(f"x{number}", "no_content") for number in range(10)]
    assert why_no_source(download(sources=many, more_sources=5)).startswith("15 sources known, does not have it: x0")
    assert why_no_source(download(sources=many)).endswith("; 7 more cannot be used")


def test_while_nothing_is_wrong_nothing_is_said() -> None:
    assert why_no_source(download(sources=[source("a"), source("b", "connecting"), source("c", "gone")])) == ""
    assert view_of(job(phase="resolving", download=download(sources=[]))).tail == "asking for the manifest"


def test_a_ban_is_told_once_and_is_in_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    banned = source("a", "banned", "sent a damaged piece 7; run 'verify' there to check its copy")
    going = report([job(phase="downloading", download=download(sources=[banned], rate=0.0))])
    world = peer_with(going)
    assert world.run("get", "model.bin", "--timeout", "3s") == 4
    said = capsys.readouterr().err
    assert said.count("a (tcp://a:1) is no longer used: it sent a damaged piece 7; run 'verify' there") == 1
    last = said.strip().splitlines()[-1]
    assert "not finished after 3.0 s: 1 source known, banned: a (tcp://a:1): sent a damaged piece 7" in last


def test_status_names_the_sources_of_each_download_once(capsys: pytest.CaptureFixture[str]) -> None:
    some = [source("x\x1b", received=3 * MIB), REFUSED, *[source(f"s{n}") for n in range(10)]]
    following = [job(phase="downloading", number=n, download=download(sources=some, more_sources=4)) for n in (1, 2)]
    assert peer_with(report(following)).run("status") == 0
    said = capsys.readouterr().out
    for text in ("SOURCES OF model.bin", "tcp://a:1", "not reachable: refused", "3.0 MiB", f"+{16 - ROWS_COUNT} more"):
        assert said.count(text) == 1, text
    assert "\x1b" not in said


def test_old_figures_lose_rate_and_time_left_and_say_how_old_they_are() -> None:
    lately = view_of(job(phase="downloading", download=download(), silent_seconds=1.2))
    assert "20.0 MiB/s" in lately.tail
    old = view_of(job(phase="downloading", download=download(), silent_seconds=17.0))
    assert (old.tail, old.done) == ("no news from the downloader for over 10 s", 40 * MIB)
    assert view_of(job(phase="resolving", download=None, silent_seconds=17.0)).tail == "asking the tracker"


def test_the_sources_that_send_most_are_shown() -> None:
    some = [replace(source(f"s{number}"), rate=float(number)) for number in range(20)]
    (_, rows), *_ = source_tables([job(phase="downloading", download=download(sources=some))])
    assert [row[0] for row in rows] == ["s19", "s18", "s17", "s16", "s15", "s14", "+14 more"]


def test_a_source_that_is_not_connected_now_is_not_called_new() -> None:
    def words(paused: bool, received: int) -> str:
        phase = "paused" if paused else "downloading"
        (row,) = source_rows(download(phase, sources=[source("a", "known", received=received)]), "x", old=False)[1]
        return row[-1]

    assert words(paused=False, received=0) == "not asked yet"
    assert words(paused=True, received=0) == words(paused=False, received=5) == "not connected now"


def test_what_an_agent_that_hangs_said_last_is_called_old(capsys: pytest.CaptureFixture[str]) -> None:
    going = report([job(phase="downloading", download=download())])
    old = status_text(aged(going, 12.0))
    assert ("warning", "no news from the agent for over 10 s: showing what was known before") in old.facts
    assert "MiB/s" not in str(old.jobs)
    sending = download(sources=[replace(source("a"), rate=5.0 * MIB)])
    fast = job(phase="downloading", download=sending)
    assert "5.0 MiB/s" in str(source_tables([fast]))
    assert "5.0 MiB/s" not in str(source_tables([replace(fast, silent_seconds=12.0)]))
    hangs = NetworkError("no answer")
    world = peer_with(going, going, *[hangs] * 60)
    world.free_after = 10_000
    assert world.run("get", "model.bin") == 4
    assert "no news from the agent for over 10 s" in capsys.readouterr().err


def test_status_says_whose_figures_are_old() -> None:
    fresh = dict(status_text(report(silent_seconds={"piece_server": 0.4, "tracker": 4.9})).facts)
    assert (fresh["network"], fresh["sent"]) == ("joined, tcp://10.0.0.1:5550", "0 B, 0 uploads now")
    silent = report(silent_seconds={"piece_server": 75.0, "tracker": 40.0})
    old = dict(status_text(silent).facts)
    assert old["network"] == "joined, tcp://10.0.0.1:5550, last heard over 40 s ago"
    assert old["sent"] == "0 B, 0 uploads now (no news from the piece server for over 1m 00s)"
    assert upload_line(silent, 5.0 * MIB).endswith("; no news from the piece server for over 1m 00s")
