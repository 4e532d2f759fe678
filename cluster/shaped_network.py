"""A network of shaped links on one machine, as the commands of ``ip`` and ``tc`` that make it. Pure.

Each machine of it is a network namespace with one interface, an end of a veth pair. The other ends are the ports of a
bridge in a namespace of its own. Nothing is ever in the namespace of the host, so its interfaces, routes and firewall
are as they were, and what is in the network reaches nothing outside of it. Who runs the commands, and removes the
namespaces again, is `cluster.namespaces`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from msgspec import Struct

SUBNET = IPv4Network("10.77.0.0/16")
"""Its addresses mean nothing outside of the namespaces, so they may be in use there."""
HUB = "hub"
"""The namespace of the bridge."""
BRIDGE, INTERFACE = "bridge", "eth0"

BURST_SECONDS, BURST_BYTES_MIN = 0.001, 18 * 1024
"""What an idle link saves up and passes at once. It has to cover the time until a timer is served, or the rate is not
reached. More would make up for pauses that a real link does not make up for."""
PACKET_PART, PACKET_BYTES_MAX = 0.9, 64 * 1024
"""TCP hands over packets of at most this part of a burst, without their headers, and each passes in one go. Such of
1,500 bytes would be more like life, but every one wakes its receiver: for the same content 16 peers took half as much
processor time again. With those of 64 KiB a slow link is never idle for short, whatever the peers do."""
QUEUE_SECONDS, QUEUE_BYTES_MIN = 0.05, 64 * 1024
"""What waits for the link, as in a switch; more is dropped. Messages wait in it behind pieces, so the longer it
is the later peers hear of each other."""

_NAMESPACE = re.compile(r"zswarm-(\d+)-(\d+)-(.+)", re.ASCII)

Command = tuple[str, ...]


class Machine(Struct, frozen=True):
    """One with a namespace. ``up`` and ``down`` are what its link can do in bytes/s, None when that is not limited."""

    name: str
    up: float | None = None
    down: float | None = None


class Owner(Struct, frozen=True):
    """The process that a namespace was made by: its id, and when it started in clock ticks since boot, since ids come
    again. A namespace outlives a process that was killed, and its name tells that it did."""

    pid: int
    started: int

    def namespace(self, name: str) -> str:
        """The namespace of the machine ``name``."""
        return f"zswarm-{self.pid}-{self.started}-{name}"


def owner_of(namespace: str) -> Owner | None:
    """Who made ``namespace``; None when it is none of ours."""
    found = _NAMESPACE.fullmatch(namespace)
    return Owner(int(found[1]), int(found[2])) if found else None


def address_of(number: int) -> str:
    """Of the machine with this ``number``, from 0 on."""
    return str(SUBNET[number + 1])


def commands(owner: Owner, machines: Sequence[Machine]) -> Iterator[Command]:
    """What makes the network, in order."""
    hub = owner.namespace(HUB)
    yield ("ip", "netns", "add", hub)
    yield ("ip", "-n", hub, "link", "add", BRIDGE, "type", "bridge")
    yield ("ip", "-n", hub, "link", "set", BRIDGE, "up")
    for number, machine in enumerate(machines):
        namespace, port = owner.namespace(machine.name), _port(number)
        yield ("ip", "netns", "add", namespace)
        yield ("ip", "-n", hub, "link", "add", port, "type", "veth", "peer", "name", INTERFACE, "netns", namespace)
        if machine.up is not None:
            packet = min(PACKET_BYTES_MAX, round(PACKET_PART * _burst(machine.up)))
            yield ("ip", "-n", namespace, "link", "set", INTERFACE, "gso_max_size", str(packet))
            yield _shape(namespace, INTERFACE, machine.up)
        if machine.down is not None:
            yield _shape(hub, port, machine.down)
        yield ("ip", "-n", hub, "link", "set", port, "master", BRIDGE, "up")
        address = f"{address_of(number)}/{SUBNET.prefixlen}"
        yield ("ip", "-n", namespace, "address", "add", address, "dev", INTERFACE)
        yield ("ip", "-n", namespace, "link", "set", "lo", "up")
        yield ("ip", "-n", namespace, "link", "set", INTERFACE, "up")


def switch(owner: Owner, number: int, on: bool) -> Command:
    """What pulls the cable of the machine with this ``number``, or puts it back. The machine does not notice."""
    return ("ip", "-n", owner.namespace(HUB), "link", "set", _port(number), "up" if on else "down")


def _port(number: int) -> str:
    return f"port{number}"


def _shape(namespace: str, interface: str, rate: float) -> Command:
    """What leaves by ``interface`` is sent at ``rate`` bytes/s: the token bucket of tc-tbf(8)."""
    burst = _burst(rate)
    limit = burst + round(max(QUEUE_BYTES_MIN, QUEUE_SECONDS * rate))
    shape = ("rate", f"{round(8 * rate)}bit", "burst", f"{burst}b", "limit", f"{limit}b")
    return ("tc", "-n", namespace, "qdisc", "add", "dev", interface, "root", "tbf", *shape)


def _burst(rate: float) -> int:
    return round(max(BURST_BYTES_MIN, BURST_SECONDS * rate))
