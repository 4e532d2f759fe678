"""The page's main thread: the shell around `broker.web.core`. Follows the registrar, answers the HTTP thread's
questions, and gives viewers news."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from broker.child_settings import WebSettings
from broker.effects import LookupEffect, Reply, SendRegistrar
from broker.registrar_line import RegistrarLine
from broker.web.core import Answer, PageCore
from broker.web.desk import Desk
from broker.web.questions import GetOverview, Question
from broker.web.rows import Overview
from transport.ports import Transport

NEWS_SECONDS = 2.0
WORK_PART_MAX = 0.05
"""Of the time for news: in a very large network it comes less often."""


class PageProcess:
    """One run of the page."""

    def __init__(self, settings: WebSettings, transport: Transport, rng: Random, desk: Desk) -> None:
        self._transport, self._desk = transport, desk
        self.core = PageCore(rng, settings.lookups, settings.wall_offset, transport.now())
        self._link = RegistrarLine(transport, settings.link, self.core, self._perform)
        self.close = self._link.close
        self._news_at = 0.0
        self._last: Overview | None = None

    def answer(self, question: Question) -> Answer:
        """The answer to ``question`` of the HTTP thread."""
        return self.core.answer(question, self._transport.now())

    def tick(self, now: float) -> float:
        """Called after every turn; returns when to be called at the latest."""
        deadlines = [self._link.tick(now)]
        self._perform(self.core.tick(now))
        if self._desk.streams and now >= self._news_at:
            self._give_news(now)
        elif not self._desk.streams:
            self._last = None
        deadlines += [self.core.next_deadline(), self._news_at if self._desk.streams else None]
        return min(at for at in deadlines if at is not None)

    def _give_news(self, now: float) -> None:
        news = self.core.answer(GetOverview(), now)
        if isinstance(news, Overview):
            if self._last is None or _without_time(news) != _without_time(self._last):
                self._desk.publish(msgspec.json.encode(news))
            self._last = news
        self._news_at = now + max(NEWS_SECONDS, (self._transport.now() - now) / WORK_PART_MAX)

    def _perform(self, effects: Sequence[LookupEffect]) -> None:
        for effect in effects:
            assert not isinstance(effect, Reply), "nobody asks by the link's protocol"
            if isinstance(effect, SendRegistrar):
                self._link.send(effect.message)
            else:
                self._transport.note(effect.level, effect.text)


def _without_time(news: Overview) -> Overview:
    """What is to be seen in ``news``, but for clocks that run."""
    trackers = [
        msgspec.structs.replace(row, uptime_seconds=0.0, silent_seconds=0.0, requests={}) for row in news.trackers
    ]
    gone = [msgspec.structs.replace(row, seconds_ago=0.0) for row in news.gone]
    values = news.rates.values if any(news.rates.values) else []
    rates = msgspec.structs.replace(news.rates, values=values)
    return msgspec.structs.replace(news, time=0.0, trackers=trackers, gone=gone, rates=rates)
