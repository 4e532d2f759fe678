"""What the tracker's processes are told at their start, as JSON on their stdin. Endpoints have real port numbers, so
that a restarted process serves where its predecessor did."""

from __future__ import annotations

from msgspec import Struct

from service.logs import LogSettings


class RegistrarSettings(Struct, frozen=True, kw_only=True):
    """``lookups`` are the endpoints the lookups listen on, ``advertise`` the host to tell peers (empty: theirs),
    ``ready_file`` the path to write once all serve (empty: none). ``runtime_key`` names the runtime directory that
    ``link`` lies in (`transport.runtime_dir`)."""

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
    log: LogSettings


class LookupSettings(Struct, frozen=True, kw_only=True):
    """``link`` is the registrar's end of the link."""

    listen: str
    link: str
    log: LogSettings
