"""Changes to MessagePack and JSON that leave it that: what libFuzzer does to bytes is mostly refused. Pure."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Literal

import msgpack

_MANY = 1_000
"""Entries of a list that is not made longer: three times fifty times as long would take all memory."""
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 255, 2**31, 2**53, 2**53 + 1, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf")),
    *("", "a", "\0", "../x", "é" * 300, "zswarm-manifest", "tcp://10.0.0.5:5550", "x" * 5_000),
    *(b"", b"\xff" * 32, b"\0" * 5_000, [], {}, [[]], {"t": None}, [0] * 2_000),
)


def mutated(data: bytes, form: int | Literal["json"], rng: Random) -> bytes | None:
    """``data`` with some values changed of the JSON that it is, or of the MessagePack from byte ``form`` on; None when
    it is none."""
    try:
        if form == "json":
            return json.dumps(_changed_some(json.loads(data), rng)).encode()
        value = msgpack.unpackb(data[form:], raw=False, strict_map_key=False)
        packed: bytes = msgpack.packb(_changed_some(value, rng))
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        return None
    return data[:form] + packed


def _changed_some(value: Any, rng: Random) -> Any:
    for _ in range(rng.randint(1, 3)):
        value = _changed(value, rng)
    return value


def _changed(value: Any, rng: Random) -> Any:
    """Somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value * rng.choice((0, 2, 50) if len(value) < _MANY else (0, 1))
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 64, -64, 2**16))
    if isinstance(value, str) and value and rng.random() < 0.5:
        place = rng.randrange(len(value))
        return value[:place] + value[place + 1 :] * rng.choice((0, 1, 2))
    if isinstance(value, bytes) and value and rng.random() < 0.5:
        place = rng.randrange(len(value))
        return value[:place] + value[place + 1 :] * rng.choice((0, 1, 2))
    return rng.choice(_VALUES)
