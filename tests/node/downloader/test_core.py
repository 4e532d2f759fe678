"""`node.downloader.core`: what the agent and the piece server say reaches the download it is for."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from node.disk.staging import staging_path
from node.disk.storage import Partial
from node.downloader.core import DownloaderCore
from node.downloader.recording import Recording
from node.local_messages import (
    HELLO_SECONDS,
    Collect,
    Collected,
    Copies,
    DeleteFetch,
    DownloadTotals,
    Fetch,
    GetTrace,
    Hello,
    Limit,
    LocalCopy,
    Pause,
    Room,
    Serve,
    ServeOk,
    SourceLost,
    Sources,
    StopFetch,
    Traced,
)
from node.trace import Trace
from protocol.bitfield import Bitfield
from protocol.messages import SeederEntry
from tests.node.disk.made_content import made_file
from tests.node.downloader.test_job import SEEDER, Scene
from tests.test_architecture import imports, reached_from

A, B = ("blake3:" + 64 * letter for letter in "ab")
HELLO = Hello("downloader", 7, 42)
AGENT = Hello("agent", 5, 43)


class FakeJob:
    """Remembers what it was told."""

    made: list[FakeJob]

    def __init__(self, fetch: Fetch, _context: object, copies: list[LocalCopy]) -> None:
        self.fetch = fetch
        self.copies = copies
        self.ended = self.over = False
        self.told: list[object] = []
        self.due: float | None = None
        FakeJob.made.append(self)

    def start(self, away: bool) -> None:
        self.told.append(("start", away))

    def found(self, seeders: Sequence[SeederEntry], listed: int | None) -> None:
        assert listed is None
        self.told.append(("found", *seeders))

    def peer_lost(self, peer: str) -> None:
        self.told.append(("lost", peer))

    def set_away(self, away: bool) -> None:
        self.told.append(("away", away))

    def report_again(self) -> None:
        self.told.append("report")

    def set_room(self, count: int) -> None:
        self.told.append(("room", count))

    def serve(self) -> None:
        self.told.append("serve")

    def serving(self) -> None:
        self.told.append("serving")

    def cancel(self) -> None:
        self.told.append("cancel")
        self.ended = True

    def halt(self) -> None:
        self.told.append("halt")
        self.ended = True

    def trace(self) -> Trace:
        return Recording().trace(self.fetch.name, self.fetch.digest, 1, 1, 0.0)

    def tick(self, _now: float) -> float | None:
        return self.due

    def stop(self) -> None:
        self.told.append("stop")

    def save(self, ended: bool) -> None:
        self.told.append(("save", ended))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path, made_file())
    yield scene
    scene.close()


@pytest.fixture
def core(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> DownloaderCore:
    """One whose downloads are fakes."""
    FakeJob.made = []
    monkeypatch.setattr("node.downloader.core.FetchJob", FakeJob)
    return DownloaderCore(scene.context, HELLO.instance, HELLO.pid)


def order(dest: str, digest: str = A) -> Fetch:
    return Fetch(digest, digest, "name", 1, dest, "", False, False)


def dests() -> list[str]:
    return [job.fetch.dest for job in FakeJob.made]


def told() -> list[list[object]]:
    """What each download was told since its start."""
    return [job.told[1:] for job in FakeJob.made]


def test_a_restarted_agent_asks_again(core: DownloaderCore) -> None:
    core.order(order("/a"))
    core.order(order("/a"))
    assert dests() == ["/a"]
    assert told() == [["report"]]
    assert list(core.jobs) == [A]


def test_a_restarted_agent_is_told_of_downloads_it_may_not_order_again(core: DownloaderCore) -> None:
    core.order(Hello("agent", 1, 1))
    core.order(order("/a"))
    core.order(Hello("agent", 1, 1))
    assert told() == [[]]
    core.order(Hello("agent", 2, 1))
    assert told() == [["report"]]


def test_an_order_waits_until_nothing_is_left_of_what_was_cancelled(core: DownloaderCore) -> None:
    core.order(order("/a"))
    core.order(DeleteFetch(A, "/a", ""))
    core.order(order("/b"))
    core.tick(0.0)
    assert dests() == ["/a"]
    FakeJob.made[0].over = True
    core.tick(0.0)
    assert dests() == ["/a", "/b"]
    assert [job.fetch.dest for job in core.jobs.values()] == ["/b"]


def test_an_order_waits_until_nothing_is_left_of_other_content_at_its_place(core: DownloaderCore) -> None:
    core.order(order("/a"))
    core.order(DeleteFetch(A, "/a", ""))
    core.order(order("/a", B))
    core.tick(0.0)
    assert list(core.jobs) == [A]
    FakeJob.made[0].over = True
    core.tick(0.0)
    assert list(core.jobs) == [B]


def test_copies_are_for_the_next_order_of_that_content_also_when_it_has_to_wait(core: DownloaderCore) -> None:
    core.order(Copies(A, [LocalCopy("/seeds/1", "/old")]))
    core.order(Copies(B, [LocalCopy("/seeds/2", "/other")]))
    core.order(order("/a"))
    core.order(DeleteFetch(A, "/a", ""))
    core.order(Copies(A, [LocalCopy("/seeds/3", "/newer")]))
    core.order(order("/b"))
    FakeJob.made[0].over = True
    core.tick(0.0)
    assert [job.copies for job in FakeJob.made] == [[LocalCopy("/seeds/1", "/old")], [LocalCopy("/seeds/3", "/newer")]]


def test_an_order_for_another_manifest_ends_one_whose_removal_got_lost(core: DownloaderCore) -> None:
    core.order(order("/one"))
    old = FakeJob.made[0]
    new = msgspec.structs.replace(order("/one"), manifest=B)
    core.order(new)
    assert old.told[-1] == "cancel"
    old.over = True
    core.tick(1.0)
    assert FakeJob.made[-1].fetch == new


def test_an_order_for_another_place_leaves_what_is_at_the_old_one(core: DownloaderCore) -> None:
    core.order(order("/one"))
    core.order(order("/two"))
    assert FakeJob.made[0].told[-1] == "halt"
    FakeJob.made[0].over = True
    core.tick(1.0)
    assert dests() == ["/one", "/two"]


def test_an_order_that_waits_can_be_cancelled(core: DownloaderCore) -> None:
    core.order(order("/a"))
    core.order(DeleteFetch(A, "/a", ""))
    core.order(order("/b"))
    core.order(DeleteFetch(A, "/b", ""))
    FakeJob.made[0].over = True
    core.tick(0.0)
    assert dests() == ["/a"]
    assert core.jobs == {}


def test_one_that_is_stopped_is_not_deleted(core: DownloaderCore) -> None:
    core.order(order("/a"))
    core.order(StopFetch(A))
    core.order(StopFetch(B))
    assert told() == [["halt"]]


def test_what_an_earlier_run_left_is_deleted_before_anything_new_goes_there(scene: Scene, tmp_path: Path) -> None:
    core, manifest, dest = DownloaderCore(scene.context, 7, 42), scene.made.manifest, tmp_path / "x"
    fetch = scene.order(dest)
    Partial.open(manifest, dest).close()
    scene.journal.start(manifest.digest, fetch.seed_path, str(dest), bytes(1))

    def until(condition: Callable[[], bool]) -> None:
        while not condition():
            select.select([scene.chores.fd], [], [], 10)
            for done, result in scene.chores.results():
                done(result)

    core.order(DeleteFetch(manifest.digest, str(tmp_path / "elsewhere"), fetch.seed_path))
    until(lambda: not scene.chores.pending)
    assert staging_path(dest).exists()
    assert scene.journal.get(manifest.digest) is not None
    core.order(DeleteFetch(manifest.digest, str(dest), fetch.seed_path))
    core.order(scene.order(dest, with_seed=False))
    assert core.jobs == {}
    until(lambda: core.jobs != {})
    assert scene.journal.get(manifest.digest) is None
    assert not staging_path(dest).exists()


def test_only_what_nobody_names_or_works_on_is_collected(core: DownloaderCore, scene: Scene, tmp_path: Path) -> None:
    manifest, dest = scene.made.manifest, tmp_path / "x"
    fetch = scene.order(dest)
    Partial.open(manifest, dest).close()
    scene.journal.start(manifest.digest, fetch.seed_path, str(dest), bytes(1))
    scene.journal.start(A, "/seeds/a", "/o/a", bytes(1))
    core.order(order("/o/a"))
    for tag, dry_run, used in ((1, True, []), (2, False, [(manifest.digest, str(dest))]), (3, False, [])):
        core.order(Collect(tag, used, dry_run))
    while len(scene.to_agent) < 3:
        select.select([scene.chores.fd], [], [], 10)
        for done, result in scene.chores.results():
            done(result)
    assert scene.journal.get(manifest.digest) is None
    assert not staging_path(dest).exists()
    said = [message for message in scene.to_agent if isinstance(message, Collected)]
    removed = [[unused.path for unused in each.removed] for each in said]
    assert removed == [[str(staging_path(dest))], [], [str(staging_path(dest))]]
    assert [(each.tag, [left.path for left in each.left], each.seeds) for each in said] == [
        (tag, ["/o/.a.part"], ["/seeds/a"]) for tag in (1, 2, 3)
    ]


def test_each_is_told_what_is_for_it(core: DownloaderCore) -> None:
    core.order(AGENT)
    core.order(order("/a", A))
    core.order(order("/b", B))
    core.order(AGENT)
    core.order(Sources(A, [SEEDER]))
    core.order(SourceLost("p1", B))
    core.order(SourceLost("p2", ""))
    core.pieces_say(ServeOk(B))
    core.pieces_say(Room(A, 3))
    core.pieces_say(Room("blake3:" + 64 * "c", 4))
    assert told() == [[("found", SEEDER), ("lost", "p2"), ("room", 3)], [("lost", "p1"), ("lost", "p2"), "serving"]]


def test_what_is_for_no_download_is_nothing(core: DownloaderCore) -> None:
    core.order(Sources(A, [SEEDER]))
    core.order(DeleteFetch(A, "/a", ""))
    core.pieces_say(ServeOk(A))
    assert core.jobs == {}


def test_a_pause_is_for_all_and_for_those_that_come(core: DownloaderCore) -> None:
    core.order(order("/a", A))
    core.order(Pause(False))
    core.order(Pause(True))
    core.order(Pause(True))
    core.order(order("/b", B))
    assert [job.told for job in FakeJob.made] == [[("start", False), ("away", True)], [("start", True)]]
    core.order(Pause(False))
    assert told() == [[("away", True), ("away", False)], [("away", False)]]


def test_the_limit_is_that_of_all_downloads_from_now_on(core: DownloaderCore, scene: Scene) -> None:
    bucket, now = scene.context.budget.bucket, scene.context.now()
    core.order(order("/a", A))
    for rate in (0.001, 0.0):
        core.order(Limit(rate))
        bucket.spend(1_000_000, now)
        assert (bucket.rate, bucket.ready_at(now) > now) == (rate, rate > 0)
    assert told() == [[]], "downloads go on"


def test_hello_once_a_second_to_both(core: DownloaderCore, scene: Scene) -> None:
    assert core.tick(10.0) == 10.0 + HELLO_SECONDS
    assert core.tick(10.9) == 10.0 + HELLO_SECONDS
    assert (scene.to_agent, scene.to_pieces) == ([with_totals(DownloadTotals())], [HELLO])
    scene.context.totals.received_bytes = 5
    core.order(order("/a"))
    FakeJob.made[0].due = 11.5
    assert core.tick(11.0) == 11.5
    assert scene.to_agent == [with_totals(DownloadTotals()), with_totals(DownloadTotals(received_bytes=5))]
    assert scene.to_pieces == [HELLO, HELLO]


def with_totals(totals: DownloadTotals) -> Hello:
    return replace(HELLO, totals=totals)


def test_a_trace_is_there_while_a_download_runs_and_when_it_is_over(core: DownloaderCore, scene: Scene) -> None:
    def traced(digest: str) -> Trace | None:
        core.order(GetTrace(3, digest))
        answer = scene.to_agent.pop()
        assert isinstance(answer, Traced)
        assert answer.tag == 3
        return answer.trace

    core.order(order("/a", A))
    assert traced(A) is not None
    FakeJob.made[0].over = True
    core.tick(1.0)
    assert core.jobs == {}
    found = traced(A)
    assert found is not None
    assert found.digest == A
    assert traced(B) is None


def test_all_are_stopped_and_saved(core: DownloaderCore) -> None:
    core.order(order("/a", A))
    core.order(order("/b", B))
    core.stop()
    core.save(ended=False)
    assert told() == [["stop", ("save", False)], ["stop", ("save", False)]]


def test_a_new_piece_server_is_told_once_what_there_is_to_serve(scene: Scene, tmp_path: Path) -> None:
    scene.limit = 2
    core = DownloaderCore(scene.context, HELLO.instance, HELLO.pid)
    core.pieces_say(Hello("piece_server", 1, 50))
    core.order(scene.order(tmp_path / "out"))
    core.order(Sources(scene.made.manifest.digest, [SEEDER]))
    (job,) = core.jobs.values()
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 2)
    scene.to_pieces.clear()
    core.pieces_say(Hello("piece_server", 1, 50))
    assert scene.to_pieces == []
    core.pieces_say(Hello("piece_server", 2, 51))
    core.pieces_say(Hello("piece_server", 2, 51))
    (serve,) = scene.to_pieces
    assert isinstance(serve, Serve)
    assert Bitfield.from_bytes(serve.bits, scene.made.manifest.piece_count).count_set == 2
    core.order(DeleteFetch(job.fetch.digest, job.fetch.dest, ""))
    scene.run(job, lambda: job.over)
    core.tick(scene.now)
    assert core.jobs == {}


@pytest.mark.parametrize("module", ["core", "job", "job_context", "job_disk", "job_work"])
def test_they_act_through_their_ports_alone(module: str) -> None:
    direct = {found.module.partition(".")[0] for found in imports(f"node.downloader.{module}")}
    assert direct.isdisjoint({"zmq", "os", "threading", "pathlib", "time"})
    reached = {name.partition(".")[0] for name in reached_from(f"node.downloader.{module}")}
    assert reached.isdisjoint({"zmq", "os", "threading", "sqlite3", "time", "transport"})
