"""A download whose bytes on disk are not what was written there any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.disk.staging import staging_path
from node.downloader.job import REPAIRS_COUNT_MAX, FetchJob
from node.local_messages import DownloadFailed, Serve
from protocol.bitfield import Bitfield
from protocol.limits import PIECE_BYTES_MIN
from tests.node.disk.made_content import made_file
from tests.node.downloader.test_job import Scene

PIECES = 12


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path, made_file(PIECES * PIECE_BYTES_MIN))
    yield scene
    scene.close()


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "data.bin"


def spoil_at_the_end(scene: Scene, job: FetchJob, dest: Path) -> None:
    """Run until all but one piece are there, and change a byte of one that is."""
    scene.limit = PIECES - 1
    scene.run(job, lambda: scene.reports()[-1].done_pieces == PIECES - 1)
    (content,) = [path for path in staging_path(dest).iterdir() if path.name == "content"]
    with content.open("r+b") as file:
        file.seek(scene.served[0] * PIECE_BYTES_MIN)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    scene.limit = 1_000


def test_only_what_was_spoilt_is_fetched_again(scene: Scene, dest: Path) -> None:
    job = scene.fetch(dest)
    spoil_at_the_end(scene, job, dest)
    spoilt = scene.served[0]
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data
    assert len(scene.served) == PIECES + 1
    assert scene.served[-1] == spoilt
    told = [Bitfield.from_bytes(message.bits, PIECES) for message in scene.to_pieces if isinstance(message, Serve)]
    assert any(bits.count_set == PIECES - 1 and spoilt not in bits for bits in told)
    assert scene.journal.get(scene.made.manifest.digest) is None
    assert scene.budget.under_way == 0
    last = scene.reports()[-1]
    assert (last.resumed_bytes, last.received_bytes) == (0, len(scene.made.data) + PIECE_BYTES_MIN)


def test_a_disk_that_keeps_nothing_is_given_up(scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = scene.fetch(dest)
    monkeypatch.setattr("node.downloader.job_work.whole_digest", lambda *_: False)
    monkeypatch.setattr("node.downloader.job_work.check_pieces", lambda *_: list(range(1, PIECES)))
    scene.limit = 1_000
    scene.run(job, lambda: job.over)
    (failed,) = scene.said(DownloadFailed)
    assert isinstance(failed, DownloadFailed)
    assert failed.code == "disk"
    assert len(scene.served) == PIECES + REPAIRS_COUNT_MAX
    assert not dest.exists()
