"""`node.config`, and that the sample file says what the code does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from node.config import AgentSettings, PeerSettings, PieceServerSettings, absolute
from node.peer import child_specs, numeric_endpoint
from protocol.errors import ConfigError, NetworkError
from service.config import load_settings
from service.logs import LogSettings

SAMPLE = Path(__file__).parents[2] / "configs" / "peer.yaml"


def load(tmp_path: Path, text: str) -> PeerSettings:
    path = tmp_path / "peer.yaml"
    path.write_text(text)
    return load_settings(path, PeerSettings)


def test_the_sample_has_every_key_with_its_default() -> None:
    assert load_settings(SAMPLE, PeerSettings) == PeerSettings()
    document = yaml.safe_load(SAMPLE.read_text())
    assert set(document) == set(PeerSettings.__struct_fields__)
    assert set(document["log"]) == set(LogSettings.__struct_fields__)


def test_units_are_understood(tmp_path: Path) -> None:
    settings = load(tmp_path, "upload_rate: 8mbit\ndownload_rate: 2 MiB/s\nscan_seconds: 500ms\n")
    assert settings.upload_bytes_per_second == 1_000_000
    assert settings.download_bytes_per_second == 2 * 1024 * 1024
    assert settings.scan_period_seconds == 0.5


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("tracker: nowhere", "tracker"),
        ("tracker: tcp://host:0", "port"),
        ("listen: tcp://host:99999", "listen"),
        ("advertise: http://host:1", "advertise"),
        ("upload_rate: fast", "upload_rate"),
        ("download_rate: -1", "download_rate"),
        ("scan_seconds: 0", "scan_seconds"),
        ("scan_seconds: .nan", "scan_seconds"),
        ("upload_rate: .inf", "upload_rate"),
        ("workers: 0", "workers"),
        ("hash: md5", "hash"),
        ("trakcer: tcp://h:1", "tracker"),
        (f"name: {'x' * 65}", "name"),
    ],
)
def test_nonsense_names_the_file_and_the_key(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + "\n")
    assert "peer.yaml" in str(caught.value)
    assert hint in str(caught.value)


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute("a/../b") == tmp_path / "b"
    assert absolute("~/x") == Path("/home/someone/x")


def test_the_processes_are_told_what_they_need_agent_first(tmp_path: Path) -> None:
    settings = PeerSettings(data_dir=str(tmp_path), share=["x"], upload_rate="8kbit", name="n")
    agent, downloader, piece_server = child_specs(settings, tmp_path / "run", foreground=False)
    assert [spec.module for spec in (agent, downloader, piece_server)] == [
        "node.agent",
        "node.downloader",
        "node.piece_server",
    ]
    told = msgspec.json.decode(agent.settings, type=AgentSettings)
    assert (told.name, told.share) == ("n", [str(Path.cwd() / "x")])
    assert msgspec.json.decode(piece_server.settings, type=PieceServerSettings).upload_rate == 1_000
    assert b"\n" not in agent.settings


@pytest.mark.parametrize(
    ("advertised", "numeric"),
    [
        ("", ""),
        ("tcp://*:7000", "tcp://*:7000"),
        ("tcp://10.1.2.3:7000", "tcp://10.1.2.3:7000"),
        ("tcp://[::1]:7000", "tcp://[::1]:7000"),
        ("tcp://localhost:*", "tcp://127.0.0.1:*"),
    ],
)
def test_what_is_advertised_is_an_address(advertised: str, numeric: str) -> None:
    assert numeric_endpoint(advertised) == numeric


def test_a_name_that_is_nobodys_is_refused() -> None:
    with pytest.raises(NetworkError, match="give an IP address"):
        numeric_endpoint("tcp://no-such-host.invalid:7000")
