"""Sizes, rates and durations as people read and type them.

Bytes are shown in powers of 1024 (KiB, MiB, ...). Typed, ``10MB`` is decimal, ``10MiB`` and ``10M`` are binary, as
coreutils has it; case matters only where it tells bits from bytes: ``Mb`` from ``MB``.
The parsers also take plain numbers, for configuration values that may be
either: a field of type ``str | int | float`` goes through them as it is.
"""

from __future__ import annotations

import math
import re
from typing import Literal

from protocol.errors import UsageError

_BINARY_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_BIT_UNITS = ("bit", "kbit", "Mbit", "Gbit", "Tbit")

_POWERS = {prefix: power for power, prefix in enumerate(("", *"kmgtp"))}
_UNIT = re.compile(r"(?P<prefix>[kmgtp]?)(?P<binary>i?)(?P<base>b|bits?|)(?P<per>/s|ps|)", re.ASCII | re.IGNORECASE)

_SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}

_NUMBER_MAX = 10**18
"""More than anybody means, and within what arithmetic takes."""
_NUMBER = r"(\d{1,18}(?:\.\d{0,9})?)"
_AMOUNT = re.compile(_NUMBER + r"\s*([A-Za-z/]*)", re.ASCII)
_SIZES, _RATES = "64MiB, 10GB or 512", "40mbit or 10 MiB/s"
_DURATION = re.compile(_NUMBER + r"\s*([a-z]+)\s*", re.ASCII)


def format_bytes(count: float) -> str:
    """``count`` bytes: ``512 B``, ``1.5 MiB``."""
    if count < 1_023.5:
        return f"{count:.0f} B"
    value = float(count)
    for unit in _BINARY_UNITS:
        value /= 1_024
        if value < 1_023.95 or unit == _BINARY_UNITS[-1]:
            break
    return f"{value:.1f} {unit}"


def format_rate(bytes_per_second: float) -> str:
    """``1.5 MiB/s``."""
    return f"{format_bytes(bytes_per_second)}/s"


def format_link_rate(bytes_per_second: float) -> str:
    """As links are sold, in bits: ``40 Mbit/s``, ``2.5 Gbit/s``."""
    value, power = 8 * bytes_per_second, 0
    while value >= 999.5 and power < len(_BIT_UNITS) - 1:
        value /= 1_000
        power += 1
    return f"{value:.3g} {_BIT_UNITS[power]}/s"


def counted(count: int, noun: str) -> str:
    """``1 source``, ``2 sources``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_seconds(seconds: float) -> str:
    """``4.2 s``, ``42 s``, ``3m 05s``, ``2h 05m``, ``3d 04h``; ``-`` when it is not finite."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if minutes < 1_440:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    hours = round(seconds / 3_600)
    return f"{hours // 24}d {hours % 24:02d}h"


def parse_bytes(value: str | float) -> int:
    """``64MiB``, ``10GB``, ``1.5 G``, ``512`` in bytes. Raises `UsageError`."""
    if not isinstance(value, str):
        return int(_number(value, "size"))
    amount, unit = _split(value, "size", _SIZES)
    found = _unit(value, unit, _SIZES)
    if found["per"]:
        raise UsageError(f"{value!r} is a rate; expected a size such as {_SIZES}")
    if _base(found) == "bits":
        raise UsageError(f"{value!r} is a number of bits; expected bytes, such as {_SIZES}")
    size = _bytes_in(found)
    return round(float(amount) * size) if "." in amount else int(amount) * size


def parse_rate(value: str | float) -> float:
    """Bytes per second: ``10 MiB/s``, ``10MB``, ``512``, or bits: ``40mbit`` (a million each), ``40 Mb/s``, ``40Mbps``.
    `UsageError` for others, for those that leave open which is meant: ``40mb``, and for less than 1 that is not 0."""
    rate = _rate(value) if isinstance(value, str) else _number(value, "rate")
    if 0 < rate < 1:
        raise UsageError(f"{value!r} is less than 1 byte a second; expected 0 or at least 1, such as {_RATES}")
    return rate


def _rate(value: str) -> float:
    amount, unit = _split(value, "rate", _RATES)
    found = _unit(value, unit, _RATES)
    base = _base(found)
    if base == "either":
        prefix = found["prefix"].upper().replace("K", "k")
        bits, both = f"{amount} {prefix}bit/s", f"{amount} {prefix}B/s"
        raise UsageError(f"{value!r} can be bits or bytes; write {bits} for bits, {both} for bytes")
    return float(amount) * (1_000.0 ** _power(found) / 8 if base == "bits" else _bytes_in(found))


def parse_seconds(value: str | float) -> float:
    """``5s``, ``500ms``, ``2m``, ``1h 30m``, ``5`` in seconds. Raises `UsageError`."""
    if not isinstance(value, str):
        return _number(value, "duration")
    text = value.strip().lower()
    if _AMOUNT.fullmatch(text) and text[-1] in ".0123456789":
        return float(text)
    total = 0.0
    position = 0
    while position < len(text) or not text:
        found = _DURATION.match(text, position)
        if found is None or found[2] not in _SECONDS:
            raise UsageError(f"{value!r} is not a duration; expected one such as 5s, 500ms or 2m")
        total += float(found[1]) * _SECONDS[found[2]]
        position = found.end()
    return total


def _split(text: str, what: str, examples: str) -> tuple[str, str]:
    """Amount and unit, as they are written."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a {what}; expected one such as {examples}")
    return found[1], found[2]


def _unit(value: str, unit: str, examples: str) -> re.Match[str]:
    found = _UNIT.fullmatch(unit)
    if found is None or (found["binary"] and not (found["prefix"] and found["base"] in ("B", "b"))):
        raise UsageError(f"{value!r}: unknown unit; expected one such as {examples}")
    return found


def _base(unit: re.Match[str]) -> Literal["bits", "bytes", "either"]:
    """What a unit counts. A ``b`` is told from a ``B`` only where it stands out, as in ``Mb``, or by ``Mbps``, which is
    never said of bytes."""
    base, per = unit["base"], unit["per"].lower()
    if base.lower().startswith("bit"):
        return "bits"
    if base != "b":
        return "either" if unit["per"] == "PS" else "bytes"
    if unit["binary"]:
        return "either" if unit["prefix"].isupper() else "bytes"
    return "bits" if unit["prefix"].isupper() or per == "ps" else "either"


def _power(unit: re.Match[str]) -> int:
    return _POWERS[unit["prefix"].lower()]


def _bytes_in(unit: re.Match[str]) -> int:
    """``MB`` is decimal, ``MiB`` and ``M`` are binary."""
    decimal = unit["base"] and not unit["binary"]
    kilo = 1_000 if decimal else 1_024
    return int(kilo ** _power(unit))


def _number(value: float, what: str) -> float:
    if isinstance(value, bool) or not 0 <= value <= _NUMBER_MAX:
        raise UsageError(f"{value!r:.40} is not a {what}; expected a number from 0 to {_NUMBER_MAX:.0e}")
    return float(value)
