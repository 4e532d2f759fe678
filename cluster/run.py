"""One run: start a cluster, share from the seeders, have all others get it at the same moment, verify every copy.

Owns the order of things and their time limits. Processes are `cluster.local`'s, the figures `cluster.report`'s.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from cluster.content import RANDOM_NAME, Original, check_space, copy_content, existing, make_random
from cluster.follow import Followed
from cluster.links import Links, notes_of
from cluster.local import REQUEST_SECONDS, LocalCluster, LocalPeer, accepted
from cluster.measure import Meter
from cluster.measured_links import MeasuredLinks, measured_links
from cluster.progress import Screen, note, percent
from cluster.report import Outcome, PeerResult, Report, Usage, build_report, peer_names
from cluster.stopwatch import Stopwatch
from cluster.tracker_outage import TrackerOutage
from cluster.verify import Reference
from cluster.workplace import workplace
from node.api_messages import ApiAccepted, ApiGet, ApiShare, JobStatus, StatusReport
from node.client.lines import gather, latest_statuses
from node.client.session import refused
from node.config import Algorithm
from protocol.errors import NetworkError
from protocol.manifest import piece_length_for
from service.units import format_bytes, format_seconds

TIMEOUT_SECONDS, TIMEOUT_FACTOR = 600.0, 10.0
"""Without a time limit: getting is given up after this, and so many times the bound where there is one."""
LOOK_SECONDS = 0.15
LOOK_SECONDS_PER_PEER = 0.01
"""How often peers are asked how it goes: seldom enough to leave the cores to them."""
SETTLE_SECONDS = 3.0
"""Peers report what they sent once a second: the last reports are waited for so long."""


class Plan(Struct, frozen=True, kw_only=True):
    """What to run. ``file`` None: ``size`` random bytes. ``keep`` None: nothing is left. ``timeout`` in seconds, None
    for one that suits the links. ``links`` None: as fast as this machine is; otherwise each peer has such a link of its
    own, which takes root. ``secure``: in a network with keys. ``kill_tracker``: one of the ``trackers`` dies meanwhile;
    the same is done without that before, for comparison. ``web``: trackers serve their pages, at free ports."""

    peers: int
    seeders: int
    file: Path | None
    size: int
    algorithm: Algorithm
    keep: Path | None
    timeout: float | None = None
    links: Links | None = None
    secure: bool = False
    trackers: int = 1
    kill_tracker: bool = False
    web: bool = False


def run_cluster(plan: Plan, screen: Screen) -> Report:
    """Do it. Raises a `ZswarmError` when it could not even begin; whoever did not get it is in the report."""
    before = None
    if plan.kill_tracker:
        before = run_cluster(msgspec.structs.replace(plan, kill_tracker=False, keep=None), screen)
    clock = Stopwatch()
    with workplace(plan.keep, screen) as root:
        original = existing(plan.file) if plan.file is not None else None
        size = plan.size if original is None else original.size
        check_space(root, size, plan.peers + (original is None))
        original = original or Original(root / RANDOM_NAME, RANDOM_NAME, size)
        with _measured_links(plan, size, screen, clock) as links:
            timeout = plan.timeout
            if timeout is None:
                timeout = TIMEOUT_SECONDS + (TIMEOUT_FACTOR * links.bound_s if links is not None else 0.0)
            hosts = links.hosts if links is not None else None
            settings = {"web": "127.0.0.1:0"} if plan.web else {}
            with LocalCluster(root, settings, plan.kill_tracker, hosts, plan.secure, plan.trackers) as cluster:
                run = _Run(plan, timeout, cluster, screen, clock)
                outcome = run.run(original)
                screen.stage("ending all processes")
    clock.next("end")
    if plan.links is not None and links is not None:
        notes = [*outcome.notes, *notes_of(plan.links, outcome.usage.busy if outcome.usage is not None else None)]
        outcome = msgspec.structs.replace(outcome, goodput=links.goodput, bound_s=links.bound_s, notes=notes)
    if before is not None and run.outage is not None:
        note = run.outage.note(outcome.wall_s, before.wall_s)
        outcome = msgspec.structs.replace(outcome, notes=[note, *outcome.notes])
    return build_report(outcome, clock.seconds)


@contextmanager
def _measured_links(plan: Plan, size: int, screen: Screen, clock: Stopwatch) -> Iterator[MeasuredLinks | None]:
    """The links that ``plan`` asks for."""
    if plan.links is None:
        yield None
        return
    with measured_links(plan.links, size, plan.seeders, plan.peers - plan.seeders, screen.stage) as links:
        clock.next("links")
        yield links


class _Run:
    def __init__(self, plan: Plan, timeout: float, cluster: LocalCluster, screen: Screen, clock: Stopwatch) -> None:
        self._plan = plan
        self._timeout = timeout
        self._cluster = cluster
        self._screen = screen
        self._clock = clock
        self._look_seconds = LOOK_SECONDS + LOOK_SECONDS_PER_PEER * plan.peers
        self.outage: TrackerOutage | None = None

    def run(self, original: Original) -> Outcome:
        """All of it, until every copy is verified."""
        peers = self._start()
        seeders, receivers = peers[: self._plan.seeders], peers[self._plan.seeders :]
        copies = self._give(original, seeders)  # while the others start
        self._wait_joined()
        self._clock.next("start")
        shared = self._share(copies)
        self._clock.next("share")
        followed = {peer: Followed(peer.name, shared.digest, shared.length) for peer in peers}
        began_at = time.monotonic()
        self.outage = TrackerOutage(self._cluster, began_at) if self._plan.kill_tracker else None
        usage = self._get(shared, {peer: followed[peer] for peer in receivers}, followed)
        ended_at = time.monotonic()
        self._settle(followed)
        if self.outage is not None:
            self.outage.end(time.monotonic())
        self._clock.next("get")
        self._screen.stage(f"verifying {len(peers)} copies")
        reference = Reference(original.path)
        results = [self._result(reference, followed[peer], copies.get(peer), began_at) for peer in peers]
        self._clock.next("verify")
        finished = [followed[peer].finished_at for peer in receivers]
        return Outcome(
            name=shared.name,
            size=shared.length,
            pieces=-(-shared.length // piece_length_for(shared.length)),
            digest=shared.digest,
            wall_s=(max(finished) if all(finished) else ended_at) - began_at,
            results=results,
            usage=usage,
        )

    # --- the phases --------------------------------------------------------------------------------------

    def _start(self) -> list[LocalPeer]:
        count = self._plan.peers
        trackers = "a tracker" if self._plan.trackers == 1 else f"{self._plan.trackers} trackers"
        self._screen.stage(f"starting {trackers} and {count} peers")
        self._cluster.start_tracker()
        return self._cluster.add_peers(peer_names(count))

    def _give(self, original: Original, seeders: Sequence[LocalPeer]) -> dict[LocalPeer, Path]:
        """Make the content, if need be, and a copy of it for each seeder."""
        self._screen.stage(f"copying {original.name}, {format_bytes(original.size)}, to {len(seeders)} of the peers")
        if self._plan.file is None:
            make_random(original)
        return {peer: copy_content(original, peer.download_dir) for peer in seeders}

    def _wait_joined(self) -> None:
        count = self._plan.peers
        self._screen.stage("waiting for the peers to join")
        self._cluster.wait_joined(
            joined=lambda number: self._screen.step(f"{number} of {count} in the network", time.monotonic())
        )

    def _share(self, copies: Mapping[LocalPeer, Path]) -> JobStatus:
        """Have each seeder share its copy, until the tracker lists it; the job of the first."""
        algorithm = self._plan.algorithm
        requests = {peer: ApiShare(peer.line.next_id(), str(path), algorithm) for peer, path in copies.items()}
        accepted = self._ask(requests)
        what = next(iter(copies.values())).name
        self._screen.stage(f"sharing {what}")
        done: dict[LocalPeer, JobStatus] = {}
        deadline = time.monotonic() + self._timeout
        while len(done) < len(copies):
            for peer, status in self._statuses([peer for peer in copies if peer not in done]).items():
                job = next(job for job in status.jobs if job.job == accepted[peer].job)
                if job.phase == "failed":
                    raise refused(job.code, f"{peer.name} cannot share {what}: {job.detail}")
                if job.phase == "done":
                    done[peer] = job
                share = 100 * job.done_bytes // job.length if job.length else 0
                self._screen.step(f"{job.phase} {share} %", time.monotonic())
            if time.monotonic() > deadline:
                raise NetworkError(f"{what} was not shared within {format_seconds(self._timeout)}")
        return next(iter(done.values()))

    def _get(
        self, shared: JobStatus, receivers: Mapping[LocalPeer, Followed], everyone: Mapping[LocalPeer, Followed]
    ) -> Usage:
        """Tell ``receivers`` to get ``shared`` at the same moment, and follow ``everyone`` until they are done."""
        meter = Meter(lambda: [program.pid for program in self._cluster.programs() if program.pid])
        meter.start(time.monotonic())
        page = f"; page at {self._cluster.tracker.page}" if self._plan.web else ""
        self._screen.stage(f"{len(receivers)} peers get {shared.name}, {format_bytes(shared.length)}{page}")
        deadline = time.monotonic() + self._timeout
        self._ask(
            {
                peer: ApiGet(peer.line.next_id(), shared.link, str(peer.download_dir), b"", False, False)
                for peer in receivers
            }
        )
        while not all(peer.over for peer in receivers.values()):
            for peer, status in self._statuses(list(everyone)).items():
                everyone[peer].update(status, time.monotonic())
            if self.outage is not None:
                done = sum(peer.done for peer in receivers.values())
                self.outage.step(done / (len(receivers) * shared.length or 1), time.monotonic())
            self._give_up(receivers, late=time.monotonic() > deadline)
            meter.sample(time.monotonic())
            self._screen.show(list(receivers.values()), time.monotonic())
        return meter.finish(time.monotonic())

    def _settle(self, followed: Mapping[LocalPeer, Followed]) -> None:
        """Until what was sent and what was received add up."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            for peer, status in self._statuses(list(followed)).items():
                followed[peer].update(status, time.monotonic())
            if sum(peer.sent for peer in followed.values()) >= sum(peer.received for peer in followed.values()):
                return

    def _result(self, reference: Reference, peer: Followed, seeded: Path | None, began_at: float) -> PeerResult:
        """Compare its copy with the original, whatever it said about it."""
        self._screen.step(peer.name, time.monotonic())
        error = peer.error
        if not error:
            what = reference.difference(seeded if seeded is not None else Path(peer.path))
            error = f"its copy is wrong: {what}" if what else ""
        return PeerResult(
            peer=peer.name,
            ok=not error,
            seeder=seeded is not None,
            seconds=peer.finished_at - began_at if seeded is None and peer.finished_at else None,
            sent=peer.sent,
            received=peer.received,
            sources=len(peer.sources),
            digest=peer.digest if seeded is not None or peer.finished_at else "",
            error=error,
        )

    # --- steps -------------------------------------------------------------------------------------------

    def _ask(self, requests: Mapping[LocalPeer, ApiShare | ApiGet]) -> dict[LocalPeer, ApiAccepted]:
        replies = gather({peer.line: message for peer, message in requests.items()}, REQUEST_SECONDS)
        return {peer: accepted(peer, replies.get(peer.line)) for peer in requests}

    def _statuses(self, peers: Sequence[LocalPeer]) -> dict[LocalPeer, StatusReport]:
        """What ``peers`` say now, at most one look in `LOOK_SECONDS`."""
        began = time.monotonic()
        found = latest_statuses({peer: peer.line for peer in peers}, self._look_seconds)
        time.sleep(max(0.0, began + self._look_seconds - time.monotonic()))
        return found

    def _give_up(self, receivers: Mapping[LocalPeer, Followed], late: bool) -> None:
        for peer, followed in receivers.items():
            code = peer.program.exit_code()
            if code is not None:
                followed.fail(f"its process ended with exit code {code}; it said last: {_last_line(peer)}")
            elif late:
                waited = format_seconds(self._timeout)
                followed.fail(f"not done after {waited}: {note(followed)}, {percent(followed)} %")


def _last_line(peer: LocalPeer) -> str:
    return next(iter(peer.program.log_tail()[-1:]), "nothing")
