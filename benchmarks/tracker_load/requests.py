"""How many requests registrar and lookup answer, each beside an echo of the same size."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from benchmarks.contenders.contender import START_SECONDS, cpu_seconds
from benchmarks.contenders.helper import Helper
from benchmarks.tracker_figures import CASES, HEARTBEAT, SEEDERS, Case, Served, served
from benchmarks.tracker_load import samples
from benchmarks.tracker_load.conversation import LIST_VERSION, Conversation
from cluster.local import LocalCluster
from protocol.codec import Decoder, encode
from protocol.errors import NetworkError
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import GetSeederList, Heartbeat, LookupReply, Message, Ok, RegistrarReply, SeederList

SEEDERS_COUNT = 8
SETTINGS = {"heartbeat": "1h", "lease": "3h"}
"""Seeders stay members without a word, and all answers are the same: a tracker says for a lease that it is settling."""
WARM_ROUNDS_COUNT = 1
SECONDS_MAX, SECONDS_PER_REQUEST_MAX = 10.0, 0.01

_decoder: Decoder[Message] = Decoder(RegistrarReply | LookupReply, REPLY_BYTES_MAX)


class Requests:
    """A tracker with a swarm of eight, an echo, and a client that is connected to all of them. A context manager."""

    def __init__(self, root: Path) -> None:
        with ExitStack() as stack:
            cluster = stack.enter_context(LocalCluster(root, SETTINGS))
            self._client = stack.enter_context(Helper("benchmarks.tracker_load.client_process"))
            self._echo = stack.enter_context(Helper("benchmarks.tracker_load.echo_process"))
            cluster.start_tracker()
            registrar, lookup = cluster.tracker.endpoint, cluster.tracker.endpoints["lookups"][0]
            _fill(registrar, lookup)
            children = cluster.tracker.program.children()
            self._servers = {
                HEARTBEAT: (registrar, children["registrar"].pid),
                SEEDERS: (lookup, children["lookup"].pid),
            }
            self._echo_endpoint = self._echo.ask("open", START_SECONDS)["endpoint"]
            for endpoint in (registrar, lookup, self._echo_endpoint):
                self._client.ask("connect", START_SECONDS, endpoint=endpoint)
            self._stack = stack.pop_all()

    def round(self, count: int, ahead: int) -> dict[str, Served]:
        """Every server answers ``count`` requests, ``ahead`` of which are asked before the first answer is there."""
        found: dict[str, Served] = {}
        for case, (endpoint, pid) in self._servers.items():
            request = encode(_request(case))
            found[case.ours], answer = self._measure(endpoint, pid, request, count, ahead)
            _check(case, _decoder.decode(answer))
            self._echo.tell("answer", requests=count, answer_bytes=len(answer))
            found[case.echo], _ = self._measure(self._echo_endpoint, self._echo.pid, request, count, ahead)
            self._echo.hear(START_SECONDS)
        return found

    def _measure(self, endpoint: str, pid: int, request: bytes, count: int, ahead: int) -> tuple[Served, bytes]:
        before, client_before = cpu_seconds([pid]), cpu_seconds([self._client.pid])
        said = self._client.ask(
            "ask",
            SECONDS_MAX + SECONDS_PER_REQUEST_MAX * count,
            endpoint=endpoint,
            request=base64.b64encode(request).decode(),
            count=count,
            ahead=ahead,
        )
        cpu_s, client_cpu_s = cpu_seconds([pid]) - before, cpu_seconds([self._client.pid]) - client_before
        return (
            served(count, said["seconds"], cpu_s, client_cpu_s, said["latencies_ms"]),
            base64.b64decode(said["answer"]),
        )

    def __enter__(self) -> Requests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def measure_requests(
    root: Path, rounds: int, count: int, ahead: int, tell: Callable[[str], None]
) -> list[dict[str, Served]]:
    """``rounds`` of `Requests`, after one to warm up. ``root``: an existing, empty directory."""
    kept = []
    tell("requests: starting a tracker, an echo and a client")
    with Requests(root) as requests:
        for number in range(WARM_ROUNDS_COUNT + rounds):
            found = requests.round(count, ahead)
            if number >= WARM_ROUNDS_COUNT:
                kept.append(found)
            warming = number < WARM_ROUNDS_COUNT
            label = "warming up" if warming else f"round {number - WARM_ROUNDS_COUNT + 1} of {rounds}"
            shown = (f"{case.name} {found[case.ours].requests_s / found[case.echo].requests_s:.2f}" for case in CASES)
            tell(f"requests, {label}, of the echo: {', '.join(shown)}")
    return kept


def _fill(registrar: str, lookup: str) -> None:
    """A swarm of `SEEDERS_COUNT`, which the lookup knows when this returns."""
    with Conversation(registrar) as peers:
        welcomes = [peers.join(number, files=1) for number in range(SEEDERS_COUNT)]
    with Conversation(lookup) as asker:
        last = welcomes[-1]
        asker.ask(GetSeederList(asker.next_id(), samples.digest(0), "", last.epoch, last.seq), SeederList)


def _request(case: Case) -> Heartbeat | GetSeederList:
    if case is HEARTBEAT:
        return Heartbeat(1, samples.peer_id(0), samples.token(0), LIST_VERSION, 0)
    return GetSeederList(1, samples.digest(0))


def _check(case: Case, answer: Message) -> None:
    """Raises `NetworkError` when ``answer`` is not what the case is about: something else was measured."""
    right = isinstance(answer, Ok) if case is HEARTBEAT else isinstance(answer, SeederList) and _is_whole(answer)
    if not right:
        raise NetworkError(f"the tracker answers {case.name} with {answer}")


def _is_whole(answer: SeederList) -> bool:
    return len(answer.seeders) == answer.total == SEEDERS_COUNT
