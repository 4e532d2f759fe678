"""How a benchmark ends: with a sentence and an exit code, and without its directory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click
import pytest

from benchmarks.command import run_command, size_option
from benchmarks.work import work_directory
from protocol.errors import DiskError, UsageError


@click.command()
@size_option("--size", "1MiB", "How much.")
@click.option("--how", default="")
def command(size: int, how: str) -> None:
    """Ends as it is told to."""
    click.echo(f"{size} bytes")
    if how == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    if how == "disk":
        raise DiskError("it is full")
    if how == "usage":
        raise UsageError("not like that")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, "1048576 bytes\n"),
        (["--size", "2KiB"], 0, "2048 bytes\n"),
        (["--help"], 0, "[default: 1MiB]"),
        (["--size", "much"], 2, "Invalid value for '--size'"),
        (["--what"], 2, "No such option"),
        (["--how", "disk"], DiskError.exit_code, "error: it is full\n"),
        (["--how", "usage"], UsageError.exit_code, "error: not like that\n"),
        (["--how", "signal"], 128 + signal.SIGTERM, "interrupted by SIGTERM; all processes are ended\n"),
    ],
)
def test_it_ends_with_a_sentence_and_a_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command, "benchmarks.sample", arguments) == code
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_its_directory_has_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with work_directory("sample", Path()) as directory:
        assert directory.is_absolute()
        assert directory.parent == tmp_path.resolve()


def test_nothing_is_left_of_its_directory(tmp_path: Path) -> None:
    with work_directory("sample", tmp_path) as directory:
        (directory / "file").write_text("content")
        assert directory.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DiskError), work_directory("sample", tmp_path):
        raise DiskError("it is full")
    assert list(tmp_path.iterdir()) == []
