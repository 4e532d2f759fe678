"""What `tracker` measures, and what is asked of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from msgspec import Struct

from benchmarks.comparison import Row, Target, row, rows

LATENCIES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
"""By name, the part of all requests that is answered at least as fast."""
RATE_LIMIT = 0.7
ENTRY_BYTES_LIMIT = 200.0
ENTRIES_COUNT_MIN = 1_000_000
"""With fewer, most of the memory is what a tracker needs anyway, and says nothing about an entry."""


class Case(NamedTuple):
    """Requests of one kind: ``ours`` answers them, ``echo`` something of the same size."""

    name: str
    ours: str
    echo: str
    targets: tuple[Target, ...]


def _case(request: str, server: str) -> Case:
    echo = f"echo for the {server}"
    target = Target(f"{request}s a second over the echo", echo, "requests_s", RATE_LIMIT, at_least=True)
    return Case(request, f"{server}, {request}", echo, (target,))


HEARTBEAT, SEEDERS = _case("Heartbeat", "registrar"), _case("GetSeederList", "lookup")
CASES = (HEARTBEAT, SEEDERS)
_ENTRY = Target("registrar: bytes of memory for each entry", "", "entry_bytes", ENTRY_BYTES_LIMIT, at_least=False)


class Served(Struct, frozen=True):
    """One server in one round. ``cpu_us`` is what it used for a request, ``client_cpu_us`` what the client did."""

    requests_s: float
    cpu_us: float
    client_cpu_us: float
    p50_ms: float
    p99_ms: float
    p999_ms: float


class Registered(Struct, frozen=True):
    """One tracker that got to know so many ``entries``, and again after its registrar was killed.

    Memory in bytes, resident, before and after; seconds until all are members, and until a lookup knows it; seconds of
    CPU time of the new registrar until then, and of the lookup.
    """

    entries: int
    registrar_before: int
    registrar_after: int
    registrar_peak: int
    lookup_before: int
    lookup_after: int
    members_s: float
    lookup_s: float
    registrar_cpu_s: float
    lookup_cpu_s: float
    peers_cpu_s: float

    @property
    def entry_bytes(self) -> float:
        return (self.registrar_after - self.registrar_before) / self.entries

    @property
    def peak_entry_bytes(self) -> float:
        """Of the most memory the registrar had on its way there."""
        return (self.registrar_peak - self.registrar_before) / self.entries

    @property
    def lookup_entry_bytes(self) -> float:
        return (self.lookup_after - self.lookup_before) / self.entries


def served(count: int, seconds: float, cpu_s: float, client_cpu_s: float, latencies_ms: Mapping[str, float]) -> Served:
    """``count`` requests in ``seconds``, with the latencies of `LATENCIES`."""
    return Served(
        round(count / seconds),
        round(cpu_s * 1e6 / count, 2),
        round(client_cpu_s * 1e6 / count, 2),
        *(round(latencies_ms[name], 3) for name in LATENCIES),
    )


def percentile(ascending: Sequence[float], part: float) -> float:
    """The smallest of the values that at least ``part`` of them do not exceed; one of ``ascending``, not empty."""
    return ascending[max(0, ceil(part * len(ascending)) - 1)]


def ratios(rounds: Sequence[Mapping[str, Served]], case: Case) -> list[float]:
    """Requests a second over those of the echo, of each round."""
    return [found[case.ours].requests_s / found[case.echo].requests_s for found in rounds]


def result_rows(rounds: Sequence[Mapping[str, Served]], registered: Sequence[Registered]) -> Iterator[Row]:
    """What was measured against all targets it says something about."""
    for case in CASES:
        yield from rows(case.name, case.ours, case.targets, rounds)
    if registered and registered[0].entries >= ENTRIES_COUNT_MIN:
        yield row("registry", _ENTRY, [one.entry_bytes for one in registered])


MEMORY_FIGURES: Mapping[str, Callable[[Registered], float]] = {
    "registrar": lambda one: one.entry_bytes,
    "registrar, at its peak": lambda one: one.peak_entry_bytes,
    "lookup": lambda one: one.lookup_entry_bytes,
}
"""Bytes for each entry."""
REBUILD_FIGURES: Mapping[str, Callable[[Registered], float]] = {
    "until all are members again": lambda one: one.members_s,
    "until a lookup knows all": lambda one: one.lookup_s,
    "CPU of the registrar": lambda one: one.registrar_cpu_s,
    "CPU of the lookup": lambda one: one.lookup_cpu_s,
    "CPU of the light peers": lambda one: one.peers_cpu_s,
}
"""Seconds from the kill of the registrar."""
