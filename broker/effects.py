"""What the pure cores of the tracker ask their shells to do, in order, except replies, which have an order of their
own. Shells add nothing."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from broker.link_messages import FromLookup, FromRegistrar
from protocol.messages import LookupReply, RegistrarReply, Roster


class Reply(Struct, frozen=True):
    """Answer the peer at ``route`` of the request socket. If it is gone, the reply is dropped: the peer will ask
    again."""

    route: bytes
    message: RegistrarReply | LookupReply


class Publish(Struct, frozen=True):
    """Send to all subscribers of the roster."""

    roster: Roster


class SendLookup(Struct, frozen=True):
    """Send down the link to the lookup at ``route``; if it cannot be sent, call `LinkFeed.lost`."""

    route: bytes
    message: FromRegistrar


class SendRegistrar(Struct, frozen=True):
    """Send up the link. What cannot be sent is dropped: the lookup notices the silence that follows."""

    message: FromLookup


class Note(Struct, frozen=True):
    """A line for a person."""

    level: Literal["info", "warning"]
    text: str


class Serving(Struct, frozen=True):
    """Every lookup follows for the first time: the tracker is ready."""


RegistrarEffect = Reply | Publish | SendLookup | Note | Serving
LookupEffect = Reply | SendRegistrar | Note
