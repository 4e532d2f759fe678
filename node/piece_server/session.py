"""The records that `uploads` keeps: a swarm, a receiver's session in it, and what the session was promised.

Pure. All rules are in `uploads`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.bitfield import Bitfield

SessionKey = tuple[bytes, int]
"""The receiver's route (its identity at our ROUTER) and its session number."""


@dataclass(slots=True)
class Swarm:
    """Content this process serves. ``sent[i]`` counts how often piece ``i`` was promised or sent."""

    digest: str
    have: Bitfield
    length: int
    piece_length: int
    sent: list[int]
    sessions: dict[SessionKey, Session] = field(default_factory=dict)
    sent_bytes: int = 0
    usual_seconds: float = 0.0
    """What a piece takes its receivers, each of which counts once; 0 while that is not known."""

    def piece_size(self, piece: int) -> int:
        return min(self.piece_length, self.length - piece * self.piece_length)


@dataclass(slots=True)
class Promise:
    """A piece offered to a session; ``sent_at`` is None until it is sent. ``behind``: when it was offered, a piece was
    on the way there that the offer could not overtake."""

    piece: int
    size: int
    offered_at: float
    behind: bool = False
    accepted: bool = False
    sent_at: float | None = None


@dataclass(slots=True)
class Session:
    route: bytes
    number: int
    swarm: Swarm
    heard_at: float
    revision: int = 0
    wanted: dict[int, int] = field(default_factory=dict)
    """Piece to its place in the receiver's order."""
    promises: dict[int, Promise] = field(default_factory=dict)
    """By offer number, in the order offered."""
    delivered: set[int] = field(default_factory=set)
    """Pieces it confirmed: no need to tell it that we have them."""
    news: list[int] = field(default_factory=list)
    """Pieces we got that it has not been told of."""
    piece_seconds: float | None = None
    """Moving average from sending a piece to its `Received`."""
    latency_seconds: float | None = None
    """How long an offer takes to be answered that no piece is in front of: see `latency`."""
    batches: bool = False
    """It takes several offers in one message."""
    stalled: bool = False
    stalled_at: float = 0.0

    @property
    def key(self) -> SessionKey:
        return self.route, self.number

    @property
    def promised(self) -> set[int]:
        """The pieces it was offered, and has neither refused nor received."""
        return {promise.piece for promise in self.promises.values()}

    def was_sent(self, piece: int) -> bool:
        """Whether ``piece`` went to it in this session."""
        sent = (promise for promise in self.promises.values() if promise.sent_at is not None)
        return piece in self.delivered or any(promise.piece == piece for promise in sent)

    @property
    def is_sent_something(self) -> bool:
        return any(promise.sent_at is not None for promise in self.promises.values())

    def sending_since(self, now: float) -> float:
        """When the oldest piece it has not acknowledged was sent; ``now`` if there is none."""
        return min((promise.sent_at for promise in self.promises.values() if promise.sent_at is not None), default=now)

    def unanswered(self, before: float) -> list[int]:
        """Offers made before ``before`` that it neither accepted nor refused."""
        promises = self.promises.items()
        return [offer for offer, promise in promises if not promise.accepted and promise.offered_at < before]

    def measured(self, seconds: float) -> None:
        """A piece took this long."""
        before = self.piece_seconds
        self.piece_seconds = seconds if before is None else before + 0.2 * (seconds - before)
