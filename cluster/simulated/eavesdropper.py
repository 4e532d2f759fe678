"""What is said between the machines of a simulated world, and must not be. Pure.

Listens to every message that arrives: answers of lookups are as new as was asked for, who sent a receiver wrong bytes
once is not given another chance by it, and nobody asks for offers only to refuse them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from cluster.simulated.content import SentPieces
from cluster.simulated.errors import BrokenInvariantError
from cluster.simulated.world import World
from node.downloader.download import Download
from protocol.messages import (
    Accept,
    GetPeerList,
    GetSeederList,
    GetTorrentList,
    Join,
    PeerList,
    Refuse,
    SeederList,
    TorrentList,
)

CHANCES_COUNT = 3
"""Sessions over which one source sends one download wrong bytes: a second one may begin before the first piece is
hashed."""

REFUSED_COUNT_MAX = 50
REFUSED_SECONDS = 1.0
"""So many offers of one source may a receiver refuse for want of room in this time, if it accepts nothing and nothing
arrives."""


class Eavesdropper:
    """In ``world``; what peers named in ``liars`` hear is their own affair."""

    def __init__(self, world: World, liars: Collection[str]) -> None:
        self._world, self._liars = world, liars
        self._runs: dict[str, dict[int, None]] = {}
        self._asked: dict[tuple[str, int], tuple[int, int]] = {}
        self._wrong: dict[tuple[Download, str], dict[int, None]] = {}
        self._refused: dict[str, tuple[float, Counter[str]]] = {}
        """By receiver: since when, and how many of each source."""
        self.seeders_asked_at: dict[str, float] = {}
        """When each peer last asked who has something."""

    def listen(self) -> None:
        """From now on."""
        told = self._world.network.seen

        def seen(source: str, target: str, message: object) -> None:
            told(source, target, message)
            heard = _HEARD.get(type(message))
            if heard is not None:
                heard(self, source, target, message)

        self._world.network.seen = seen

    def runs(self, identity: str) -> int:
        """How many runs asked to be ``identity``."""
        return len(self._runs.get(identity, ()))

    def _join(self, _source: str, _target: str, message: Join) -> None:
        self._runs.setdefault(message.peer, {})[message.run] = None

    def _question(self, source: str, _target: str, message: GetTorrentList | GetSeederList | GetPeerList) -> None:
        self._asked[source, message.id] = (message.epoch, message.min_seq)
        if isinstance(message, GetSeederList):
            self.seeders_asked_at[source] = self._world.now

    def _answer(self, _source: str, target: str, message: TorrentList | SeederList | PeerList) -> None:
        asked = self._asked.pop((target, message.id), (0, 0))
        if (message.epoch, message.seq) < asked:
            what = f"as of {message.epoch}/{message.seq}, and asked for {asked[0]}/{asked[1]}"
            raise BrokenInvariantError(f"{target} was answered {what}")

    def _accept(self, receiver: str, _source: str, _message: Accept) -> None:
        self._refused.pop(receiver, None)

    def _refuse(self, receiver: str, source: str, message: Refuse) -> None:
        if message.reason != "full" or source in self._liars:
            return
        now = self._world.now
        since, refused = self._refused.get(receiver, (now, Counter[str]()))
        if now - since > REFUSED_SECONDS:
            since, refused = now, Counter()
        self._refused[receiver] = since, refused
        refused[source] += 1
        if refused[source] > REFUSED_COUNT_MAX:
            raise BrokenInvariantError(f"{receiver} goes on asking {source} for offers that it has no room for")

    def _piece(self, source: str, target: str, message: SentPieces) -> None:
        self._refused.pop(target, None)
        true = self._world.true_pieces
        if target in self._liars or all(true.get(bytes(memoryview(data))) == piece for piece, data in message.all()):
            return
        receiver = self._world.peers[target].downloader
        for job in receiver.core.jobs.values() if receiver is not None else ():
            download = job.download
            if download is not None and any(one.session == message.header.session for one in download.sources):
                sessions = self._wrong.setdefault((download, source), {})
                sessions[message.header.session] = None
                if len(sessions) >= CHANCES_COUNT:
                    raise BrokenInvariantError(f"{target} gave {source} {len(sessions)} chances to send wrong bytes")


_HEARD: dict[type, Callable[[Eavesdropper, str, str, Any], None]] = {
    Join: Eavesdropper._join,
    GetTorrentList: Eavesdropper._question,
    GetSeederList: Eavesdropper._question,
    GetPeerList: Eavesdropper._question,
    TorrentList: Eavesdropper._answer,
    SeederList: Eavesdropper._answer,
    PeerList: Eavesdropper._answer,
    Accept: Eavesdropper._accept,
    Refuse: Eavesdropper._refuse,
    SentPieces: Eavesdropper._piece,
}
