"""Sizes, rates and durations as people read and type them.

Bytes are shown in powers of 1024 (KiB, MiB, ...). Typed, ``10MB`` is decimal, ``10MiB`` and ``10M`` are binary, as
coreutils has it; case does not matter. The parsers also take plain numbers, for configuration values that may be
either: a field of type ``str | int | float`` goes through them as it is.
"""

from __future__ import annotations

import math
import re

from protocol.errors import UsageError

_BINARY_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_BIT_UNITS = ("bit", "kbit", "Mbit", "Gbit", "Tbit")

_BYTES = {"": 1, "b": 1}
_BITS = {"bit": 1}
for _power, _letter in enumerate("kmgtp", start=1):
    _BYTES |= {_letter: 1024**_power, f"{_letter}ib": 1024**_power, f"{_letter}b": 1000**_power}
    _BITS[f"{_letter}bit"] = 1000**_power

_SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}

_NUMBER = r"(\d{1,18}(?:\.\d{0,9})?)"
_AMOUNT = re.compile(_NUMBER + r"\s*([a-z]*)", re.ASCII)
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
    amount, unit = _split(value, "size", "64MiB, 10GB or 512")
    if unit not in _BYTES:
        raise UsageError(f"{value!r}: unknown unit; expected a size such as 64MiB, 10GB or 512")
    return round(amount * _BYTES[unit]) if "." in value else int(amount) * _BYTES[unit]


def parse_rate(value: str | float) -> float:
    """``40mbit`` (a million bits), ``10 MiB/s``, ``10MB``, ``512`` in bytes per second. Raises `UsageError`."""
    if not isinstance(value, str):
        return _number(value, "rate")
    amount, unit = _split(value.strip().removesuffix("/s"), "rate", "40mbit or 10 MiB/s")
    if unit in _BITS:
        return amount * _BITS[unit] / 8
    if unit in _BYTES:
        return amount * _BYTES[unit]
    raise UsageError(f"{value!r}: unknown unit; expected a rate such as 40mbit or 10 MiB/s")


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
            raise UsageError(f"{value!r} is no duration; expected one such as 5s, 500ms or 2m")
        total += float(found[1]) * _SECONDS[found[2]]
        position = found.end()
    return total


def _split(text: str, what: str, examples: str) -> tuple[float, str]:
    found = _AMOUNT.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is no {what}; expected one such as {examples}")
    return float(found[1]), found[2]


def _number(value: float, what: str) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise UsageError(f"{value!r} is no {what}: it must be 0 or more")
    return float(value)
