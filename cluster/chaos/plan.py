"""What goes wrong in a real cluster, and when: drawn from a seed. Pure.

Every kind of fault happens at random moments, at a rate of its own that the seed decides, zero included. What lasts
ends by itself after a while, and all of it when the cluster is healed; what was lost stays lost. The draws of one kind
do not move those of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from random import Random
from typing import Literal

from msgspec import Struct

from cluster.local import TRACKER
from cluster.processes import SUPERVISOR
from protocol.errors import UsageError

PEERS_COUNT_MIN = 3
EVERYTHING = "all"
"""In place of a role: all processes of a machine."""
ROLES: Mapping[bool, Sequence[str]] = {
    True: (SUPERVISOR, "registrar", "lookup"),
    False: (SUPERVISOR, "agent", "piece_server", "downloader"),
}
"""By whether they are the tracker's."""

Kind = Literal["get", "kill", "crash", "restart", "pause", "cut", "full", "read_only", "damage", "lose"]
Disk = Literal["data", "files"]
DISKS: Sequence[Disk] = ("data", "files")
"""Those of a peer: its data directory, and where its content is."""

_HIGHEST: Mapping[Kind, float] = {
    "kill": 90.0,
    "crash": 24.0,
    "restart": 15.0,
    "pause": 45.0,
    "cut": 30.0,
    "full": 24.0,
    "read_only": 15.0,
    "damage": 24.0,
}
"""How often each kind happens in a minute at most."""
NEVER = 0.2
"""How likely it is that a kind does not happen at all."""
LOWEST_PART = 0.2
LOSE = 0.25
"""How likely it is that all who had a content from the start are lost for good."""
TRACKER_PART = 0.25
"""How often the tracker is the machine where something happens."""
LASTING_SECONDS_MIN, LASTING_SECONDS_MAX = 0.3, 8.0
GETS_PART = 0.5
"""Of the time, in which peers are told to get."""
BUSY_PART_MIN, BUSY_PART_MAX = 0.4, 1.2
"""How much of the time the uplinks would need for all copies if nothing went wrong."""
LOOKUPS_COUNT_MAX = 2


class Content(Struct, frozen=True):
    """A file of ``size`` bytes, or a tree of some files with that many in all, that ``seeders`` have from the start."""

    name: str
    is_tree: bool
    size: int
    seeders: Sequence[str]


class Action(Struct, frozen=True):
    """What happens ``at`` so many seconds on the machine ``machine``, and ends after ``lasting`` seconds.

    ``what``: the role of the process, or `EVERYTHING`; the disk; the name of the content. ``place``: where the content
    is damaged, as a part of it. ``quiet``: its modification time stays what it was."""

    at: float
    kind: Kind
    machine: str
    what: str = ""
    lasting: float = 0.0
    place: float = 0.0
    quiet: bool = False


class ChaosPlan(Struct, frozen=True):
    """What happens in ``seconds``, in order. ``rates``: how often in a minute. ``upload_rate``: of each peer, in
    bytes/s, where the links are not limited. ``lookups``: of the tracker."""

    seed: int
    seconds: float
    peers: Sequence[str]
    contents: Sequence[Content]
    upload_rate: float
    lookups: int
    rates: Mapping[Kind, float]
    actions: Sequence[Action]

    @property
    def lost(self) -> list[str]:
        """The machines that are lost for good."""
        return [action.machine for action in self.actions if action.kind == "lose"]

    def __str__(self) -> str:
        shown = ", ".join(f"{kind} {rate:.1f}" for kind, rate in self.rates.items() if rate)
        never = ", ".join(kind for kind, rate in self.rates.items() if not rate)
        return "a minute: " + (shown or "nothing") + (f"; never: {never}" if never else "")


def draw_plan(seed: int, peers: Sequence[str], seconds: float, size: int) -> ChaosPlan:
    """The plan of ``seed`` for a cluster of ``peers``, with a file of ``size`` bytes and a tree of half as many.

    `UsageError` for fewer than `PEERS_COUNT_MIN` peers."""
    if len(peers) < PEERS_COUNT_MIN:
        raise UsageError(f"chaos needs at least {PEERS_COUNT_MIN} peers: two that may be lost, and one that remains")
    rng = _stream(seed, "cluster")
    contents = [
        Content(name, is_tree, length, rng.sample(peers, rng.randint(1, min(3, len(peers) - 2))))
        for name, is_tree, length in (("file.bin", False, size), ("tree", True, size // 2))
    ]
    copies = sum(content.size * (len(peers) - len(content.seeders)) for content in contents)
    upload_rate = copies / len(peers) / (seconds * rng.uniform(BUSY_PART_MIN, BUSY_PART_MAX))
    rates = {kind: _rate(_stream(seed, f"rate of {kind}"), highest) for kind, highest in _HIGHEST.items()}
    lost = {action.machine: action for action in _losses(_stream(seed, "lose"), contents, seconds)}
    actions = [*_gets(_stream(seed, "get"), peers, contents, seconds), *lost.values()]
    for kind, rate in rates.items():
        actions += _faults(_stream(seed, kind), kind, rate, peers, contents, seconds)
    kept = [
        action
        for action in actions
        if action.machine not in lost or action is lost[action.machine] or action.at < lost[action.machine].at
    ]
    return ChaosPlan(
        seed=seed,
        seconds=seconds,
        peers=peers,
        contents=contents,
        upload_rate=upload_rate,
        lookups=rng.randint(1, LOOKUPS_COUNT_MAX),
        rates=rates,
        actions=sorted(kept, key=lambda action: (action.at, action.kind, action.machine, action.what)),
    )


def _stream(seed: int, name: str) -> Random:
    return Random(f"{seed}/{name}")


def _rate(rng: Random, highest: float) -> float:
    never, part = rng.random() < NEVER, exp(rng.uniform(log(LOWEST_PART), 0.0))
    return 0.0 if never else highest * part


def _gets(rng: Random, peers: Sequence[str], contents: Sequence[Content], seconds: float) -> Iterator[Action]:
    for content in contents:
        for peer in peers:
            if peer not in content.seeders:
                yield Action(rng.uniform(0.0, GETS_PART * seconds), "get", peer, content.name)


def _losses(rng: Random, contents: Sequence[Content], seconds: float) -> Iterator[Action]:
    if rng.random() < LOSE:
        for seeder in rng.choice(contents).seeders:
            yield Action(rng.uniform(0.1, 0.9) * seconds, "lose", seeder)


def _faults(
    rng: Random, kind: Kind, rate: float, peers: Sequence[str], contents: Sequence[Content], seconds: float
) -> Iterator[Action]:
    at = 0.0
    while rate and (at := at + rng.expovariate(rate / 60)) < seconds:
        lasting = exp(rng.uniform(log(LASTING_SECONDS_MIN), log(LASTING_SECONDS_MAX)))
        is_tracker = rng.random() < TRACKER_PART
        machine = TRACKER if is_tracker else rng.choice(peers)
        match kind:
            case "kill":
                yield Action(at, kind, machine, rng.choice(ROLES[is_tracker]))
            case "pause":
                yield Action(at, kind, machine, rng.choice((*ROLES[is_tracker], EVERYTHING)), lasting)
            case "full" | "read_only":
                yield Action(at, kind, rng.choice(peers), rng.choice(DISKS), lasting)
            case "damage":
                content = rng.choice(contents)
                seeder, place, quiet = rng.choice(content.seeders), rng.random(), rng.random() < 0.5
                yield Action(at, kind, seeder, content.name, lasting, place, quiet)
            case "restart":
                yield Action(at, kind, machine)
            case _:
                yield Action(at, kind, machine, lasting=lasting)
