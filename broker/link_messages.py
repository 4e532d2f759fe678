"""The ordered link between registrar (ROUTER) and lookup (DEALER). PROTOCOL.md, section 8.

::

    lookup                                   registrar
    StateRequest(sync) --------------------> starts over for this lookup
             <------- Changes(sync, 0, more)    the state, page by page, events of the meantime in between
             <------- Changes(sync, n)          from here on the replica is whole, and follows
    Ack(sync, n) --------------------------> frees the window (LINK_WINDOW_COUNT messages)
             <------- LinkBeat(sync)            each second
    Ack(sync, n) --------------------------> still here
             <------- LinkLost(sync)            the registrar does not know this sync: ask for the state

The lookup draws ``sync`` for each start-over, to distinguish leftover messages of an earlier one. ``number`` counts the
`Changes` of one sync from 0: a gap means that messages were lost.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from broker.events import Event
from protocol.limits import LINK_PAGE_COUNT, REQUEST_KINDS_COUNT_MAX
from protocol.messages import Count, Message, Seconds

Requests = tuple[Annotated[str, Meta(max_length=32)], Count]
"""A kind of request, and how many there were."""
RequestCounts = Annotated[tuple[Requests, ...], Meta(max_length=REQUEST_KINDS_COUNT_MAX)]


class StateRequest(Message, frozen=True, omit_defaults=True):
    """Send everything, then every change, under the name ``sync``. ``answers``: whoever asks answers peers. The page
    does not: the tracker serves without it, and beats tell it about the tracker."""

    sync: Count
    answers: bool = True


class Ack(Message, frozen=True, omit_defaults=True):
    """All `Changes` of ``sync`` before ``received`` have arrived. ``queries``: how many this process has heard."""

    sync: Count
    received: Count
    queries: Count = 0


class Changes(Message, frozen=True):
    """Events in order. After the last one the replica is at ``seq``, unless there is ``more``: of the state, or of the
    change set that the last event belongs to. ``settling_seconds``: how long the registrar may still not know all
    members.
    """

    sync: Count
    number: Count
    epoch: Count
    seq: Count
    more: bool
    settling_seconds: Seconds
    events: Annotated[list[Event], Meta(max_length=LINK_PAGE_COUNT)]


class LinkBeat(Message, frozen=True, omit_defaults=True):
    """The registrar is alive and has sent ``sent`` `Changes` of ``sync`` so far. For the page: how many ``requests`` of
    each kind the tracker has heard, and how many of its ``lookups`` have the whole state (``following``)."""

    sync: Count
    sent: Count
    requests: RequestCounts = ()
    lookups: Count = 0
    following: Count = 0


class LinkLost(Message, frozen=True):
    """``sync`` is unknown here (restart, overflow, silence)."""

    sync: Count


FromLookup = StateRequest | Ack
FromRegistrar = Changes | LinkBeat | LinkLost
