"""What the clients of a phase counted: durations by kind of request, and what went wrong. Pure.

Kept by each process of clients, sent to the run, and added up there.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from cluster.load.histogram import Histogram

KINDS_COUNT_MAX = 100
"""Of errors: more would tell nobody more."""
DETAIL_CHARS_MAX = 300


class RequestCounts(Struct, frozen=True):
    """Durations of all requests of one kind, as `Histogram` has them."""

    request: str
    longest_us: int
    buckets: list[tuple[int, int]]


class ErrorCounts(Struct, frozen=True):
    """``count`` errors of one ``kind`` with one kind of ``request``; ``example`` says what the first one was."""

    request: str
    kind: str
    count: int
    example: str


class Counts(Struct, frozen=True):
    """All of a tally, to be sent."""

    requests: list[RequestCounts]
    errors: list[ErrorCounts]


class Tally:
    """``requests`` are the durations by kind of request, ``error_count`` is how often something was wrong."""

    def __init__(self) -> None:
        self.requests: dict[str, Histogram] = {}
        self.error_count = 0
        self._errors: dict[tuple[str, str], ErrorCounts] = {}

    @property
    def request_count(self) -> int:
        """How many requests were answered."""
        return sum(histogram.count for histogram in self.requests.values())

    def answered(self, request: str, seconds: float) -> None:
        """A ``request`` of this kind had its reply after so many ``seconds``."""
        histogram = self.requests.get(request)
        if histogram is None:
            histogram = self.requests[request] = Histogram()
        histogram.record(round(seconds * 1_000_000))

    def failed(self, request: str, kind: str, example: str, count: int = 1) -> None:
        """Something was wrong with a ``request`` of this kind."""
        self.error_count += count
        key = (request, kind)
        if key not in self._errors and len(self._errors) >= KINDS_COUNT_MAX:
            key = (request, "other")
        known = self._errors.get(key)
        if known is not None:
            count, example = known.count + count, known.example
        self._errors[key] = ErrorCounts(*key, count, example[:DETAIL_CHARS_MAX])

    def errors(self) -> list[ErrorCounts]:
        """All kinds of them, the most frequent first."""
        return sorted(self._errors.values(), key=lambda error: (-error.count, error.request, error.kind))

    def whole(self) -> Histogram:
        """The durations of all requests together."""
        whole = Histogram()
        for histogram in self.requests.values():
            whole.add(histogram.pairs(), histogram.longest)
        return whole

    def counts(self) -> Counts:
        """All of it."""
        requests = [
            RequestCounts(name, histogram.longest, histogram.pairs()) for name, histogram in self.requests.items()
        ]
        return Counts(requests, list(self._errors.values()))

    def add(self, counts: Counts) -> None:
        """Add up what another one has counted."""
        for request in counts.requests:
            self.requests.setdefault(request.request, Histogram()).add(request.buckets, request.longest_us)
        for error in counts.errors:
            self.failed(error.request, error.kind, error.example, error.count)


def total(counts: Iterable[Counts]) -> Tally:
    """The sum of ``counts``."""
    tally = Tally()
    for one in counts:
        tally.add(one)
    return tally
