"""Machines with a network between them: network namespaces, which only root can make.

Each is connected to one bridge, in a namespace of its own, by IPv4 and IPv6. They reach each other and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside.commands import Machine

_IP = shutil.which("ip", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])) or ""
IPV4, IPV6 = "10.77.0.{}", "fd77::{}"


class Network:
    """Namespaces that are gone with it. ``machines`` are the `Machine` in each, in the order of their addresses: `ipv4`
    and `ipv6` of their number."""

    def __init__(self, place: Path, count: int) -> None:
        self._names: list[str] = []
        self.machines: list[Machine] = []
        try:
            bridge = self._namespace("br")
            _run("-n", bridge, "link", "add", "br0", "type", "bridge")
            _run("-n", bridge, "link", "set", "br0", "up")
            for number in range(count):
                self._connect(self._namespace(str(number)), bridge, number)
                within = (_IP, "netns", "exec", self._names[-1])
                self.machines.append(Machine(place / f"machine-{number}", within))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def ipv4(number: int) -> str:
        return IPV4.format(number + 1)

    @staticmethod
    def ipv6(number: int) -> str:
        return IPV6.format(number + 1)

    def close(self) -> None:
        """End what runs on the machines, and remove them."""
        with contextlib.ExitStack() as ending:
            for name in self._names:
                ending.callback(_run, "netns", "delete", name)
            for machine in self.machines:
                ending.callback(machine.close)

    def _namespace(self, what: str) -> str:
        name = f"zsout-{os.getpid()}-{secrets.token_hex(3)}-{what}"
        _run("netns", "add", name)
        self._names.append(name)
        _run("-n", name, "link", "set", "lo", "up")
        return name

    def _connect(self, namespace: str, bridge: str, number: int) -> None:
        far = f"m{number}"
        _run("link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", far, "netns", bridge)
        _run("-n", bridge, "link", "set", far, "master", "br0", "up")
        _run("-n", namespace, "addr", "add", f"{self.ipv4(number)}/24", "dev", "eth0")
        _run("-n", namespace, "link", "set", "eth0", "up")
        _run("-n", namespace, "addr", "add", f"{self.ipv6(number)}/64", "dev", "eth0", "nodad")


@contextlib.contextmanager
def network_of(place: Path, count: int) -> Iterator[Network]:
    """A network of ``count`` machines; skips the test where there can be none."""
    network = _make(place, count)
    try:
        yield network
    finally:
        network.close()


def _make(place: Path, count: int) -> Network:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not _IP:
        pytest.skip("network namespaces need 'ip' (iproute2)")
    try:
        return Network(place, count)
    except _FailedError as error:
        pytest.skip(f"no network namespaces here: {error}")


class _FailedError(Exception):
    """What ``ip`` said."""


def _run(*arguments: str) -> None:
    done = subprocess.run([_IP, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _FailedError(f"ip {' '.join(arguments)}: {' '.join(done.stderr.split())}")
