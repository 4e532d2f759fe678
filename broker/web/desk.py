"""Where the two threads of the page meet.

The main thread has the poll loop and the replica; the other one has asyncio and HTTP. A question goes one way and its
answer back, as JSON; news for viewers goes one way. Neither thread touches what the other has.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from broker.web.core import Answer
from broker.web.questions import Question, Refusal
from transport.loop import Loop

QUESTIONS_COUNT_MAX = 64
"""That wait for the main thread; more are refused."""
BUSY = Refusal("busy", "the page is busy; try again in a second")
STREAMS_COUNT_MAX = 32


class _Asked(NamedTuple):
    question: Question
    reply: asyncio.Future[Answer]


class Stream:
    """The latest news for one viewer: one who reads slowly misses what came in between."""

    def __init__(self) -> None:
        self._news: bytes | None = None
        self._changed = asyncio.Event()

    def put(self, news: bytes | None) -> None:
        self._news = news
        self._changed.set()

    async def next(self, seconds: float) -> bytes | None:
        """The next news; empty after so many seconds without any; None at the end."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return b""
        self._changed.clear()
        return self._news


class Desk:
    """Methods say which thread calls them."""

    def __init__(self) -> None:
        self._asked: deque[_Asked] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._http: asyncio.AbstractEventLoop | None = None
        self._streams: set[Stream] = set()

    @property
    def streams(self) -> int:
        """How many viewers there are; for either thread."""
        return len(self._streams)

    # --- the main thread ---------------------------------------------------------------------------------

    def answer_by(self, loop: Loop, answer: Callable[[Question], Answer]) -> None:
        """From now on ``loop`` has ``answer`` called with each question."""

        def on_bell() -> None:
            with suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            while self._asked:
                asked = self._asked.popleft()
                self._tell(_settle, asked.reply, answer(asked.question))

        loop.add(self._bell, on_bell)

    def publish(self, news: bytes) -> None:
        """Give ``news`` to all viewers."""
        self._tell(self._pass_on, news)

    def close(self) -> None:
        """End all streams."""
        self._tell(self._pass_on, None)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        if self._http is not None:
            with suppress(RuntimeError):  # that loop has ended
                self._http.call_soon_threadsafe(call, *arguments)

    # --- the HTTP thread ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Its event loop runs."""
        self._http = asyncio.get_running_loop()

    async def ask(self, question: Question) -> Answer:
        """The answer of the main thread."""
        if len(self._asked) >= QUESTIONS_COUNT_MAX:
            return BUSY
        reply: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(question, reply))
        os.eventfd_write(self._bell, 1)
        return await reply

    def view(self) -> Stream | None:
        """A new stream; None when there are too many."""
        if len(self._streams) >= STREAMS_COUNT_MAX:
            return None
        stream = Stream()
        self._streams.add(stream)
        return stream

    def leave(self, stream: Stream) -> None:
        """Its viewer is gone."""
        self._streams.discard(stream)

    def _pass_on(self, news: bytes | None) -> None:
        for stream in self._streams:
            stream.put(news)


def _settle(reply: asyncio.Future[Answer], answer: Answer) -> None:
    if not reply.done():  # who asked may have gone
        reply.set_result(answer)
