"""One load test: start trackers and the processes of clients, have all join, ask, and leave, and see that the trackers
are empty. Owns the order of things. What clients say is `cluster.load.client`'s, the figures `cluster.load.report`'s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from cluster.load.gauges import Gauges
from cluster.load.leftovers import leftovers
from cluster.load.messages import Phase
from cluster.load.plan import LoadPlan
from cluster.load.report import LoadReport, Measured, Reading, Setting, build_report
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


def run_load(plan: LoadPlan, screen: Screen) -> LoadReport:
    """Do it. Raises a `ZswarmError` when it could not even begin; what went wrong afterwards is in the report."""
    check_room(plan.clients, plan.files, plan.idle)
    clock = Stopwatch()
    processes = processes_for(plan.clients, plan.idle)
    with workplace(None, screen) as root, LocalCluster(root, trackers=plan.trackers) as cluster:
        screen.stage("starting a tracker" if plan.trackers == 1 else f"starting {plan.trackers} trackers")
        cluster.start_tracker()
        settings = [
            one
            for number, tracker in enumerate(cluster.trackers)
            for one in _settings(plan, processes, number, tracker)
        ]
        with Workers(root, cluster.sockets, settings) as workers:
            measured = _Run(plan, cluster.trackers, workers, screen, clock).run()
            screen.stage("ending all processes")
    clock.next("end")
    setting = Setting(plan, processes * plan.trackers, os.cpu_count() or 1, open_files_max())
    return build_report(setting, measured, clock.seconds)


def _settings(plan: LoadPlan, processes: int, number: int, tracker: LocalTracker) -> list[WorkerSettings]:
    """The clients as members of ``tracker``, number ``number``, shared evenly. Trackers share nothing, so these are
    processes of their own."""
    ends = [plan.clients * process // processes for process in range(processes + 1)]
    return [
        WorkerSettings(
            worker=number * processes + process,
            tracker=number,
            first=ends[process],
            end=ends[process + 1],
            plan=plan,
            registrar=tracker.endpoint,
            roster=str(tracker.endpoints["roster"]),
            lookups=tuple(tracker.endpoints["lookups"]),
            control="",
        )
        for process in range(processes)
    ]


class _Run:
    def __init__(
        self, plan: LoadPlan, trackers: Sequence[LocalTracker], workers: Workers, screen: Screen, clock: Stopwatch
    ) -> None:
        self._plan = plan
        self._trackers = trackers
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
        latest = {phase: list(latest.values()) for phase, latest in self._workers.latest.items()}
        return Measured(latest, left, usage, reading)

    def _settle(self, phase: Phase, text: str) -> None:
        """All join, or all leave."""
        self._screen.stage(text)
        self._workers.go(phase)
        while not self._workers.over(phase):
            self._listen()
            settled = sum(progress.settled for progress in self._workers.latest[phase].values())
            count = self._plan.clients * self._plan.trackers
            self._screen.step(f"{settled} of {count} clients{self._problems()}", time.monotonic())

    def _load(self) -> tuple[Usage, Reading]:
        """All ask what the mix has, for so long as it is to last."""
        self._screen.stage("load")
        pids = [*(tracker.program.pid for tracker in self._trackers), *self._workers.pids()]
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
        """How many contents and members are left in the trackers, as of the last that any client did. What was measured
        is worth a report even if one does not say."""
        contents = members = 0
        for number, tracker in enumerate(self._trackers):
            latest = self._workers.latest[Phase.LEAVE].values()
            state = max((progress.epoch, progress.seq) for progress in latest if progress.tracker == number)
            try:
                left = leftovers(tracker.endpoints["lookups"][0], *state)
            except NetworkError:
                return None
            contents, members = contents + left[0], members + left[1]
        return contents, members

    def _listen(self) -> None:
        self._workers.listen(LISTEN_SECONDS)
        check_running([tracker.program for tracker in self._trackers], "the tracker")

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
