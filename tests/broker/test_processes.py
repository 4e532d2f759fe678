"""The tracker as real processes over real sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgpack
import pytest

from protocol.limits import CONTROL_BYTES_MAX
from protocol.messages import (
    Beat,
    Error,
    GetPeerList,
    GetSeederList,
    GetTorrentList,
    Goodbye,
    Heartbeat,
    Leave,
    Ok,
    PeerJoined,
    PeerLeft,
    PeerList,
    Rejoin,
    SeederList,
    SourceAdded,
    TorrentList,
    Update,
)
from tests.broker.running import ROOT, Client, RunningTracker
from tests.broker.scenes import digest, entry

pytestmark = pytest.mark.process
TOKEN = b"alice".ljust(16, b"-")
AT = "tcp://*:7000"


def test_a_peer_joins_is_found_and_leaves(tmp_path: Path) -> None:
    with RunningTracker(tmp_path, config="lookups: 2\nlease: 20s\n") as tracker, Client(tracker) as client:
        beat = client.next_roster()
        assert isinstance(beat.event, Beat)
        welcome = client.join("alice", entry(1))
        assert (welcome.endpoint, welcome.lease_seconds) == (AT, 20.0)
        told = [endpoint.replace("*", "127.0.0.1") for endpoint in (welcome.roster, *welcome.lookups)]
        assert told == [tracker.endpoints["roster"], *tracker.endpoints["lookups"]]
        ok = client.ask(client.registrar, Update(3, "alice", TOKEN, 1, 2, [entry(2, "partial")], []), Ok)
        assert 0 < welcome.announced[0] < ok.announced[0]
        for lookup in client.lookups:
            found = client.ask(lookup, GetTorrentList(4, epoch=ok.epoch, min_seq=ok.seq), TorrentList)
            assert [(item.digest, item.have, item.partial) for item in found.entries] == [
                (digest(1), 1, 0),
                (digest(2), 0, 1),
            ]
            seeders = client.ask(lookup, GetSeederList(5, digest(1)), SeederList).seeders
            assert [(seeder.peer, seeder.endpoint, seeder.whole) for seeder in seeders] == [("alice", AT, True)]
        assert client.next_event() == PeerJoined("alice", "alice", AT)
        assert client.next_event() == SourceAdded(digest(1), "alice", "alice", AT, True, welcome.announced[0])
        left = client.ask(client.registrar, Leave(6, "alice", TOKEN), Goodbye)
        for lookup in client.lookups:
            nobody = client.ask(lookup, GetPeerList(7, epoch=left.epoch, min_seq=left.seq), PeerList)
            assert nobody.peers == []
        assert client.next_event() == SourceAdded(digest(2), "alice", "alice", AT, False, ok.announced[0], cell=0)
        assert client.next_event() == PeerLeft("alice", expired=False)
    assert not tracker.ready_file.exists()


def test_a_silent_peer_expires(tmp_path: Path) -> None:
    config = "heartbeat: 100ms\nlease: 300ms\n"
    with RunningTracker(tmp_path, config=config) as tracker, Client(tracker) as client:
        assert client.next_roster().seq == 0
        welcome = client.join("alice", entry(1))
        events = [client.next_event() for _ in range(3)]
        assert events[-1] == PeerLeft("alice", expired=True)
        reply = client.ask(client.lookups[0], GetPeerList(7, epoch=welcome.epoch, min_seq=welcome.seq + 1), PeerList)
        assert reply.peers == []


def test_killed_processes_come_back_where_they_were(tmp_path: Path) -> None:
    with RunningTracker(tmp_path) as tracker, Client(tracker) as client:
        welcome = client.join("alice", entry(1))
        tracker.kill("broker.lookup")
        request = GetSeederList(5, digest(1), epoch=welcome.epoch, min_seq=welcome.seq)
        assert client.ask(client.lookups[0], request, SeederList).total == 1

        tracker.kill("broker.registrar")
        client.ask(client.registrar, Heartbeat(8, "alice", TOKEN, 1, 0), Rejoin)
        again = client.join("alice", entry(1), entry(2))
        assert again.epoch > welcome.epoch
        found = client.ask(client.lookups[0], GetTorrentList(9, epoch=again.epoch, min_seq=again.seq), TorrentList)
        assert len(found.entries) == 2
        assert found.settling
    assert sum("was killed by SIGKILL" in line for line in tracker.log) == 2


def test_garbage_at_every_router_is_answered_and_harms_nobody(tmp_path: Path) -> None:
    foreign = msgpack.packb({"v": 1, "t": "Welcome", "id": 77})
    later = msgpack.packb({"v": 2, "t": "Join", "id": 77})
    wrong_type = msgpack.packb({"v": 1, "t": "Heartbeat", "id": 77, "peer": 5})
    with RunningTracker(tmp_path) as tracker, Client(tracker) as client:
        client.join("alice", entry(1))
        for router in (client.registrar, client.lookups[0]):
            for frame, number, code in (
                (foreign, 77, "bad_message"),
                (later, 77, "bad_version"),
                (wrong_type, 77, "bad_message"),
                (os.urandom(200), 0, "bad_message"),
                (b"", 0, "bad_message"),
            ):
                reply = client.exchange(router, [frame], number)
                assert isinstance(reply, Error)
                assert reply.code == code, reply
            several = client.exchange(router, [b"a", b"b"], 0)
            assert isinstance(several, Error)
            router.send_multipart([b"x"] * 50)
        with Client(tracker) as giant:
            for router in (giant.registrar, giant.lookups[0]):
                router.send(bytes(CONTROL_BYTES_MAX + 1))
        with socket.create_connection(("127.0.0.1", int(tracker.endpoints["registrar"].rpartition(":")[2]))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.ask(client.registrar, Heartbeat(8, "alice", TOKEN, 1, 0), Ok)
        assert client.ask(client.lookups[0], GetPeerList(9), PeerList).peers[0].peer == "alice"
        assert " bad requests (" in tracker.wait_for("refused")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with RunningTracker(tmp_path) as tracker:
        assert tracker.end(number) == 0
        assert not any("WARN" in line or "ERROR" in line for line in tracker.log), tracker.log


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:  # a socket's path is limited to 107 bytes
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        tracker = RunningTracker(tmp_path)
        assert len(list(Path(short).glob("*/link.sock"))) == 1
        tracker.end(signal.SIGKILL)  # returns when the last child has closed its end of the log
        assert list(Path(short).iterdir()) == []


def run_to_the_end(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "broker", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT, check=False)


def test_a_port_in_use_ends_it_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_to_the_end("--listen", f"tcp://127.0.0.1:{port}")
    assert ended.returncode == 4
    assert ended.stderr.startswith(f"error: cannot listen on tcp://127.0.0.1:{port}: the port is in use")
    assert ended.stderr.count("\n") == 1


def test_a_wrong_configuration_ends_it_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tracker.yaml"
    path.write_text("lookup: 3\n")
    ended = run_to_the_end("--config", str(path))
    assert ended.returncode == 2
    assert f"{path}: unknown key `lookup`; did you mean `lookups`?" in ended.stderr


def test_a_ready_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    ended = run_to_the_end("--listen", "tcp://127.0.0.1:0", "--ready-file", str(tmp_path / "no" / "ready.json"))
    assert (ended.returncode, "cannot write the ready file" in ended.stderr) == (6, True)


def test_help_shows_an_example() -> None:
    ended = run_to_the_end("--help")
    assert (ended.returncode, "python -m broker --config tracker.yaml" in ended.stdout) == (0, True)
