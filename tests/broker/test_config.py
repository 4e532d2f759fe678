"""The tracker's configuration, ports and addresses."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from broker.__main__ import child_specs
from broker.config import TrackerConfig, addresses, load_config
from broker.endpoints import Address, advertised, reachable_here
from broker.intake import NOTE_SECONDS, Intake
from broker.ports import HeldPorts
from protocol.codec import Decoder, encode
from protocol.errors import ConfigError, NetworkError
from protocol.messages import Error, Leave
from tests.broker.running import ROOT


def test_the_sample_file_has_every_key_with_its_default() -> None:
    path = ROOT / "configs" / "tracker.yaml"
    sample, defaults = load_config(path, None), TrackerConfig()
    for name in TrackerConfig.__struct_fields__:
        assert f"\n{name}:" in path.read_text()
        if name not in ("heartbeat", "lease"):
            assert getattr(sample, name) == getattr(defaults, name)
    assert (sample.heartbeat_seconds, sample.lease_seconds) == (defaults.heartbeat_seconds, defaults.lease_seconds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lease: 10s", "key `lease`: expected at least 3 heartbeats"),
        ("heartbeat: 0", "key `heartbeat`"),
        ("heartbeat: soon", "'soon' is no duration"),
        ("lookups: 0", "key `lookups`"),
        ("lookups: many", "key `lookups`: expected int"),
        ("listen: localhost", "key `listen`"),
        ("listen: tcp://localhost:1", "key `listen`: expected tcp://address:port"),
        ("listen: tcp://*:65534", "3 consecutive ports"),
        ("advertise: a b", "key `advertise`"),
        ("log: {levle: info}", "did you mean `log.level`?"),
    ],
)
def test_complaints_name_file_key_and_what_was_expected(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "tracker.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, None)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


def test_listen_can_be_given_instead(tmp_path: Path) -> None:
    path = tmp_path / "tracker.yaml"
    path.write_text("listen: tcp://*:7000\nlookups: 2")
    config = load_config(path, "tcp://127.0.0.1:8000")
    assert addresses(config) == [Address("127.0.0.1", port) for port in (8000, 8001, 8002, 8003)]
    assert [address.port for address in addresses(TrackerConfig(listen="tcp://*:0"))] == [0, 0, 0]


def test_each_lookup_is_a_process() -> None:
    config = TrackerConfig(lookups=2)
    specs = child_specs(config, addresses(config), Path("key"), None)
    assert [spec.role for spec in specs] == ["registrar", "lookup", "lookup-2"]


def test_a_held_port_can_be_listened_on_and_is_handed_to_nobody_else() -> None:
    ports = HeldPorts([Address("127.0.0.1", 0), Address("127.0.0.1", 0)])
    numbers = [address.port for address in ports.addresses]
    assert len({*numbers, 0}) == 3
    for _ in range(2):  # a child, and the one that takes its place
        with socket.socket() as child:
            child.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            child.bind(("127.0.0.1", numbers[0]))
            child.listen()
            with pytest.raises(NetworkError, match=f"tcp://127.0.0.1:{numbers[0]}.*in use"):
                HeldPorts([Address("127.0.0.1", numbers[0])])
    ports.close()


def test_an_address_of_another_machine_cannot_be_held() -> None:
    with pytest.raises(NetworkError, match="does not have that address"):
        HeldPorts([Address("192.0.2.1", 0)])


@pytest.mark.parametrize(
    ("listen", "advertise", "told", "here"),
    [
        ("tcp://*:5551", "", "tcp://*:5551", "tcp://127.0.0.1:5551"),
        ("tcp://0.0.0.0:5551", "", "tcp://*:5551", "tcp://127.0.0.1:5551"),
        ("tcp://[::]:5551", "", "tcp://*:5551", "tcp://[::1]:5551"),
        ("tcp://10.0.0.1:5551", "", "tcp://10.0.0.1:5551", "tcp://10.0.0.1:5551"),
        ("tcp://*:5551", "tracker.lab", "tcp://tracker.lab:5551", "tcp://127.0.0.1:5551"),
    ],
)
def test_what_peers_are_told(listen: str, advertise: str, told: str, here: str) -> None:
    assert advertised(listen, advertise) == told
    assert reachable_here(listen) == here


def test_bad_messages_are_counted_and_told_sparingly() -> None:
    intake: Intake[Leave] = Intake("requests", Decoder(Leave))
    assert intake.read([encode(Leave(3, "p", b"x" * 16))], 0.0) == Leave(3, "p", b"x" * 16)
    assert intake.next_deadline() is None
    for _ in range(5):
        assert isinstance(intake.read([b"nonsense"], 1.0), Error)
    assert intake.next_deadline() == 1.0
    (note,) = intake.note(1.0)
    assert note.text.startswith("refused 5 bad requests (5 in all), the last one: not a msgpack")
    intake.read([b"x", b"y"], 2.0)
    assert intake.note(2.0) == []
    (note,) = intake.note(1.0 + NOTE_SECONDS)
    assert note.text == "refused 1 bad requests (6 in all), the last one: a message is one frame, not 2"
    assert intake.note(1.0 + 2 * NOTE_SECONDS) == []
    intake.read([b""], 100.0)
    assert len(intake.note(100.0)) == 1


HEAVY = ("rich", "click", "psutil", "yaml", "asyncio")


@pytest.mark.parametrize("module", ["broker.registrar", "broker.lookup"])
def test_children_are_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ended.stdout.strip() == "[]"
