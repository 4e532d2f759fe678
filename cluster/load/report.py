"""The report of a load test: how much a tracker answered, how fast, what it cost, and what kept it from more. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from cluster.load.histogram import Histogram
from cluster.load.messages import Phase, Progress
from cluster.load.mix import MIX
from cluster.load.plan import LoadPlan
from cluster.load.tally import ErrorCounts, Tally, total
from cluster.report import MIB, Usage

BUSY_SHARE = 0.9
"""A main thread that is busy for so much of the time has no time left: the rest are the moments it waits for a core."""
MACHINE_SHARE = 0.95
"""So are all cores together."""
TRACKER_ROLES = ("registrar", "lookup")
CLIENTS_ROLE = "clients"
ROLES = (*TRACKER_ROLES, "supervisor", CLIENTS_ROLE)
REQUESTS_TO = {
    "registrar": ("Join", "FileList", "Heartbeat", "Update", "Leave"),
    "lookup": ("GetTorrentList", "GetSeederList"),
}
REQUESTS = tuple(request for requests in REQUESTS_TO.values() for request in requests)
_NOTES = (
    "clients and trackers share this machine's cores: with the clients elsewhere a tracker has more of them",
    "times are what a client sees: a reply also waits for its turn in the process of clients",
    "traffic is what went over loopback, of other programs too, with the headers of TCP and IP",
)
ASKING_NOTES = (
    *_NOTES,
    "one request at a time each, as fast as the tracker answers; an idle peer asks once in 5 s",
    "the clients do not subscribe to the roster",
)
IDLE_NOTES = (*_NOTES, "the clients subscribe to the roster, send heartbeats, and ask nothing")

Limit = Literal["registrar", "lookup", "machine", "clients", "none"]


class RequestFigures(Struct, frozen=True, kw_only=True):
    """All requests of one kind while the load was on: how many were answered, how many a second, in how many
    milliseconds (percentiles), and how many errors there were."""

    request: str
    count: int
    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    errors: int


class RoleFigures(Struct, frozen=True, kw_only=True):
    """All processes of one role, at whatever tracker, while the load was on. ``cpu_s``: of all of them and all their
    threads. ``busy``: the share of the time for which the main thread of the busiest of them was. ``open_files`` and
    ``peak_mib``: the most of one process. ``requests_per_cpu_s``: how many were answered for a second of CPU time; None
    for a role that answers nothing."""

    role: str
    processes: int
    cpu_s: float
    requests_per_cpu_s: float | None
    busy: float
    peak_mib: float
    open_files: int


class PhaseFigures(Struct, frozen=True, kw_only=True):
    """``clients`` of them have joined, or left, in so many ``seconds``, counted once at each tracker."""

    clients: int
    seconds: float


class Gauge(NamedTuple):
    """Of all processes of a role: how many there are, the share of the time for which the busiest main thread was busy
    (0 to 1), and the most files that one of them has open."""

    processes: int
    busy: float
    open_files: int


class Reading(NamedTuple):
    """``roles`` by name. ``loopback_bytes``: all that was sent to an address of this machine, by whomever, headers
    included."""

    roles: dict[str, Gauge]
    loopback_bytes: int


class Measured(NamedTuple):
    """What a run measured. ``latest``: the last progress of each process by phase. ``left``: how many contents and
    members the trackers listed at the end, None when one did not say. ``usage`` and ``reading``: while the load was
    on."""

    latest: Mapping[Phase, Sequence[Progress]]
    left: tuple[int, int] | None
    usage: Usage
    reading: Reading


class TrackerCost(Struct, frozen=True, kw_only=True):
    """What one tracker cost while the load was on, the mean of all: ``mib``, all its processes' memory; ``cores``, how
    many were busy with it; ``bytes_per_s``, what it received and sent."""

    mib: float
    cores: float
    bytes_per_s: float


class LoadReport(Struct, frozen=True, kw_only=True):
    """``ok``: there was no error, all clients joined and left, and nothing was left in the trackers. ``mix``:
    operations of a kind in a hundred; empty where all were ``idle``. ``requests``: by kind, and ``all_requests``
    together. ``errors``: of all phases. ``asked_again``: how often a lookup was behind and was asked again.
    ``left_contents`` and ``left_members``: what the trackers listed when all had left, at most a page of each; None
    when one did not say. ``busy_cores``: of the machine's ``cores``, so many were busy with the trackers, the clients,
    and other programs, on average. ``limit``: what kept the trackers from answering more. ``open_files_max``: of one
    process.
    """

    ok: bool
    clients: int
    trackers: int
    processes: int
    files: int
    seconds: float
    idle: bool
    seed: int
    mix: dict[str, int]
    all_requests: RequestFigures
    requests: list[RequestFigures]
    errors: list[ErrorCounts]
    error_count: int
    asked_again: int
    joined: PhaseFigures
    left: PhaseFigures
    left_contents: int | None
    left_members: int | None
    cores: int
    busy_cores: dict[str, float]
    tracker: TrackerCost
    limit: Limit
    roles: list[RoleFigures]
    open_files_max: int
    notes: list[str]
    phases: dict[str, float]


class Setting(NamedTuple):
    """What was run, in so many ``processes`` of clients, and on what machine."""

    plan: LoadPlan
    processes: int
    cores: int
    open_files_max: int


def build_report(setting: Setting, measured: Measured, phases: Mapping[str, float]) -> LoadReport:
    """Sum up ``measured``; ``phases``: seconds of each part of the run."""
    plan = setting.plan
    everything = total(progress.counts for phase in measured.latest.values() for progress in phase)
    load = total(progress.counts for progress in measured.latest[Phase.LOAD])
    seconds = max((progress.seconds for progress in measured.latest[Phase.LOAD]), default=0.0)
    joined, left = (_phase(measured.latest[phase]) for phase in (Phase.JOIN, Phase.LEAVE))
    contents, members = measured.left or (None, None)
    all_in_and_out = joined.clients == left.clients == plan.clients * plan.trackers
    roles = _roles(measured, load)
    return LoadReport(
        ok=not everything.error_count and measured.left == (0, 0) and all_in_and_out,
        clients=plan.clients,
        trackers=plan.trackers,
        processes=setting.processes,
        files=plan.files,
        seconds=round(seconds, 3),
        idle=plan.idle,
        seed=plan.seed,
        mix={} if plan.idle else {operation.value: count for operation, count in MIX.items()},
        all_requests=_figures("all", load.whole(), seconds, load.error_count),
        requests=_by_kind(load, seconds),
        errors=everything.errors(),
        error_count=everything.error_count,
        asked_again=sum(progress.asked_again for progress in measured.latest[Phase.LEAVE]),
        joined=joined,
        left=left,
        left_contents=contents,
        left_members=members,
        cores=setting.cores,
        busy_cores=_busy_cores(setting, measured, seconds),
        tracker=_cost(plan.trackers, measured, roles, seconds),
        limit=limit_of(measured.usage.busy, measured.reading.roles),
        roles=roles,
        open_files_max=setting.open_files_max,
        notes=list(IDLE_NOTES if plan.idle else ASKING_NOTES),
        phases={phase: round(value, 3) for phase, value in phases.items()},
    )


def limit_of(machine: float, roles: Mapping[str, Gauge]) -> Limit:
    """What had no time left: a process of the tracker, all cores together, the clients; or nothing of these."""
    busy = {role: gauge.busy for role, gauge in roles.items()}
    registrar, lookup = (busy.get(role, 0.0) for role in TRACKER_ROLES)
    if max(registrar, lookup) >= BUSY_SHARE:
        return "registrar" if registrar >= lookup else "lookup"
    if machine >= MACHINE_SHARE:
        return "machine"
    return "clients" if busy.get(CLIENTS_ROLE, 0.0) >= BUSY_SHARE else "none"


def _by_kind(tally: Tally, seconds: float) -> list[RequestFigures]:
    errors: dict[str, int] = {}
    for error in tally.errors():
        errors[error.request] = errors.get(error.request, 0) + error.count
    names = sorted({*tally.requests, *errors}, key=_place_in(REQUESTS))
    return [_figures(name, tally.requests.get(name, Histogram()), seconds, errors.get(name, 0)) for name in names]


def _figures(request: str, histogram: Histogram, seconds: float, errors: int) -> RequestFigures:
    return RequestFigures(
        request=request,
        count=histogram.count,
        per_s=round(histogram.count / seconds, 1) if seconds else 0.0,
        p50_ms=histogram.percentile(50) / 1_000,
        p90_ms=histogram.percentile(90) / 1_000,
        p99_ms=histogram.percentile(99) / 1_000,
        max_ms=histogram.longest / 1_000,
        errors=errors,
    )


def _phase(progress: Sequence[Progress]) -> PhaseFigures:
    seconds = max((one.seconds for one in progress), default=0.0)
    return PhaseFigures(clients=sum(one.settled for one in progress), seconds=round(seconds, 3))


def _cost(trackers: int, measured: Measured, roles: Sequence[RoleFigures], seconds: float) -> TrackerCost:
    own = [role for role in roles if role.role != CLIENTS_ROLE]
    each = 1 / (seconds * trackers) if seconds else 0.0
    return TrackerCost(
        mib=round(sum(role.peak_mib * role.processes for role in own) / trackers, 1),
        cores=round(sum(role.cpu_s for role in own) * each, 3),
        bytes_per_s=round(measured.reading.loopback_bytes * each),
    )


def _busy_cores(setting: Setting, measured: Measured, seconds: float) -> dict[str, float]:
    cpu_s = measured.usage.cpu_s
    clients = cpu_s.get(CLIENTS_ROLE, 0.0)
    tracker = sum(cpu_s.values()) - clients
    both = {"tracker": tracker / seconds, "clients": clients / seconds} if seconds else {"tracker": 0.0, "clients": 0.0}
    other = max(0.0, measured.usage.busy * setting.cores - sum(both.values()))
    return {who: round(cores, 2) for who, cores in (*both.items(), ("other programs", other))}


def _roles(measured: Measured, load: Tally) -> list[RoleFigures]:
    by_place = _place_in(ROLES)
    return [
        RoleFigures(
            role=role,
            processes=gauge.processes,
            cpu_s=round(measured.usage.cpu_s.get(role, 0.0), 2),
            requests_per_cpu_s=_per_cpu_second(role, measured.usage.cpu_s.get(role, 0.0), load),
            busy=round(gauge.busy, 3),
            peak_mib=round(measured.usage.max_rss.get(role, 0) / MIB, 1),
            open_files=gauge.open_files,
        )
        for role, gauge in sorted(measured.reading.roles.items(), key=lambda item: by_place(item[0]))
    ]


def _per_cpu_second(role: str, cpu_s: float, load: Tally) -> float | None:
    if role not in REQUESTS_TO or not cpu_s:
        return None
    count = sum(load.requests[request].count for request in REQUESTS_TO[role] if request in load.requests)
    return round(count / cpu_s, 1)


def _place_in(order: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    """Sorts names as ``order`` has them, and others behind."""
    return lambda name: (order.index(name) if name in order else len(order), name)
