"""`node.schedule`: which limits hold in which minute of the week, and what the configuration may say."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from node.config import PeerSettings
from node.rate_limit import RateLimits
from node.schedule import DAY_MINUTES, WEEK_MINUTES, HeldLimits, Override, Period, PeriodKeys, parse_schedule
from protocol.errors import ConfigError
from service.config import load_settings

BASE = RateLimits(100.0, 200.0)
MON, FRI, SAT, SUN = 0, 4, 5, 6


def entry(begin: str | int, end: str | int, days: str = "mon-sun", **rates: Any) -> Period:
    (parsed,) = parse_schedule([PeriodKeys(from_=begin, to=end, days=days, **(rates or {"upload_rate": 1}))])
    return parsed


def at(day: int, hour: int, minute: int = 0) -> int:
    return day * DAY_MINUTES + hour * 60 + minute


def held(*entries: Period, minute: int) -> HeldLimits:
    limits = HeldLimits(BASE, entries)
    limits.tell_time(minute, 0.0)
    return limits


@pytest.mark.parametrize(
    ("minute", "rate"),
    [
        (at(MON, 7, 59), 100.0),
        (at(MON, 8), 1.0),
        (at(FRI, 17, 59), 1.0),
        (at(FRI, 18), 100.0),
        (at(SAT, 12), 100.0),
    ],
)
def test_an_entry_holds_from_its_first_minute_to_before_its_last(minute: int, rate: float) -> None:
    limits = held(entry("08:00", "18:00", "mon-fri"), minute=minute)
    assert limits.now == RateLimits(rate, 200.0)


@pytest.mark.parametrize(
    ("minute", "holds"),
    [
        (at(SUN, 21, 59), False),
        (at(SUN, 22), True),
        (at(MON, 5, 59), True),
        (at(MON, 6), False),
        (at(SAT, 23), False),
        (at(MON, 22), False),
    ],
)
def test_over_midnight_it_is_the_day_on_which_it_begins(minute: int, holds: bool) -> None:
    assert entry("22:00", "06:00", "sun").holds_at(minute) == holds


@pytest.mark.parametrize(
    ("days", "expected"),
    [("mon-sun", [0, 1, 2, 3, 4, 5, 6]), ("Sat, sun", [5, 6]), ("fri-mon", [0, 4, 5, 6]), ("wed", [2])],
)
def test_days(days: str, expected: list[int]) -> None:
    assert entry("00:00", "24:00", days).days == expected


def test_of_several_the_first_counts_and_what_it_does_not_limit_is_as_configured() -> None:
    first, second = entry("10:00", "11:00", download_rate=7), entry("09:00", "12:00", upload_rate=0)
    assert held(first, second, minute=at(MON, 10)).now == RateLimits(100.0, 7.0)
    assert held(first, second, minute=at(MON, 11)).now == RateLimits(0.0, 200.0)


def test_why_and_until_when() -> None:
    day, night = entry("08:00", "18:00", "mon-fri"), entry("18:00", "08:00", "mon-thu")
    assert held(day, night, minute=at(MON, 9)).why == "schedule: mon-fri 08:00-18:00, until mon 18:00"
    assert held(day, night, minute=at(FRI, 19)).why == "as configured, until mon 08:00"
    assert held(entry("00:00", "24:00"), minute=at(MON, 9)).why == "schedule: mon-sun 00:00-24:00"
    assert HeldLimits(BASE).why == "as configured"
    assert HeldLimits(BASE, override=Override(BASE)).why == "set by 'limit' until the peer stops"


def test_what_holds_follows_from_the_time_alone_whatever_it_was_before() -> None:
    """Clocks that are set, hours that are skipped or come twice."""
    entries = (entry("22:00", "06:00", upload_rate=5), entry("08:00", "18:00", "mon-fri", download_rate=6))
    limits = HeldLimits(BASE, entries)
    jumps = itertools.chain(range(0, WEEK_MINUTES, 61), range(WEEK_MINUTES - 1, 0, -97))
    for now, minute in enumerate(jumps):
        limits.tell_time(minute, float(now))
        assert limits.now == held(*entries, minute=minute).now
        assert limits.why == held(*entries, minute=minute).why


def test_what_a_person_set_holds_until_another_entry_does() -> None:
    limits = held(entry("08:00", "18:00"), minute=at(MON, 9))
    limits.set(None, 3.0)
    assert limits.now == RateLimits(1.0, 3.0)
    assert not limits.tell_time(at(MON, 17, 59), 1.0)
    assert limits.tell_time(at(MON, 18), 2.0)
    assert (limits.now, limits.override) == (BASE, None)


def test_without_a_schedule_nobody_has_to_tell_the_time() -> None:
    limits = HeldLimits(BASE)
    assert limits.next_deadline() is None
    limits.set(5.0, None)
    assert limits.now == RateLimits(5.0, 200.0)
    scheduled = HeldLimits(BASE, (entry("08:00", "18:00"),))
    assert scheduled.next_deadline() == 0.0
    scheduled.tell_time(0, 10.0)
    assert scheduled.next_deadline() == 15.0


def load(tmp_path: Path, text: str) -> PeerSettings:
    path = tmp_path / "peer.yaml"
    path.write_text(text)
    return load_settings(path, PeerSettings)


def test_times_without_quotes_are_what_they_look_like(tmp_path: Path) -> None:
    first = "{from: 08:00, to: 18:30, days: mon-fri, upload_rate: 10 MiB/s}"
    text = f"schedule: [{first}, {{from: 22:00, to: 24:00, upload_rate: 0}}]"
    day, night = load(tmp_path, text).schedule_entries
    assert (day.begin, day.minutes, day.upload_rate, day.download_rate) == (480, 630, 10 * 1024 * 1024, None)
    assert (night.begin, night.minutes, night.text) == (1_320, 120, "mon-sun 22:00-24:00")


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("{from: '8', to: '18:00', upload_rate: 1}", "schedule[1].from", "'8'"),
        ("{from: '08:60', to: '18:00', upload_rate: 1}", "schedule[1].from", "'08:60'"),
        ("{from: '24:00', to: '02:00', upload_rate: 1}", "schedule[1].from", "24:00"),
        ("{from: '08:00', to: '24:01', upload_rate: 1}", "schedule[1].to", "'24:01'"),
        ("{from: '08:00', to: 12:00:01, upload_rate: 1}", "schedule[1].to", "43201"),
        ("{from: '08:00', to: '08:00', upload_rate: 1}", "schedule[1].to", "08:00"),
        ("{from: '08:00', to: '09:00', days: weekend, upload_rate: 1}", "schedule[1].days", "'weekend'"),
        ("{from: '08:00', to: '09:00', days: mon-, upload_rate: 1}", "schedule[1].days", "'mon-'"),
        ("{from: '08:00', to: '09:00', download_rate: fast}", "schedule[1].download_rate", "'fast'"),
        ("{from: '08:00', to: '09:00', days: mon}", "schedule[1]", "neither"),
        ("{from: '08:00', upload_rate: 1}", "schedule[1].to", "missing"),
        ("{from: '08:00', to: '09:00', upload: 1}", "schedule[1].upload", "upload_rate"),
        ("5", "schedule[1]", "a number"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(line: str, key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, f"schedule:\n- {{from: '01:00', to: '02:00', upload_rate: 1}}\n- {line}")
    assert key in str(error.value)
    assert value in str(error.value)
