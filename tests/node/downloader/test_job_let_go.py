"""A download that is let go: cancelled, put away for want of space or because the peer left, and taken up again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from node.disk.errors import NoSpaceError
from node.disk.journal import Journal
from node.disk.layout import Span
from node.disk.storage import Partial
from node.disk.store import Store
from node.downloader import job_work
from node.downloader.job import DISK_RETRY_SECONDS, FetchJob
from node.downloader.job_work import Place, Ready
from node.local_messages import DownloadFailed, DownloadFinished, Serve
from protocol.bitfield import Bitfield
from protocol.errors import DiskError
from protocol.limits import PIECE_BYTES_MIN
from protocol.messages import SeederEntry
from tests.node.disk.made_content import Made, made_file
from tests.node.downloader.test_job import SEEDER, FullDisk, Scene, staging_is_locked

OTHER = SeederEntry("p2", "other", "tcp://127.0.0.1:2", True)


@pytest.fixture
def made() -> Made:
    return made_file(12 * PIECE_BYTES_MIN + 77)


@pytest.fixture
def scene(tmp_path: Path, made: Made) -> Iterator[Scene]:
    scene = Scene(tmp_path, made)
    yield scene
    scene.close()


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "data.bin"


def threads_of(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[tuple[str, bool]]:
    """Notes who calls these functions of `job_work`, and whether that is the thread of the loop."""
    calls: list[tuple[str, bool]] = []

    def spy_on(name: str) -> None:
        real = getattr(job_work, name)

        def spy(*values: object) -> None:
            calls.append((name, threading.current_thread() is threading.main_thread()))
            real(*values)

        monkeypatch.setattr(job_work, name, spy)

    for name in names:
        spy_on(name)
    return calls


def test_deleting_and_putting_away_do_not_hold_up_the_loop(
    scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = threads_of(monkeypatch, "put_away", "sweep", "abandon")
    FullDisk(monkeypatch, 3)
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.phase() == "paused" and not staging_is_locked(dest))
    job.cancel()
    assert not job.over
    scene.run(job, lambda: job.over)
    assert calls == [("put_away", False), ("sweep", False)]
    assert list(dest.parent.iterdir()) == []
    calls.clear()
    again = scene.fetch(dest)
    scene.run(again, lambda: scene.phase() == "downloading")
    again.cancel()
    scene.run(again, lambda: again.over)
    assert calls == [("abandon", False)]


def test_cancelled_while_it_is_put_away(scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = threads_of(monkeypatch, "sweep")
    gate = threading.Event()
    real = job_work.put_away

    def put_away(place: Place, ready: Ready, store: Store) -> None:
        assert gate.wait(10.0)
        real(place, ready, store)

    monkeypatch.setattr(job_work, "put_away", put_away)
    FullDisk(monkeypatch, 3)
    job = scene.fetch(dest)
    scene.run(job, lambda: job._disk._releasing)
    job.cancel()
    gate.set()
    scene.run(job, lambda: job.over)
    assert calls == [("sweep", False)]
    assert list(dest.parent.iterdir()) == []


def test_what_cannot_be_deleted_is_said_and_the_rest_goes_on(
    scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FullDisk(monkeypatch, 3)
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.phase() == "paused" and not staging_is_locked(dest))
    Path(job.fetch.seed_path).unlink()
    job.cancel()
    scene.run(job, lambda: job.over)
    assert "is gone" in caplog.text
    again = scene.fetch(dest)
    scene.run(again, lambda: scene.phase() == "downloading")
    monkeypatch.setattr(Journal, "remove", refuse)
    again.cancel()
    scene.run(again, lambda: again.over)
    assert "no journal today" in caplog.text


def refuse(*_: object) -> None:
    raise DiskError("no journal today")


def test_a_full_disk_does_not_keep_what_is_cancelled(scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FullDisk(monkeypatch, 3)
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.phase() == "paused" and not staging_is_locked(dest))
    monkeypatch.setattr("node.disk.storage.check_space", refuse)
    job.cancel()
    scene.run(job, lambda: job.over)
    assert list(dest.parent.iterdir()) == []


def test_cancelled_as_the_process_ends(tmp_path: Path, made: Made, dest: Path) -> None:
    scene = Scene(tmp_path, made)
    scene.limit = 5
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 5)
    job.cancel()
    scene.end(job)
    assert list(dest.parent.iterdir()) == []


def test_a_process_that_ends_does_not_wait_for_a_thread_that_writes(
    tmp_path: Path, made: Made, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is at work is left as a kill would leave it: nothing is closed under it, nothing more is noted."""
    scene = Scene(tmp_path, made)
    scene.limit = 2
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 2)
    held, go_on = threading.Event(), threading.Event()
    real = Partial._write_span

    def slow(self: Partial, span: Span, view: memoryview) -> bool:
        held.set()
        assert go_on.wait(10)
        return real(self, span, view)

    monkeypatch.setattr(Partial, "_write_span", slow)
    assert job.download is not None
    (piece,) = [piece for piece in range(made.manifest.piece_count) if piece not in job.download.have][:1]
    job._disk.write(piece, made.piece(piece))
    job._disk.begin_writing()
    assert held.wait(10)
    before = scene.journal.get(made.manifest.digest)
    job.stop()
    ended = scene.writers.close(0.0)
    job.save(scene.chores.close(10.0) and ended)
    assert scene.journal.get(made.manifest.digest) == before
    go_on.set()
    assert scene.writers.close(10.0)
    job.save(ended=True)
    entry = scene.journal.get(made.manifest.digest)
    assert entry is not None
    assert Bitfield.from_bytes(entry.bits, made.manifest.piece_count).count_set >= 2
    scene.journal.close()


def test_a_peer_that_left_asks_nobody_for_a_manifest(scene: Scene, dest: Path) -> None:
    job = scene.fetch(dest, with_seed=False)
    assert scene.links.open
    job.set_away(True)
    assert scene.links.open == {}
    assert "left the network" in scene.reports()[-1].detail
    job.found([SEEDER, OTHER])
    for _ in range(5):
        scene.now += 10.0
        job.tick(scene.now)
    assert scene.links.open == {}
    job.set_away(False)
    assert "left the network" not in scene.reports()[-1].detail
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data


def test_begun_while_away(scene: Scene, dest: Path) -> None:
    job = FetchJob(scene.fetch(dest, with_seed=False).fetch, scene.context)
    scene.links.open.clear()
    job.start(away=True)
    job.found([SEEDER])
    job.tick(scene.now)
    assert scene.links.open == {}
    job.set_away(False)
    assert scene.links.open
    job.cancel()
    job.set_away(True)
    job.set_away(False)
    assert scene.links.open == {}


def full(*_: object) -> None:
    raise NoSpaceError("the disk is full")


@pytest.mark.parametrize("what", ["node.disk.storage.check_space", "node.disk.journal.Journal.start"])
def test_a_downloader_that_comes_back_to_a_full_disk_waits(
    tmp_path: Path, made: Made, dest: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    scene = Scene(tmp_path, made)
    scene.limit = 5
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 5)
    scene.end(job)
    again = Scene(tmp_path, made)
    with monkeypatch.context() as patch:
        patch.setattr(what, full)
        job = again.fetch(dest)
        again.run(job, lambda: again.phase() == "paused")
        assert "full" in again.reports()[-1].detail
        assert again.reports()[-1].done_pieces == 5
        assert again.reports()[-1].done_bytes > 4 * made.manifest.piece_length
        until = again.now + 2 * DISK_RETRY_SECONDS
        again.run(job, lambda: again.now > until)
    again.run(job, lambda: job.over)
    assert dest.read_bytes() == made.data
    assert len(again.served) == made.manifest.piece_count - 5
    again.close()


def test_what_there_is_of_a_paused_download_is_served_by_a_new_piece_server(
    scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(monkeypatch, 3)
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.phase() == "paused" and not staging_is_locked(dest))
    before = [message for message in scene.to_pieces if isinstance(message, Serve)]
    assert job.download is not None
    had, spread = job.download.have.to_bytes(), job.download.pieces.spread.to_bytes()
    job.serve()
    after = [message for message in scene.to_pieces if isinstance(message, Serve)]
    assert after == [*before, msgspec.structs.replace(before[0], bits=had, spread=spread)]
    job.cancel()
    scene.run(job, lambda: job.over)
    job.serve()
    assert [message for message in scene.to_pieces if isinstance(message, Serve)] == after


def test_what_never_fitted_is_refused_at_once(scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.disk.storage.check_space", full)
    job = scene.fetch(dest)
    scene.run(job, lambda: job.over)
    assert scene.said(DownloadFailed)
    assert list(dest.parent.iterdir()) == []


def test_a_journal_that_cannot_be_written_does_not_keep_content_from_its_name(
    scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Journal, "remove", refuse)
    fetched = scene.fetch(dest)
    scene.run(fetched, lambda: fetched.over)
    there_already = scene.fetch(dest)
    scene.run(there_already, lambda: there_already.over)
    assert len(scene.said(DownloadFinished)) == 2
    assert caplog.text.count("no journal today") == 2
