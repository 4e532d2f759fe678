"""``trace``: the summary, the file for Perfetto, the picture, and what is said where they cannot be had."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.api_messages import ApiError, ApiTrace, ApiTraceReply
from node.cli import trace_picture
from node.client.timeline import timeline
from tests.node.cli.fakes import World, peer_with, report
from tests.node.cli.traces import TRACE


def world() -> World:
    return peer_with(report([]), ApiTrace=lambda request: ApiTraceReply(request.id, TRACE))


def test_it_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert world().run("trace", "model.bin") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model.bin  35 B in 4.00 s, 9 B/s from 3 sources"
    assert lines[1].split() == ["SOURCE", "PIECES", "SIZE", "CORRUPT", "MEAN", "LONGEST"]
    assert lines[2].split() == ["alice", "(aaaaaaaa)", "3", "25", "B", "0", "466.7", "ms", "500.0", "ms"]
    assert lines[-1] == "held back by sources 75 %, hashing and writing 25 %"


def test_json_goes_to_a_file_or_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.json"
    assert world().run("--quiet", "trace", "model.bin", "--json", str(path)) == 0
    assert capsys.readouterr().out == ""
    assert world().run("trace", "model.bin", "--json", "-") == 0
    written: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert written == json.loads(path.read_text())
    assert written["displayTimeUnit"] == "ms"
    assert [one.name for one in tmp_path.iterdir()] == ["trace.json"]


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "trace.png"
    assert world().run("trace", "model.bin", "--png", str(path)) == 0
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_names_in_the_picture_are_text_and_no_formulas(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    sources = [(peer, "x$^$") for peer, _ in TRACE.sources]
    found = msgspec.structs.replace(TRACE, name=r"$\frac$ 模型", sources=sources)
    peer = peer_with(report([]), ApiTrace=lambda request: ApiTraceReply(request.id, found))
    assert peer.run("trace", "model.bin", "--png", str(tmp_path / "trace.png")) == 0
    assert capfd.readouterr().err == ""


def test_the_picture_goes_to_standard_output_too(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    pytest.importorskip("matplotlib")
    assert world().run("trace", "model.bin", "--png", "-") == 0
    assert capfdbinary.readouterr().out.startswith(b"\x89PNG\r\n\x1a\n")
    assert world().run("trace", "model.bin", "--png", "-", "--json", "-") == 2
    assert b"--json and --png both name -" in capfdbinary.readouterr().err


def test_a_picture_of_many_sources_leaves_the_last_ones_out() -> None:
    made = timeline(TRACE)
    sources = [track for track in made.tracks if track.group == "sources"]
    tracks, left_out = trace_picture._chosen([*sources * 40, *made.tracks[len(sources) :]])
    assert (len(tracks), left_out) == (trace_picture.ROWS_MAX, 120 - (trace_picture.ROWS_MAX - 6))
    assert [track.group for track in tracks[-6:]] == ["machine"] * 6


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert world().run("trace", "model.bin", "--png", str(tmp_path / "trace.png")) == 2
    assert "--png needs matplotlib: python -m pip install 'zswarm[trace]'" in capsys.readouterr().err


def test_what_cannot_be_written_is_a_disk_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert world().run("trace", "model.bin", "--json", str(tmp_path / "nowhere" / "trace.json")) == 6
    assert "trace.json: No such file or directory" in capsys.readouterr().err


def test_one_that_the_peer_does_not_know_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    no = peer_with(report([]), ApiTrace=lambda request: ApiError(request.id, "not_found", "no trace of x"))
    assert no.run("trace", "x") == 3
    assert "no trace of x" in capsys.readouterr().err


def test_the_peer_is_asked_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ApiTrace] = []

    def answer(request: Any) -> ApiTraceReply:
        asked.append(request)
        return ApiTraceReply(request.id, TRACE)

    monkeypatch.chdir(tmp_path)
    assert peer_with(report([]), ApiTrace=answer).run("trace", "model.bin") == 0
    assert [(one.name, one.path) for one in asked] == [("model.bin", str(tmp_path / "model.bin"))]
