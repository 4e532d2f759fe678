"""The command line as a person runs it: a tracker, peers and commands as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from node.api_messages import ApiGetStatus, ApiList, ApiListReply, ApiRequest
from node.client.api_client import ApiClient
from protocol.errors import NetworkError

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 20.0

pytestmark = pytest.mark.process


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for ``condition``, looking often."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        threading.Event().wait(0.02)


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the product, ended in order by Ctrl-C."""
    command = [sys.executable, "-m", *argv]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


class Peer:
    """The commands of one data directory."""

    def __init__(self, base: Path, tracker: str) -> None:
        base.mkdir()
        self.base = base
        self.options = ["--data-dir", str(base / "data"), "--tracker", tracker, "--listen", "tcp://127.0.0.1:0"]

    def run(self, *argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "node", *self.options, *argv]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=self.base, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        assert not set(done.stdout + done.stderr) & {"\x1b", "\r"}
        return done

    def json(self, *argv: str, code: int = 0) -> Any:
        return json.loads(self.run(*argv, "--json", code=code).stdout)

    def ask(self, message: ApiRequest) -> Any:
        """What the peer answers; None where none runs. For what is asked often: a command takes a while to start."""
        try:
            with closing(ApiClient(self.base / "data")) as client:
                return client.request(message)
        except NetworkError:
            return None

    def is_up(self) -> bool:
        return self.ask(ApiGetStatus(1)) is not None

    def is_in(self) -> bool:
        """It has joined the network."""
        return bool(self.ask(ApiGetStatus(1)).network == "joined")

    def knows_all(self) -> bool:
        """Its tracker has been there for so long that it knows everybody."""
        reply = self.ask(ApiList(1, "*"))
        return isinstance(reply, ApiListReply) and not reply.settling


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[str]:
    """The address of a tracker; its lease is short, so that it soon knows that it knows everybody."""
    ready, config = tmp_path / "ready.json", tmp_path / "tracker.yaml"
    config.write_text('listen: tcp://127.0.0.1:0\nlease: 2s\nheartbeat: 500ms\nweb: ""\n')
    with running("broker", "--config", str(config), "--ready-file", str(ready)):
        until(ready.exists, "the tracker")
        yield json.loads(ready.read_text())["registrar"]


@pytest.mark.slow
def test_a_person_shares_lists_gets_and_verifies(tmp_path: Path, tracker: str) -> None:
    content = bytes(range(256)) * 8_192
    alice, bob = Peer(tmp_path / "alice", tracker), Peer(tmp_path / "bob", tracker)
    (alice.base / "model.bin").write_bytes(content)
    with running("node", *alice.options) as running_alice:
        until(alice.is_up, "the first peer")
        link = alice.run("share", "model.bin").stdout.strip()
        assert link.startswith("zswarm://blake3:")
        (entry,) = alice.json("list", "model*")["entries"]
        assert (entry["name"], entry["length"], entry["have"]) == ("model.bin", len(content), 1)

        got = bob.run("get", "model.bin", "-o", "here")
        assert got.stdout.startswith(f"{bob.base}/here/model.bin  2.0 MiB in ")
        assert got.stdout.endswith("from 1 source, verified\n")
        assert (bob.base / "here/model.bin").read_bytes() == content
        (result,) = bob.json("get", link, "-o", "again")["results"]
        assert result["verified"]
        assert (bob.base / "again/model.bin").read_bytes() == content

        bob.run("seed", str(alice.base / "model.bin"), "-o", "m.seed")
        bob.run("verify", "here/model.bin", "m.seed")
        (bob.base / "here/model.bin").write_bytes(b"other")
        bob.run("verify", "here/model.bin", "m.seed", code=5)
        assert "--force" in bob.run("get", "m.seed", "-o", "here", code=6).stderr
        bob.run("get", "m.seed", "-o", "here", "--force")
        assert (bob.base / "here/model.bin").read_bytes() == content
        assert "nobody" in bob.run("get", "nothing.bin", code=3).stderr

        assert [peer["have"] for peer in alice.json("peers")["peers"]] == [1]
        alice.run("remove", "model.bin")
        assert alice.json("list")["entries"] == []
        alice.run("stop")
        assert running_alice.wait(PATIENCE_SECONDS) == 0
    assert "no peer runs on" in alice.run("status", code=4).stderr


def test_leave_and_join(tmp_path: Path, tracker: str) -> None:
    alice = Peer(tmp_path / "alice", tracker)
    with running("node", *alice.options):
        until(alice.is_up, "the peer")
        until(alice.is_in, "membership")
        alice.run("leave")
        assert alice.json("status")["network"] == "left"
        alice.run("join")
        until(alice.is_in, "membership")
        assert "in use by the peer with pid" in alice.run(code=2).stderr


def test_share_without_a_peer_serves_until_it_is_interrupted(tmp_path: Path, tracker: str) -> None:
    alice, bob, carol = (Peer(tmp_path / name, tracker) for name in ("alice", "bob", "carol"))
    (alice.base / "tree/empty").mkdir(parents=True)
    (alice.base / "tree/ü").write_bytes(b"content")
    with running("node", *alice.options, "share", str(alice.base / "tree")) as sharing:
        assert sharing.stdout is not None
        link = sharing.stdout.readline().strip()
        bob.run("get", "-q", link)
        assert (bob.base / "tree/ü").read_bytes() == b"content"
        assert (bob.base / "tree/empty").is_dir()
        sharing.send_signal(signal.SIGINT)
        assert sharing.wait(PATIENCE_SECONDS) == 0
    assert "nobody" in carol.run("get", "tree", code=3).stderr


def test_an_interrupted_get_ends_cleanly_and_its_peer_with_it(tmp_path: Path, tracker: str) -> None:
    bob = Peer(tmp_path / "bob", tracker)
    digest = "blake3:" + "0" * 64
    link = f"zswarm://{digest}/{digest}/5/nothing"
    with running("node", *bob.options, "get", link, "-o", str(bob.base)) as getting:
        until(bob.is_up, "the foreground peer")
        getting.send_signal(signal.SIGINT)
        assert getting.wait(PATIENCE_SECONDS) == 130
        assert getting.stderr is not None
        said = getting.stderr.read()
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert not bob.is_up()
