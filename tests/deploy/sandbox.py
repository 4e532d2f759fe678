"""A machine as a service manager or a container gives it to a program: a root of its own in which nothing is writable
but what is said, a network of its own, and a user who owns nothing else. No directory is for temporary files, and there
is no home.

Python and the source are where they are on this machine; /opt/zswarm has the two commands, as an installation would.
Only root can make it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.outside.commands import PATIENCE_SECONDS, ROOT, Result, Running, eventually

USER = 10001
COMMANDS = {"zswarm": "node", "zswarm-tracker": "broker"}
"""By name, the package that ``python -m`` runs instead."""
BIN = "/opt/zswarm/bin"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc")
_NEEDED = ("unshare", "nsenter", "setpriv", "mount", "chroot", "ip")
_AS_PROCESS_1 = ("unshare", "--pid", "--fork", "--kill-child")


class Sandbox:
    """``writable`` are directories of `USER`, empty at first; ``files`` are contents by path, for it to read.
    ``hosts`` are names of this machine. What is started is ended by `close`."""

    def __init__(
        self, place: Path, writable: Sequence[str], files: Mapping[str, str], hosts: str = "localhost"
    ) -> None:
        self._place = place
        self._running: list[Running] = []
        self._made = 0
        system = {"/etc/hosts": f"127.0.0.1 {hosts}\n", "/etc/nsswitch.conf": "hosts: files\n"}
        script = self._script(place / "root", writable, {**system, **files})
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-euc", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._holder.stdout is not None
        if (said := self._holder.stdout.readline()) != "ready\n":
            self.close()
            pytest.skip(f"no mount and network namespaces here: {said.strip()}")

    def start(self, command: Sequence[str], env: Mapping[str, str], *within: str) -> Running:
        """Start ``command`` as `USER`, with no other environment. ``within`` goes before it, as root."""
        into = ["nsenter", "--target", str(self._holder.pid), "--mount", "--net", "--root", "--wdns=/"]
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
        user += ["--bounding-set=-all", "--inh-caps=-all"]
        path = {"PATH": f"{BIN}:/usr/bin:/bin"}
        variables = [f"{key}={value}" for key, value in {**path, **env}.items()]
        line = [*into, *within, *user, "env", "-i", *variables, *command]
        running = Running(line, self._place, os.environ, self._next("command"))
        self._running.append(running)
        return running

    def run(self, command: Sequence[str], env: Mapping[str, str]) -> Result:
        """Run ``command`` to its end, as `start` does."""
        return self.start(command, env).wait()

    @contextlib.contextmanager
    def process_1(self, command: Sequence[str], env: Mapping[str, str]) -> Iterator[Running]:
        """Run ``command`` as process 1; SIGTERM at the end of the block, after which it must end."""
        running = self.start(command, env, *_AS_PROCESS_1)
        yield running
        (init,) = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        os.kill(int(init), signal.SIGTERM)  # unshare passes nothing on
        running.wait()

    def joined(self, env: Mapping[str, str], *options: str) -> dict[str, Any]:
        """The status of the peer that ``options`` choose, once it has joined the network."""

        def status() -> dict[str, Any]:
            done = self.run(["zswarm", *options, "status", "--json"], env)
            found = dict(json.loads(done.out)) if done.code == 0 else {}
            return found if found.get("network") == "joined" else {}

        return dict(eventually(status, "the peer has joined", PATIENCE_SECONDS))

    def close(self) -> None:
        for running in reversed(self._running):
            running.end()
        self._holder.communicate()

    def _next(self, what: str) -> Path:
        self._made += 1
        return self._place / f"{what}-{self._made}"

    def _script(self, root: Path, writable: Sequence[str], files: Mapping[str, str]) -> str:
        """Makes the root, and stays until its standard input ends."""
        root.mkdir()
        own = {str(Path(path).resolve()) for path in (sys.base_prefix, sys.prefix, ROOT)}
        lines = ["ip link set lo up", f"mount -t tmpfs -o mode=755 root {root}", f"install -d {root}/etc"]
        lines += [f"cp /etc/ld.so.cache {root}/etc"]
        for path in sorted(path for path in (*_SYSTEM, *own) if Path(path).exists()):
            lines += [f"mkdir -p {root}{path}", f"mount --rbind {path} {root}{path}"]
            if path in own or path == "/usr":
                lines.append(f"mount -o remount,ro,bind {root}{path}")
        for name, package in COMMANDS.items():
            script = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m {package} "$@"\n'
            lines.append(self._install(script, f"{root}{BIN}/{name}", 0o755))
        lines += [self._install(text, f"{root}{path}", 0o644) for path, text in files.items()]
        for path in writable:
            lines += [f"mkdir -p {root}{path}", f"mount -t tmpfs -o mode=755,uid={USER},gid={USER} own {root}{path}"]
        return "\n".join([*lines, f"mount -o remount,ro {root}", f"exec chroot {root} sh -c 'echo ready; exec cat'"])

    def _install(self, text: str, path: str, mode: int) -> str:
        source = self._next("file")
        source.write_text(text)
        return f"install -D -m {mode:o} {source} {path}"


def missing() -> str:
    """Why there can be no sandbox here; empty when there may be one."""
    if os.geteuid() != 0:
        return "a sandbox needs root"
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    absent = [name for name in _NEEDED if shutil.which(name, path=path) is None]
    return f"a sandbox needs {', '.join(absent)}" if absent else ""


needs_sandbox = pytest.mark.skipif(bool(missing()), reason=missing())
