"""Many peers in one process that have nothing but their membership: the real core, over a connection each.

They join with long lists, show that they are alive, and join again when the tracker has forgotten them. They serve
nothing, ask no lookup and do not listen to the roster.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders.helper import Answer, serve
from benchmarks.tracker_load import samples
from node.agent.announced import AnnouncedList
from node.agent.dialled import Dialled
from node.agent.heartbeats import Figures
from node.agent.membership import Effect, Membership, Send, Welcomed
from node.host import ProcessHost
from node.work_queue import WorkQueue
from protocol.codec import Decoder
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import Entry, RegistrarReply
from transport.loop import Loop
from transport.sockets import Role, open_context

LOOK_SECONDS = 0.5
_DECODER: Decoder[RegistrarReply] = Decoder(RegistrarReply, REPLY_BYTES_MAX)


class LightPeer:
    """Peer ``number``. ``epoch`` and ``seq`` are those it was welcomed with last."""

    def __init__(
        self,
        host: ProcessHost,
        names: WorkQueue,
        tracker: str,
        number: int,
        entries: Sequence[Entry],
    ) -> None:
        rng = random.Random(number)
        who = samples.peer_id(number), samples.token(number), f"light-{number}"
        listed = AnnouncedList()
        for entry in entries:
            listed.set(entry)
        self._membership = Membership(*who, tracker, rng, listed, Figures())
        told = (self._receive, self._connected, self._lost)
        self._connection = Dialled(host, names, Role.CONTROL_DEALER, tracker, _DECODER, *told, rng)
        self._endpoint = f"tcp://*:{1 + number}"
        self.epoch = self.seq = 0
        self.due: float | None = None

    def join(self) -> None:
        """Join, if it has not yet."""
        self._perform(self._membership.set_endpoint(self._endpoint, time.monotonic()))

    def tick(self, now: float) -> None:
        self._connection.tick(now)
        self._perform(self._membership.tick(now))

    def close(self) -> None:
        self._connection.close()

    def _receive(self, reply: RegistrarReply) -> None:
        self._perform(self._membership.receive(reply, time.monotonic()))

    def _connected(self, host: str) -> None:
        self._perform(self._membership.connected(host, time.monotonic()))

    def _lost(self, why: str, _denied: bool) -> None:
        self._perform(self._membership.disconnected(why, time.monotonic()))

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._connection.send(effect.message)
            elif isinstance(effect, Welcomed):
                self.epoch, self.seq = effect.welcome.epoch, effect.welcome.seq
        moments = (self._membership.next_deadline(), self._connection.next_deadline())
        self.due = min((moment for moment in moments if moment is not None), default=None)


class LightPeers:
    """Those of this process."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._host = ProcessHost(self._loop, open_context(), Path())
        self._names = self._host.workers(1)
        self._peers: list[LightPeer] = []

    def start(self, tracker: str, numbers: tuple[int, int, int], files: int) -> Answer:
        """Those with ``numbers`` (a range), and the first ``files`` of `samples` each; they join in `members`."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        entries = samples.entries(files)
        self._peers = [LightPeer(self._host, self._names, tracker, number, entries) for number in range(*numbers)]
        return {}

    def members(self, after: int, within: float) -> Answer:
        """Run until all are members of a registrar whose epoch is above ``after``, ``within`` so many seconds: that
        epoch, the ``seq`` of the last welcome, the moment, and how much CPU time it took."""
        loop = self._loop
        loop.resume()
        cpu = time.process_time()
        for peer in self._peers:
            peer.join()
        deadline = time.monotonic() + within

        def tick(now: float) -> float:
            for peer in self._peers:
                if peer.due is not None and peer.due <= now:
                    peer.tick(now)
            if now >= deadline or all(peer.epoch > after for peer in self._peers):
                loop.stop()
            return min([now + LOOK_SECONDS, deadline, *(peer.due for peer in self._peers if peer.due is not None)])

        loop.run(tick)
        missing = sum(peer.epoch <= after for peer in self._peers)
        if missing:
            raise TimeoutError(f"{missing} of {len(self._peers)} light peers are no members after {within:g} s")
        return {
            "at": time.monotonic(),
            "cpu_s": time.process_time() - cpu,
            "epoch": max(peer.epoch for peer in self._peers),
            "seq": max(peer.seq for peer in self._peers),
        }


if __name__ == "__main__":
    peers = LightPeers()
    serve({"start": peers.start, "members": peers.members})
