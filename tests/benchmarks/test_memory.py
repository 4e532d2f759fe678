"""The memory benchmark: peaks as Linux counts them, what they come to, what is refused, and one short real run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.memory import command, make_content
from benchmarks.memory_figures import LARGE, LIKE, ROLES, SMALL, Peaks, contents, peaks, result_rows
from benchmarks.peaks import memory_of, reset_peak
from node.disk.hashing import hash_path
from protocol.errors import LocalError
from protocol.limits import GIB, MIB
from protocol.manifest import piece_length_for
from tests.benchmarks.commands import run_benchmark


def all_roles(mib: float) -> list[tuple[str, int]]:
    return [(role, int(mib * MIB)) for role in ROLES]


def test_the_largest_process_of_a_role_counts() -> None:
    found = peaks([*all_roles(20), ("agent", 25 * MIB), ("agent", 21 * MIB)])
    assert found == Peaks(20.0, 20.0, 25.0, 20.0, 20.0, 20.0)
    assert found.most == 25.0


def test_a_role_that_is_missing_is_no_zero() -> None:
    with pytest.raises(KeyError):
        peaks([("agent", MIB)])


def test_the_large_content_is_compared_with_the_small_one() -> None:
    rounds = [{SMALL: peaks(all_roles(100)), LARGE: peaks([*all_roles(105), ("downloader", 160 * MIB)])}] * 3
    rows = {row.text: row for row in result_rows(rounds)}
    assert rows["the largest process, MiB"].value == 160
    assert [text.split(",")[0] for text, row in rows.items() if not row.met] == ["the largest process", "downloader"]


def test_pieces_of_another_length_are_told_apart_from_a_longer_content() -> None:
    assert contents(256 * MIB, 8 * GIB) == {SMALL: 256 * MIB, LIKE: 4 * GIB, LARGE: 8 * GIB}
    assert piece_length_for(4 * GIB) == piece_length_for(8 * GIB) != piece_length_for(256 * MIB)
    assert contents(MIB, 3 * MIB) == {SMALL: MIB, LARGE: 3 * MIB}
    assert contents(256 * MIB, GIB) == {SMALL: 256 * MIB, LARGE: GIB}
    rounds = [{SMALL: peaks(all_roles(50)), LIKE: peaks(all_roles(80)), LARGE: peaks(all_roles(84))}]
    assert {row.other for row in result_rows(rounds) if row.met} == {"", LIKE}


def test_peaks_are_those_of_the_process() -> None:
    before = memory_of(os.getpid())
    block = bytearray(64 * MIB)
    block[::4096] = b"x" * len(block[::4096])
    after = memory_of(os.getpid())
    assert after.peak >= before.resident + len(block)
    del block
    if reset_peak(os.getpid()):
        assert memory_of(os.getpid()).peak < after.peak


def test_a_process_that_ended_is_told() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(LocalError, match="has ended"):  # it was not reaped yet
        memory_of(process.pid)
    process.communicate()
    with pytest.raises(LocalError, match="has ended"):
        memory_of(process.pid)
    assert not reset_peak(process.pid)


def test_content_takes_no_room_and_is_what_its_item_says(tmp_path: Path) -> None:
    item = make_content(tmp_path, 3 * MIB + 1)
    assert Path(item.path).stat().st_size == item.length == 3 * MIB + 1
    assert Path(item.path).stat().st_blocks * 512 < MIB
    assert hash_path(Path(item.path)).digest == item.digest


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "1MiB", "--small", "1MiB"], "--size 1.0 MiB is not larger than --small 1.0 MiB"),
        (["--size", "much"], "Invalid value for '--size'"),
        (["--sources", "0"], "0 is not in the range"),
    ],
)
def test_bad_options_are_refused(options: list[str], said: str) -> None:
    outcome = CliRunner().invoke(command, options)
    assert outcome.exit_code != 0
    assert said in f"{outcome.output} {outcome.exception}"


@pytest.mark.slow
@pytest.mark.process
def test_a_short_real_run() -> None:
    options = ("--size", "3MiB", "--small", "1MiB", "--sources", "1", "--rounds", "1")
    ended = run_benchmark("benchmarks.memory", *options)
    (found,) = ended.report["rounds"]
    assert found.keys() == {SMALL, LARGE}
    assert all(5 < found[LARGE][role] < 150 for role in ROLES)
    assert ended.report["sizes"] == {SMALL: MIB, LARGE: 3 * MIB}
    assert ended.stdout.splitlines()[0].split() == ["PEAK", "MIB", "1.0", "MiB", "3.0", "MiB"]
    assert ended.plot is None or ended.plot.startswith(b"\x89PNG")
    assert ended.left == []
