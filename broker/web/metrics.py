"""What /metrics says, in Prometheus' text format. Names end in their unit; labels have few values, none of which comes
from a peer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from broker.web.questions import Figures
from protocol.limits import PROTOCOL_VERSION


class _Families:
    """A collector of what is there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(figures: Figures, streams: int) -> bytes:
    """``streams`` are the viewers of the page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(_families(figures, streams)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _families(figures: Figures, streams: int) -> Iterator[Metric]:
    tracker, totals = figures.tracker, figures.totals
    yield _gauge("info", "Version of the protocol.", 1, {"protocol": str(PROTOCOL_VERSION)})
    yield _gauge("up", "1 while the page is fed by the registrar.", int(is_fed(figures)))
    yield _gauge("start_time_seconds", "When the registrar started, in seconds since 1970.", tracker.started)
    yield _gauge("settling", "1 while members may be missing after a start.", int(tracker.state == "settling"))
    yield _gauge("replica_silent_seconds", "Since the registrar was last heard.", tracker.silent_seconds)
    yield _gauge("lookups", "Lookup processes that are configured.", tracker.lookups)
    yield _gauge("lookups_following", "Lookup processes that can answer.", tracker.lookups_following)
    yield _counter("changes", "Numbered changes of the registry since the registrar's start.", tracker.changes)
    requests = CounterMetricFamily("zswarm_tracker_requests", "Requests of peers by kind.", labels=["kind"])
    for kind, count in tracker.requests.items():
        requests.add_metric([_snake(kind)], count)
    yield requests
    gone = CounterMetricFamily(
        "zswarm_tracker_peers_gone", "Peers that left, or fell silent, since the page started.", labels=["why"]
    )
    gone.add_metric(["left"], figures.left)
    gone.add_metric(["silent"], figures.lost)
    yield gone
    yield _gauge("page_streams", "Viewers of the page.", streams)
    if totals is None:
        return
    yield _gauge("peers", "Members of the network.", totals.peers)
    yield _gauge("contents", "Contents that somebody has or wants.", totals.contents)
    yield _by("entries", "Contents in all peers' lists, by what the peer has of them.", "holding", figures.holdings)
    yield _by("downloads", "Downloads that peers report, by state.", "state", figures.downloads)
    yield _gauge("download_rate_bytes_per_second", "All downloads together.", totals.rate)
    yield _gauge("upload_sessions", "Upload sessions that peers report.", totals.uploads)
    yield _gauge("orders", "Orders that peers give.", totals.orders)


def is_fed(figures: Figures) -> bool:
    """Whether the replica is there and hears from the registrar."""
    return figures.totals is not None and figures.tracker.state not in ("starting", "silent")


def _gauge(name: str, text: str, value: float, labels: dict[str, str] | None = None) -> Metric:
    family = GaugeMetricFamily(f"zswarm_tracker_{name}", text, labels=list(labels or {}))
    family.add_metric(list((labels or {}).values()), value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"zswarm_tracker_{name}", text, value=value)


def _by(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"zswarm_tracker_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _snake(kind: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
