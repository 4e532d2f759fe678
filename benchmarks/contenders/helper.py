"""A process of a contender, ``python -m MODULE``, told what to do in lines of JSON, one answer to each.

`Helper` is the end of whoever measures, `serve` that of the process. It ends when its standard input does, so none is
left behind by a benchmark that was killed.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from cluster.processes import HERE, Host, python_command, python_environment
from protocol.errors import ZswarmError

END_SECONDS = 10.0
Answer = dict[str, Any]


class HelperError(ZswarmError):
    """It ended, said nothing in time, or says that it failed."""


class Helper:
    """A context manager that ends and reaps it; at once, whatever it is doing, when its block was left by an exception.
    ``environment`` comes on top of ours. It runs on ``host``."""

    def __init__(self, module: str, environment: dict[str, str] | None = None, host: Host = HERE) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [*host.within, *python_command(module, [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**python_environment(), **(environment or {})},
            process_group=0,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, what: str, **details: Any) -> None:
        """Do ``what``; there will be one answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **details}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise HelperError(f"{self._module} has ended") from None

    def hear(self, seconds: float) -> Answer:
        """The answer. Raises `HelperError` after ``seconds``."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise HelperError(f"{self._module} did not answer within {seconds:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise HelperError(f"{self._module} has ended")
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise HelperError(f"{self._module}: {answer['error']}")
        return answer

    def ask(self, what: str, seconds: float, **details: Any) -> Answer:
        self.tell(what, **details)
        return self.hear(seconds)

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS if error is None else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def serve(actions: dict[str, Callable[..., Answer]]) -> None:
    """Do what standard input says until it ends. What is raised is the answer, as text."""
    for line in sys.stdin.buffer:
        details = json.loads(line)
        try:
            answer = actions[details.pop("do")](**details)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
