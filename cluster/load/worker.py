"""A process of clients of one tracker: two DEALERs for each of them, around `cluster.load.crew`, and a subscription to
the roster if they are idle. Run as a child of the load test.

Waits with epoll for the descriptors of its sockets. A poll of ZeroMQ looks at every socket there is: of a thousand
that took 1.8 ms, whether one of them had a message or all.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from random import Random

import zmq
from msgspec import Struct

from cluster.load.client import Channel, Reply
from cluster.load.crew import Ask, Crew
from cluster.load.messages import Go, Progress
from cluster.load.plan import LoadPlan
from protocol.codec import Decoder, encode
from protocol.errors import ProtocolError
from protocol.limits import LOCAL_BYTES_MAX, REPLY_BYTES_MAX
from protocol.messages import LookupReply, RegistrarReply, Welcome
from service.child import run_child
from service.logs import LogSettings
from transport.loop import Loop
from transport.sockets import Role, connect, drain, open_context, open_socket, send_or_drop

REPORT_SECONDS = 0.25


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """Worker ``worker`` runs the clients of ``plan`` from ``first`` up to, and without, ``end``, at tracker number
    ``tracker``. ``control`` is the endpoint of the run."""

    worker: int
    tracker: int
    first: int
    end: int
    plan: LoadPlan
    registrar: str
    roster: str
    lookups: tuple[str, ...]
    control: str
    log: LogSettings = LogSettings()


class Worker:
    """All clients of this process, on ``loop``."""

    def __init__(self, settings: WorkerSettings, context: zmq.Context[zmq.Socket[bytes]], loop: Loop) -> None:
        self._settings = settings
        self._context = context
        self._loop = loop
        self._decoders: dict[Channel, Decoder[Reply]] = {
            Channel.REGISTRAR: Decoder(RegistrarReply, REPLY_BYTES_MAX),
            Channel.LOOKUP: Decoder(LookupReply, REPLY_BYTES_MAX),
        }
        self._sockets: dict[tuple[int, Channel], zmq.Socket[bytes]] = {}
        self._rosters: dict[int, zmq.Socket[bytes]] = {}
        self._control = open_socket(context, Role.LOCAL_DEALER)
        self._control_decoder: Decoder[Go] = Decoder(Go)
        self._report_at = 0.0
        self._told_over = False
        rng = Random(f"{settings.plan.seed} {settings.worker}")
        self._crew = Crew(range(settings.first, settings.end), settings.plan, rng)

    def run(self) -> None:
        """Until the loop is stopped. Raises `NetworkError` when there are no more sockets to be had."""
        self._loop.add(self._control, self._on_control)
        connect(self._control, self._settings.control)
        self._report()
        self._loop.run(self._tick)

    def _dial(self, index: int) -> None:
        """All at once would keep each other waiting for longer than a connection may take."""
        settings = self._settings
        lookup = settings.lookups[(settings.first + index) % len(settings.lookups)]
        for channel, endpoint in ((Channel.REGISTRAR, settings.registrar), (Channel.LOOKUP, lookup)):
            socket = open_socket(self._context, Role.CONTROL_DEALER)
            socket.set(zmq.IMMEDIATE, 0)  # the first request waits for the connection
            self._sockets[index, channel] = socket
            connect(socket, endpoint)
            self._loop.add(socket, partial(self._read, index, channel, socket))

    def _read(self, index: int, channel: Channel, socket: zmq.Socket[bytes]) -> None:
        for frames in drain(socket):
            now = self._loop.now()
            try:
                reply = self._decoders[channel].decode(frames[0].buffer)
            except ProtocolError as error:
                self._send(self._crew.broken(index, str(error), now))
                continue
            if isinstance(reply, Welcome) and self._settings.plan.idle and index not in self._rosters:
                self._subscribe(index)
            self._send(self._crew.receive(index, channel, reply, now))

    def _subscribe(self, index: int) -> None:
        """To the roster, whose messages nobody reads: they arrive, and each takes the place of the last."""
        socket = self._rosters[index] = open_socket(self._context, Role.ROSTER_SUB)
        socket.set(zmq.CONFLATE, 1)
        connect(socket, self._settings.roster)

    def _send(self, asks: Iterable[Ask]) -> None:
        for seat, request in asks:
            if (seat, request.channel) not in self._sockets:
                self._dial(seat)
            send_or_drop(self._sockets[seat, request.channel], [encode(request.message)])

    def _on_control(self) -> None:
        for frames in drain(self._control):
            phase = self._control_decoder.decode(frames[0].buffer).phase
            self._report()  # the last of the phase before
            self._told_over = False
            self._send(self._crew.go(phase, self._loop.now()))

    def _tick(self, now: float) -> float:
        self._send(self._crew.tick(now))
        if now >= self._report_at or (self._crew.over and not self._told_over):
            self._told_over = self._crew.over
            self._report()
        return min(self._report_at, self._crew.next_deadline())

    def _report(self) -> None:
        crew, now = self._crew, self._loop.now()
        self._report_at = now + REPORT_SECONDS
        epoch, seq = crew.state
        progress = Progress(
            worker=self._settings.worker,
            tracker=self._settings.tracker,
            phase=crew.phase,
            over=crew.over,
            settled=crew.settled,
            given_up=crew.given_up,
            seconds=crew.seconds(now),
            counts=crew.tally.counts(),
            epoch=epoch,
            seq=seq,
            asked_again=crew.asked_again,
        )
        send_or_drop(self._control, [encode(progress, LOCAL_BYTES_MAX)])

    def close(self) -> None:
        """Close every socket."""
        for socket in (*self._sockets.values(), *self._rosters.values()):
            socket.close(0)  # nothing that a client still had to say matters any more
        self._control.close()


def main(settings: WorkerSettings, loop: Loop) -> int:
    """Run the clients; 0 when it was told to end."""
    context = open_context()
    worker = Worker(settings, context, loop)
    try:
        worker.run()
    finally:
        worker.close()
        context.term()
    return 0


if __name__ == "__main__":
    run_child("clients", WorkerSettings, main)
