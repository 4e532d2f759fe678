"""`node.downloader.job` and `node.downloader.job_disk`: one download with a real disk and threads, no sockets.

A source is played by the test: it answers what the job sends over its (fake) connections.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import select
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec
import pytest

from node.disk.disk_store import DiskStore
from node.disk.errors import NoSpaceError
from node.disk.journal import Journal
from node.disk.seed_store import load_seed, store_seed
from node.disk.staging import staging_path
from node.disk.storage import Partial
from node.downloader.job import DISK_RETRY_SECONDS, FetchJob
from node.downloader.job_context import JobContext, Listener
from node.downloader.job_report import WRITING
from node.local_messages import (
    DownloadFailed,
    DownloadFinished,
    DownloadReport,
    DownloadTotals,
    Fetch,
    Held,
    LocalCopy,
    Serve,
    Unserve,
)
from node.rate_limit import Budget
from node.workers import Workers
from protocol.bitfield import Bitfield
from protocol.digest import format_digest, raw_digest
from protocol.errors import SeedError
from protocol.limits import PIECE_BYTES_MIN, PIECES_WANTED_COUNT, UNDER_WAY_BYTES_MAX
from protocol.manifest import encode_manifest, manifest_digest
from protocol.messages import (
    Follow,
    Get,
    GetManifest,
    ManifestPage,
    Message,
    Piece,
    Received,
    Relay,
    SeederEntry,
    Status,
)
from protocol.messages import Test as AskTest
from tests.node.disk.made_content import Made, made_file

SEEDER = SeederEntry("p1", "seeder", "tcp://127.0.0.1:1", True)

T = TypeVar("T")
R = TypeVar("R")


class CountedWorkers(Workers[T, R]):
    """Knows how much is under way, so that a test need not wait when nothing is."""

    pending = 0

    def submit(self, tag: T, work: Callable[[], R]) -> None:
        self.pending += 1
        super().submit(tag, work)

    def results(self) -> list[tuple[T, R | BaseException]]:
        found = super().results()
        self.pending -= len(found)
        return found


class FakeLinks:
    """Connections to sources that the test plays."""

    def __init__(self) -> None:
        self.open: dict[int, Listener] = {}
        self.dialled: list[tuple[int, int]] = []
        """Session, and the longest piece that its connection takes."""
        self.sent: list[tuple[int, Message]] = []

    def connect(self, session: int, endpoint: str, piece_bytes: int, listener: Listener, key: str = "") -> None:
        del endpoint, key
        self.dialled.append((session, piece_bytes))
        self.open[session] = listener

    def send(self, session: int, message: Message) -> None:
        if session in self.open:
            self.sent.append((session, message))

    def disconnect(self, session: int) -> None:
        self.open.pop(session, None)


class Scene:
    """A downloader process around one job; `run` lets its threads and the played source go on until a condition."""

    def __init__(self, base: Path, made: Made, manifest: bytes | None = None) -> None:
        self.made = made
        self.data_dir = base / "data"
        self.data_dir.mkdir(exist_ok=True)
        self.now = 1000.0
        self.bad: set[int] = set()
        self.manifest = encode_manifest(made.manifest) if manifest is None else manifest
        self.links = FakeLinks()
        self.writers: CountedWorkers[Callable[[Any], None], object] = CountedWorkers(2)
        self.chores: CountedWorkers[Callable[[Any], None], object] = CountedWorkers(1)
        self.readers: CountedWorkers[Callable[[Any], None], object] = CountedWorkers(1)
        self.to_agent: list[Message] = []
        self.to_pieces: list[Message] = []
        self.journal = Journal(self.data_dir)
        self.budget = Budget(UNDER_WAY_BYTES_MAX, 0, self.now)
        self.relay = False
        """Whether the pieces it sends are to be relayed."""
        self.served: list[int] = []
        self.connected: set[int] = set()
        self.tested: set[int] = set()
        self.wanted: dict[int, tuple[list[int], list[int]]] = {}
        """By session, the pieces it was asked for and its credit."""
        self.limit = made.manifest.piece_count
        self.context = JobContext(
            now=lambda: self.now,
            links=self.links,
            writers=self.writers,
            chores=self.chores,
            readers=self.readers,
            store=DiskStore(self.data_dir, self.journal),
            budget=self.budget,
            sessions=itertools.count(1),
            rng=Random(1),
            tell_agent=self.to_agent.append,
            tell_pieces=self.to_pieces.append,
        )

    def close(self) -> None:
        self.writers.close()
        self.chores.close()
        self.readers.close()
        self.journal.close()

    def end(self, job: FetchJob) -> None:
        """The process ends in order."""
        job.stop()
        self.writers.close()
        self.chores.close()
        self.readers.close()
        job.save(ended=True)
        self.journal.close()

    def order(self, dest: Path, with_seed: bool = True, force: bool = False) -> Fetch:
        manifest = self.made.manifest
        seed_path = str(store_seed(self.data_dir, encode_manifest(manifest))) if with_seed else ""
        digest = manifest_digest(encode_manifest(manifest), manifest.algorithm)
        return Fetch(manifest.digest, digest, dest.name, manifest.length, str(dest), seed_path, force, False)

    def fetch(
        self, dest: Path, with_seed: bool = True, force: bool = False, copies: Sequence[LocalCopy] = ()
    ) -> FetchJob:
        job = FetchJob(self.order(dest, with_seed, force), self.context, copies)
        job.start(away=False)
        job.found([SEEDER])
        return job

    def run(self, job: FetchJob, until: Callable[[], bool]) -> None:
        """Turns of the loop; time passes only when no thread has anything to say."""
        for _ in range(2_000):
            if until():
                return
            self.answer()
            job.tick(self.now)
            if self.writers.pending or self.chores.pending or self.readers.pending:
                select.select([self.writers.fd, self.chores.fd, self.readers.fd], [], [], 10.0)
            else:
                self.now += 0.05
            for done, result in [*self.writers.results(), *self.chores.results(), *self.readers.results()]:
                done(result)
        pytest.fail(f"it did not come to that; last report: {self.reports()[-1:]}")

    def answer(self) -> None:
        """The played source: connects, has all and nobody else to send to, and sends what is asked for."""
        for session, listener in list(self.links.open.items()):
            if session not in self.connected:
                self.connected.add(session)
                listener.on_connected(session)
        said, self.links.sent = self.links.sent, []
        for session, message in said:
            connection = self.links.open.get(session)
            if connection is not None:
                self.reply(session, connection, message)

    def reply(self, session: int, listener: Listener, message: Message) -> None:
        if isinstance(message, AskTest) and session not in self.tested:
            self.tested.add(session)
            listener.on_message(session, Status(session, "complete", stock=True, alone=True))
        elif isinstance(message, GetManifest):
            listener.on_message(session, ManifestPage(session, 0, len(self.manifest), self.manifest))
        elif isinstance(message, Get | Follow | Received):
            wanted, credit = self.wanted.setdefault(session, ([], [0]))
            wanted += message.pieces if isinstance(message, Get) else []
            credit[0] += 0 if isinstance(message, Get) else message.credit
            while wanted and credit[0] and len(self.served) < self.limit:
                credit[0] -= 1
                self.served.append(piece := wanted.pop(0))
                data = bytes(self.made.manifest.piece_size(piece)) if piece in self.bad else self.made.piece(piece)
                listener.on_piece(session, Piece(session, piece, self.relay), data)

    def reports(self) -> list[DownloadReport]:
        return [message for message in self.to_agent if isinstance(message, DownloadReport)]

    def phase(self) -> str:
        return self.reports()[-1].phase

    def said(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.to_agent if isinstance(message, kind)]


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


def banned(scene: Scene) -> list[str]:
    return [source.peer for source in scene.reports()[-1].sources if source.state == "banned"]


def test_a_download_from_seed_to_final_name(scene: Scene, dest: Path) -> None:
    job = scene.fetch(dest)
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data
    assert list(dest.parent.iterdir()) == [dest]
    (finished,) = scene.said(DownloadFinished)
    assert isinstance(finished, DownloadFinished)
    assert finished.path == str(dest)
    assert 0 < finished.finished_at <= scene.now
    phases = [phase for phase, _ in itertools.groupby(report.phase for report in scene.reports())]
    assert phases == ["checking", "downloading", "verifying", "done"]
    assert scene.reports()[-1].received_bytes == len(scene.made.data)
    assert scene.journal.get(scene.made.manifest.digest) is None
    assert scene.budget.under_way == 0
    assert scene.context.totals == DownloadTotals(len(scene.made.data), scene.made.manifest.piece_count)


def test_what_it_did_when_is_recorded(scene: Scene, dest: Path) -> None:
    scene.bad = {3}
    job = scene.fetch(dest)
    scene.run(job, lambda: bool(banned(scene)))
    scene.bad.clear()
    scene.limit += 1
    job.found([SeederEntry("p2", "two", "tcp://b:1", True)])
    scene.run(job, lambda: job.over)
    trace, count = job.trace(), scene.made.manifest.piece_count
    pieces = list(trace.pieces())
    assert sorted(piece.piece for piece in pieces if piece.good) == list(range(count))
    assert [(piece.piece, trace.sources[int(piece.source)][0]) for piece in pieces if not piece.good] == [(3, "p1")]
    for piece in pieces:
        times = (piece.since, piece.came, piece.began, piece.hashed, piece.written)
        assert list(times) == sorted(times)
    assert [phase for phase, _ in trace.phases] == ["checking", "downloading", "verifying", "done"]
    assert {name for name, _, _ in trace.chores} >= {"check", "verify"}
    texts = [(trace.sources[number][0], text.partition(":")[0]) for number, _, text in trace.events]
    assert texts == [("p1", "connected"), ("p1", "banned"), ("p2", "connected")]
    assert (trace.length, trace.left_out) == (len(scene.made.data), 0)


def test_a_download_that_waits_for_the_disk_says_so(scene: Scene, dest: Path) -> None:
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.phase() == "downloading")
    while not scene.writers.pending:
        scene.now += 0.05
        scene.answer()
        job.tick(scene.now)
    for _ in range(8):  # what the threads bring back is not looked at
        scene.now += 1
        scene.answer()
        job.tick(scene.now)
    assert scene.reports()[-1].detail == WRITING
    scene.run(job, lambda: job.over)
    assert scene.reports()[-1].detail == ""


@pytest.mark.parametrize("relay", [True, False])
def test_what_comes_in_a_turn_is_told_together_and_which_of_it_is_to_be_relayed(
    scene: Scene, dest: Path, relay: bool
) -> None:
    scene.relay = relay
    job = scene.fetch(dest)
    scene.run(job, lambda: job.over)
    told = [message for message in scene.to_pieces if isinstance(message, Held)]
    pieces = [piece for message in told for piece in message.pieces]
    relayed = [piece for message in told for piece in message.relayed]
    assert len(set(pieces)) == len(pieces)
    assert set(pieces) <= set(range(scene.made.manifest.piece_count))
    assert len(pieces) >= scene.made.manifest.piece_count - 4, "the last turn is told with the end"
    assert relayed == (pieces if relay else [])


def test_the_manifest_of_a_link_is_fetched_first_and_the_connection_used_on(scene: Scene, dest: Path) -> None:
    job = scene.fetch(dest, with_seed=False)
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data
    assert scene.reports()[0].phase == "resolving"
    assert scene.links.dialled == [(1, scene.made.manifest.piece_length)]
    assert scene.links.open == {}


def test_a_piece_in_place_of_the_manifest_ends_the_connection(scene: Scene, dest: Path) -> None:
    job = scene.fetch(dest, with_seed=False)
    (session,) = scene.links.open
    scene.links.open[session].on_piece(session, Piece(session, 0), scene.made.piece(0))
    assert not scene.links.open
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data


def test_a_connection_that_takes_no_piece_so_long_is_made_anew(tmp_path: Path, dest: Path) -> None:
    """A link may be wrong about the length."""
    scene = Scene(tmp_path, made_file(2 * PIECES_WANTED_COUNT * PIECE_BYTES_MIN))
    order = msgspec.structs.replace(scene.order(dest, with_seed=False), length=5)
    job = FetchJob(order, scene.context)
    job.start(away=False)
    job.found([SEEDER])
    scene.run(job, lambda: bool(scene.served))
    assert scene.links.dialled == [(1, PIECE_BYTES_MIN), (2, 2 * PIECE_BYTES_MIN)]
    assert list(scene.links.open) == [2]
    scene.close()


@pytest.mark.parametrize("how", ["lost", "away", "cancelled"])
def test_the_connection_is_looked_after_while_the_disk_is_made_ready(scene: Scene, dest: Path, how: str) -> None:
    job = scene.fetch(dest, with_seed=False)
    scene.run(job, lambda: scene.phase() == "checking")
    assert list(scene.links.open) == [1]
    if how == "lost":
        job.on_lost(1, "connection lost")
    elif how == "away":
        job.set_away(True)
    else:
        job.cancel()
    assert 1 not in scene.links.open
    if how == "away":
        job.set_away(False)
    scene.run(job, lambda: job.over)
    assert (how == "cancelled") or dest.read_bytes() == scene.made.data


def test_a_manifest_that_is_lost_before_it_is_used_is_fetched_again_over_another_connection(
    scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(*_: object) -> None:
        monkeypatch.undo()
        raise SeedError("the seed is damaged")

    monkeypatch.setattr("node.downloader.job_work.prepare", spoilt)
    job = scene.fetch(dest, with_seed=False)
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data
    assert [session for session, _ in scene.links.dialled] == [1, 2]
    assert scene.links.open == {}


def test_the_connection_is_closed_when_the_content_is_there_already(scene: Scene, dest: Path) -> None:
    dest.write_bytes(scene.made.data)
    job = scene.fetch(dest, with_seed=False)
    scene.run(job, lambda: job.over)
    assert scene.said(DownloadFinished)
    assert scene.links.open == {}


def test_the_room_of_the_piece_server_reaches_the_download_if_it_counts_from_now(scene: Scene, dest: Path) -> None:
    job = scene.fetch(dest)
    job.set_room(3)
    scene.run(job, lambda: bool(scene.links.open))
    (session,) = scene.links.open
    job.set_room(9)
    job.serving()
    job.set_room(7)
    job.on_connected(session)
    job.on_message(session, Status(session, "complete", stock=True))
    job.tick(scene.now)
    assert [message.count for _, message in scene.links.sent if isinstance(message, Relay)] == [7]
    job.cancel()
    scene.run(job, lambda: job.over)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda seed: seed.write_bytes(b"spoilt")])
def test_a_seed_that_is_gone_or_damaged_is_fetched_again(
    scene: Scene, dest: Path, spoil: Callable[[Path], object]
) -> None:
    order = scene.order(dest)
    seed = Path(order.seed_path)
    spoil(seed)
    job = FetchJob(order, scene.context)
    job.start(away=False)
    job.found([SEEDER])
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data
    assert load_seed(seed) == scene.made.manifest


def test_a_manifest_of_other_content_ends_it(tmp_path: Path, made: Made, dest: Path) -> None:
    other = made_file(1000, seed=9)
    scene = Scene(tmp_path, made, encode_manifest(other.manifest))
    job = scene.fetch(dest, with_seed=False)
    scene.run(job, lambda: bool(banned(scene)))
    assert not job.over, "others may have it"
    job.found([SEEDER], listed=1)
    scene.run(job, lambda: job.over)
    (failed,) = scene.said(DownloadFailed)
    assert isinstance(failed, DownloadFailed)
    assert failed.code == "verification"
    assert "manifest" in failed.detail
    assert list(dest.parent.iterdir()) == []
    scene.close()


def test_a_manifest_that_lies_about_the_whole_publishes_nothing(tmp_path: Path, made: Made, dest: Path) -> None:
    lie = msgspec.structs.replace(made.manifest, digest=format_digest("blake3", raw_digest("blake3", b"else")))
    scene = Scene(tmp_path, Made(lie, made.data, None))
    job = scene.fetch(dest)
    scene.run(job, lambda: job.over)
    (failed,) = scene.said(DownloadFailed)
    assert isinstance(failed, DownloadFailed)
    assert failed.code == "verification"
    assert list(dest.parent.iterdir()) == []
    assert scene.journal.get(lie.digest) is None
    scene.close()


def test_what_is_there_already_is_not_fetched(scene: Scene, dest: Path) -> None:
    dest.write_bytes(scene.made.data)
    job = scene.fetch(dest)
    scene.run(job, lambda: job.over)
    assert scene.said(DownloadFinished)
    assert scene.served == []


def test_other_content_at_the_destination_is_refused(scene: Scene, dest: Path) -> None:
    dest.write_bytes(b"mine")
    job = scene.fetch(dest)
    scene.run(job, lambda: job.over)
    (failed,) = scene.said(DownloadFailed)
    assert isinstance(failed, DownloadFailed)
    assert failed.code == "disk"
    assert dest.read_bytes() == b"mine"


def test_a_corrupt_piece_bans_its_source_and_is_reported(scene: Scene, dest: Path) -> None:
    scene.bad = {3}
    job = scene.fetch(dest)
    scene.run(job, lambda: bool(banned(scene)))
    assert banned(scene) == ["p1"]
    assert (scene.context.totals.failed_pieces, scene.context.totals.bans) == (1, 1)
    assert not dest.exists()
    job.cancel()
    scene.run(job, lambda: job.over)


def test_a_stopped_download_continues(tmp_path: Path, made: Made, dest: Path) -> None:
    scene = Scene(tmp_path, made)
    scene.limit = 5
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 5)
    scene.end(job)
    again = Scene(tmp_path, scene.made)
    job = again.fetch(dest)
    again.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data
    assert len(again.served) == scene.made.manifest.piece_count - 5
    again.close()


def test_cancelling_deletes_what_there_is(scene: Scene, dest: Path) -> None:
    scene.limit = 5
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 5)
    job.cancel()
    scene.run(job, lambda: job.over)
    assert list(dest.parent.iterdir()) == []
    assert scene.journal.get(scene.made.manifest.digest) is None
    assert scene.to_pieces[-1] == Unserve(scene.made.manifest.digest)
    assert scene.budget.under_way == 0


class FullDisk:
    """`Partial.write` fails from some piece on, until there is room again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        real = Partial.write

        def write(partial: Partial, piece: int, data: bytes) -> None:
            if self.room <= 0:
                raise NoSpaceError("the disk is full")
            self.room -= 1
            real(partial, piece, data)

        monkeypatch.setattr(Partial, "write", write)


def test_a_full_disk_pauses_and_nothing_verified_is_fetched_again(
    scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, 6)
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.phase() == "paused")
    assert "full" in scene.reports()[-1].detail
    assert not job.over
    before = scene.now
    disk.room = 1_000
    scene.served.clear()
    scene.run(job, lambda: job.over)
    assert scene.now - before >= DISK_RETRY_SECONDS - 0.1
    assert dest.read_bytes() == scene.made.data
    assert scene.reports()[-1].resumed_bytes == 0  # it came in this run
    assert scene.reports()[-1].received_bytes >= len(scene.made.data)
    assert len(scene.served) <= scene.made.manifest.piece_count - 6
    assert scene.budget.under_way == 0


@pytest.mark.parametrize(
    ("with_seed", "what"), [(False, "node.disk.seed_store._write"), (True, "node.disk.staging.Staging._lock")]
)
def test_out_of_descriptors_at_any_time_pauses_with_advice(
    scene: Scene, dest: Path, with_seed: bool, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(what, refuse)
        job = scene.fetch(dest, with_seed)
        scene.run(job, lambda: scene.phase() == "paused")
        assert "ulimit -n" in scene.reports()[-1].detail
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data


def test_cancelled_while_the_disk_is_full(scene: Scene, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FullDisk(monkeypatch, 3)
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.phase() == "paused")
    scene.run(job, lambda: not staging_is_locked(dest))
    job.cancel()
    scene.run(job, lambda: job.over)
    assert list(dest.parent.iterdir()) == []


def staging_is_locked(dest: Path) -> bool:
    lock = staging_path(dest) / "lock"
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_away_and_back(scene: Scene, dest: Path) -> None:
    scene.limit = 4
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 4)
    job.set_away(True)
    assert scene.phase() == "paused"
    assert scene.links.open == {}
    scene.limit = 100
    job.set_away(False)
    scene.run(job, lambda: job.over)
    assert dest.read_bytes() == scene.made.data


def test_what_grows_is_served_and_said_again(scene: Scene, dest: Path) -> None:
    scene.limit = 4
    job = scene.fetch(dest)
    scene.run(job, lambda: scene.reports()[-1].done_pieces == 4)
    scene.to_pieces.clear()
    job.serve()
    (serve,) = scene.to_pieces
    assert isinstance(serve, Serve)
    bits = Bitfield.from_bytes(serve.bits, scene.made.manifest.piece_count)
    assert bits.count_set == 4
    job.cancel()
    scene.run(job, lambda: job.over)
