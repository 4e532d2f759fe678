"""Settings of the tracker's processes, sent as JSON on their stdin at their start. Endpoints have real port numbers, so
that a restarted process serves where its predecessor did."""

from __future__ import annotations

from msgspec import Struct

from protocol.discreet import Discreet
from service.logs import LogSettings


class RegistrarSettings(Struct, frozen=True, kw_only=True):
    """``lookups`` are the endpoints the lookups listen on, ``advertise`` the host to tell peers (empty: where they
    reach the registrar), ``ready_file`` the path to write once all serve (empty: none). ``runtime_key`` names the
    runtime directory that ``link`` lies in (`transport.runtime_dir`). Adding ``wall_offset`` turns the monotonic clock
    into seconds since 1970, as of the tracker's start: setting the clock back later does not set back the epoch.
    ``keys`` is the network's key folder (empty: none), ``web`` the endpoint of the page (empty: none)."""

    listen: str
    roster: str
    link: str
    runtime_key: str
    lookups: tuple[str, ...]
    advertise: str
    heartbeat_seconds: float
    lease_seconds: float
    peers_max: int
    ready_file: str
    wall_offset: float
    log: LogSettings
    keys: str = ""
    web: str = ""

    def epoch(self, now: float) -> int:
        """The epoch of a registrar that starts ``now`` (monotonic seconds): higher than that of all before it."""
        return round((self.wall_offset + now) * 1_000)


class LookupSettings(Struct, frozen=True, kw_only=True):
    """``link`` is the registrar's end of the link, ``keys`` the network's key folder (empty: none)."""

    listen: str
    link: str
    log: LogSettings
    keys: str = ""


class AnnouncerSettings(Struct, frozen=True, kw_only=True):
    """``listen`` is the registrar's endpoint."""

    listen: str
    log: LogSettings


class WebSettings(Discreet, Struct, frozen=True, kw_only=True):
    """``listen`` is the page's endpoint, ``link`` the registrar's end of the link; there are ``lookups``. ``token`` is
    what viewers need (empty: nothing), ``wall_offset`` as in `RegistrarSettings`."""

    listen: str
    link: str
    lookups: int
    token: str
    wall_offset: float
    log: LogSettings
