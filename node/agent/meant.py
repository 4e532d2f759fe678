"""Which content a get means, of those that a lookup lists. Pure.

A name means the newest content that somebody has whole. With keys, it means the content that one of them signed last,
even if nobody has it whole: who has what is the word of others.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.api_messages import CONTENTS_SHOWN_COUNT, ApiGet
from node.trust import ANYBODY, Verifier, refusal
from protocol.digest import advice_on, is_digest_start
from protocol.errors import NotFoundError, UsageError
from protocol.link import Link, format_link
from protocol.messages import TorrentEntry


class Asked:
    """A get that is not a download yet. ``link`` is known from the start, or once it is resolved. With ``keys``, one of
    them must have signed the content; ``pinned`` is a link whose ``signatures`` are still being looked up."""

    def __init__(self, request: ApiGet) -> None:
        self.directory = request.directory
        self.target = request.target
        self.force = request.force
        self.sequential = request.sequential
        self.keep = request.keep
        self.seed_path = ""
        self.link: Link | None = None
        self.pinned: Link | None = None
        self.keys = ANYBODY
        self.signatures = request.signatures


def meant_by(asked: Asked, entries: Sequence[TorrentEntry], sure: bool, verifier: Verifier) -> list[TorrentEntry]:
    """The contents that ``asked`` may mean, of the ``entries`` that a lookup lists; the first is meant. Empty: ask
    again, since the list may be incomplete (not ``sure``). Raises `NotFoundError`, `SignatureError`, and `UsageError`
    if several contents begin with the digest."""
    name = asked.target
    if asked.pinned is not None:
        name, entries = asked.pinned.name, [entry for entry in entries if link_to(entry) == asked.pinned]
    elif not entries and sure:
        raise NotFoundError(f"nobody in the network has {name}{advice_on(name)}")
    if asked.keys:
        listed = verifier.newest(asked.keys, entries)
        if not listed and sure:
            raise refusal(asked.keys, name, entries)
    else:
        listed = sorted(entries, key=preference)[::-1]
    first: dict[tuple[str, str], TorrentEntry] = {}
    for entry in listed:
        first.setdefault((entry.digest, entry.manifest), entry)
    contents = list(first.values())
    if asked.pinned is None and is_digest_start(name) and len({entry.digest for entry in contents}) > 1:
        shown = "; ".join(format_link(link_to(entry)) for entry in contents[:CONTENTS_SHOWN_COUNT])
        what = f"{len(contents)} different contents begin with {name}; get one of them by its link"
        raise UsageError(f"{what}: {shown}")
    return contents


def preference(entry: TorrentEntry) -> tuple[bool, bool, int, str]:
    """Which of several contents with one name is meant: the greatest. That is the newest of those that somebody has."""
    return entry.have > 0, entry.have + entry.partial > 0, entry.announced, entry.digest


def link_to(entry: TorrentEntry) -> Link:
    return Link(entry.digest, entry.manifest, entry.name, entry.length)
