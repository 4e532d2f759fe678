"""The file list this peer announces: its entries, its version, the changes that the tracker does not know yet, and the
timestamps that it gave to announcements. Pure.

Owns how a list and its changes are split into messages that fit. `node.agent.membership` decides when they are sent,
repeated or started over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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


class AnnouncedList:
    """Entries by digest of ``peer``. ``version`` is the last one the tracker was told or is being told.

    Methods that make messages take the ``number`` of the request and the peer's ``run``."""

    def __init__(self, peer: str, token: bytes) -> None:
        self.version = 0
        self._peer, self._token = peer, token
        self._entries: dict[str, Entry] = {}
        self._news: deque[str | Transfer] = deque()
        self._snapshot: list[Entry] = []

    def entries(self) -> list[Entry]:
        """All of them."""
        return list(self._entries.values())

    def set(self, entry: Entry) -> bool:
        """Add or replace an entry; False when it is there already, the same."""
        before = self._entries.get(entry.digest)
        if before is not None:
            known = {(name.name, name.manifest): name.announced for name in before.names()}
            entry = _announced(entry, lambda name: name.announced or known.get((name.name, name.manifest), 0))
        if before == entry:
            return False
        self._entries[entry.digest] = entry
        self._news.append(entry.digest)
        return True

    def announced(self, names: dict[tuple[str, str, str], Moment]) -> None:
        """Keep the tracker's timestamps of ``names``, each by digest, name and manifest. They need not be sent back."""
        for digest in dict.fromkeys(digest for digest, _, _ in names):
            entry = self._entries.get(digest)
            if entry is not None:
                self._entries[digest] = _announced(entry, partial(_moment, names, digest))

    def moments(self, digest: str) -> dict[tuple[str, str, str], Moment]:
        """The tracker's timestamps of the names of ``digest``, each by digest, name and manifest."""
        entry = self._entries.get(digest)
        names = entry.names() if entry is not None else []
        return {(digest, name.name, name.manifest): name.announced for name in names if name.announced > ANEW}

    def remove(self, digest: str) -> bool:
        if self._entries.pop(digest, None) is None:
            return False
        self._news.append(digest)
        return True

    def get(self, digest: str) -> Entry | None:
        return self._entries.get(digest)

    def report(self, digest: str, state: TransferState) -> None:
        """Queue news of a transfer, behind the changes that came before it."""
        self._news.append(Transfer(0, self._peer, self._token, digest, state))

    def snapshot(self) -> None:
        """Begin a whole list: it contains all changes so far, which need no update of their own. News of a transfer
        whose entry is gone would bring the entry back."""
        self._snapshot = list(self._entries.values())
        owed = (news for news in self._news if isinstance(news, Transfer))
        self._news = deque(news for news in owed if news.state == "failed" or news.digest in self._entries)
        self.version += 1

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
        return FileList(number, self._peer, self._token, list_id, page, last, self.version, entries, run), end

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
            entry = self._entries.get(digest)
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
        return Update(number, self._peer, self._token, base, self.version, *changes, run)

    def report_again(self, transfer: Transfer) -> None:
        """A transfer was taken, but not acknowledged."""
        self._news.appendleft(transfer)

    def forget_news(self) -> None:
        """Drop pending changes: the tracker gets the whole list when the peer joins again."""
        self._news.clear()


def _moment(names: dict[tuple[str, str, str], Moment], digest: str, name: Alias) -> Moment:
    return names.get((digest, name.name, name.manifest), name.announced)


def _announced(entry: Entry, moment: Callable[[Alias], Moment]) -> Entry:
    """``entry`` with the timestamp that ``moment`` gives for each of its names."""
    first, *aliases = (replace(name, announced=moment(name)) for name in entry.names())
    return replace(entry, announced=first.announced, aliases=tuple(aliases))


def _weight(entry: Entry) -> int:
    names = sum(len(name.name.encode()) + (SIGNED_BYTES if name.signature else 0) for name in entry.names())
    return ENTRY_BYTES + ALIAS_BYTES * len(entry.aliases) + names
