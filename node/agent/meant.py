"""Which content a name or digest means, of those that a lookup lists. Pure.

A name means the newest content that somebody has whole. With keys, it means the content that one of them signed last,
even if nobody has it whole: who has what is the word of others. A digest may be listed with several manifests, and
a stranger can list any: the one that has been listed longest comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from node.api_messages import CONTENTS_SHOWN_COUNT, ApiGet
from node.trust import ANYBODY, Keys, Verifier, refusal
from protocol.digest import advice_on, is_digest_start
from protocol.errors import NotFoundError, UsageError
from protocol.link import Link
from protocol.messages import Moment, TorrentEntry
from protocol.signature import moment_of

SETTLED_SECONDS = 20.0
"""A name waits no longer than this for newer content, which a tracker that has just started may not list yet. It lists
all after a lease, 15 s."""
NEWER_MAY_COME = (
    "the tracker has just started and may not list the newest content of this name yet; "
    f"waiting up to {SETTLED_SECONDS:g} s"
)


class Asked:
    """A get that is not a download yet. ``link`` is known from the start, or once it is resolved. With ``keys``, one of
    them must have signed the content; ``pinned`` is a link whose ``signatures`` are still being looked up. A name
    waits no longer than ``until`` for newer content that the tracker may not list yet."""

    def __init__(self, request: ApiGet) -> None:
        self.directory = request.directory
        self.target = request.target
        self.force = request.force
        self.sequential = request.sequential
        self.keep = request.keep
        self.until = inf
        self.seed_path = ""
        self.link: Link | None = None
        self.pinned: Link | None = None
        self.keys = ANYBODY
        self.signatures = request.signatures


def meant_by(
    name: str, entries: Sequence[TorrentEntry], keys: Keys, verifier: Verifier, sure: bool = True
) -> list[TorrentEntry]:
    """The contents that ``name``, or a digest or its beginning, may mean, of the ``entries`` that a lookup lists for
    it; the first is meant. With ``keys``, only what one of them has signed. Empty: ask again, since the list may be
    incomplete (not ``sure``). Raises `NotFoundError`, `SignatureError`, and `UsageError` if several contents begin with
    the digest."""
    by_digest = is_digest_start(name)
    if not entries and sure:
        raise NotFoundError(f"nobody in the network has {name}{advice_on(name)}")
    if keys:
        listed = verifier.newest(keys, entries)
        if not listed and sure:
            raise refusal(keys, name, entries)
    else:
        listed = sorted(entries, key=preference)[::-1]
    first: dict[tuple[str, str], TorrentEntry] = {}
    for entry in listed:
        first.setdefault((entry.digest, entry.manifest), entry)
    if by_digest and len(digests := list(dict.fromkeys(entry.digest for entry in listed))) > 1:
        shown = ", ".join(digests[:CONTENTS_SHOWN_COUNT])
        raise UsageError(f"{len(digests)} different contents begin with {name}; name one by its digest: {shown}")
    contents = list(first.values())
    if by_digest and not keys:
        contents.sort(key=lambda entry: (entry.have == 0, entry.announced or 1 << 63, entry.manifest))
    return contents


def may_be_old(name: str, contents: Sequence[TorrentEntry], since: Moment, keys: Keys) -> bool:
    """Whether ``name`` may mean other content than ``contents``, in a list from which things that were announced before
    ``since`` may be missing. What was announced later is newer than all of these, but only meant if somebody has it;
    with ``keys``, if it was signed later too."""
    if is_digest_start(name) or not contents:
        return False
    first = contents[0]
    if 0 < first.announced < since:
        return True
    return moment_of(first.signature) < since if keys else first.announced > 0 and since > 0 and not first.have


def preference(entry: TorrentEntry) -> tuple[bool, bool, int, str]:
    """Which of several contents with one name is meant: the greatest. That is the newest of those that somebody has."""
    return entry.have > 0, entry.have + entry.partial > 0, entry.announced, entry.digest


def link_to(entry: TorrentEntry) -> Link:
    return Link(entry.digest, entry.manifest, entry.name, entry.length)
