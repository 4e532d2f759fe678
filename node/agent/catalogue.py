"""What this peer shares, and what the others have to be told when it changes. Pure.

Items are by path; several may have the same content, of which the first is served and announced, and all have their
manifests handed out, as each has a link. Owns the order of telling: library, piece server, tracker. Hashing is
`node.agent.shares`', rows on disk `node.agent.library`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from node.agent.effects import Announce, ForgetItem, SaveItem, ToPieceServer, Wish, Withdraw
from node.agent.library import LibraryItem
from node.local_messages import SeedAdd, SeedRemove, ShareAdd, SharedItem, ShareRemove, ShareState
from protocol.limits import LOCAL_BYTES_MAX
from protocol.link import Link, format_link
from protocol.messages import Entry

STATE_BYTES_MAX = LOCAL_BYTES_MAX // 4
"""Of the items in one `ShareState`: the last may be a tree of a million files, 16 MB of stamps."""
ITEM_BYTES = 1_024
"""About what an item takes besides its stamps."""


class Catalogue:
    """``items`` are the library's."""

    def __init__(self, items: Iterable[LibraryItem]) -> None:
        self._items: dict[str, LibraryItem] = {}
        self._paths: dict[str, dict[str, None]] = {}
        for item in items:
            self._insert(item)

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> list[LibraryItem]:
        return list(self._items.values())

    def at(self, path: str) -> LibraryItem | None:
        return self._items.get(path)

    def with_digest(self, digest: str) -> LibraryItem | None:
        """The item that is served and announced for ``digest``."""
        path = next(iter(self._paths.get(digest, ())), None)
        return None if path is None else self._items[path]

    def called(self, name: str) -> list[LibraryItem]:
        """Items whose name, or digest, is ``name``."""
        return [item for item in self._items.values() if name in (item.name, item.digest)]

    def announcement(self) -> list[Wish]:
        """Say everything to a tracker that has not been told anything."""
        return [Announce(entry_of(item)) for item in self._served()]

    def share_state(self, instance: int, serving: bool) -> list[Wish]:
        """All that a new piece server has to be told: one `ShareState`, what does not fit into it, more manifests."""
        items = [shared_of(item) for item in self._served()]
        size, fit = 0, 0
        while fit < len(items) and size < STATE_BYTES_MAX:
            size += len(items[fit].stamps) + ITEM_BYTES
            fit += 1
        state = ToPieceServer(ShareState(instance, items[:fit], serving))
        further = [_seed_of(item) for item in self._items.values() if self.with_digest(item.digest) is not item]
        return [state, *(ToPieceServer(ShareAdd(item)) for item in items[fit:]), *further]

    def add(self, item: LibraryItem) -> list[Wish]:
        """Share ``item``, in place of what was at its path."""
        wishes: list[Wish] = []
        before = self._items.get(item.path)
        if before is not None and before.digest != item.digest:
            wishes += self.remove(item.path)
        self._insert(item)  # keeps its place among those of the same content
        wishes.append(SaveItem(item))
        if self.with_digest(item.digest) is item:
            wishes += [ToPieceServer(ShareAdd(shared_of(item))), Announce(entry_of(item))]
        else:
            wishes.append(_seed_of(item))
        if before is not None and before.digest == item.digest:
            wishes += self._forget_seed(before)
        return wishes

    def remove(self, path: str) -> list[Wish]:
        """Share what is at ``path`` no longer; another item of the same content takes its place."""
        item = self._items.get(path)
        if item is None:
            return []
        was_served = self.with_digest(item.digest) is item
        self._take_out(item)
        wishes: list[Wish] = [ForgetItem(path), *self._forget_seed(item)]
        if not was_served:
            return wishes
        wishes.append(ToPieceServer(ShareRemove(item.digest)))
        successor = self.with_digest(item.digest)
        if successor is None:
            return [*wishes, Withdraw(item.digest)]
        return [*wishes, ToPieceServer(ShareAdd(shared_of(successor))), Announce(entry_of(successor))]

    def _served(self) -> list[LibraryItem]:
        return [self._items[next(iter(paths))] for paths in self._paths.values()]

    def _insert(self, item: LibraryItem) -> None:
        self._items[item.path] = item
        self._paths.setdefault(item.digest, {})[item.path] = None

    def _forget_seed(self, item: LibraryItem) -> list[Wish]:
        """``item`` is gone: its manifest is handed out no longer, unless another has the same."""
        others = self._paths.get(item.digest, ())
        if any(self._items[path].manifest == item.manifest for path in others):
            return []
        return [ToPieceServer(SeedRemove(item.manifest))]

    def _take_out(self, item: LibraryItem) -> None:
        del self._items[item.path]
        paths = self._paths[item.digest]
        del paths[item.path]
        if not paths:
            del self._paths[item.digest]


def entry_of(item: LibraryItem) -> Entry:
    return Entry(item.digest, item.manifest, item.name, item.length, "whole")


def _seed_of(item: LibraryItem) -> Wish:
    return ToPieceServer(SeedAdd(item.manifest, item.seed_path))


def shared_of(item: LibraryItem) -> SharedItem:
    return SharedItem(item.digest, item.manifest, item.seed_path, item.path, item.stamps)


def link_of(item: LibraryItem) -> str:
    return format_link(Link(item.digest, item.manifest, item.name, item.length))
