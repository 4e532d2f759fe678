"""Clusters in which everything goes wrong: the plan, what is done to disks and files, and a run on real processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import run_cluster
from cluster.chaos.disks import MOUNTS, SmallDisk, small_disks
from cluster.chaos.faults import spot
from cluster.chaos.plan import DISKS, EVERYTHING, ROLES, ChaosPlan, draw_plan
from cluster.local import TRACKER
from cluster.report import peer_names
from protocol.errors import NetworkError, UsageError
from tests.cluster.conftest import Place, namespaces_of

ROOT = Path(__file__).resolve().parents[2]
PEERS = peer_names(5)
MIB = 1024 * 1024
SEEDS = range(200)
SECONDS = 20.0


def plan_of(seed: int) -> ChaosPlan:
    return draw_plan(seed, PEERS, SECONDS, 16 * MIB)


def test_the_same_seed_is_the_same_plan_in_any_process() -> None:
    code = f"from cluster.chaos.plan import draw_plan; print(draw_plan(7, {PEERS!r}, {SECONDS}, {16 * MIB}).actions)"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == f"{plan_of(7).actions}\n"
    assert plan_of(7) == plan_of(7)
    assert plan_of(7).actions != plan_of(8).actions


@pytest.mark.parametrize("seed", range(40))
def test_a_plan_is_one_that_can_be_carried_out(seed: int) -> None:
    plan = plan_of(seed)
    seeders = {content.name: content.seeders for content in plan.contents}
    moments = [action.at for action in plan.actions]
    assert moments == sorted(moments)
    assert 0 <= moments[0] <= moments[-1] < SECONDS
    assert len(set(plan.lost)) == len(plan.lost) <= len(PEERS) - 2
    assert plan.upload_rate > 0
    for number, action in enumerate(plan.actions):
        is_tracker = action.machine == TRACKER
        assert is_tracker or action.machine in PEERS
        assert action.kind not in ("get", "full", "read_only", "damage", "lose") or not is_tracker
        match action.kind:
            case "kill":
                assert action.what in ROLES[is_tracker]
            case "pause":
                assert action.what in (*ROLES[is_tracker], EVERYTHING)
            case "full" | "read_only":
                assert action.what in DISKS
            case "damage":
                assert action.machine in seeders[action.what]
                assert 0 <= action.place < 1
            case "get":
                assert action.machine not in seeders[action.what]
            case "lose":
                assert action.machine not in [later.machine for later in plan.actions[number + 1 :]]
    gets = [(action.machine, action.what) for action in plan.actions if action.kind == "get"]
    wanted = {(peer, name) for name, some in seeders.items() for peer in PEERS if peer not in (*some, *plan.lost)}
    assert len(set(gets)) == len(gets)
    assert wanted <= set(gets)


def test_every_kind_of_fault_happens_and_each_is_missing_somewhere() -> None:
    happens = [{action.kind for action in plan_of(seed).actions} for seed in SEEDS]
    kinds = set(plan_of(0).rates) | {"lose"}
    assert set.union(*happens) == kinds | {"get"}
    assert all(any(kind not in some for some in happens) for kind in kinds)
    assert any(len(some) == len(kinds) + 1 for some in happens)


def test_kinds_happen_at_their_rates() -> None:
    plan = draw_plan(3, PEERS, 6_000.0, MIB)
    lost = plan.lost
    for kind, rate in plan.rates.items():
        count = sum(action.kind == kind for action in plan.actions)
        assert lost or count == pytest.approx(100 * rate, rel=0.2)


def test_two_peers_are_too_few() -> None:
    with pytest.raises(UsageError, match="at least 3 peers"):
        draw_plan(1, PEERS[:2], SECONDS, MIB)


def test_a_spot_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name, size in (("a", 3), ("b/c", 5), ("b/empty", 0), ("d", 2)):
        (tmp_path / name).write_bytes(bytes(size))
    spots = [spot(tmp_path, part / 10) for part in range(10)]
    names = [(str(path.relative_to(tmp_path)), place) for path, place in spots]
    assert names == [*(("a", n) for n in range(3)), *(("b/c", n) for n in range(5)), ("d", 0), ("d", 1)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, SmallDisk]]:
    """One with a name that the system's table of mounts has to escape. Leaving checks that it is gone."""
    path = tmp_path / "a disk"
    try:
        with small_disks([path], MIB) as disks:
            yield path, disks[path]
    except UsageError as error:
        pytest.skip(str(error))
    assert f"-{os.getpid()}-" not in MOUNTS.read_text()
    assert list(path.iterdir()) == []


def test_a_disk_that_is_full_and_then_is_not(disk: tuple[Path, SmallDisk]) -> None:
    path, small = disk
    small.fill()
    with pytest.raises(OSError, match="No space left") as caught:
        (path / "file").write_bytes(bytes(4_096))
    assert caught.value.errno == errno.ENOSPC
    small.clear()
    (path / "file").write_bytes(bytes(4_096))


def test_a_disk_that_is_written_to_while_it_is_filled(
    disk: tuple[Path, SmallDisk], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, small = disk
    allocate = os.posix_fallocate

    def after_another(fd: int, place: int, size: int) -> None:
        if not (path / "other").exists():
            (path / "other").write_bytes(bytes(100_000))
        allocate(fd, place, size)

    monkeypatch.setattr(os, "posix_fallocate", after_another)
    small.fill()
    assert os.statvfs(path).f_bavail == 0
    small.clear()
    assert [left.name for left in path.iterdir()] == ["other"]


def test_a_disk_that_cannot_be_filled_is_left_as_it_was(
    disk: tuple[Path, SmallDisk], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path, small = disk
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="space"):
        small.fill()
    assert list(path.iterdir()) == []


def test_a_read_only_disk(disk: tuple[Path, SmallDisk]) -> None:
    path, small = disk
    with (path / "file").open("wb"), pytest.raises(NetworkError, match="busy"):
        small.set_read_only(True)
    small.set_read_only(True)
    with pytest.raises(OSError, match="Read-only"):
        (path / "file").write_bytes(b"x")
    small.set_read_only(False)
    (path / "file").write_bytes(b"x")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--chaos", "1", "--simulate"], "choose one"),
        (["--chaos", "1", "--seeders", "2"], "--seeders: not with --chaos"),
        (["--chaos", "1", "--peers", "2"], "at least 3 peers"),
        (["--chaos", "1", "--minutes", "0"], "--minutes"),
        (["--minutes", "1"], "only with --chaos"),
    ],
)
def test_bad_input(arguments: list[str], what: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cluster.main(arguments) == 2
    assert what in capsys.readouterr().err
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_short_mix(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Seed 8 has faults of every kind, and loses nobody."""
    code = run_cluster.main(["--chaos", "8", "--minutes", "0.15", "--peers", "4", "--size", "8MiB"])
    shown = capsys.readouterr()
    assert code == 0, shown
    assert shown.out.splitlines()[-1].startswith("seed 8 held: ")
    assert "everything is healed" in shown.out
    assert f"-{os.getpid()}-" not in MOUNTS.read_text()
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("can_make_namespaces")
def test_a_longer_mix_over_links_that_are_cut(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_cluster.main(["--chaos", "20", "--minutes", "0.5", "--size", "8MiB", "--link-rate", "20mbit"])
    shown = capsys.readouterr()
    assert code == 0, shown
    assert "its link is cut for" in shown.out
    assert namespaces_of(os.getpid()) == []
    assert f"-{os.getpid()}-" not in MOUNTS.read_text()
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_interrupted_mix_leaves_nothing(place: Place) -> None:
    command = [sys.executable, str(ROOT / "run_cluster.py"), "--chaos", "8", "--peers", "4", "--size", "8MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = next(line for line in process.stdout if "stopped for" in line)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, said + err
    assert f"-{process.pid}-" not in MOUNTS.read_text()
    assert place.is_clean()
