"""Figures in Prometheus' text format. Whoever gives them sees to it that names end in their unit, and that labels have
few values, none of which comes from a stranger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.responses import Response

from protocol.limits import PROTOCOL_VERSION


class Families:
    """Metrics whose names begin with ``prefix``, the version of the protocol first. Names are given without it, and
    those of counters without ``_total``."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._families: list[Metric] = []
        self.gauges("info", "Version of the protocol.", "protocol", {str(PROTOCOL_VERSION): 1})

    def collect(self) -> Iterable[Metric]:
        """All of them, as prometheus_client asks for them."""
        return self._families

    def gauge(self, name: str, text: str, value: float) -> None:
        self._families.append(GaugeMetricFamily(self._prefix + name, text, value=value))

    def counter(self, name: str, text: str, value: float) -> None:
        self._families.append(CounterMetricFamily(self._prefix + name, text, value=value))

    def gauges(self, name: str, text: str, label: str, values: Mapping[str, float]) -> None:
        """One for each value of ``label``."""
        self._add(GaugeMetricFamily(self._prefix + name, text, labels=[label]), values)

    def counters(self, name: str, text: str, label: str, values: Mapping[str, float]) -> None:
        """One for each value of ``label``."""
        self._add(CounterMetricFamily(self._prefix + name, text, labels=[label]), values)

    def _add(self, family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]) -> None:
        for value, count in values.items():
            family.add_metric([value], count)
        self._families.append(family)


def exposed(families: Families) -> Response:
    """``families``, and those of this process, as an answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(families)
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")
