"""Something of any type that messages and files are decoded to."""

from __future__ import annotations

import re
from typing import Any

from msgspec import inspect

DIGEST = "sha256:" + "5a" * 32
KEY = "5a" * 32
_TEXTS = ("a", "5a" * 16, KEY, DIGEST, "tcp://10.0.0.5:5550", "/data/a")
"""One of them fits whatever pattern the text of a message has."""


def value_of(info: inspect.Type) -> Any:
    """Something of a type, with one entry in each list that may have some."""
    match info:
        case inspect.StructType():
            return info.cls(**{field.name: value_of(field.type) for field in info.fields})
        case inspect.StrType(pattern=str(pattern)):
            return next(text for text in _TEXTS if re.search(pattern, text))
        case inspect.StrType():
            return "a"
        case inspect.BytesType():
            return bytes(info.min_length or 0)
        case inspect.IntType() | inspect.FloatType():
            return max(info.ge or 0, (info.gt or 0) + 1)
        case inspect.LiteralType():
            return info.values[0]
        case inspect.ListType() | inspect.VarTupleType():
            return [value_of(info.item_type)] * (info.max_length != 0)
        case inspect.TupleType():
            return tuple(map(value_of, info.item_types))
        case inspect.DictType():
            return {value_of(info.key_type): value_of(info.value_type)}
        case inspect.UnionType():
            return value_of(info.types[0])
        case inspect.BoolType() | inspect.NoneType():
            return None if isinstance(info, inspect.NoneType) else True
    raise NotImplementedError(f"a field of type {info}")


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")
