"""Who has the wanted contents, as all trackers say together. Pure.

Each tracker is asked on its own (`node.agent.lookups`), and its last answer counts until the next one; what the roster
says of it in between is noted. Places in the grid come from one tracker, as each numbers the receivers in its own way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from node.agent.lookups import SeedersFound
from node.agent.tracker import ELSEWHERE, Tracker
from node.local_messages import Sources
from protocol.limits import SEEDERS_COUNT_MAX
from protocol.messages import SeederEntry


class Seeders:
    """As ``trackers`` know them, in the order in which they are configured."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers
        self._found: dict[str, dict[int, SeedersFound]] = {}
        """By digest, and tracker."""
        self._turn = 0

    def wanted(self, digest: str) -> None:
        self._found.setdefault(digest, {})

    def unwanted(self, digest: str) -> None:
        self._found.pop(digest, None)

    def gives_cells(self, tracker: Tracker) -> bool:
        """Whether places in the grid are those that ``tracker`` gives: the first that answers."""
        return tracker is next((one for one in self._trackers if not one.is_silent), tracker)

    def found(self, tracker: Tracker, answer: SeedersFound) -> Sources:
        """The answer of ``tracker``, and with it what the others have said."""
        seeders = [tracker.dialled(seeder) for seeder in answer.seeders]
        said = self._found.setdefault(answer.digest, {})
        said[tracker.number] = replace(answer, seeders=seeders)
        self._turn += 1
        live = [one for one in self._trackers if one is tracker or not one.is_silent]
        answers = [said[one.number] for one in live if one.number in said]
        first = answers[0]
        places: dict[str, list[SeederEntry]] = {}
        for one in answers:
            for seeder in one.seeders:
                places.setdefault(seeder.peer, []).append(seeder if one is first else replace(seeder, cell=None))
        union = [self._place(entries) for entries in places.values()]
        joined = [one for one in live if one.membership.joined]
        is_sure = joined and all(one.number in said for one in joined) and not all(one.settling for one in answers)
        samples = [one.total for one in answers if one.total > len(one.seeders)]
        total = max([len(union), *samples]) if is_sure else None
        return Sources(answer.digest, union, total, first.cell, first.cells)

    def up(self, tracker: Tracker, digest: str, seeder: SeederEntry) -> SeederEntry:
        """The roster of ``tracker`` names one more; as this peer is to dial it."""
        seeder = tracker.dialled(seeder)
        answer = self._found.get(digest, {}).get(tracker.number)
        if answer is not None and len(answer.seeders) < SEEDERS_COUNT_MAX:
            answer.seeders.append(seeder)
        return seeder if self.gives_cells(tracker) else replace(seeder, cell=None)

    def down(self, tracker: Tracker, peer: str, digest: str) -> bool:
        """The roster of ``tracker`` says that ``peer`` has ``digest`` no longer, or with an empty ``digest`` that it is
        gone. Whether no other tracker names it."""
        asked: Iterable[str] = [digest] if digest else self._found
        named = False
        for one in asked:
            for number, answer in self._found.get(one, {}).items():
                if number == tracker.number:
                    answer.seeders[:] = [seeder for seeder in answer.seeders if seeder.peer != peer]
                elif not self._trackers[number].is_silent:
                    named = named or any(seeder.peer == peer for seeder in answer.seeders)
        return not named

    def _place(self, entries: list[SeederEntry]) -> SeederEntry:
        """One of what trackers say of one peer. Where they name different places, each in turn: one may be wrong."""
        first, *_ = entries
        places = dict.fromkeys((one.endpoint, one.key) for one in entries if not one.endpoint.endswith(ELSEWHERE))
        if len(places) > 1 or (places and first.endpoint.endswith(ELSEWHERE)):
            endpoint, key = [*places][self._turn % len(places)]
            first = replace(first, endpoint=endpoint, key=key)
        return replace(first, whole=True) if any(one.whole for one in entries) and not first.whole else first
