"""One load test: start a tracker and the processes of clients, have all join, ask, and leave, and see that the tracker
is empty. Owns the order of things. What clients say is `cluster.load.client`'s, the figures `cluster.load.report`'s.
"""

from __future__ import annotations

import os
import time

from msgspec import Struct

from cluster.load.gauges import Gauges, Reading
from cluster.load.leftovers import leftovers
from cluster.load.messages import Phase
from cluster.load.report import LoadReport, Measured, Setting, build_report
from cluster.load.room import check_room, open_files_max, processes_for
from cluster.load.tally import total
from cluster.load.worker import WorkerSettings
from cluster.load.workers import Workers
from cluster.local import LocalCluster, LocalTracker, check_running
from cluster.measure import Meter
from cluster.progress import Screen
from cluster.report import Usage
from cluster.stopwatch import Stopwatch
from cluster.workplace import workplace
from protocol.errors import NetworkError

LISTEN_SECONDS = 0.2
RATE_SECONDS = 1.0
"""The rate on the screen is that of so long a time."""


class LoadPlan(Struct, frozen=True, kw_only=True):
    """``clients`` with ``files`` files each; the mix is asked for ``seconds``. ``seed`` decides what chance does."""

    clients: int
    files: int
    seconds: float
    seed: int


def run_load(plan: LoadPlan, screen: Screen) -> LoadReport:
    """Do it. Raises a `ZswarmError` when it could not even begin; what went wrong afterwards is in the report."""
    check_room(plan.clients, plan.files)
    clock = Stopwatch()
    processes = processes_for(plan.clients)
    with workplace(None, screen) as root, LocalCluster(root) as cluster:
        screen.stage("starting a tracker")
        cluster.start_tracker()
        with Workers(root, cluster.sockets, _settings(plan, processes, cluster.tracker)) as workers:
            measured = _Run(plan, cluster.tracker, workers, screen, clock).run()
            screen.stage("ending all processes")
    clock.next("end")
    setting = Setting(
        clients=plan.clients,
        processes=processes,
        files=plan.files,
        seconds=plan.seconds,
        seed=plan.seed,
        cores=os.cpu_count() or 1,
        open_files_max=open_files_max(),
    )
    return build_report(setting, measured, clock.seconds)


def _settings(plan: LoadPlan, processes: int, tracker: LocalTracker) -> list[WorkerSettings]:
    """The clients, shared evenly."""
    ends = [plan.clients * number // processes for number in range(processes + 1)]
    return [
        WorkerSettings(
            worker=number,
            first=ends[number],
            end=ends[number + 1],
            count=plan.clients,
            files=plan.files,
            seconds=plan.seconds,
            seed=plan.seed,
            registrar=tracker.endpoint,
            lookups=tuple(tracker.endpoints["lookups"]),
            control="",
        )
        for number in range(processes)
    ]


class _Run:
    def __init__(
        self, plan: LoadPlan, tracker: LocalTracker, workers: Workers, screen: Screen, clock: Stopwatch
    ) -> None:
        self._plan = plan
        self._tracker = tracker
        self._workers = workers
        self._screen = screen
        self._clock = clock

    def run(self) -> Measured:
        """All phases."""
        self._screen.stage(f"starting {self._plan.clients} clients")
        self._workers.start()
        while not self._workers.ready:
            self._listen()
        self._clock.next("start")
        self._settle(Phase.JOIN, "joining")
        self._clock.next("join")
        usage, reading = self._load()
        self._clock.next("load")
        self._settle(Phase.LEAVE, "leaving")
        self._clock.next("leave")
        left = self._look_around()
        return Measured(
            latest={phase: list(latest.values()) for phase, latest in self._workers.latest.items()},
            left=left,
            usage=usage,
            machine=reading.machine,
            busy=reading.roles,
        )

    def _settle(self, phase: Phase, text: str) -> None:
        """All join, or all leave."""
        self._screen.stage(text)
        self._workers.go(phase)
        while not self._workers.over(phase):
            self._listen()
            settled = sum(progress.settled for progress in self._workers.latest[phase].values())
            self._screen.step(f"{settled} of {self._plan.clients} clients{self._problems()}", time.monotonic())

    def _load(self) -> tuple[Usage, Reading]:
        """All ask what the mix has, for so long as it is to last."""
        self._screen.stage("load")
        pids = [self._tracker.program.pid, *self._workers.pids()]
        meter = Meter(lambda: pids)
        began = time.monotonic()
        meter.start(began)
        gauges = Gauges(pids, began)
        self._workers.go(Phase.LOAD)
        rate = _Rate()
        while not self._workers.over(Phase.LOAD):
            self._listen()
            now = time.monotonic()
            meter.sample(now)
            latest = self._workers.latest[Phase.LOAD].values()
            tally = total(progress.counts for progress in latest)
            seconds = max((progress.seconds for progress in latest), default=0.0)
            half = tally.whole().percentile(50) / 1_000
            what = f"{seconds:.0f} of {self._plan.seconds:g} s, {rate.of(tally.request_count, now):,.0f} requests/s"
            self._screen.step(f"{what}, half within {half:.1f} ms{self._problems()}", now)
        now = time.monotonic()
        return meter.finish(now), gauges.read(now)

    def _look_around(self) -> tuple[int, int] | None:
        """How many contents and members are left in the tracker, as of the last that any client did. What was measured
        is worth a report even if the tracker does not say."""
        states = [(progress.epoch, progress.seq) for progress in self._workers.latest[Phase.LEAVE].values()]
        try:
            return leftovers(self._tracker.endpoints["lookups"][0], *max(states))
        except NetworkError:
            return None

    def _listen(self) -> None:
        self._workers.listen(LISTEN_SECONDS)
        check_running([self._tracker.program], "the tracker")

    def _problems(self) -> str:
        """``, 3 errors``, over all phases."""
        progress = [one for latest in self._workers.latest.values() for one in latest.values()]
        count = total(one.counts for one in progress).error_count
        return f", {count} error{'s' * (count != 1)}"


class _Rate:
    """Requests a second of late, from their number so far."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def of(self, count: int, now: float) -> float:
        """``count`` requests were answered by ``now``, in monotonic seconds."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_SECONDS:
            del self._seen[0]
        (since, before) = self._seen[0]
        return (count - before) / (now - since) if now > since else 0.0
