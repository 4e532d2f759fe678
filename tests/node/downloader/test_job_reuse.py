"""`node.downloader.job` where other content on the disk has pieces of it: real files and threads, no sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.disk.disk_store import DiskStore
from node.disk.errors import NoSpaceError
from node.disk.seed_store import store_seed
from node.disk.storage import Partial
from node.disk.store import Buffer
from node.downloader.job import DISK_RETRY_SECONDS, FetchJob
from node.downloader.job_report import REUSING
from node.downloader.reuse import PATIENCE_SECONDS
from node.local_messages import Held, LocalCopy
from protocol.limits import PIECE_BYTES_MIN
from protocol.manifest import encode_manifest
from tests.node.disk.made_content import Made, made_sparse, some_bytes
from tests.node.downloader.test_job import Scene

PIECES = 150
CHANGED = (7, 8, 100)


def version(number: int) -> Made:
    """The second has other bytes in the pieces ``CHANGED``."""
    pieces = [some_bytes(PIECE_BYTES_MIN, seed) for seed in range(PIECES)]
    for piece in CHANGED if number == 2 else ():
        pieces[piece] = some_bytes(PIECE_BYTES_MIN, 1_000 + piece)
    return made_sparse(pieces)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path, version(2))
    yield scene
    scene.close()


@pytest.fixture
def old(scene: Scene, tmp_path: Path) -> LocalCopy:
    """The first version, shared."""
    made = version(1)
    seed_path = store_seed(scene.data_dir, encode_manifest(made.manifest))
    return LocalCopy(str(seed_path), str(made.put(tmp_path / "old")))


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "data.bin"


def check_complete(scene: Scene, dest: Path, fetched: int) -> None:
    """All is there, and ``fetched`` pieces came from the source."""
    assert dest.read_bytes() == scene.made.data
    report = scene.reports()[-1]
    assert (report.phase, len(scene.served)) == ("done", fetched)
    assert report.received_bytes == fetched * PIECE_BYTES_MIN
    assert report.reused_bytes == (PIECES - fetched) * PIECE_BYTES_MIN
    assert scene.budget.under_way == 0


def test_only_what_is_new_is_fetched_and_all_is_served(scene: Scene, dest: Path, old: LocalCopy) -> None:
    job = scene.fetch(dest, copies=[old])
    scene.run(job, lambda: job.over)
    check_complete(scene, dest, len(CHANGED))
    assert sorted(scene.served) == list(CHANGED)
    assert scene.reports()[-1].reused_from == [old.root]
    assert Path(old.root).read_bytes() == version(1).data
    told = [piece for message in scene.to_pieces if isinstance(message, Held) for piece in message.pieces]
    assert len(told) == len(set(told)) > len(CHANGED)


def test_the_old_version_may_stand_where_the_new_one_goes(scene: Scene, dest: Path, old: LocalCopy) -> None:
    Path(old.root).rename(dest)
    job = scene.fetch(dest, force=True)
    scene.run(job, lambda: job.over)
    check_complete(scene, dest, len(CHANGED))


def change(path: Path, how: str) -> None:
    if how == "deleted":
        path.unlink()
    elif how == "cut short":
        with path.open("r+b") as file:
            file.truncate(20 * PIECE_BYTES_MIN)
    elif how == "written over":
        path.write_bytes(bytes(PIECES * PIECE_BYTES_MIN))
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("how", ["deleted", "cut short", "written over", "a directory"])
def test_an_old_version_that_goes_away_meanwhile_is_no_loss(
    scene: Scene, dest: Path, old: LocalCopy, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = DiskStore.read_pieces

    def read_once(*arguments: Any) -> list[Buffer | None]:
        pieces = read(*arguments)
        monkeypatch.undo()
        change(Path(old.root), how)
        return pieces

    monkeypatch.setattr(DiskStore, "read_pieces", read_once)
    job = scene.fetch(dest, copies=[old])
    scene.run(job, lambda: job.over)
    check_complete(scene, dest, len(scene.served))
    assert len(CHANGED) < len(scene.served) < PIECES


def test_what_is_new_comes_while_the_disk_with_the_old_version_hangs(
    scene: Scene, dest: Path, old: LocalCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Callable[[Any], None]] = []
    monkeypatch.setattr(scene.readers, "submit", lambda done, _work: asked.append(done))
    job = scene.fetch(dest, copies=[old])
    scene.run(job, lambda: len(scene.served) == len(CHANGED))
    began = scene.now
    assert asked
    scene.run(job, lambda: scene.reports()[-1].detail == REUSING)
    scene.run(job, lambda: job.over)
    check_complete(scene, dest, PIECES)
    assert scene.now <= began + PATIENCE_SECONDS + 5.0
    asked[0]([b"too late"])


def test_a_download_that_ends_does_not_wait_for_a_disk_that_hangs(
    scene: Scene, dest: Path, old: LocalCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene.readers, "submit", lambda _done, _work: None)
    job = scene.fetch(dest, copies=[old])
    scene.run(job, lambda: len(scene.served) == len(CHANGED))
    job.cancel()
    scene.run(job, lambda: job.over)
    assert list(dest.parent.iterdir()) == []


def test_a_full_disk_pauses_it_and_the_rest_is_reused_later(
    scene: Scene, dest: Path, old: LocalCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = Partial.write, 0

    def full(partial: Partial, piece: int, data: bytes) -> None:
        nonlocal count
        count += 1
        if count > 40:
            raise NoSpaceError("the disk is full")
        write(partial, piece, data)

    monkeypatch.setattr(Partial, "write", full)
    job = scene.fetch(dest, copies=[old])
    scene.run(job, lambda: scene.phase() == "paused")
    monkeypatch.setattr(Partial, "write", write)
    scene.now += DISK_RETRY_SECONDS
    scene.run(job, lambda: job.over)
    report = scene.reports()[-1]
    assert dest.read_bytes() == scene.made.data
    assert report.reused_bytes == (PIECES - len(CHANGED)) * PIECE_BYTES_MIN


def test_what_another_run_left_is_resumed_and_the_rest_reused(tmp_path: Path, dest: Path, old: LocalCopy) -> None:
    (tmp_path / "own").mkdir()
    first = Scene(tmp_path / "own", version(2))
    job = FetchJob(first.order(dest), first.context)
    job.start(away=False)
    first.run(job, lambda: first.phase() == "downloading")
    for piece in range(10):
        assert job._disk.ready is not None
        job._disk.ready.partial.write(piece, first.made.piece(piece))
    first.end(job)
    second = Scene(tmp_path / "own", version(2))
    job = second.fetch(dest, copies=[old])
    second.run(job, lambda: job.over)
    report = second.reports()[-1]
    assert report.resumed_bytes == 10 * PIECE_BYTES_MIN
    assert report.reused_bytes == (PIECES - 10 - 1) * PIECE_BYTES_MIN, "of what is new all but one piece was there"
    assert second.served == [100]
    second.close()
