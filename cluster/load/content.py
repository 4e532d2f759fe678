"""Who client number n is and what it lists: all of it follows from numbers, so that any client can check what a
tracker says about any other. Pure.

Nobody has the content: digests are those of the names. Clients serve no pieces, so nobody is dialled at the addresses
they announce either.
"""

from __future__ import annotations

from functools import lru_cache

from protocol.digest import format_digest, raw_digest
from protocol.limits import MIB
from protocol.messages import Entry

CLIENTS_COUNT_MAX = 10_000
ALGORITHM = "blake3"
_PORT_FIRST = 20_000

assert _PORT_FIRST + CLIENTS_COUNT_MAX <= 65_536


def peer_of(number: int) -> str:
    """The peer id of client ``number``, which is its name too."""
    return f"load-{number:05}"


def endpoint_of(number: int) -> str:
    """Where it would serve, as it says it to the registrar; others are told the same, for it is on the tracker's
    machine."""
    return f"tcp://*:{_PORT_FIRST + number}"


def addresses_of(count: int) -> dict[str, str]:
    """The endpoints of the first ``count`` clients by peer id."""
    return {peer_of(number): endpoint_of(number) for number in range(count)}


def own_entry(number: int, file: int) -> Entry:
    """File ``file`` of client ``number``, which no other client has."""
    return _entry(f"{peer_of(number)}-{file:05}.bin", length=MIB + file)


@lru_cache(maxsize=1)
def common_entry() -> Entry:
    """What every client has."""
    return _entry("load-common.bin", length=MIB)


def _entry(name: str, length: int) -> Entry:
    return Entry(
        digest=format_digest(ALGORITHM, raw_digest(ALGORITHM, name.encode())),
        manifest=format_digest(ALGORITHM, raw_digest(ALGORITHM, f"manifest of {name}".encode())),
        name=name,
        length=length,
        holding="whole",
    )
