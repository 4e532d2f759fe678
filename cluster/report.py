"""The report of a run: what happened to each peer, and the figures that sum it up. Pure.

Every time runs from the moment all peers were told to get, to a verified rename. Every ratio is of the content's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from msgspec import Struct

MIB = 1024 * 1024
GIB = 1024 * MIB
ROLES = ("registrar", "lookup", "agent", "piece_server", "downloader")


class PeerResult(Struct, frozen=True, kw_only=True):
    """One peer. ``ok``: its copy is the same as the original, byte for byte. ``seconds`` is None for a seeder, which
    had it from the start, and for whoever did not finish. ``sent`` and ``received`` are bytes of pieces over the wire,
    ``sources`` how many peers gave it some. ``error`` is empty when ``ok``."""

    peer: str
    ok: bool
    seeder: bool = False
    seconds: float | None = None
    sent: int = 0
    received: int = 0
    sources: int = 0
    digest: str = ""
    error: str = ""


class Usage(Struct, frozen=True, kw_only=True):
    """Of all processes of tracker and peers while the peers were getting: CPU seconds by role, and the largest
    resident memory any process of a role had, in bytes. ``busy``: the part of the time for which this machine's
    processors were, whatever with."""

    cpu_s: Mapping[str, float]
    max_rss: Mapping[str, int]
    busy: float = 0.0


class Prediction(Struct, frozen=True, kw_only=True):
    """Of a simulated run. ``real_pieces``: those the content has; fewer may have been simulated, and then
    ``estimate_s`` is when the last would be done with all of them; None when not all were."""

    estimate_s: float | None
    real_pieces: int


class Outcome(Struct, frozen=True, kw_only=True):
    """What happened: the content, ``wall_s`` as in `Report`, one result for each peer, and what it cost. A simulated
    run has no ``usage`` but a ``prediction``. Over links that are known there is ``bound_s``: no protocol could be done
    sooner; and if they are real, the ``goodput`` of one pair alone in bytes/s. ``notes``: what a person has to know
    about the figures."""

    name: str
    size: int
    pieces: int
    digest: str
    wall_s: float
    results: list[PeerResult]
    usage: Usage | None
    prediction: Prediction | None = None
    goodput: float | None = None
    bound_s: float | None = None
    notes: Sequence[str] = ()


class Report(Struct, frozen=True, kw_only=True):
    """``wall_s``: until the last verified rename, or until it was given up. ``median_s`` and ``last_s`` are over those
    who finished, None when nobody did. ``aggregate_mib_s``: the content times those who finished, by ``last_s``.
    ``seeder_sent_ratio``: what all seeders sent. ``received_ratio``: what a receiver received on average; above 1 there
    were duplicates. ``cpu_busy`` as in `Usage`. ``cpu_s_per_gib``: per GiB delivered. ``phases``: seconds of links,
    start, share, get, verify, end, as far as there are such.

    Over links that are known, and None otherwise: ``bound_s`` as in `Outcome`; ``ratio`` of ``last_s`` to it, once all
    have finished. ``goodput_mib_s``: of a real run, what one pair alone moved over them; its bound is that of links
    which do just that.

    Of a run that was ``simulated``, and None otherwise: ``estimate_s`` and ``real_pieces`` as in `Prediction`. Its
    ``pieces`` are those that were simulated, its times virtual (not those of ``phases``), and it has no figures of CPU
    and memory.
    """

    simulated: bool
    ok: bool
    verified: int
    peers: int
    seeders: int
    name: str
    size: int
    pieces: int
    digest: str
    wall_s: float
    median_s: float | None
    last_s: float | None
    aggregate_mib_s: float | None
    goodput_mib_s: float | None
    bound_s: float | None
    ratio: float | None
    estimate_s: float | None
    real_pieces: int | None
    notes: list[str]
    seeder_sent_ratio: float | None
    received_ratio: float | None
    cpu_s: float
    cpu_busy: float | None
    cpu_s_per_gib: float | None
    cpu_s_by_role: dict[str, float]
    max_rss_mib: dict[str, float]
    phases: dict[str, float]
    results: list[PeerResult]


def peer_names(count: int) -> list[str]:
    """``peer-01`` and on, as wide as they have to be to sort; the seeders are the first."""
    width = max(2, len(str(count)))
    return [f"peer-{number:0{width}}" for number in range(1, count + 1)]


def build_report(outcome: Outcome, phases: Mapping[str, float]) -> Report:
    """Sum up ``outcome``; ``phases`` as in `Report`."""
    results, size, prediction = outcome.results, outcome.size, outcome.prediction
    usage = outcome.usage or Usage(cpu_s={}, max_rss={})
    seeders = [result for result in results if result.seeder]
    receivers = [result for result in results if not result.seeder]
    seconds = [result.seconds for result in receivers if result.seconds is not None]
    last = max(seconds, default=None)
    delivered = size * len(seconds)
    cpu_s = sum(usage.cpu_s.values(), 0.0)
    verified = sum(result.ok for result in results)
    rss = {role: usage.max_rss.get(role, 0) for role in (*ROLES, *usage.max_rss)} if outcome.usage else {}
    return Report(
        simulated=prediction is not None,
        ok=verified == len(results),
        verified=verified,
        peers=len(results),
        seeders=len(seeders),
        name=outcome.name,
        size=size,
        pieces=outcome.pieces,
        digest=outcome.digest,
        wall_s=round(outcome.wall_s, 4),
        median_s=_rounded(median(seconds) if seconds else None),
        last_s=_rounded(last),
        aggregate_mib_s=_ratio(delivered / MIB, last or 0),
        goodput_mib_s=None if outcome.goodput is None else _ratio(outcome.goodput, MIB),
        bound_s=_rounded(outcome.bound_s),
        ratio=_ratio(last or 0.0, outcome.bound_s or 0.0) if len(seconds) == len(receivers) else None,
        estimate_s=None if prediction is None else _rounded(prediction.estimate_s),
        real_pieces=None if prediction is None else prediction.real_pieces,
        notes=list(outcome.notes),
        seeder_sent_ratio=_ratio(sum(result.sent for result in seeders), size),
        received_ratio=_ratio(sum(result.received for result in receivers), size * len(receivers)),
        cpu_s=round(cpu_s, 3),
        cpu_busy=None if outcome.usage is None else round(usage.busy, 3),
        cpu_s_per_gib=_ratio(cpu_s, delivered / GIB) if outcome.usage else None,
        cpu_s_by_role={role: round(value, 3) for role, value in usage.cpu_s.items()},
        max_rss_mib={role: round(value / MIB, 1) for role, value in rss.items()},
        phases={phase: round(value, 3) for phase, value in phases.items()},
        results=results,
    )


def _ratio(value: float, of: float) -> float | None:
    return round(value / of, 4) if of else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
