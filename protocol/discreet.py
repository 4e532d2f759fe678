"""Structs that do not show their secrets in a log, a traceback or the output of a test. Pure."""

from __future__ import annotations

from typing import Any, ClassVar

SECRET_FIELDS = frozenset({"secret", "token", "tokens", "invite"})
HIDDEN = "(hidden)"


class Discreet:
    """The first base of structs that have a field of `SECRET_FIELDS`. Of its value they show only whether it is
    empty."""

    __slots__ = ()
    __struct_fields__: ClassVar[tuple[str, ...]]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        fields = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, HIDDEN if value and name in SECRET_FIELDS else value) for name, value in fields]
