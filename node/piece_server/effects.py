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
class SendPiece:
    """Read ``piece`` and send it to ``route`` under ``offer``; on failure call `Uploads.piece_failed`."""

    route: bytes
    session: int
    offer: int
    digest: str
    piece: int


Effect = Reply | SendPiece
