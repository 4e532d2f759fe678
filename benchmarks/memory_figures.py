"""What `memory` measures, and what is asked of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import astuple

from benchmarks.comparison import Row, Target, rows
from protocol.limits import MIB, PIECES_WANTED_COUNT
from protocol.manifest import piece_length_for

LARGE, SMALL, LIKE = "large", "small", "like pieces"
"""The contents. The third is there when pieces of the first two differ in length: it has few, as long as those of the
large one. Some pieces are always in memory, so what these take is told apart from what more of them take."""
MIB_LIMIT = 150.0
FLAT_LIMIT = 1.1


class Peaks(Struct, frozen=True):
    """The most that any process of a role had, in MiB, while one content was moved."""

    registrar: float
    lookup: float
    agent: float
    piece_server: float
    downloader: float
    supervisor: float

    @property
    def most(self) -> float:
        most: float = max(astuple(self))
        return most


ROLES = Peaks.__struct_fields__
_OTHERS = {SMALL: ROLES, LIKE: ("piece_server", "downloader")}
TARGETS = (
    Target("the largest process, MiB", "", "most", MIB_LIMIT, at_least=False),
    *(
        Target(f"{role}, large over {other}", other, role, FLAT_LIMIT, at_least=False)
        for other, roles in _OTHERS.items()
        for role in roles
    ),
)


def contents(small: int, large: int) -> dict[str, int]:
    """What is to be moved in each round, by name, in bytes."""
    piece_length = piece_length_for(large)
    like = PIECES_WANTED_COUNT * piece_length
    if piece_length_for(small) == piece_length or not small < like < large:
        return {SMALL: small, LARGE: large}
    return {SMALL: small, LIKE: like, LARGE: large}


def peaks(found: Iterable[tuple[str, int]]) -> Peaks:
    """Of all processes, each with its role and the bytes it had at most. Every role is there."""
    most: dict[str, int] = {}
    for role, count in found:
        most[role] = max(most.get(role, 0), count)
    return Peaks(*(round(most[role] / MIB, 1) for role in ROLES))


def result_rows(rounds: Sequence[Mapping[str, Peaks]]) -> Iterator[Row]:
    return rows("memory", LARGE, TARGETS, rounds)
