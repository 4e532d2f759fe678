"""`node.config`, and that the sample file says what the code does."""

from __future__ import annotations

import pwd
import socket
from pathlib import Path

import msgspec
import pytest
import yaml

from node.config import AgentSettings, PeerSettings, default_data_dir
from node.identity import load_identity
from node.peer import child_specs, numeric_endpoint
from node.rate_limit import RateLimits
from protocol.endpoints import Address
from protocol.errors import ConfigError, NetworkError, UsageError
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


def test_figures_are_served_nowhere_by_default(tmp_path: Path) -> None:
    assert PeerSettings().metrics_address is None
    assert load(tmp_path, "metrics: '127.0.0.1:5581'").metrics_address == Address("127.0.0.1", 5581)
    assert load(tmp_path, "metrics: '*:0'").metrics_address == Address("*", 0)


def test_directories_whose_space_is_watched_are_those_that_the_configuration_names(tmp_path: Path) -> None:
    assert load(tmp_path, "data_dir: /d").watched_directories == {"data": ["/d"]}
    text = "{data_dir: /d, download_dir: /x, rollouts: /r, follow: [{pattern: a, to: /a}, {pattern: b, to: /b}]}"
    expected = {"data": ["/d"], "downloads": ["/x"], "rollouts": ["/r"], "follow": ["/a", "/b"]}
    assert load(tmp_path, text).watched_directories == expected


def test_units_are_understood(tmp_path: Path) -> None:
    settings = load(tmp_path, "upload_rate: 8mbit\ndownload_rate: 2 MiB/s\nscan_seconds: 500ms\n")
    assert settings.limits == RateLimits(1_000_000, 2 * 1024 * 1024)
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
        ("ignore: ['']", "ignore"),
        ("ignore: [a/*.tmp]", "ignore"),
        ("follow: [{pattern: a/b, to: /x}]", "follow: no content"),
        ("hash: md5", "hash"),
        ("metrics: nowhere", "key `metrics`: 'nowhere' is no address; expected an address and a port such as 127"),
        ("metrics_token_file: token", "key `metrics_token_file`: expected the absolute path"),
        ("trakcer: tcp://h:1", "tracker"),
        (f"name: {'x' * 65}", "name"),
        ('name: "a\\x07b"', "name"),
        ('name: "a\\u202eb"', "name"),
        ("data_dir: ~nobody-of-this-name/x", "data_dir"),
        ('share: ["a\\0b"]', "share"),
        ('download_dir: ""', "download_dir"),
    ],
)
def test_nonsense_names_the_file_and_the_key(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text + "\n")
    assert "peer.yaml" in str(caught.value)
    assert hint in str(caught.value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(socket, "gethostname", lambda: "lab/7")
    return tmp_path


def test_each_host_has_a_data_directory_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_data_dir() == home / ".local/share/zswarm/lab_7"
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "xdg"))
    assert default_data_dir() == home / "xdg/zswarm/lab_7"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_data_dir() == home / ".local/share/zswarm/lab_7"
    assert PeerSettings().data_path == default_data_dir()


def test_a_data_directory_made_before_there_was_one_for_each_host_stays_in_use(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = home / ".local/share/zswarm"
    load_identity(old)
    assert default_data_dir() == old
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "xdg"))
    assert default_data_dir() == old


def test_without_a_home_directory_the_way_out_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    with pytest.raises(UsageError, match="set HOME to an absolute path, or give a directory with --data-dir"):
        _ = PeerSettings().data_path
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    assert PeerSettings().data_path == home / "zswarm/lab_7"


def test_what_cannot_be_a_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for place, why in (("file", "is a file"), ("file/below", "Not a directory"), ("loop", "symbolic links")):
        with pytest.raises(UsageError, match=why):
            _ = PeerSettings(data_dir=str(tmp_path / place)).data_path
    assert PeerSettings(data_dir=str(tmp_path / "new")).data_path == tmp_path / "new"


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
    assert told.limits == RateLimits(1_000, 0)
    assert b"\n" not in agent.settings


@pytest.mark.parametrize(
    ("advertised", "numeric"),
    [
        ("tcp://*:7000", "tcp://*:7000"),
        ("tcp://10.1.2.3:7000", "tcp://10.1.2.3:7000"),
        ("tcp://[::1]:7000", "tcp://[::1]:7000"),
        ("tcp://localhost:*", "tcp://127.0.0.1:0"),
        ("tcp://[::ffff:10.0.0.1]:*", "tcp://10.0.0.1:0"),
    ],
)
def test_what_is_advertised_is_an_address(advertised: str, numeric: str) -> None:
    assert numeric_endpoint(advertised) == numeric


def test_a_name_that_is_nobodys_is_refused() -> None:
    with pytest.raises(NetworkError, match="give an IP address"):
        numeric_endpoint("tcp://no-such-host.invalid:7000")
