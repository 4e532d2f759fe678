"""Changes to MessagePack that leave it MessagePack: what libFuzzer does to bytes is mostly refused. Pure."""

from __future__ import annotations

from random import Random
from typing import Any

import msgpack

_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 255, 2**31, 2**53, 2**53 + 1, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf")),
    *("", "a", "\0", "../x", "é" * 300, "zswarm-manifest", "tcp://10.0.0.5:5550", "x" * 5_000),
    *(b"", b"\xff" * 32, b"\0" * 5_000, [], {}, [[]], {"t": None}, [0] * 2_000),
)


def mutated(data: bytes, start: int, rng: Random) -> bytes | None:
    """``data`` with some values of the MessagePack from byte ``start`` on changed; None when there is none."""
    try:
        value = msgpack.unpackb(data[start:], raw=False, strict_map_key=False)
        for _ in range(rng.randint(1, 3)):
            value = _changed(value, rng)
        packed: bytes = msgpack.packb(value)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        return None
    return data[:start] + packed


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
            return value * rng.choice((0, 2, 50))
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
