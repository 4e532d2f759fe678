"""The file list this peer announces, with the timestamps that trackers gave to announcements; and for each tracker, the
version it was told, and the changes that it does not know yet. Pure.

Owns how a list and its changes are split into messages that fit. `node.agent.membership` decides when they are sent,
repeated or started over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from protocol.limits import (
    ALIAS_BYTES,
    CONTROL_BYTES_MAX,
    ENTRIES_ENVELOPE_BYTES,
    ENTRIES_PAGE_COUNT,
    ENTRY_BYTES,
    SIGNED_BYTES,
)
from protocol.messages import ANEW, Alias, Entry, FileList, Moment, Transfer, TransferState, Update

Names = dict[tuple[str, str, str], Moment]
"""Timestamps of names, each by digest, name and manifest."""


class AnnouncedList:
    """Entries by digest, for all trackers. A change is news to each `ToldList` of it."""

    def __init__(self) -> None:
        self.told: list[ToldList] = []
        self._entries: dict[str, Entry] = {}

    def entries(self) -> list[Entry]:
        """All of them."""
        return list(self._entries.values())

    def get(self, digest: str) -> Entry | None:
        return self._entries.get(digest)

    def set(self, entry: Entry) -> bool:
        """Add or replace an entry; False when it is there already, the same."""
        before = self._entries.get(entry.digest)
        if before is not None:
            known = {(name.name, name.manifest): name.announced for name in before.names()}
            entry = _announced(entry, lambda name: name.announced or known.get((name.name, name.manifest), 0))
        if before == entry:
            return False
        self._entries[entry.digest] = entry
        self._tell(entry.digest)
        return True

    def remove(self, digest: str) -> bool:
        if self._entries.pop(digest, None) is None:
            return False
        self._tell(digest)
        return True

    def moments(self, digest: str) -> Names:
        """The timestamps of the names of ``digest``, as far as trackers gave any."""
        entry = self._entries.get(digest)
        return {} if entry is None else {name: moment for name, moment in names_of(entry) if moment > ANEW}

    def dated(self, teller: ToldList, entries: Sequence[Entry], moments: Sequence[Moment]) -> Names:
        """The tracker of ``teller`` answered ``entries`` with its timestamps of their names; none if they do not fit.
        The latest that any tracker gave counts, as for the trackers themselves; the others are told. Returns those that
        count now."""
        said = [(name, told) for entry in entries for name, told in names_of(entry)]
        if len(said) != len(moments):
            return {}
        count: Names = {}
        for (name, told), moment in zip(said, moments, strict=True):
            if not moment:
                continue
            known = self._moment(name)
            if len(self.told) > 1:
                # Each is told a timestamp once: one that takes it for one of the future keeps its own. One that has not
                # answered yet may have a later one.
                if moment > known:
                    for other in self.told:
                        if other is not teller and name[0] not in other.sent:
                            other.changed(name[0])
                elif moment < known != told:
                    teller.changed(name[0])
            count[name] = moment if len(self.told) == 1 else max(moment, known)
        for digest in dict.fromkeys(digest for digest, _, _ in count):
            entry = self._entries.get(digest)
            if entry is not None:
                self._entries[digest] = _announced(entry, partial(_moment, count, digest))
        return count

    def _moment(self, name: tuple[str, str, str]) -> Moment:
        entry = self._entries.get(name[0])
        return 0 if entry is None else dict(names_of(entry)).get(name, 0)

    def _tell(self, digest: str) -> None:
        for told in self.told:
            told.changed(digest)


class ToldList:
    """What one tracker was told of ``announced``, by ``peer`` with ``token``. ``version`` is the last one it was told
    or is being told.

    Methods that make messages take the ``number`` of the request and the peer's ``run``."""

    def __init__(self, announced: AnnouncedList, peer: str, token: bytes) -> None:
        self.version = 0
        self._announced, self._peer, self._token = announced, peer, token
        self._news: deque[str | Transfer] = deque()
        self.sent: frozenset[str] = frozenset()
        """Entries in the last message, which is not answered yet."""
        self._is_begun = False
        """Whether changes are news: before the next whole list they are not."""
        self._snapshot: list[Entry] = []
        announced.told.append(self)

    def changed(self, digest: str) -> None:
        """The entry of ``digest`` is another one, or gone."""
        if self._is_begun:
            self._news.append(digest)

    def report(self, digest: str, state: TransferState) -> None:
        """Queue news of a transfer, behind the changes that came before it."""
        self._news.append(Transfer(0, self._peer, self._token, digest, state))

    def snapshot(self) -> None:
        """Begin a whole list: it contains all changes so far, which need no update of their own. News of a transfer
        whose entry is gone would bring the entry back."""
        self._snapshot = self._announced.entries()
        owed = (news for news in self._news if isinstance(news, Transfer))
        self._news = deque(
            news for news in owed if news.state == "failed" or self._announced.get(news.digest) is not None
        )
        self._is_begun = True
        self.version += 1

    def await_snapshot(self) -> None:
        """Changes are no news from now on; the next whole list contains them."""
        self._is_begun = False

    def snapshot_digests(self) -> tuple[str, ...]:
        return tuple(entry.digest for entry in self._snapshot)

    def page(self, number: int, run: int, list_id: int, page: int, offset: int) -> tuple[FileList, int]:
        """Page ``page`` of the whole list, which begins at entry ``offset``, and where the next one begins."""
        end, room = offset, CONTROL_BYTES_MAX - ENTRIES_ENVELOPE_BYTES
        while end < len(self._snapshot) and end - offset < ENTRIES_PAGE_COUNT:
            room -= _weight(self._snapshot[end])
            if room < 0:
                break
            end += 1
        entries, last = self._snapshot[offset:end], end >= len(self._snapshot)
        self.sent = frozenset(entry.digest for entry in entries)
        return FileList(number, self._peer, self._token, list_id, page, last, self.version, entries, run), end

    def owes(self, digest: str) -> bool:
        """Whether the entry of ``digest``, or that it is gone, is still to be sent."""
        return digest in self._news

    @property
    def owes_news(self) -> bool:
        return bool(self._news)

    def next_news(self, number: int, run: int) -> Update | Transfer:
        """Take the next message, if there is one; the caller repeats it until it is acknowledged."""
        first = self._news[0]
        if isinstance(first, Transfer):
            self._news.popleft()
            return replace(first, id=number, run=run)
        added: dict[str, Entry] = {}
        removed: dict[str, None] = {}
        room = CONTROL_BYTES_MAX - ENTRIES_ENVELOPE_BYTES
        while self._news and len(added) + len(removed) < ENTRIES_PAGE_COUNT:
            digest = self._news[0]
            if isinstance(digest, Transfer):
                break
            entry = self._announced.get(digest)
            room -= ENTRY_BYTES if entry is None else _weight(entry)
            if room < 0:
                break
            self._news.popleft()
            if entry is None:
                removed[digest] = None
            else:
                added[digest] = entry
        base, self.version = self.version, self.version + 1
        changes = list(added.values()), list(removed)
        self.sent = frozenset(added)
        return Update(number, self._peer, self._token, base, self.version, *changes, run)

    def report_again(self, transfer: Transfer) -> None:
        """A transfer was taken, but not acknowledged."""
        self._news.appendleft(transfer)

    def forget_news(self) -> None:
        """Drop pending changes: the tracker gets the whole list when the peer joins again."""
        self._news.clear()


def names_of(entry: Entry) -> list[tuple[tuple[str, str, str], Moment]]:
    """Each of its names, with the timestamp that ``entry`` has of it."""
    return [((entry.digest, name.name, name.manifest), name.announced) for name in entry.names()]


def _moment(names: Names, digest: str, name: Alias) -> Moment:
    return names.get((digest, name.name, name.manifest), name.announced)


def _announced(entry: Entry, moment: Callable[[Alias], Moment]) -> Entry:
    """``entry`` with the timestamp that ``moment`` gives for each of its names."""
    first, *aliases = (replace(name, announced=moment(name)) for name in entry.names())
    return replace(entry, announced=first.announced, aliases=tuple(aliases))


def _weight(entry: Entry) -> int:
    names = sum(len(name.name.encode()) + (SIGNED_BYTES if name.signature else 0) for name in entry.names())
    return ENTRY_BYTES + ALIAS_BYTES * len(entry.aliases) + names
