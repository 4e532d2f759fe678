"""`service.streams`, in programs of their own: what is missing, what cannot be encoded, what cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGIN = "import os, sys; from service.streams import error, prepare_streams, warn; prepare_streams();"
Done = subprocess.CompletedProcess[bytes]


def run(code: str, redirected: str = "", env: Mapping[str, str] | None = None) -> Done:
    """Run ``code`` in a Python whose streams a shell has ``redirected``."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirected}', sys.executable, BEGIN + code]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}, capture_output=True, check=False
    )


def test_missing_streams_are_there_and_nothing_else_gets_their_place() -> None:
    done = run("fd = os.open(sys.executable, os.O_RDONLY); print(1); warn('2'); os._exit(fd)", "<&- >&- 2>&-")
    assert (done.returncode > 2, done.stdout, done.stderr) == (True, b"", b"")


def test_children_have_them_too() -> None:
    code = "import subprocess; sys.exit(subprocess.call([sys.executable, '-c', 'import os; os.fstat(1); os.fstat(2)']))"
    assert run(code, ">&- 2>&-").returncode == 0


def test_what_the_encoding_lacks_is_escaped() -> None:
    done = run(r"print('\u6a21\xe9\udcff'); warn('\u6a21')", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\\u6a21\\xe9\\udcff\n", b"\\u6a21\n")


@pytest.mark.parametrize(("redirected", "why"), [(">/dev/full", b"No space left"), ("1</dev/null", b"Bad file")])
def test_output_that_cannot_be_written_is_one_error(redirected: str, why: bytes) -> None:
    code = (
        "\ntry: print(1, flush=True)\nexcept Exception as problem: error(f'{type(problem).__name__}: {problem}')"
        "\nprint(2); sys.exit(6)"
    )
    done = run(code, redirected)
    assert (done.returncode, done.stdout) == (6, b"")
    assert done.stderr.startswith(b"error: DiskError: cannot write to standard output: " + why)
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("redirected", ["2>/dev/full", "2</dev/null"])
def test_messages_that_cannot_be_written_are_dropped(redirected: str) -> None:
    done = run("warn('lost'); error('too'); print('result')", redirected)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"result\n", b"")


def test_a_full_pipe_that_does_not_block_is_waited_for() -> None:
    done = run("os.set_blocking(1, False); sys.stdout.write('x' * 3_000_000)")
    assert (done.returncode, len(done.stdout)) == (0, 3_000_000)


def test_a_message_is_one_line_whatever_is_in_it() -> None:
    assert run(r"error('a\nb \x1b[2J'); warn('c\nd')").stderr == b"error: a\\nb \\x1b[2J\nc\\nd\n"
