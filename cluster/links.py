"""What the links of a run can do, so how soon it could be done at best, and what to know of real ones. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from cluster.bound import kumar_ross
from protocol.errors import UsageError
from service.units import format_link_rate, parse_rate

REAL_RATE_MIN = "1mbit"
BUSY_PART = 0.9
"""Processors that are busy for more of the time have been the limit now and then."""


class Links(Struct, frozen=True):
    """``rate`` of every link, up and down each, in bytes/s; but the receivers' uplinks have ``up_rates`` in turn where
    there are any."""

    rate: float
    up_rates: Sequence[float] = ()

    def ups(self, receivers: int) -> list[float]:
        """The uplink of each receiver."""
        rates = self.up_rates or [self.rate]
        return [rates[number % len(rates)] for number in range(receivers)]

    def bound(self, size: int, seeders: int, receivers: int, part: float = 1.0) -> float:
        """Seconds before which nobody could have given ``size`` bytes to all, when content can have ``part`` of what
        the links do."""
        rate = part * self.rate
        ups = [part * up for up in self.ups(receivers)]
        return kumar_ross(size, [rate] * seeders, ups, [rate] * receivers)

    def __str__(self) -> str:
        """``links of 40 Mbit/s both ways``."""
        text = f"links of {format_link_rate(self.rate)} both ways"
        if self.up_rates:
            text += f", but receivers' uplinks of {', '.join(map(format_link_rate, self.up_rates))} in turn"
        return text


def parse_link_rate(text: str) -> float:
    """What a link can do, ``40mbit`` or ``100 MiB/s``, in bytes/s. Raises `UsageError`."""
    rate = parse_rate(text)
    if not rate:
        raise UsageError(f"{text!r}: over such a link nothing ever arrives")
    return rate


def check_real_rate(rate: float) -> None:
    """`UsageError` for a link that is slower than can be made on one machine."""
    if rate < parse_rate(REAL_RATE_MIN):
        raise UsageError(f"real links have at least {REAL_RATE_MIN}; slower ones with --simulate")


def notes_of(links: Links, busy: float | None) -> Iterator[str]:
    """What a person has to know about the figures of a run over real ``links`` that kept the processors ``busy`` for
    this part of the time."""
    yield f"{links}, made of network namespaces of this machine"
    if busy is not None and busy > BUSY_PART:
        yield f"its processors were {busy_note(busy)}"


def busy_note(busy: float) -> str:
    """Of processors that were the limit."""
    return f"busy for {busy:.0%} of the time, so they count too and not the links alone"
