"""The tracker's configuration, and the processes that follow from it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from broker.child_settings import RegistrarSettings
from broker.config import TrackerConfig, addresses, load_config, web_address
from broker.tracker import child_specs
from protocol.endpoints import Address
from protocol.errors import ConfigError
from tests.broker.running import ROOT


def test_the_sample_file_has_every_key_with_its_default() -> None:
    path = ROOT / "configs" / "tracker.yaml"
    sample, defaults = load_config(path, None), TrackerConfig()
    for name in TrackerConfig.__struct_fields__:
        assert f"\n{name}:" in path.read_text()
        if name == "web":
            assert web_address(sample) == web_address(defaults)
        elif name not in ("heartbeat", "lease"):
            assert getattr(sample, name) == getattr(defaults, name)
    assert (sample.heartbeat_seconds, sample.lease_seconds) == (defaults.heartbeat_seconds, defaults.lease_seconds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lease: 10s", "key `lease`: expected at least 3 heartbeats"),
        ("heartbeat: 0", "key `heartbeat`"),
        ("heartbeat: soon", "key `heartbeat`: 'soon' is not a duration"),
        ("lease: -1", "key `lease`: -1 is not a duration"),
        ("lookups: 0", "key `lookups`"),
        ("lookups: many", "key `lookups`: expected a whole number"),
        ("listen: localhost", "key `listen`"),
        ("listen: tcp://[::1:5550", "key `listen`: endpoint 'tcp://[::1:5550' has no host"),
        ("listen: tcp://10.0.0.300:1", "key `listen`"),
        ("listen: tcp://*:65534", "3 consecutive ports"),
        ("advertise: a b", "key `advertise`"),
        ("advertise: '*'", "key `advertise`"),
        ("web: here", "key `web`: 'here' is no address; expected an address and a port such as 127.0.0.1:5580"),
        ("web: 127.0.0.1", "key `web`"),
        ("web_token_file: token", "key `web_token_file`: expected the absolute path"),
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


def test_without_a_name_the_default_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "zswarm").mkdir()
    (tmp_path / "zswarm" / "tracker.yaml").write_text("listen: tcp://*:7000\nlookups: 2")
    assert (load_config(None, None).listen, load_config(None, None).lookups) == ("tcp://*:7000", 2)
    assert (load_config(None, "tcp://*:8000").listen, load_config(None, "tcp://*:8000").lookups) == ("tcp://*:8000", 2)
    assert load_config(ROOT / "configs" / "tracker.yaml", None).lookups == 1


def test_a_key_folder_that_is_not_whole_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody makes a network without keys because a file is lost, or is another user's."""
    monkeypatch.delenv("ZSWARM_KEYS", raising=False)
    with tempfile.TemporaryDirectory() as place:  # one that any user can enter
        Path(place).chmod(0o755)
        monkeypatch.setenv("XDG_CONFIG_HOME", place)
        keys = Path(place, "zswarm", "keys")
        assert load_config(None, None).keys == ""
        keys.mkdir(parents=True)
        assert load_config(None, None).keys == str(keys)
        keys.chmod(0)
        with as_another_user():
            assert load_config(None, None).keys == str(keys)
        keys.chmod(0o700)
        assert load_config(None, None, keys="none").keys == ""


@contextmanager
def as_another_user() -> Iterator[None]:
    """Root, whom no mode keeps out, is somebody else meanwhile."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_wrong_address_on_the_command_line_is_said_to_be_there() -> None:
    with pytest.raises(ConfigError, match=r"^command line: key `listen`: 'here' is not an endpoint"):
        load_config(None, "here")


def test_each_lookup_is_a_process() -> None:
    assert roles(TrackerConfig(lookups=2, mdns=False)) == ["registrar", "lookup", "lookup-2"]


def roles(config: TrackerConfig) -> list[str]:
    return [spec.role for spec in child_specs(config, addresses(config), "key", None)]


def test_only_what_others_reach_is_announced_and_only_where_zeroconf_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("zeroconf")
    for listen in ("tcp://127.0.0.1:5550", "tcp://[::1]:5550", "tcp://localhost:5550"):
        assert "announcer" not in roles(TrackerConfig(listen=listen))
    assert "announcer" in roles(TrackerConfig())
    assert "announcer" in roles(TrackerConfig(listen="tcp://10.0.0.1:5550"))
    assert load_config(None, None, no_mdns=True).mdns is False
    monkeypatch.setattr("broker.tracker.find_spec", lambda _: None)
    assert "announcer" not in roles(TrackerConfig())


HEAVY = ("rich", "click", "psutil", "yaml", "asyncio")


@pytest.mark.parametrize("module", ["broker.registrar", "broker.lookup"])
def test_children_are_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_clock_that_is_set_back_sets_back_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrackerConfig()
    spec = child_specs(config, addresses(config), "key", None)[0]
    settings = msgspec.json.decode(spec.settings, type=RegistrarSettings)
    now, wall = time.monotonic(), time.time()
    first = settings.epoch(now)
    assert first == pytest.approx(wall * 1_000, abs=1_000), "a tracker that is started later begins higher"
    monkeypatch.setattr(time, "time", lambda: wall - 86_400)
    monkeypatch.setattr(time, "time_ns", lambda: int((wall - 86_400) * 1e9))
    assert settings.epoch(now + 0.1) == pytest.approx(first + 100, abs=2)
