"""A question whose answer may take for ever, as of a disk that hangs, asked from asyncio in threads of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Asked(Generic[T]):
    """Answers by ``work``, which runs once at a time: those who ask meanwhile share its result."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: asyncio.Future[T] | None = None

    async def __call__(self, seconds: float) -> T | None:
        """The answer; None if it takes longer than ``seconds``. Raises what ``work`` raises."""
        if self._result is None or self._result.done():
            self._result = asyncio.get_running_loop().create_future()
            # Not of a pool: the process would wait for its threads when it ends.
            threading.Thread(target=self._run, args=(self._result,), name="asked", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(self._result), seconds)
        except TimeoutError:
            return None

    def _run(self, result: asyncio.Future[T]) -> None:
        loop = result.get_loop()
        try:
            tell = partial(result.set_result, self._work())
        except Exception as error:  # noqa: BLE001 - whoever asked raises it
            tell = partial(result.set_exception, error)
        with suppress(RuntimeError):  # that loop has ended
            loop.call_soon_threadsafe(tell)
