"""The quota of downloads: whether there is room for another one, and what is deleted to make room. Pure.

Owns the list of downloads that are unchanged since, the least recently served first; nothing else is ever deleted.
Items are deleted one at a time, in steps that keep the last copy safe. A lookup is asked who else has it. If another
peer has, it is withdrawn; once the tracker has acknowledged that, a lookup is asked again, as of that change: of two
peers that do this at the same time, the one that withdrew last sees that the other has withdrawn too. Then a thread
deletes it, after comparing the stamps once more. If a step fails, the item is announced again. Rows on disk belong to
`node.agent.library`, the downloads to `node.agent.gets`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from node.agent.catalogue import Catalogue
from node.agent.children import UploadTotals
from node.agent.effects import (
    DeleteItem,
    Downloaded,
    FindTorrents,
    KeepDownloaded,
    Note,
    RoomMade,
    ToPieceServer,
    Wish,
    Withdraw,
)
from node.agent.jobs import JobBook
from node.agent.library import LibraryItem
from node.api_messages import JobStatus, QuotaStatus
from node.local_messages import DownloadFinished, Fetch, Unserve, UploadReport
from protocol.digest import short
from protocol.messages import TorrentEntry
from service.units import format_bytes

KEEP_SECONDS = 60.0
"""How often the order in which items were served is written to disk, if it changed."""
AGAIN_SECONDS = 60.0
"""Items that cannot be deleted are tried again after this long."""
ANSWER_SECONDS = 20.0
"""How long the tracker and a lookup together may take to answer."""
TOLD_COUNT = 10
"""How many deletions and reasons status shows."""
UNKNOWN = "it is not known to be unchanged since it was downloaded"


class _Eviction(Struct):
    """The eviction of ``item``, or of the ``rest`` of it; the tracker has to answer by ``until``."""

    item: LibraryItem
    until: float
    rest: bool = False
    stage: Literal["asking", "withdrawing", "asking again", "deleting"] = "asking"


def mark_of(item: LibraryItem) -> str:
    """A digest that changes when the content or one of its stamps does."""
    return hashlib.sha256(item.manifest.encode() + item.stamps).hexdigest()[:32]


class Quota:
    """At most ``limit`` bytes (0: any number). ``fetched`` are the running downloads, ``kept`` what the last run
    stored. ``is_listed`` tells whether a digest is in this peer's list, ``is_told`` whether the tracker has
    acknowledged its entry, ``joined`` whether the tracker can be asked."""

    def __init__(
        self,
        limit: int,
        catalogue: Catalogue,
        jobs: JobBook,
        uploads: UploadTotals,
        fetched: Callable[[], Mapping[str, Fetch]],
        is_listed: Callable[[str], object],
        is_told: Callable[[str], bool],
        joined: Callable[[], bool],
        is_followed: Callable[[str], bool],
        kept: Sequence[Downloaded] = (),
    ) -> None:
        self._limit = limit
        self._catalogue, self._jobs, self._uploads = catalogue, jobs, uploads
        self._fetched, self._is_listed, self._is_told, self._joined = fetched, is_listed, is_told, joined
        self._is_followed = is_followed
        self._order = {each.path: each.mark for each in kept}
        """The least recently served first."""
        self._going = [each.path for each in kept if each.going]
        """What an agent was deleting when it was killed: the rest of it goes in the first turn."""
        self._dirty = False
        self._keep_at = 0.0
        self._waiting: dict[int, tuple[int, str]] = {}
        """By the number of a job, its length and destination."""
        self._kept_for: dict[str, tuple[str, float]] = {}
        """By path, why an item cannot be deleted, and until when it is not tried again."""
        self._said: dict[str, str] = {}
        """By path, what was last logged about an item that stays."""
        self._evicting: _Eviction | None = None
        self._deleted: deque[str] = deque(maxlen=TOLD_COUNT)
        self._look_at = 0.0

    # --- what it knows -----------------------------------------------------------------------------------

    def status(self) -> QuotaStatus | None:
        """None without a limit."""
        if not self._limit:
            return None
        reasons = [f"{path}: {why}" for path, (why, _) in self._kept_for.items()]
        return QuotaStatus(self._limit, self._used(), list(self._deleted), reasons[-TOLD_COUNT:])

    @property
    def going(self) -> str:
        """The path of what the disk deletes now, if anything."""
        evicting = self._evicting
        return evicting.item.path if evicting is not None and evicting.stage == "deleting" else ""

    def finished(self, message: DownloadFinished) -> list[Wish]:
        """A download is complete, and was put into the library. Content that was already at its destination does not
        count as downloaded."""
        item = self._catalogue.at(message.path)
        if not message.written or item is None or item.origin != "downloaded" or item.digest != message.digest:
            return []
        self._order.pop(item.path, None)
        self._order[item.path] = mark_of(item)
        return self._keep()

    def mended(self, path: str) -> list[Wish]:
        """What is at ``path`` is right again: as unchanged a download as it was before, if it was one."""
        item = self._catalogue.at(path)
        if item is None or path not in self._order:
            return []
        self._order[path] = mark_of(item)
        return self._keep()

    def claimed(self, path: str) -> list[Wish]:
        """A person shares the item at ``path``: it is not only a download any more."""
        return self._keep() if self._order.pop(path, None) is not None else []

    def served(self, report: UploadReport) -> None:
        for swarm in report.swarms:
            item = self._catalogue.with_digest(swarm.digest)
            if item is not None and item.path in self._order:
                self._order[item.path] = self._order.pop(item.path)
                self._dirty = True

    # --- room for a download -----------------------------------------------------------------------------

    def has_room(self, job: JobStatus, length: int) -> bool:
        """Whether a download of ``length`` bytes may begin. If not, room is made for it, and `RoomMade` gives the
        result."""
        if not self._limit or self._excess(length, job.path) <= 0:
            self._waiting.pop(job.job, None)
            return True
        if job.job not in self._waiting:
            self._waiting[job.job] = (length, job.path)
            self._kept_for.clear()
            self._look_at = 0.0
        return False

    def tick(self, now: float) -> list[Wish]:
        kept = self._keep() if self._dirty and now >= self._keep_at else []
        if kept:
            self._keep_at = now + KEEP_SECONDS
        if self._evicting is not None:
            late = self._evicting.stage != "deleting" and now >= self._evicting.until
            return [*kept, *(self._give_up("the tracker does not answer", now) if late else [])]
        while self._going:
            item = self._catalogue.known(self._going.pop())
            if item is not None:
                self._evicting = _Eviction(item, now, rest=True, stage="deleting")
                return [*kept, DeleteItem(item)]
        if not self._limit or now < self._look_at:
            return kept
        self._look_at = now + AGAIN_SECONDS
        for number, (length, dest) in list(self._waiting.items()):
            job = self._jobs.get(number)
            if job is None or job.over:
                del self._waiting[number]
            else:
                return [*kept, *self._make_room(job, length, dest, now)]
        return [*kept, *(self._evict(None, now) if self._used() > self._limit else [])]

    def next_deadline(self) -> float | None:
        """Pending writes wait for any turn."""
        if self._evicting is None:
            return self._look_at if self._limit else None
        return self._evicting.until if self._evicting.stage != "deleting" else None

    # --- steps of a deletion -----------------------------------------------------------------------------

    def announced(self, digests: Iterable[str]) -> list[Wish]:
        """All trackers have acknowledged this peer's current entries, or their removal, for ``digests``."""
        evicting = self._evicting
        if evicting is None or evicting.stage != "withdrawing" or evicting.item.digest not in digests:
            return []
        evicting.stage = "asking again"
        return [_ask(evicting.item)]

    def torrents_found(self, digest: str, entries: list[TorrentEntry], sure: bool, now: float) -> list[Wish]:
        """What a lookup lists for ``digest``; ``sure``: the tracker knows all members."""
        evicting = self._evicting
        if evicting is None or evicting.stage not in ("asking", "asking again") or evicting.item.digest != digest:
            return []
        item, listed = evicting.item, bool(self._is_listed(digest))
        why = self._why_not(item, None, self._copies())
        if not sure:
            why = "the tracker does not know all peers yet"
        elif {entry.manifest for entry in entries} != {item.manifest} or max(e.have for e in entries) < 1 + listed:
            why = "no other peer has all of it"
        elif evicting.stage == "asking again" and listed:
            why = "it is shared again"
        if why:
            return self._give_up(why, now)
        if listed:
            evicting.stage = "withdrawing"
            return [ToPieceServer(Unserve(digest)), Withdraw(digest)]
        evicting.stage = "deleting"
        return [DeleteItem(item, self._remembered())]

    def ask_failed(self, detail: str, now: float) -> list[Wish]:
        evicting = self._evicting
        return self._give_up(detail, now) if evicting is not None and evicting.stage != "deleting" else []

    def deleted(self, item: LibraryItem, problem: str, now: float) -> list[Wish]:
        """``item`` was deleted, or left as it is for the reason ``problem``."""
        assert self._evicting is not None
        if problem and self._evicting.rest:  # nothing of it was deleted, so it is an item like all others
            self._evicting = None
            return self._keep()
        if problem:
            return self._give_up(problem, now)
        self._evicting, self._look_at = None, 0.0
        self._order.pop(item.path, None)
        self._said.pop(item.path, None)
        what = f"deleted {item.path} ({format_bytes(item.length)}, {short(item.digest)}) to keep to the quota"
        self._deleted.append(what)
        return [Note("info", what), *self._catalogue.remove(item.path), *self._keep()]

    # --- how ---------------------------------------------------------------------------------------------

    def _make_room(self, job: JobStatus, length: int, dest: str, now: float) -> list[Wish]:
        if self._excess(length, dest) <= 0:
            self._look_at = 0.0
            return [RoomMade(job.job, "")]
        wishes = self._evict(job, now) if length <= self._limit else []
        if self._evicting is not None:
            return wishes
        del self._waiting[job.job]
        self._look_at = 0.0
        what = f"the quota of {format_bytes(self._limit)} has no room for {format_bytes(length)}"
        used = f"{format_bytes(self._used())} are used by downloads"
        kept = "; ".join(f"{path} stays: {why}" for path, (why, _) in [*self._kept_for.items()][:3])
        why = f"{used}, of which none can be deleted" + (f" ({kept})" if kept else "")
        advice = "raise `quota`, or remove what is not needed any more: 'remove', and delete its files"
        return [*wishes, RoomMade(job.job, f"{what}: {why if length <= self._limit else 'it is larger'}; {advice}")]

    def _evict(self, job: JobStatus | None, now: float) -> list[Wish]:
        """Begin to delete the least recently served item that may be deleted."""
        self._kept_for = {path: kept for path, kept in self._kept_for.items() if now < kept[1]}
        copies, notes = self._copies(), list[Wish]()
        downloaded = [item.path for item in self._catalogue.known_items() if item.origin == "downloaded"]
        for path in [*self._order, *(path for path in downloaded if path not in self._order)]:
            item = self._catalogue.known(path)
            if item is None or item.origin != "downloaded":
                self._order.pop(path, None)
            elif path not in self._kept_for:
                why = self._why_not(item, job, copies)
                if not why:
                    self._evicting = _Eviction(item, now + ANSWER_SECONDS)
                    return [*notes, _ask(item)]
                notes += self._refused(path, why, now)
        return notes

    def _copies(self) -> Counter[str]:
        """How many items this peer has, by digest."""
        return Counter(item.digest for item in self._catalogue.known_items())

    def _why_not(self, item: LibraryItem, job: JobStatus | None, copies: Counter[str]) -> str:
        """Why ``item`` may not be deleted for ``job``, as far as this process knows; empty if it may."""
        asked = [get.path for get in self._jobs.active("get")]
        if job is not None:
            asked += [other.path for other in self._jobs.of_same_command(job)]
        if self._catalogue.known(item.path) != item:
            return "it has changed"
        if self._order.get(item.path) != mark_of(item):
            return UNKNOWN
        if item.state:
            return f"it is {item.state}"
        if self._uploads.of(item.digest)[1]:
            return "it is being served"
        if self._is_followed(item.path):
            return "it is followed"
        if item.digest in self._fetched() or item.path in asked:
            return "it is being fetched, or the same command has fetched it"
        if copies[item.digest] > 1:
            return "this peer shares the same content at another path too"
        if not self._joined():
            return "this peer is not in the network, so it does not know who else has it"
        if self._is_listed(item.digest) and not self._is_told(item.digest):
            return (
                "the tracker has not acknowledged it yet"  # and what it acknowledges next would not be the withdrawal
            )
        return ""

    def _give_up(self, why: str, now: float) -> list[Wish]:
        """Share it as before."""
        assert self._evicting is not None
        item, stage = self._evicting.item, self._evicting.stage
        self._evicting, self._look_at = None, 0.0
        again = self._catalogue.tell_again(item.digest) if stage != "asking" else []
        return [*self._refused(item.path, why, now), *again]

    def _refused(self, path: str, why: str, now: float) -> list[Wish]:
        """The item at ``path`` stays. Repeated attempts are logged once."""
        self._kept_for[path] = (why, now + AGAIN_SECONDS)
        if self._said.get(path) == why:
            return []
        self._said[path] = why
        return [Note("warning", f"{path} is not deleted, though the quota is exceeded: {why}")]

    def _used(self) -> int:
        """Bytes of all downloads that are complete or under way. What is missing takes nothing."""
        done = {item.path: item.length for item in self._catalogue.known_items() if _takes_room(item)}
        return sum((done | {fetch.dest: fetch.length for fetch in self._fetched().values()}).values())

    def _excess(self, length: int, dest: str) -> int:
        """By how many bytes the quota would be exceeded with another download of ``length`` at ``dest``."""
        there = self._catalogue.known(dest)
        replaced = there.length if there is not None and _takes_room(there) else 0
        return self._used() - replaced + length - self._limit

    def _keep(self) -> list[Wish]:
        self._dirty = False
        return [KeepDownloaded(self._remembered())]

    def _remembered(self) -> list[Downloaded]:
        going = self.going
        return [Downloaded(path, mark, path == going) for path, mark in self._order.items()]


def _takes_room(item: LibraryItem) -> bool:
    return item.origin == "downloaded" and item.state != "missing"


def _ask(item: LibraryItem) -> Wish:
    return FindTorrents(("quota", item.digest), item.digest)
