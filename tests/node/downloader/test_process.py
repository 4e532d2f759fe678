"""`node.downloader.process`: orders of the agent reach the download they are for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import DownloaderSettings
from node.downloader.process import Downloader
from node.local_messages import CancelFetch, Fetch
from service.logs import LogSettings
from transport.loop import Loop
from transport.runtime_dir import make_runtime_dir, remove_runtime_dir
from transport.sockets import open_context

DIGEST = "blake3:" + 64 * "a"


class FakeJob:
    """Remembers what it was told."""

    made: list[FakeJob]

    def __init__(self, fetch: Fetch, _context: object) -> None:
        self.fetch = fetch
        self.ended = self.over = False
        self.reports = 0
        FakeJob.made.append(self)

    def start(self, away: bool) -> None:
        assert not away

    def report_again(self) -> None:
        self.reports += 1

    def cancel(self) -> None:
        self.ended = True

    def tick(self, _now: float) -> float | None:
        return None

    def stop(self) -> None:
        self.ended = True

    def save(self) -> None:
        self.over = True


@pytest.fixture
def downloader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Downloader]:
    FakeJob.made = []
    monkeypatch.setattr("node.downloader.process.FetchJob", FakeJob)
    runtime_dir = make_runtime_dir(tmp_path)
    settings = DownloaderSettings(
        data_dir=str(tmp_path), runtime_dir=str(runtime_dir), download_rate=0, workers=1, log=LogSettings()
    )
    context = open_context()
    downloader = Downloader(settings, Loop(), context)
    yield downloader
    downloader.close()
    context.term()
    remove_runtime_dir(tmp_path)


def order(dest: str) -> Fetch:
    return Fetch(DIGEST, DIGEST, "name", 1, dest, "", False, False)


def test_a_restarted_agent_asks_again(downloader: Downloader) -> None:
    downloader.order(order("/a"))
    downloader.order(order("/a"))
    (job,) = FakeJob.made
    assert job.reports == 1


def test_an_order_waits_until_nothing_is_left_of_what_was_cancelled(downloader: Downloader) -> None:
    downloader.order(order("/a"))
    downloader.order(CancelFetch(DIGEST))
    downloader.order(order("/b"))
    downloader.tick(0.0)
    assert len(FakeJob.made) == 1
    FakeJob.made[0].over = True
    downloader.tick(0.0)
    assert [job.fetch.dest for job in FakeJob.made] == ["/a", "/b"]


def test_an_order_that_waits_can_be_cancelled(downloader: Downloader) -> None:
    downloader.order(order("/a"))
    downloader.order(CancelFetch(DIGEST))
    downloader.order(order("/b"))
    downloader.order(CancelFetch(DIGEST))
    FakeJob.made[0].over = True
    downloader.tick(0.0)
    assert len(FakeJob.made) == 1
