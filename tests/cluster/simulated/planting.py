"""Runs functions of the product with their text changed, and gives them back as they were.

A planted bug is an edit of source: what stands there is replaced by what a programmer would have written who forgot
something. The code of the function itself is swapped, so that whoever holds the function already (a table of handlers,
an import by name) runs the changed one too. Text that is not in the source, or is there twice, cannot be planted.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import CodeType, FunctionType
from typing import NamedTuple


class Edit(NamedTuple):
    """In the function ``where`` (``module:Qualified.name``), ``old`` becomes ``new``."""

    where: str
    old: str
    new: str


class Bug(NamedTuple):
    """``forgot`` is what the programmer forgot. It is found in the world of ``seed`` with heavy faults, or in one of
    those that follow; None: in none of the first 200."""

    name: str
    forgot: str
    edits: tuple[Edit, ...]
    seed: int | None

    def planted(self) -> AbstractContextManager[None]:
        """While in it, the product has the bug."""
        return edited(self.edits)


@contextmanager
def edited(edits: Sequence[Edit]) -> Iterator[None]:
    """Run with ``edits`` made. Raises `LookupError` when one of them does not fit the source."""
    by_function: dict[str, list[Edit]] = {}
    for edit in edits:
        by_function.setdefault(edit.where, []).append(edit)
    with ExitStack() as undo:
        for where, some in by_function.items():
            function = _function(where)
            undo.callback(setattr, function, "__code__", function.__code__)
            function.__code__ = _code(function, some)
        yield


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), f"{where} is no function"
    return found


def _code(function: FunctionType, edits: Sequence[Edit]) -> CodeType:
    """The code of ``function`` with its text edited; lines keep the numbers they have in the file where they can."""
    lines, first = inspect.getsourcelines(function)
    text = "".join(lines)
    for edit in edits:
        if text.count(edit.old) != 1:
            raise LookupError(f"{edit.where} has {text.count(edit.old)} times: {edit.old}")
        text = text.replace(edit.old, edit.new)
    tree = ast.increment_lineno(ast.parse(textwrap.dedent(text)), first - 1)
    flags = __future__.annotations.compiler_flag
    module = compile(tree, function.__code__.co_filename, "exec", flags=flags, dont_inherit=True)
    code = next(
        const for const in module.co_consts if isinstance(const, CodeType) and const.co_name == function.__name__
    )
    return code.replace(co_qualname=function.__code__.co_qualname)
