"""zswarm as its users have it: its commands, from a directory of their own, and what they print and leave behind.

Nothing here imports the product. A `Machine` is one user's place on one host: a home, a runtime directory, a working
directory; what it starts is ended and reaped when its fixture ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.02


class Result(NamedTuple):
    """How a command ended: exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What ``--json`` printed."""
        return json.loads(self.out)


class Running:
    """A command that goes on, its output in files."""

    def __init__(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path) -> None:
        self._out_path, self._err_path = log.with_suffix(".out"), log.with_suffix(".err")
        with self._out_path.open("wb") as out, self._err_path.open("wb") as err:
            self.process = subprocess.Popen(
                arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def out(self) -> str:
        return self._out_path.read_text()

    @property
    def err(self) -> str:
        return self._err_path.read_text()

    def interrupt(self) -> Result:
        """Ctrl-C, and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """``kill -9`` of the command and all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Result:
        """Wait for the command to end by itself."""
        return Result(self.process.wait(seconds), self.out, self.err)

    def end(self) -> None:
        """End it however it is: in order, or else by force."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


def eventually(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of ``condition``; fails with ``what`` when there is none within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)
    return value


def write_defaults(home: Path) -> None:
    """Default configuration files below the ``XDG_CONFIG_HOME`` ``home``, so that those of the machine that the tests
    run on are not read. Nothing is announced or looked for on its network, and trackers have no page."""
    directory = home / "zswarm"
    directory.mkdir(parents=True)
    (directory / "peer.yaml").write_text("mdns: false\n")
    (directory / "tracker.yaml").write_text('mdns: false\nweb: ""\n')


class Machine:
    """One user on one host. ``prefix`` is put before each command, e.g. ``ip netns exec NAME``.

    Relative paths of a command are below ``place``. ``tracker`` is added to each command of a peer once it is set. The
    user's default configuration files are in ``config``.
    """

    def __init__(self, place: Path, prefix: Sequence[str] = ()) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.tracker = ""
        self.prefix = list(prefix)
        self._running: list[Running] = []
        self._runtime = Path(tempfile.mkdtemp(prefix="zs-"))  # a socket's path is short
        home = place / "home"
        home.mkdir(exist_ok=True)
        self.config = home / ".config" / "zswarm"
        if not self.config.exists():
            write_defaults(self.config.parent)
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(self._runtime),
            "LANG": "C.UTF-8",
            **{key: os.environ[key] for key in ("PYTHONPYCACHEPREFIX",) if key in os.environ},
        }

    def peer(self, *arguments: str | Path) -> list[str]:
        """The command line of ``python -m node`` with ``arguments``."""
        tracker = ["--tracker", self.tracker] if self.tracker else []
        return [*self.prefix, sys.executable, "-m", "node", *tracker, *map(str, arguments)]

    def z(self, *arguments: str | Path, timeout: float = PATIENCE_SECONDS, **more: Any) -> Result:
        """Run ``python -m node ARGUMENTS`` to its end. ``env`` among ``more`` is added to the machine's."""
        return self.run(self.peer(*arguments), timeout=timeout, **more)

    def run(
        self, command: Sequence[str], *, timeout: float = PATIENCE_SECONDS, env: Mapping[str, str] | None = None
    ) -> Result:
        """Run any command to its end, in this machine's place and environment."""
        done = subprocess.run(
            command,
            cwd=self.place,
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Running:
        """Start ``python -m node ARGUMENTS``."""
        return self.start_command(self.peer(*arguments), env)

    def start_tracker(self, *arguments: str | Path, listen: str = "tcp://127.0.0.1:0") -> str:
        """Start a tracker and wait until it serves; the endpoint peers dial, which `tracker` is from now on."""
        ready = self.place / f"ready-{len(self._running)}.json"
        command = [*self.prefix, sys.executable, "-m", "broker", "--listen", listen, "--ready-file", str(ready)]
        running = self.start_command([*command, *map(str, arguments)])

        def endpoint() -> str:
            assert running.process.poll() is None, running.err
            return str(json.loads(ready.read_text())["registrar"]) if ready.exists() else ""

        self.tracker = eventually(endpoint, "the tracker is ready")
        return self.tracker

    def start_peer(
        self,
        name: str,
        *arguments: str | Path,
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a peer on the data directory ``name`` below `place`, and wait until it has joined the network."""
        given: list[str | Path] = [*arguments]
        if config is not None:
            path = self.place / f"{name}.yaml"
            path.write_text(json.dumps(config))
            given += ["--config", path]
        running = self.start("--data-dir", name, "--name", name, *given, env=env)

        def joined() -> bool:
            assert running.process.poll() is None, running.err
            return "joined the network of" in running.err

        eventually(joined, f"{name} has joined")
        return running

    def status(self, name: str) -> dict[str, Any]:
        """``status --json`` of the peer on data directory ``name``; empty when it does not answer."""
        result = self.run([*self.prefix, sys.executable, "-m", "node", "--data-dir", name, "status", "--json"])
        return dict(result.json) if result.code == 0 else {}

    def processes(self) -> list[Running]:
        return list(self._running)

    def close(self) -> None:
        for running in reversed(self._running):
            running.end()
        shutil.rmtree(self._runtime, ignore_errors=True)

    def start_command(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> Running:
        """Start any command, in this machine's place and environment."""
        log = self.place / f"command-{len(self._running)}"
        running = Running(command, self.place, {**self.env, **(env or {})}, log)
        self._running.append(running)
        return running
