"""What this peer shares, and what library, piece server and tracker have to be told when it changes. Pure.

Items are keyed by path. If several have the same content, the first is served, and all are announced, each by its name.
An item that cannot be served (its ``state`` says why) is kept, but not announced. When a path gets new content, its
previous content is still served to peers that are fetching it. Owns the order in which changes are passed on: library,
piece server, tracker. Hashing belongs to `node.agent.shares`, rows on disk to `node.agent.library`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from node.agent.effects import Announce, ForgetItem, SaveItem, ToPieceServer, Wish, Withdraw
from node.agent.library import ItemState, LibraryItem
from node.local_messages import Fetch, LocalCopy, Mend, Serve, ShareState, Unserve
from protocol.limits import ALIASES_COUNT_MAX, LOCAL_BYTES_MAX
from protocol.link import Link, format_link
from protocol.manifest import piece_length_for
from protocol.messages import ANEW, Alias, Entry, Holding, Moment
from protocol.signature import Named, split_signatures

STATE_BYTES_MAX = LOCAL_BYTES_MAX // 4
"""Size of the items in one `ShareState`: the last may be a tree of a million files, with 24 MB of stamps."""
ITEM_BYTES = 1_024
"""Approximate size of an item without its stamps."""
COPIES_COUNT_MAX = 256
"""Copies that are reported to the downloader, which has to read the manifest of each before it begins."""
EARLIER_COUNT_MAX = 4
"""Earlier contents of one path that are still served: it may change again and again while somebody fetches."""


class Catalogue:
    """``items`` are the library's. So are ``dormant`` ones: they are not announced in this run of the peer, unless they
    are asked for."""

    def __init__(self, items: Iterable[LibraryItem], dormant: Iterable[LibraryItem] = ()) -> None:
        self._dormant = {item.path: item for item in dormant}
        self._items: dict[str, LibraryItem] = {}
        self._earlier: dict[str, dict[str, LibraryItem]] = {}
        """By path and digest, the oldest first."""
        self._served: dict[str, dict[str, LibraryItem]] = {}
        """By digest and path, earlier contents included."""
        self._suspended: dict[str, None] = {}
        """Paths of items that are not served."""
        for item in items:
            self._insert(item)

    def __len__(self) -> int:
        """Items that are served."""
        return len(self._items) - len(self._suspended)

    def items(self) -> list[LibraryItem]:
        return list(self._items.values())

    def earlier(self) -> list[LibraryItem]:
        """Earlier contents that are still served."""
        return [item for contents in self._earlier.values() for item in contents.values()]

    def at(self, path: str) -> LibraryItem | None:
        return self._items.get(path)

    def known(self, path: str) -> LibraryItem | None:
        """The library's item at ``path``, dormant or not."""
        return self._items.get(path) or self._dormant.get(path)

    def with_digest(self, digest: str) -> LibraryItem | None:
        """The item that is served for ``digest``."""
        return next(iter(self._served.get(digest, {}).values()), None)

    def entry(self, digest: str) -> Entry | None:
        """This peer's list entry for ``digest``: with the name of the item that is served, and those of the others."""
        first = self.with_digest(digest)
        if first is None:
            return None
        names: dict[tuple[str, str, bytes], Alias] = {}
        for item in self._served[digest].values():
            for alias in _names(item, item.signatures, item.announced):
                key = (alias.name, alias.manifest, alias.signature)
                if key not in names or item.announced == ANEW:
                    names[key] = alias
            if len(names) > ALIASES_COUNT_MAX:
                break
        return _entry(digest, first.length, "whole", list(names.values())[: ALIASES_COUNT_MAX + 1])

    def signatures_of(self, content: Named) -> bytes:
        """Those that this peer has of ``content`` under its name."""
        same = (content.manifest, content.name)
        items = self._served.get(content.digest, {}).values()
        return b"".join(item.signatures for item in items if (item.manifest, item.name) == same)

    def sign(self, path: str, signatures: bytes) -> list[Wish]:
        """What is at ``path`` has these ``signatures``."""
        item = self._items.get(path)
        if item is None or item.signatures == signatures:
            return []
        signed = msgspec.structs.replace(item, signatures=signatures)
        self._insert(signed)
        entry = self.entry(item.digest)
        return [SaveItem(signed), *([] if entry is None else [Announce(entry)])]

    def announced(self, names: Mapping[tuple[str, str, str], Moment]) -> list[Wish]:
        """Keep the tracker's timestamps of ``names``, each by digest, name and manifest, to repeat them to its
        successor."""
        wishes: list[Wish] = []
        for digest in dict.fromkeys(digest for digest, _, _ in names):
            for item in list(self._served.get(digest, {}).values()):
                moment = names.get((digest, item.name, item.manifest), item.announced)
                if moment == item.announced:
                    continue
                dated = self._served[digest][item.path] = msgspec.structs.replace(item, announced=moment)
                if self._items.get(item.path) is item:
                    self._items[item.path] = dated
                    wishes.append(SaveItem(dated))
                else:
                    self._earlier[item.path][digest] = dated
        return wishes

    def copies_for(self, download: Fetch | Mend) -> list[LocalCopy]:
        """Content on this machine that may share pieces with ``download``, the likeliest first: at its destination,
        under its name, then the rest."""
        piece_length, algorithm = piece_length_for(download.length), download.digest.partition(":")[0]
        found = [
            item
            for item in self.known_items()
            if item.state != "missing"
            and piece_length_for(item.length) == piece_length
            and item.digest.partition(":")[0] == algorithm
        ]
        found.sort(key=lambda item: (item.path != download.dest, item.name != download.name))
        return [LocalCopy(item.seed_path, item.path) for item in found[:COPIES_COUNT_MAX]]

    def known_items(self) -> list[LibraryItem]:
        """All items of the library, dormant or not."""
        return [*self._items.values(), *self._dormant.values()]

    def announcement(self) -> list[Wish]:
        """The whole list, for a tracker that knows nothing yet."""
        return [Announce(entry) for digest in self._served if (entry := self.entry(digest)) is not None]

    def share_state(self, instance: int, peer: str, serving: bool) -> list[Wish]:
        """The messages for a new piece server: one `ShareState`, and what does not fit into it."""
        items = [item for digest in self._served if (item := self._shared(digest)) is not None]
        size, fit = 0, 0
        while fit < len(items) and size < STATE_BYTES_MAX:
            size += len(items[fit].stamps) + ITEM_BYTES
            fit += 1
        state = ToPieceServer(ShareState(instance, peer, items[:fit], serving))
        return [state, *(ToPieceServer(item) for item in items[fit:])]

    def add(self, item: LibraryItem, keep_earlier: bool = False) -> list[Wish]:
        """Share ``item``, in place of what was at its path; with ``keep_earlier`` that is still served, if it was."""
        wishes: list[Wish] = []
        self._dormant.pop(item.path, None)
        before = self._items.get(item.path)
        if before is not None and before.digest != item.digest:
            if keep_earlier and not before.state:
                wishes += self._keep_earlier(before)
            else:
                wishes += self._unserve(before)
        self._drop_from_earlier(item)
        served = self._shared(item.digest)
        self._insert(item)  # keeps its place among those of the same content
        return [*wishes, SaveItem(item), *self._changed(item, served)]

    def wake(self, digest: str, besides: str) -> list[Wish]:
        """Share a dormant item of ``digest`` that is not at the path ``besides``, if one can be served."""
        same = [item for item in self._dormant.values() if item.digest == digest and not item.state]
        found = [item for item in same if item.path != besides]
        return self.add(found[0]) if found else []

    def suspend(self, path: str, state: ItemState, detail: str, since: float) -> list[Wish]:
        """Keep the item at ``path``, but do not serve it until `add` brings it back; ``since`` is `time.time`."""
        item = self._items.get(path)
        if item is None:
            return []
        self._items[path] = msgspec.structs.replace(item, state=state, detail=detail, since=since)
        self._suspended[path] = None
        return [SaveItem(self._items[path]), *self._unserve(item)]

    def remove(self, path: str) -> list[Wish]:
        """Stop sharing the item at ``path``; another item of the same content takes its place."""
        if self._dormant.pop(path, None) is not None:
            return [ForgetItem(path)]
        item = self._items.pop(path, None)
        self._suspended.pop(path, None)
        if item is None:
            return []
        wishes: list[Wish] = [ForgetItem(path), *self._unserve(item)]
        for earlier in self._earlier.pop(path, {}).values():
            wishes += self._unserve(earlier)
        return wishes

    def tell_again(self, digest: str) -> list[Wish]:
        """Serve and announce ``digest`` again, which another part withdrew, if an item here has it."""
        entry, served = self.entry(digest), self._shared(digest)
        return [] if entry is None or served is None else [ToPieceServer(served), Announce(entry)]

    def drop_earlier(self, is_over: Callable[[LibraryItem], bool]) -> list[Wish]:
        """Stop serving the earlier contents for which ``is_over``."""
        wishes: list[Wish] = []
        for item in [item for item in self.earlier() if is_over(item)]:
            self._drop_from_earlier(item)
            wishes += self._unserve(item)
        return wishes

    def _insert(self, item: LibraryItem) -> None:
        self._items[item.path] = item
        if item.state:
            self._suspended[item.path] = None
        else:
            self._suspended.pop(item.path, None)
            self._served.setdefault(item.digest, {})[item.path] = item

    def _keep_earlier(self, item: LibraryItem) -> list[Wish]:
        kept = self._earlier.setdefault(item.path, {})
        kept[item.digest] = item
        oldest = next(iter(kept))
        return self._unserve(kept.pop(oldest)) if len(kept) > EARLIER_COUNT_MAX else []

    def _drop_from_earlier(self, item: LibraryItem) -> None:
        kept = self._earlier.get(item.path, {})
        kept.pop(item.digest, None)
        if not kept:
            self._earlier.pop(item.path, None)

    def _unserve(self, item: LibraryItem) -> list[Wish]:
        """Stop serving and announcing ``item``, if it was."""
        by_path = self._served.get(item.digest, {})
        if item.path not in by_path:
            return []
        served = self._shared(item.digest)
        del by_path[item.path]
        if not by_path:
            del self._served[item.digest]
        return self._changed(item, served)

    def _changed(self, item: LibraryItem, before: Serve | None) -> list[Wish]:
        """Pass on that ``item`` came or went; ``before`` is the item of its content that was served until now."""
        entry, served = self.entry(item.digest), self._shared(item.digest)
        if entry is None or served is None:
            return [ToPieceServer(Unserve(item.digest)), Withdraw(item.digest)]
        told = served == before and served.root != item.path
        return [*([] if told else [ToPieceServer(served)]), Announce(entry)]

    def _shared(self, digest: str) -> Serve | None:
        """The message about ``digest`` for the piece server."""
        first = self.with_digest(digest)
        if first is None:
            return None
        seeds = {item.manifest: item.seed_path for item in self._served[digest].values()}
        del seeds[first.manifest]
        return Serve(digest, first.manifest, first.seed_path, first.path, stamps=first.stamps, more=seeds)


def entry_of(download: Fetch, holding: Holding) -> Entry:
    """What a list says of ``download``, of which the peer has not all."""
    return _entry(download.digest, download.length, holding, _names(download, download.signatures))


def _names(content: Named, signatures: bytes, announced: Moment = 0) -> list[Alias]:
    """The name of ``content``, once for each of its ``signatures``."""
    return [Alias(content.name, content.manifest, announced, one) for one in split_signatures(signatures) or [b""]]


def _entry(digest: str, length: int, holding: Holding, names: list[Alias]) -> Entry:
    first, *others = names
    named = (first.manifest, first.name, length)
    return Entry(digest, *named, holding, tuple(others), first.announced, first.signature)


def link_of(item: LibraryItem | Fetch) -> str:
    return format_link(Link(item.digest, item.manifest, item.name, item.length))
