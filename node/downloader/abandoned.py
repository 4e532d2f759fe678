"""Partial downloads that the journal knows and the library does not: nobody would resume them. Found, and deleted the
way that any removed download is.

What is in use, the agent says. Which download is under way or being deleted here, and how it is deleted, is the core's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from node.disk.store import JournalEntry, Store
from node.downloader.job_context import JobContext
from node.local_messages import Collect, Collected, DeleteFetch, Unused
from protocol.errors import ZswarmError

Found = list[tuple[JournalEntry, Unused]]


def find_abandoned(store: Store, used: Collection[tuple[str, str]]) -> Found:
    """What the journal has, less the downloads (digest, destination) in ``used``, and what each takes on disk."""
    return [
        (entry, Unused("download", *store.partial_size(entry.dest)))
        for entry in store.journal.entries()
        if (entry.digest, entry.dest) not in used
    ]


class Abandoned:
    """One order after another. ``is_busy`` tells whether the downloader is at work on an entry; ``delete`` has it
    deleted, after which `deleted` is called."""

    def __init__(
        self, context: JobContext, is_busy: Callable[[JournalEntry], bool], delete: Callable[[DeleteFetch], None]
    ) -> None:
        self._context, self._is_busy, self._delete = context, is_busy, delete
        self._orders: list[Collect] = []
        self._wanted: Found = []
        self._pending: set[str] = set()
        """Destinations where something is being deleted."""

    def order(self, order: Collect) -> None:
        """Answered with `Collected`, once all that can be deleted is."""
        self._orders.append(order)
        if len(self._orders) == 1:
            self._look(self._found)

    def deleted(self, dest: str) -> None:
        """Nothing is left of the download to ``dest``, or what is left cannot be deleted."""
        if dest in self._pending:
            self._pending.discard(dest)
            if not self._pending:
                self._look(self._end)

    def _look(self, done: Callable[[Found], None]) -> None:
        used = frozenset(self._orders[0].used)

        def looked(found: Any) -> None:
            if isinstance(found, ZswarmError):
                self._answer(Collected(self._orders[0].tag, [], [], [], found.code, str(found)))
            elif isinstance(found, BaseException):
                raise found
            else:
                done(found)

        self._context.chores.submit(looked, partial(find_abandoned, self._context.store, used))

    def _found(self, found: Found) -> None:
        self._wanted = [(entry, unused) for entry, unused in found if not self._is_busy(entry)]
        if self._orders[0].dry_run:
            wanted = [entry for entry, _ in self._wanted]
            self._end([(entry, unused) for entry, unused in found if entry not in wanted])
        elif not self._wanted:
            self._end(found)
        else:
            self._pending = {entry.dest for entry, _ in self._wanted}
            for entry, _ in self._wanted:
                self._delete(DeleteFetch(entry.digest, entry.dest, entry.seed_path))

    def _end(self, left: Found) -> None:
        """``left`` is what there still is."""
        kept = {(entry.digest, entry.dest) for entry, _ in left}
        removed = [unused for entry, unused in self._wanted if (entry.digest, entry.dest) not in kept]
        seeds = [entry.seed_path for entry, _ in left]
        self._answer(Collected(self._orders[0].tag, removed, [unused for _, unused in left], seeds))

    def _answer(self, answer: Collected) -> None:
        self._context.tell_agent(answer)
        del self._orders[0]
        self._wanted = []
        if self._orders:
            self._look(self._found)
