"""How much may come or go: rates in bytes a second, bytes on their way, and whose turn it is.

Pure. A bucket may go into debt by one piece, or a few short ones, because they are sent whole: what is allowed next
waits until the debt is paid, so the average is the configured rate whatever the piece length.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

BURST_SECONDS = 0.25
"""What an idle bucket saves up: enough to hide timer granularity, too little to be seen as a burst."""


TURN_SECONDS = 0.1
"""Whoever is first in line and takes nothing for this long, though there is room, loses its turn."""


Rate = Annotated[float, Meta(ge=0)]


class RateLimits(Struct, frozen=True):
    """Those of a peer, over all its uploads and over all its downloads: bytes a second, 0 unlimited."""

    upload_rate: Rate = 0.0
    download_rate: Rate = 0.0


UNLIMITED = RateLimits()


class TokenBucket:
    """Allows ``rate`` bytes (or messages) a second on average; a rate of 0 allows everything. `set_rate` changes it.
    An idle one saves up those of ``burst_seconds``, and begins with them."""

    def __init__(self, rate: float, now: float, burst_seconds: float = BURST_SECONDS) -> None:
        self.rate = rate
        self._burst_seconds = burst_seconds
        self._balance = rate * burst_seconds
        self._at = now

    def set_rate(self, rate: float, now: float) -> None:
        """Allow ``rate`` bytes a second from now on. Debt is paid at the higher of both rates: at a higher one it is
        paid sooner, and at a lower one no later than it would have been. Without a rate nothing is owed."""
        if self.rate:
            self._refill(now)
            self._balance *= min(1.0, rate / self.rate)
        else:
            self._balance, self._at = rate * self._burst_seconds, now
        self.rate = rate

    def ready_at(self, now: float) -> float:
        """The moment from which `spend` is allowed; ``now`` or earlier means at once."""
        if not self.rate:
            return now
        self._refill(now)
        return now if self._balance >= 0 else now - self._balance / self.rate

    def spend(self, count: int, now: float) -> bool:
        """Take ``count`` bytes, into debt if need be; whether they were there."""
        if self.rate:
            self._refill(now)
            self._balance -= count
        return not self.rate or self._balance >= 0

    def give(self, count: int) -> None:
        """Allow ``count`` bytes more."""
        self._balance += count

    def _refill(self, now: float) -> None:
        self._balance = min(self._balance + (now - self._at) * self.rate, self.rate * self._burst_seconds)
        self._at = now


class Budget:
    """What one downloader may have under way, all its downloads together: bytes, and bytes a second.

    ``bytes_max`` bounds what sources may send or have sent, and is not written yet; ``rate`` is the download limit in
    bytes a second. Each download takes its part through a `Share`.
    """

    def __init__(self, bytes_max: int, rate: float, now: float) -> None:
        self.bytes_max = bytes_max
        self.under_way = 0
        self.bucket = TokenBucket(rate, now)
        self.turn = 0
        """Of whom was served last, where its piece began: see `Share`."""
        self._waiting: dict[Share, bool] = {}
        """Whether it would take a piece whatever is under way."""
        self._first: Share | None = None
        """Who was first in line when that was last looked at..."""
        self._first_since = now
        """...and since when, while it could have taken something."""

    def has_room(self, count: int) -> bool:
        """Whether ``count`` more bytes may be under way."""
        return self.under_way == 0 or self.under_way + count <= self.bytes_max

    def claim(self, count: int, now: float) -> None:
        self._first = None
        self.under_way += count
        self.bucket.spend(count, now)

    def release(self, count: int) -> None:
        self.under_way -= count
        assert self.under_way >= 0, "more released than was claimed"

    def is_turn_of(self, share: Share, room: bool, now: float) -> bool:
        """Whether of those that wait, and could take a piece, nobody has had less than ``share``. Without
        ``room`` that is who takes one whatever is under way. Call when the rate allows a piece."""
        first = self._next(room)
        if first is not self._first:
            self._first, self._first_since = first, now
        elif first is not None and now - self._first_since >= TURN_SECONDS:
            del self._waiting[first]
            first = self._first = self._next(room)
            self._first_since = now
        return first is None or first is share

    def wait(self, share: Share, whatever: bool) -> None:
        """``share`` could not take a piece."""
        self._waiting[share] = whatever or self._waiting.get(share, False)

    def done_waiting(self, share: Share) -> None:
        self._waiting.pop(share, None)

    def _next(self, room: bool) -> Share | None:
        able = (share for share, whatever in self._waiting.items() if room or whatever)
        return min(able, key=lambda share: max(share.turn, self.turn), default=None)


class Share:
    """One download's part of the budget. Where there is not enough for all, each gets as many bytes as the others,
    however many sources it has and however long its pieces are (start-time fair queueing, Goyal, Vin and Cheng 1996):
    next is whose next piece would begin first if bytes were handed out one by one, from ``turn`` on."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.under_way = 0
        self.turn = 0

    def admits(self, count: int, now: float, whatever: bool = False) -> bool:
        """Whether this download may accept a piece of ``count`` bytes now, ``whatever`` is under way if that is said.
        If not, it waits for its turn from now."""
        budget = self._budget
        room = budget.has_room(count)
        if budget.bucket.ready_at(now) <= now and (room or whatever) and budget.is_turn_of(self, room, now):
            return True
        budget.wait(self, whatever)
        return False

    def claim(self, count: int, now: float) -> None:
        """A piece of ``count`` bytes was accepted, admitted or not."""
        self.under_way += count
        self._budget.claim(count, now)
        self._budget.turn = max(self.turn, self._budget.turn)
        self.turn = self._budget.turn + count
        self._budget.done_waiting(self)

    def release(self, count: int) -> None:
        self.under_way -= count
        self._budget.release(count)
