"""The command line as a whole: dispatch, help, common options, errors and exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from node.api_messages import ApiError, ApiStop
from protocol.errors import (
    ConfigError,
    DiskError,
    LocalError,
    NetworkError,
    NotFoundError,
    RefusedError,
    SeedError,
    VerificationError,
    ZswarmError,
)
from tests.node.cli.fakes import FakeClient, World, peer_with, report

COMMANDS = [
    "share",
    "get",
    "follow",
    "rollout",
    "list",
    "peers",
    "status",
    "trace",
    "remove",
    "gc",
    "limit",
    "leave",
    "join",
    "stop",
    "seed",
    "verify",
    "audit",
    "signing-key",
]


def test_without_a_command_a_peer_runs_with_the_options_on_top_of_the_file(tmp_path: Path) -> None:
    config = tmp_path / "peer.yaml"
    config.write_text("tracker: tcp://10.0.0.1:5550\nname: from-file\n")
    world = World()
    assert world.run("--config", str(config), "--data-dir", str(tmp_path), "--name", "lab7") == 0
    (settings,) = world.ran
    assert (settings.tracker, settings.name, settings.data_path) == ("tcp://10.0.0.1:5550", "lab7", tmp_path)


def test_relative_paths_of_a_file_start_from_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    config = tmp_path / "etc" / "peer.yaml"
    config.write_text("data_dir: ../data\nshare: [models, /abs]\nlink_roots: [blobs]\ndownload_dir: got\n")
    for place in (tmp_path, tmp_path / "etc"):
        monkeypatch.chdir(place)
        world = World()
        assert world.run("--config", os.path.relpath(config)) == 0
        (settings,) = world.ran
        assert settings.data_path == tmp_path / "data"
        assert settings.share_paths == [tmp_path / "etc/models", Path("/abs")]
        assert settings.share_options.link_roots == (str(tmp_path / "etc/blobs"),)
        assert settings.download_path == place / "got"
        assert world.run("--config", str(config), "--data-dir", "mine") == 0
        assert world.ran[-1].data_path == place / "mine"


def test_a_configuration_may_come_through_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of ``--config <(...)``, which can be read once."""
    read_end, write_end = os.pipe()
    os.write(write_end, f"data_dir: {tmp_path}/none".encode())
    os.close(write_end)
    assert World().run("--config", f"/dev/fd/{read_end}", "status") == 4
    os.close(read_end)
    assert f"no peer runs on {tmp_path}/none" in capsys.readouterr().err


@pytest.fixture
def default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's default configuration, not written yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "zswarm").mkdir()
    return tmp_path / "zswarm" / "peer.yaml"


def test_options_override_the_environment_which_overrides_the_file(
    default_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*argv: str) -> tuple[str, str, Path]:
        world = World()
        assert world.run(*argv) == 0
        (settings,) = world.ran
        return settings.name, settings.trackers[0], settings.data_path

    default_file.write_text(f"name: lab7\ntracker: tcp://file:1\ndata_dir: {tmp_path}/file\n")
    assert run() == ("lab7", "tcp://file:1", tmp_path / "file")
    monkeypatch.setenv("ZSWARM_TRACKER", "")
    assert run() == ("lab7", "tcp://file:1", tmp_path / "file")
    monkeypatch.setenv("ZSWARM_TRACKER", "tcp://environment:1")
    monkeypatch.setenv("ZSWARM_DATA_DIR", str(tmp_path / "environment"))
    assert run() == ("lab7", "tcp://environment:1", tmp_path / "environment")
    assert run("--tracker", "tcp://option:1") == ("lab7", "tcp://option:1", tmp_path / "environment")
    assert run("--data-dir", str(tmp_path)) == ("lab7", "tcp://environment:1", tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("ZSWARM_TRACKER", "nowhere", "'nowhere' is not an endpoint"),
        ("ZSWARM_TRACKER", "tcp://*:5550", "names no host to dial"),
        ("ZSWARM_TRACKER", "tcp://caf\udce9:5550", "caf"),
        ("ZSWARM_DATA_DIR", "/dev/null", "is a file"),
        ("ZSWARM_DATA_DIR", "/dev/null/below", "Not a directory"),
        ("ZSWARM_DATA_DIR", "/tmp/caf\udce9", "is not valid UTF-8"),
        ("ZSWARM_DATA_DIR", "~nobody-of-this-name/x", "there is no user"),
    ],
)
def test_a_wrong_value_in_the_environment_names_the_variable(
    variable: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert World().run("list") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: environment variable {variable}: ")
    assert why in said


def test_a_wrong_value_that_an_option_overrides_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSWARM_TRACKER", "nowhere")
    assert World().run("--data-dir", str(tmp_path), "--tracker", "tcp://10.0.0.1:1") == 0


def test_a_wrong_default_file_is_named(default_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    default_file.write_text("trakcer: tcp://10.0.0.1:1\n")
    assert World().run("list") == 2
    assert capsys.readouterr().err == f"error: {default_file}: unknown key `trakcer`; did you mean `tracker`?\n"


def test_the_exit_code_of_the_peer_is_that_of_the_command(tmp_path: Path) -> None:
    world = World()
    world.exit_code = 78
    assert world.run("--data-dir", str(tmp_path)) == 78


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run(command, "--help") == 0
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert f"python -m node {command}" in out


def test_help_lists_the_commands_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("--help") == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out[out.index("Commands:") :].splitlines()[1 : 1 + len(COMMANDS)]] == COMMANDS
    assert "Examples:" in out


@pytest.mark.parametrize("argv", [["--data-dir", "{dir}", "status"], ["status", "--data-dir", "{dir}"]])
def test_common_options_stand_before_or_after_the_command(argv: list[str], tmp_path: Path) -> None:
    world = peer_with(report())
    assert world.run(*(part.format(dir=tmp_path) for part in argv)) == 0
    assert world.connected_to == [tmp_path]


@pytest.mark.parametrize(
    "argv", [["nonsense"], ["get"], ["share"], ["status", "--nonsense"], ["get", "x", "--timeout", "soon"]]
)
def test_usage_errors_are_one_line_and_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report()).run(*argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "--help" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("peer.yaml: tracer: unknown key"), 2),
        (SeedError("no"), 2),
        (NotFoundError("no"), 3),
        (NetworkError("no"), 4),
        (RefusedError("odd", "no"), 4),
        (VerificationError("no"), 5),
        (DiskError("no"), 6),
        (LocalError("no"), 1),
        (OSError("no"), 6),
    ],
)
def test_each_error_has_its_exit_code(
    error: ZswarmError | OSError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert peer_with(error).run("status") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {error}\n"


@pytest.mark.parametrize(
    ("code", "exit_code"), [("usage", 2), ("not_found", 3), ("network", 4), ("verification", 5), ("disk", 6), ("?", 1)]
)
def test_an_error_the_peer_reports_has_the_exit_code_of_its_word(code: str, exit_code: int) -> None:
    assert peer_with(report(), ApiLeave=ApiError(1, code, "no")).run("leave") == exit_code


def test_without_a_running_peer_the_error_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("--data-dir", str(tmp_path), "status") == 4
    assert f"no peer runs on {tmp_path}" in capsys.readouterr().err


def test_an_error_with_json_is_json_on_standard_output_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("list", "--json") == 4
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["ok"], found["error"]["code"]) == (False, "network")
    assert captured.err.startswith("error: ")


def test_a_hostile_error_text_stays_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(NotFoundError("\x1b[2Jgone\nerror: other")).run("status") == 3
    assert capsys.readouterr().err == "error: \\x1b[2Jgone\\nerror: other\n"


def test_an_error_names_a_path_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("share", "two  blanks\tand a tab") == 3
    assert capsys.readouterr().err == "error: two  blanks\\tand a tab: no such file or directory\n"


def test_what_click_says_in_many_lines_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", "m.bin", "--hash", "md5") == 2
    assert World().run("seed", "m.bin", "--format") == 2
    captured = capsys.readouterr().err
    assert captured.count("\n") == 2
    assert "\\n" not in captured


def test_a_bad_option_value_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("--tracker", "nowhere") == 2
    assert "tracker" in capsys.readouterr().err


def test_interrupting_any_command_exits_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_message: object) -> ApiError:
        raise KeyboardInterrupt

    world = World(FakeClient({ApiStop: interrupt}))
    assert world.run("stop") == 130
    assert world.client is not None
    assert world.client.closed
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [("share", ""), ("get", ""), ("get", " "), ("get", "x", "-o", ""), ("seed", ""), ("seed", ".", "-o", "")]
)
def test_an_empty_word_is_no_path_and_no_name(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report())
    assert world.run(*argv) == 2
    assert "empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [("share", "latin\udce9"), ("get", "latin\udce9"), ("get", "x", "-o", "latin\udce9"), ("status", "--name=\udce9")],
)
def test_words_that_are_no_utf8_are_a_usage_error(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report())
    assert world.run(*argv) == 2
    assert "is not valid UTF-8" in capsys.readouterr().err
    assert world.client is not None
    assert world.client.requests == []


def test_a_current_directory_that_is_no_utf8_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "latin\udce9"
    place.mkdir()
    (place / "file").write_bytes(b"x")
    monkeypatch.chdir(place)
    assert peer_with(report()).run("share", "file") == 2
    assert "is not valid UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [("list", "x" * 300), ("get", "é" * 200)])
def test_a_name_longer_than_any_is_a_usage_error(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    world = peer_with(report())
    assert world.run(*argv) == 2
    assert "at most 256 bytes" in capsys.readouterr().err
    assert world.client is not None
    assert world.client.requests == []


@pytest.mark.parametrize("option", ["--config", "--data-dir", "--tracker", "--listen", "--name"])
def test_an_empty_option_is_a_shell_variable_that_is_not_set(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert peer_with(report()).run(option, "", "status") == 2
    assert f"'{option}': is empty" in capsys.readouterr().err
