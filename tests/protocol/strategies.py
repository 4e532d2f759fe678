"""Hypothesis strategies for what the protocol package handles: any message of a type, any tree, any manifest."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from protocol import messages
from protocol.digest import ALGORITHMS, format_digest
from protocol.errors import SeedError
from protocol.limits import DIGEST_BYTES
from protocol.manifest import FileEntry, Manifest, piece_length_for
from protocol.names import check_distinct, check_name, check_path, path_problems
from protocol.seed_formats import Seed

MESSAGE_TYPES: list[type[msgspec.Struct]] = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, messages.Message) and kind is not messages.Message
]


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
    """Any value of a struct type that is inside the bounds its field types state. Lists stay short."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return st.builds(kind, **{field.name: _values(field.type) for field in info.fields})


_PLAIN: dict[type, st.SearchStrategy[Any]] = {inspect.BoolType: st.booleans(), inspect.NoneType: st.none()}


def _values(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.IntType():
            return st.integers(info.ge, info.le if info.le is not None else (info.lt or 2**53) - 1)
        case inspect.FloatType():
            return st.floats(info.ge, info.le)
        case inspect.BoolType() | inspect.NoneType():
            return _PLAIN[type(info)]
        case inspect.StrType(pattern=None):
            return st.text(st.characters(codec="utf-8"), min_size=info.min_length or 0, max_size=info.max_length)
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern).filter(lambda text: len(text) <= (info.max_length or math.inf))
        case inspect.BytesType():
            return st.binary(min_size=info.min_length or 0, max_size=min(info.max_length or 200, 200))
        case inspect.LiteralType():
            return st.sampled_from(info.values)
        case inspect.ListType() | inspect.VarTupleType():
            items = st.lists(_values(info.item_type), max_size=min(info.max_length or 5, 5))
            return items.map(tuple if isinstance(info, inspect.VarTupleType) else list)
        case inspect.TupleType():
            return st.tuples(*map(_values, info.item_types))
        case inspect.UnionType():
            return st.one_of([_values(member) for member in info.types])
        case inspect.StructType():
            return structs(info.cls)
    raise NotImplementedError(f"a field of type {info}")


def _accepted(check: Any, value: Any) -> bool:
    try:
        check(value)
    except SeedError:
        return False
    return True


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=12)
names = st.one_of(st.sampled_from(["a", "b.txt", ".hidden", "wie schön", "日本"]), _TEXT).filter(
    lambda text: _accepted(check_name, text)
)
paths = st.lists(names, min_size=1, max_size=4).map("/".join).filter(lambda text: _accepted(check_path, text))
path_lists = st.lists(paths, unique=True, max_size=8).filter(lambda found: _accepted(check_distinct, found))
posix_path_lists = st.lists(
    st.text(st.sampled_from("aA:?\n./\\"), min_size=1, max_size=5), unique=True, max_size=6
).filter(lambda found: not any(path_problems(found, posix_names=True)))
lengths = st.one_of(st.sampled_from([0, 1, 65_535, 65_536, 65_537]), st.integers(0, 750_000))


@st.composite
def manifests(draw: st.DrawFn, trees: bool = True) -> Manifest:
    """A manifest that keeps all the rules; the digests are of nothing in particular."""
    files: tuple[FileEntry, ...] | None = None
    empty_dirs: tuple[str, ...] = ()
    posix_names = False
    length = draw(lengths)
    if trees and draw(st.booleans()):
        found = draw(st.one_of(path_lists, posix_path_lists))
        cut = draw(st.integers(0, len(found)))
        entries = [FileEntry(path, draw(lengths), draw(st.booleans())) for path in sorted(found[:cut])]
        files, empty_dirs = tuple(entries), tuple(sorted(found[cut:]))
        length = sum(entry.length for entry in entries)
        posix_names = next(path_problems(found), None) is not None
    piece_length = piece_length_for(length)
    table = draw(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)) * -(-length // piece_length)
    digest = format_digest(
        draw(st.sampled_from(ALGORITHMS)), draw(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES))
    )
    return Manifest(length, piece_length, digest, table, files, empty_dirs, posix_names)


def seeds(trees: bool = True) -> st.SearchStrategy[Seed]:
    """A manifest with a name."""
    return st.builds(Seed, names, manifests(trees), st.just(b""))
