"""What `uploads` decides and the shell carries out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.messages import Have, NoSession, NotHeld, Offer, Status, Withdrawn


@dataclass(frozen=True, slots=True)
class Reply:
    """Send ``message`` to ``route``."""

    route: bytes
    message: Status | Offer | Withdrawn | NotHeld | Have | NoSession


@dataclass(frozen=True, slots=True)
class SendPieces:
    """Read the pieces ``promised`` and send them to ``route`` in one message; for each that cannot be read call
    `Uploads.piece_failed`."""

    route: bytes
    session: int
    digest: str
    promised: tuple[tuple[int, int], ...]
    """Offers and their pieces."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """A receiver says that ``piece``, which it was sent, does not have its digest: read it again and see."""

    digest: str
    piece: int


Effect = Reply | SendPieces | Recheck
