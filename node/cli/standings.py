"""The state of one content at each peer of the network: the tracker's answer in words and as rows. Pure.

Names and reasons are as other peers say them: whoever prints the rows makes them printable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from node.agent.meant import NEWER_MAY_COME, may_be_old, meant_by
from node.api_messages import ApiList, ApiListReply
from node.cli.output import Table
from node.client.session import Session
from node.client.targets import check_pattern
from node.trust import Keys, Verifier, parse_keys
from protocol.digest import is_digest_start, short
from protocol.errors import NotFoundError
from protocol.messages import Moment, StandingEntry, TorrentEntry
from protocol.standings import percent, seconds_left, state_of
from service.units import format_rate, format_seconds

AGAIN_SECONDS = 0.5
SHOWN_COUNT = 5
"""Contents that a message names."""


def find_content(
    session: Session, name: str, tell: Callable[[str], None], signed_by: Sequence[str] = (), patience: float = 0.0
) -> TorrentEntry:
    """The content that is called ``name``, or whose digest is or begins with it, as `node.agent.meant.meant_by` has it,
    with written keys in ``signed_by``; that others have the name too is reported to ``tell``. If newer content may be
    missing from the tracker's list, it is waited for, ``patience`` seconds. Raises as that does, and `UsageError` if
    ``name`` is impossible."""
    check_pattern(name)
    until, keys = session.now() + patience, parse_keys(signed_by)
    contents, since = _listed(session, name, keys)
    if may_be_old(name, contents, since, keys) and patience:
        tell(NEWER_MAY_COME)
    while may_be_old(name, contents, since, keys) and session.now() < until:
        session.pause(AGAIN_SECONDS)
        contents, since = _listed(session, name, keys)
    digests = list(dict.fromkeys(entry.digest for entry in contents))
    if len(digests) > 1:
        others = ", ".join(map(short, digests[1:SHOWN_COUNT]))
        what = f"{len(digests)} contents are called {name}; this is about the newest, {short(digests[0])}"
        tell(f"{what}, for another one give its digest: {others}")
    return contents[0]


def _listed(session: Session, name: str, keys: Keys) -> tuple[list[TorrentEntry], Moment]:
    """The contents that ``name`` may mean, and from when on the list has all that was announced."""
    reply = session.request(ApiList(session.next_id(), name, exact=not is_digest_start(name)), ApiListReply)
    try:
        return meant_by(name, reply.entries, keys, Verifier()), reply.since
    except NotFoundError as error:
        unsure = "; the tracker has only just started, ask again in a few seconds" if reply.settling else ""
        raise NotFoundError(f"{error}{unsure}") from None


def standing_rows(entries: Sequence[StandingEntry]) -> Table:
    """Headers and rows of ``list --peers``."""
    headers = ["NAME", "=STATE", ">DONE", ">RATE", ">LEFT", ">SOURCES", "~DETAIL"]
    return headers, [[entry.name or entry.peer, *standing_cells(entry)] for entry in entries]


def standing_cells(entry: StandingEntry) -> list[str]:
    """State, percent, rate, time left, sources and reason, each empty when it says nothing."""
    state, download, done = state_of(entry), entry.download, percent(entry)
    left = None if download is None or state != "fetching" else seconds_left(download)
    detail = "verified" if state == "has it" else "" if download is None else download.reason
    return [
        state,
        "" if done is None or state in ("failed", "has not") else f"{done} %",
        format_rate(download.rate) if state == "fetching" and download is not None and download.rate else "",
        "" if left is None else format_seconds(left),
        str(download.sources) if state == "fetching" and download is not None else "",
        detail,
    ]


def summary(entries: Sequence[StandingEntry]) -> str:
    """``3 of 5 peers have it; 1 fetching, 1 failed``."""
    counts = Counter(state_of(entry) for entry in entries)
    have = counts.pop("has it", 0)
    others = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return f"{have} of {len(entries)} peers have it" + (f"; {others}" if others else "")


def standing_fields(entry: StandingEntry) -> dict[str, Any]:
    """``entry`` as ``--json`` prints it."""
    download, done = entry.download, percent(entry)
    fields: dict[str, Any] = {"peer": entry.peer, "name": entry.name, "state": state_of(entry), "percent": done}
    if download is not None and entry.holding != "whole":
        left = seconds_left(download)
        fields |= {
            "done": download.done,
            "length": download.length,
            "rate": download.rate,
            "seconds_left": None if left is None else round(left, 1),
            "sources": download.sources,
            "reason": download.reason,
        }
    return fields
