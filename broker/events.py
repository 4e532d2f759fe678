"""The events that change the registry; nothing else does. `broker.registry.Registry.apply` applies them.

The registrar is their only writer. A lookup replays them, and the whole state travels as the events that rebuild it.
Every event is absolute (it gives a new state, not a difference), so replaying one is harmless.

Numbering. What one request changes is one *change set*. Each of its roster messages takes the next number of the one
global sequence, and there is at least one per change set, so that the answer's ``seq`` names its effect. The unnumbered
events are `LoadSet` and `DownloadsSet`: figures for people, which nobody needs to read back.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocol.limits import DOWNLOADS_TOLD_COUNT_MAX
from protocol.messages import (
    Aliases,
    Cell,
    Count,
    DigestText,
    DownloadState,
    Endpoint,
    FileName,
    Holding,
    Length,
    Message,
    Moment,
    OptionalKey,
    Order,
    OtherTrackers,
    PeerId,
    PeerName,
    Signature,
)


class PeerSet(Message, frozen=True, omit_defaults=True):
    """``peer`` is a member under this name, endpoint and key; its entries do not change."""

    peer: PeerId
    name: PeerName
    endpoint: Endpoint
    key: OptionalKey = ""


class PeerGone(Message, frozen=True):
    """``peer`` and every entry of it are gone. ``expired``: its lease ran out."""

    peer: PeerId
    expired: bool


class EntrySet(Message, frozen=True, omit_defaults=True):
    """``peer`` has, has part of, or asks for ``digest``, under this name and its ``aliases``, each ``announced`` at its
    own time. ``cell``: its place in the grid of the swarm."""

    peer: PeerId
    digest: DigestText
    manifest: DigestText
    name: FileName
    length: Length
    holding: Holding
    aliases: Aliases = ()
    announced: Moment = 0
    signature: Signature = b""
    cell: Cell = None


class EntryGone(Message, frozen=True):
    """``peer`` has nothing of ``digest`` and does not ask for it."""

    peer: PeerId
    digest: DigestText


class LoadSet(Message, frozen=True, omit_defaults=True):
    """What the last heartbeat of ``peer`` says about it; the fields are those of `protocol.messages.Heartbeat`."""

    peer: PeerId
    load: Count
    free: Count | None = None
    rate: Count = 0
    others: OtherTrackers = ()


class DownloadsSet(Message, frozen=True):
    """The downloads that ``peer`` reports."""

    peer: PeerId
    downloads: Annotated[list[DownloadState], Meta(max_length=DOWNLOADS_TOLD_COUNT_MAX)]


class OrderSet(Message, frozen=True):
    """``peer`` gives ``order``."""

    peer: PeerId
    order: Order


class OrderGone(Message, frozen=True):
    """``peer`` does not give the order with id ``order`` any more."""

    peer: PeerId
    order: PeerId


Event = PeerSet | PeerGone | EntrySet | EntryGone | LoadSet | DownloadsSet | OrderSet | OrderGone
