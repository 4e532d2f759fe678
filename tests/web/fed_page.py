"""The page, fed with events by a test in place of a registrar, and networks to feed it with."""

from __future__ import annotations

import json
import queue
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple, cast

from broker.child_settings import WebSettings
from broker.events import DownloadsSet, EntrySet, Event, LoadSet, OrderSet, PeerSet
from broker.link_messages import Changes, FromRegistrar, LinkBeat, StateRequest
from broker.web.__main__ import CONNECTIONS_COUNT_MAX
from broker.web.app import Page
from broker.web.desk import Desk
from broker.web.process import PageProcess
from protocol.messages import DownloadPhase, DownloadState, Order, OtherTracker
from service.logs import LogSettings
from service.web.server import HttpThread
from transport.loop import Loop
from transport.ports import Transport

EPOCH = 1_800_000_000_000
TICK_SECONDS = 0.02
MIB = 1024 * 1024
MARKUP = '<img src=x onerror="document.title=1"><b>bold</b>'
"""A name full of markup."""


class Answer(NamedTuple):
    """What HTTP answered; `json` of the body."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    """The answer, whatever its status."""
    request = urllib.request.Request(url, headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return Answer(reply.status, dict(reply.headers.items()), reply.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers.items()), error.read().decode())


class _Line:
    """The link, whose other end is the test."""

    def __init__(self) -> None:
        self.sync = 0

    def send(self, message: object) -> None:
        if isinstance(message, StateRequest):
            self.sync = message.sync

    def close(self, linger_ms: int | None = None) -> None:
        del linger_ms


class _Transport:
    """Time, and one line."""

    now = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.line = _Line()
        self.owner: Any = None

    def dial(self, _role: object, _endpoint: str, _decoder: object, owner: object) -> _Line:
        self.owner = owner
        return self.line

    def note(self, level: str, text: str) -> None:
        """Nobody reads it."""


class FedPage:
    """Serves at `url` in its block, with two threads as the process has."""

    def __init__(self, token: str = "", lookups: int = 1) -> None:
        self._loop, self._desk, self._transport = Loop(), Desk(), _Transport()
        settings = WebSettings(
            listen="",
            link="",
            lookups=lookups,
            token=token,
            wall_offset=EPOCH / 1_000 - time.monotonic(),
            log=LogSettings(),
        )
        transport = cast(Transport, self._transport)
        self.process = PageProcess(settings, transport, random.Random(1), self._desk)
        self._desk.answer_by(self._loop, self.process.answer)
        self._fed: queue.SimpleQueue[Sequence[Event] | LinkBeat | None] = queue.SimpleQueue()
        self._number = self._seq = 0
        self._beat = LinkBeat(0, 0, (("Heartbeat", 7), ("Query", 5)), 1, 1)
        self._beat_at = 0.0
        self._http = HttpThread("tcp://127.0.0.1:0", Page(self._desk, token).app, self._loop, CONNECTIONS_COUNT_MAX)
        self.url = f"http://127.0.0.1:{self._http.port}"
        self._thread = threading.Thread(target=self._loop.run, args=(self._tick,))

    def __enter__(self) -> FedPage:
        self._thread.start()
        self.feed([])
        return self

    def __exit__(self, *_: object) -> None:
        self._fed.put(None)
        self._thread.join()
        self._desk.close()
        self._http.end()

    def feed(self, events: Sequence[Event], beat: LinkBeat | None = None) -> None:
        """The registrar says that ``events`` happened, and from now on ``beat`` once a second."""
        self._fed.put(events)
        if beat is not None:
            self._fed.put(beat)
        deadline = time.monotonic() + 10
        while not self._fed.empty() and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)

    def fall_silent(self) -> None:
        """The registrar says nothing any more."""
        self._beat_at = inf

    def get(self, path: str, **more: Any) -> Answer:
        return get(self.url + path, **more)

    def _tick(self, now: float) -> float:
        self.process.tick(now)
        if not self._transport.line.sync:
            self._transport.owner.on_connected()
        while not self._fed.empty():
            fed = self._fed.get()
            if fed is None:
                self._loop.stop()
                return now
            if isinstance(fed, LinkBeat):
                self._beat, self._beat_at = fed, 0.0
            else:
                self._transport.owner.on_message(self._message(fed), ())
        if self._number and now >= self._beat_at:
            self._beat_at = now + 1.0
            self._transport.owner.on_message(self._message(self._beat), ())
        return now + TICK_SECONDS

    def _message(self, fed: Sequence[Event] | LinkBeat) -> FromRegistrar:
        sync = self._transport.line.sync
        if isinstance(fed, LinkBeat):
            return LinkBeat(sync, self._number, fed.requests, fed.lookups, fed.following)
        self._seq += len(fed)
        message = Changes(sync, self._number, EPOCH, self._seq, False, 0.0, list(fed))
        self._number += 1
        return message


# --- networks -----------------------------------------------------------------------------------------------


def digest(number: int) -> str:
    return f"blake3:{number:064x}"


def peer_id(number: int) -> str:
    return f"{number * 7919 % 2**32:08x}{number:024x}"


def joined(number: int, name: str) -> PeerSet:
    return PeerSet(peer_id(number), name, f"tcp://10.0.0.{number % 250 + 1}:5600")


def has(number: int, content: int, name: str, length: int, holding: Any = "whole", cell: int | None = None) -> EntrySet:
    return EntrySet(peer_id(number), digest(content), digest(content), name, length, holding, cell=cell)


def download(
    content: int, length: int, percent: int, state: DownloadPhase = "downloading", **more: Any
) -> DownloadState:
    return DownloadState(digest(content), state, length, length * percent // 100, **more)


def busy_network(count: int = 50, seed: int = 1) -> list[Event]:
    """``count`` peers: most fetch a model from each other; some wait, failed, or are done."""
    rng = random.Random(seed)
    model, index = 24 * 1024 * MIB, 820 * MIB
    order = Order("0" * 31 + "1", digest(1), digest(1), "llama-70b.safetensors", model, "models")
    events: list[Event] = [joined(number, f"node-{number:02d}") for number in range(1, count + 1)]
    events += [
        has(1, 1, order.name, model),
        has(1, 2, "search-index", index),
        has(2, 3, "ubuntu-24.04.iso", 6 * 1024 * MIB),
    ]
    events += [has(2, 4, MARKUP, 3 * MIB), has(3, 5, "notes.txt", 1234), OrderSet(peer_id(1), order)]
    for number in range(2, count + 1):
        ordered: dict[str, Any] = {"order": order.order, "attempt": 1}
        free = 500 * 1024 * MIB
        told: list[DownloadState] = []
        if number == count:
            events.append(LoadSet(peer_id(number), 0, None))
            continue
        if number % 16 == 5:
            reason = "not enough space in /data/rollouts: 24.0 GiB needed, 3.1 GiB free"
            told.append(download(1, model, 12, "failed", reason=reason, **ordered))
        elif number % 16 == 9:
            events.append(has(number, 1, order.name, model, "requesting", number))
            reason = "1 source known, not reachable: node-01 (tcp://10.0.0.2:5600): connection refused"
            told.append(download(1, model, 0, "waiting", reason=reason, **ordered))
        elif number % 7 == 3:
            events.append(has(number, 1, order.name, model, "whole", number))
            told.append(download(1, model, 100, "done", **ordered))
        else:
            events.append(has(number, 1, order.name, model, "partial", number))
            sources = [1, *rng.sample([n for n in range(2, count) if n != number and n % 16 not in (5, 9)], 5)]
            parts = [(peer_id(n)[:8], 100 // 6 + rng.randint(-9, 9)) for n in sources]
            rate = rng.randint(20, 110) * MIB
            told.append(download(1, model, rng.randint(20, 95), rate=rate, sources=24, senders=parts, **ordered))
        if number == 12:
            events.append(has(number, 2, "search-index", index, "partial", 1))
            told.append(download(2, index, 41, rate=9 * MIB, sources=1, senders=[(peer_id(1)[:8], 100)]))
        others = (OtherTracker("tcp://10.0.0.254:5550", number % 16 != 12),)
        events += [LoadSet(peer_id(number), rng.randint(0, 12), free, 0, others), DownloadsSet(peer_id(number), told)]
    return events
