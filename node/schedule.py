"""Rate limits that depend on the hour of the week, and which limits hold now and why. Pure.

Time is the minute of the local week, Monday 00:00 being 0, and an argument. What holds follows from it alone, and not
from what it was before: so a clock may jump, and daylight saving skip or repeat an hour.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from node.rate_limit import UNLIMITED, Rate, RateLimits
from protocol.errors import UsageError
from service.units import format_rate, parse_rate

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * DAY_MINUTES
LOOK_SECONDS = 5.0
"""How often the local time is looked at, where there is a schedule."""
CONFIGURED = "as configured"
_TIME = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)

Minute = Annotated[int, Meta(ge=0, lt=WEEK_MINUTES)]


class Period(Struct, frozen=True):
    """An entry of a schedule as processes know it: from minute ``begin`` of each of the ``days`` (0: Monday) for
    ``minutes``. A rate of None is as without the entry. ``text`` is what a person calls it."""

    begin: int
    minutes: int
    days: list[int]
    text: str
    upload_rate: Rate | None = None
    download_rate: Rate | None = None

    def holds_at(self, minute: int) -> bool:
        return any((minute - day * DAY_MINUTES - self.begin) % WEEK_MINUTES < self.minutes for day in self.days)


class PeriodKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry as the configuration has it. YAML reads 18:00 without quotes as 1080, which is the minute of the day."""

    from_: str | int = field(name="from")
    to: str | int
    days: str = "mon-sun"
    upload_rate: str | int | float | None = None
    download_rate: str | int | float | None = None

    def entry(self, key: str) -> Period:
        """Raises ValueError with the name of the wrong key, below ``key``, and its value."""
        begin, end = _minute(f"{key}.from", self.from_), _minute(f"{key}.to", self.to)
        if begin == DAY_MINUTES:
            raise ValueError(f"{key}.from: 24:00 is the end of a day; write 00:00 and the next day")
        if begin == end:
            raise ValueError(f"{key}.to: {_time(end)} is also its `from`; for whole days write 00:00 to 24:00")
        if self.upload_rate is None and self.download_rate is None:
            raise ValueError(f"{key}: has neither upload_rate nor download_rate; give one of them, 0 for unlimited")
        return Period(
            begin,
            (end - begin) % DAY_MINUTES or DAY_MINUTES,
            _days(f"{key}.days", self.days),
            f"{self.days} {_time(begin)}-{_time(end)}",
            _rate(f"{key}.upload_rate", self.upload_rate),
            _rate(f"{key}.download_rate", self.download_rate),
        )


class Override(Struct, frozen=True):
    """``limits`` that a person set while entry number ``entry`` of the schedule held (None: no entry). They hold until
    that changes."""

    limits: RateLimits
    entry: int | None = None


class HeldLimits:
    """Of the ``entries`` that hold, the first counts; what none of them limits is ``configured``."""

    def __init__(
        self, configured: RateLimits = UNLIMITED, entries: tuple[Period, ...] = (), override: Override | None = None
    ) -> None:
        self._configured, self._entries = configured, entries
        self.override = override
        self._minute = 0
        self._entry: int | None = override.entry if override is not None else None
        self._look_at = 0.0

    @property
    def now(self) -> RateLimits:
        """Those that hold."""
        if self.override is not None:
            return self.override.limits
        if self._entry is None:
            return self._configured
        entry = self._entries[self._entry]
        given = {"upload_rate": entry.upload_rate, "download_rate": entry.download_rate}
        return replace(self._configured, **{key: rate for key, rate in given.items() if rate is not None})

    @property
    def why(self) -> str:
        """Why these hold, and until when."""
        change = self._next_change()
        until = "" if change is None else f" until {DAYS[change // DAY_MINUTES]} {_time(change % DAY_MINUTES)}"
        if self.override is not None:
            return f"set by 'limit'{until or ' until the peer stops'}"
        what = CONFIGURED if self._entry is None else f"schedule: {self._entries[self._entry].text}"
        return f"{what},{until}" if until else what

    def next_deadline(self) -> float | None:
        """When to be told the time, at the latest (monotonic seconds)."""
        return self._look_at if self._entries else None

    def tell_time(self, minute: int, now: float) -> bool:
        """It is ``minute`` of the local week. True when other limits hold from now on."""
        self._look_at = now + LOOK_SECONDS
        before, self._minute = self.now, minute
        entry = self._entry_at(minute)
        if entry != self._entry:
            self._entry, self.override = entry, None
        return self.now != before

    def set(self, upload_rate: float | None, download_rate: float | None) -> None:
        """A person wants other limits; None leaves one as it is."""
        given = {"upload_rate": upload_rate, "download_rate": download_rate}
        limits = replace(self.now, **{key: rate for key, rate in given.items() if rate is not None})
        self.override = Override(limits, self._entry)

    def _entry_at(self, minute: int) -> int | None:
        return next((number for number, entry in enumerate(self._entries) if entry.holds_at(minute)), None)

    def _next_change(self) -> int | None:
        """The minute of the week at which another entry, or none, holds; None when that never changes."""
        edges = {day * DAY_MINUTES + e.begin + span for e in self._entries for day in e.days for span in (0, e.minutes)}
        ahead = sorted((edge - self._minute - 1) % WEEK_MINUTES for edge in edges)
        coming = ((self._minute + 1 + distance) % WEEK_MINUTES for distance in ahead)
        return next((minute for minute in coming if self._entry_at(minute) != self._entry), None)


def limits_text(limits: RateLimits, why: str = "") -> str:
    """``up 10.0 MiB/s, down unlimited``, and ``why`` if it is known."""
    rates = {"up": limits.upload_rate, "down": limits.download_rate}
    text = ", ".join(f"{way} {format_rate(rate) if rate else 'unlimited'}" for way, rate in rates.items())
    return f"{text} ({why})" if why else text


def parse_schedule(schedule: list[PeriodKeys]) -> list[Period]:
    """Raises ValueError with the name of the wrong key and its value."""
    return [keys.entry(f"schedule[{number}]") for number, keys in enumerate(schedule)]


def _minute(key: str, value: str | int) -> int:
    if isinstance(value, str):
        found = _TIME.fullmatch(value.strip())
        minute = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else -1
    else:
        minute = value
    if not 0 <= minute <= DAY_MINUTES:
        raise ValueError(f'{key}: {value!r} is not a time of day; expected one such as "08:00", up to "24:00"')
    return minute


def _days(key: str, value: str) -> list[int]:
    days: set[int] = set()
    for part in value.lower().replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS or part.endswith("-"):
            expected = "mon-fri, sat,sun or wed"
            raise ValueError(f"{key}: {value!r} is not a list of days; expected one such as {expected}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        days.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    return sorted(days)


def _rate(key: str, value: str | float | None) -> float | None:
    try:
        return None if value is None else parse_rate(value)
    except UsageError as error:
        raise ValueError(f"{key}: {error}") from None


def _time(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
