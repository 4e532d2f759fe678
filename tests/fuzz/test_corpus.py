"""Every decoder on the corpus that fuzzing has left, and on samples of what it accepts, whole and broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, INPUT_BYTES_MAX, TARGETS, check, corpus_of

ROOT = Path(__file__).parents[2]
FUZZ_SECONDS = 600
CORPUS_BYTES_MAX = 60_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    for data in [b"", *TARGETS[name].samples(), *corpus_of(name)]:
        check(TARGETS[name], data)


def test_the_corpus_is_small_and_of_targets_that_there_are() -> None:
    kept = list(CORPUS.iterdir())
    assert {path.stem for path in kept} <= set(TARGETS)
    assert sum(path.stat().st_size for path in kept) < CORPUS_BYTES_MAX


@pytest.mark.parametrize("name", TARGETS)
def test_samples_that_were_cut_or_changed(name: str) -> None:
    for sample in TARGETS[name].samples():
        for place in sorted({len(sample) * part // 16 for part in range(16)}):
            check(TARGETS[name], sample[:place])
            check(TARGETS[name], sample[:place] + b"\xc1\xff" + sample[place + 2 :])


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "configuration"])  # PyYAML takes seconds
@pytest.mark.parametrize("byte", [b"[", b"{", b"\x81", b"\x91", b"\xdd", b"\x00", b"9", b"a", b"*", b"\n", b"\xff"])
def test_as_much_as_there_may_be_of_one_byte(name: str, byte: bytes) -> None:
    for prefix in (b"", b"\x00", b'{"given":', b"tcp://", b"zswarm://"):
        check(TARGETS[name], prefix + byte * (INPUT_BYTES_MAX - len(prefix)))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(2 * FUZZ_SECONDS)
def test_ten_minutes_guided_by_coverage() -> None:
    pytest.importorskip("atheris", reason="needs requirements-fuzz.txt")
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", str(FUZZ_SECONDS / 60)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-10_000:]
