"""Shaped links that were made and measured: what each machine of a swarm runs in, and how soon all could be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from msgspec import Struct

from cluster.goodput import measure_goodput
from cluster.links import Links
from cluster.local import TRACKER
from cluster.namespaces import shaped_network
from cluster.processes import Host
from cluster.report import peer_names
from cluster.shaped_network import Machine


class MeasuredLinks(Struct, frozen=True):
    """What each machine runs in, the ``goodput`` of one pair alone in bytes/s, and the bound of links that do just
    that, in seconds."""

    hosts: Mapping[str, Host]
    goodput: float
    bound_s: float


@contextmanager
def measured_links(
    links: Links, size: int, seeders: int, receivers: int, stage: Callable[[str], None]
) -> Iterator[MeasuredLinks]:
    """``links`` between a tracker, `TRACKER`, whose own is not limited, and the peers of `peer_names`, the seeders
    first; and what they do while nothing else is going on. ``stage`` hears of what is done now.

    They are gone when the block ends. Raises `UsageError` and `NetworkError`.
    """
    names = peer_names(seeders + receivers)
    ups = [links.rate] * seeders + links.ups(receivers)
    machines = [Machine(name, up, links.rate) for name, up in zip(names, ups, strict=True)]
    stage(f"making {links}")
    with shaped_network([Machine(TRACKER), *machines]) as hosts:
        stage(f"measuring {links}")
        goodput = measure_goodput(hosts[names[0]], hosts[names[seeders]], links.rate)
        yield MeasuredLinks(hosts, goodput, links.bound(size, seeders, receivers, goodput / links.rate))
