"""Peers of a simulated world that lie, each in a way of its own. Pure.

A liar runs the real cores, and what they say is changed on its way out; `Flooder` has no cores and says whatever
comes to its mind.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal, get_args

import msgspec

from cluster.simulated.content import StandIn
from cluster.simulated.network import Connection, NetHost, Network
from cluster.simulated.process import Process
from protocol import limits
from protocol.bitfield import Bitfield
from protocol.messages import (
    Bye,
    Cancel,
    Error,
    Follow,
    Get,
    GetManifest,
    Have,
    Heartbeat,
    Join,
    ManifestPage,
    Message,
    NoSession,
    NotHeld,
    Piece,
    Received,
    Relay,
    Status,
    Test,
)

Kind = Literal[
    "corrupt",
    "boastful",
    "forger",
    "silent",
    "hoarder",
    "promiser",
    "deaf",
    "greedy",
    "fickle",
    "impostor",
    "twin",
    "flooder",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What they do: send wrong bytes; claim pieces they do not have; hand out another piece table; send nothing at all;
take pieces to relay and send none; promise pieces and send few; never say that a piece came; give credit without end,
and say that more came than was sent; take back what they said; use somebody else's identity; run on a copy of
somebody else's data directory; flood."""


Said = tuple[Message, bytes]
LIE_PART = 0.5
"""Of a liar's messages that could be a lie."""
SENT_PART = 0.2
"""Of the pieces of a promiser."""
FLOOD_SECONDS = 0.02
"""Between two messages of a flooder, on average."""


def server_lies(
    kind: Kind, pieces: int, rng: Random, other_seed: bytes = b""
) -> Callable[[Message, bytes], Said | None] | None:
    """What becomes of what its piece server says, of content of so many pieces; None is not said at all.
    ``other_seed`` is of other content, and handed out for any manifest that it does not have."""
    if kind == "corrupt":
        return lambda message, data: (_swindle(message, other_seed), garbled(message, data, rng))
    if kind == "boastful":
        return lambda message, data: (_swindle(_boast(message, pieces, rng), other_seed), data)
    if kind == "forger":
        return lambda message, data: (_forge(_swindle(message, other_seed)), data)
    if kind == "silent":
        return lambda message, data: None if isinstance(message, Piece | ManifestPage) else (message, data)
    if kind == "hoarder":
        return lambda message, data: None if isinstance(message, Piece) else (message, data)
    if kind == "promiser":
        return lambda message, data: _promise(_swindle(message, other_seed), data, pieces, rng)
    if kind == "fickle":
        return lambda message, data: (_take_back(_swindle(message, other_seed), rng), data)
    return None


def fetch_lies(kind: Kind, hoarded: int = 4) -> Callable[[Message], Message | None] | None:
    """What becomes of what its downloader says to sources. A hoarder asks for ``hoarded`` pieces more than it would."""
    if kind == "deaf":
        return lambda message: msgspec.structs.replace(message, count=0) if isinstance(message, Received) else message
    if kind == "greedy":
        return _demand
    if kind == "hoarder":
        return lambda message: (
            Relay(message.session, message.count + hoarded) if isinstance(message, Relay) else message
        )
    return None


def _demand(message: Message) -> Message:
    if isinstance(message, Received):
        return Received(message.session, 2 * message.count + 1, 1_000)
    return msgspec.structs.replace(message, credit=1_000) if isinstance(message, Follow) else message


def _promise(message: Message, data: bytes, pieces: int, rng: Random) -> Said | None:
    """It will send anything, and sends little."""
    if not isinstance(message, Piece):
        return message, data
    if rng.random() >= SENT_PART:
        return None
    more = [rng.randrange(pieces + (rng.random() < 0.01)) for _ in range(rng.randrange(2 * pieces))] if pieces else []
    return msgspec.structs.replace(message, promised=[*message.promised, *more]), data


def garbled(message: Message, data: bytes, rng: Random) -> bytes:
    """Of a piece, other bytes of the same length, most of the time."""
    if not isinstance(message, Piece) or rng.random() >= LIE_PART:
        return data
    return StandIn.of(b"garbage %d" % rng.getrandbits(32), len(data))


def _boast(message: Message, pieces: int, rng: Random) -> Message:
    if isinstance(message, Status) and message.state == "partial" and rng.random() < LIE_PART:
        if rng.random() < 0.5:
            return Status(message.session, "complete", b"", *_flags(rng))
        bits = Bitfield(pieces)
        for piece in range(pieces):
            if rng.random() < 0.5:
                bits.set(piece)
        return Status(message.session, "partial", bits.to_bytes(), *_flags(rng))
    return message


def _flags(rng: Random) -> tuple[bool, bool, bool]:
    """Whether it has a stock, is alone, is idle."""
    return rng.random() < 0.5, rng.random() < 0.2, rng.random() < 0.5


def _swindle(message: Message, other_seed: bytes) -> Message:
    """A manifest that is not here? Here it is."""
    if not isinstance(message, ManifestPage) or message.total:
        return message
    start = message.page * limits.MANIFEST_PAGE_BYTES
    page = other_seed[start : start + limits.MANIFEST_PAGE_BYTES]
    return msgspec.structs.replace(message, total=len(other_seed), data=page)


def _forge(message: Message) -> Message:
    if not isinstance(message, ManifestPage) or not message.data:
        return message
    data = bytearray(message.data)
    data[len(data) // 2] ^= 1
    return msgspec.structs.replace(message, data=bytes(data))


def _take_back(message: Message, rng: Random) -> Message:
    """Any message may become another one of the same session."""
    if rng.random() >= LIE_PART / 4 or isinstance(message, Piece | Error | ManifestPage):
        return message
    session = getattr(message, "session", 1)
    others: list[Message] = [
        NoSession(session),
        Status(session, "later"),
        Status(session, "no"),
        Status(session, "complete", b"", *_flags(rng)),
        NotHeld(session, rng.randrange(8)),
        NoSession(session + 1),
    ]
    return rng.choice(others)


class Flooder(Process):
    """Dials ``endpoints`` from ``host`` and says things at random, in moderation, until `stop`."""

    def __init__(
        self, network: Network, host: NetHost, endpoints: list[str], tracker: str, digests: list[str], rng: Random
    ) -> None:
        super().__init__(network.clock, f"{host.name} flooder")
        self._network, self._host, self._endpoints, self._tracker = network, host, endpoints, tracker
        self._digests, self._rng = digests, rng
        self._lines: dict[str, _Line] = {}
        self._at = 0.0
        self.wake(self.clock.now)

    def stop(self) -> None:
        self.kill()
        self._network.process_died(self._host, self)

    def tick(self, now: float) -> float:
        if now >= self._at:
            self._at = now + self._rng.expovariate(1 / FLOOD_SECONDS)
            endpoint = self._rng.choice([*self._endpoints, self._tracker])
            line = self._lines.get(endpoint)
            if line is None or line.connection.state == "lost":
                line = self._lines[endpoint] = _Line(self, self._network, self._host, endpoint)
            line.connection.send(self._any_request(endpoint == self._tracker))
        return self._at

    def _any_request(self, to_tracker: bool) -> Message:
        rng = self._rng
        number, small = rng.getrandbits(32), rng.randrange(1, 12)
        if to_tracker:
            peer, token = f"{rng.randrange(20):032x}", b"t" * 32
            requests: list[Message] = [
                Join(number, peer, token, "flooder", "tcp://*:9", small),
                Heartbeat(number, peer, token, small, 0, small),
            ]
            return rng.choice(requests)
        digest = rng.choice([*self._digests, "blake3:" + "ab" * 32])
        some, bits = [rng.randrange(200) for _ in range(rng.randrange(200))], rng.randbytes(rng.randrange(6))
        requests = [
            Test(small, digest),
            Follow(small, bits, rng.randrange(200), rng.random() < 0.5),
            Received(small, rng.randrange(200), rng.randrange(200)),
            Relay(small, rng.randrange(200), some),
            Get(small, some),
            Cancel(small, some),
            Have(small, bits),
            GetManifest(small, digest, digest, rng.randrange(3)),
            Bye(small, some[:1]),
        ]
        return rng.choice(requests)


class _Line:
    """A connection of a flooder, which listens to nobody."""

    def __init__(self, process: Process, network: Network, host: NetHost, endpoint: str) -> None:
        self.process = process
        self.connection: Connection = network.dial(host, self, endpoint)

    def on_connected(self) -> None:
        pass

    def on_lost(self) -> None:
        pass

    def on_message(self, message: Any) -> None:
        pass
