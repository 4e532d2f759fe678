"""`service.config`: what is said about a wrong file."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import Meta, Struct, field

from protocol.errors import ConfigError
from service import config
from service.config import keys_in_force, load_settings, settings_of
from service.logs import LogSettings
from service.units import parse_rate


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    weight: int = 1


class Sample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tracker: str = "tcp://127.0.0.1:5550"
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    upload_rate: str | int | float = 0
    rules: list[Rule] = field(default_factory=list)
    fallback: Rule | None = None
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        parse_rate(self.upload_rate)
        if self.tracker == "here":
            raise ValueError("tracker: 'here' is no address")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sample.yaml"


def problem(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, Sample)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    return message.removeprefix(f"{file}: ")


def test_a_file_without_an_end_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_settings(Path("/dev/zero"), Sample)


def test_a_good_file(file: Path) -> None:
    file.write_text("workers: 3\nupload_rate: 40mbit\nlog: {level: debug}\nrules: [{name: a}]\n")
    found = load_settings(file, Sample)
    assert found == Sample(workers=3, upload_rate="40mbit", log=LogSettings(level="debug"), rules=[Rule(name="a")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers: many", "key `workers`: expected a whole number, got text"),
        ("workers: 0", "key `workers`: expected a whole number >= 1"),
        ("tracker: no", "key `tracker`: expected text, got true or false; put it in quotes"),
        ("log: {level: loud}", "key `log.level`: expected one of debug, info, warning, error, got 'loud'"),
        ("log: 5", "key `log`: expected keys of its own, got a number"),
        ("log: {5: x}", "a key in `log` is not text"),
        ("rules: [{name: a}, {name: b, weight: x}]", "key `rules[1].weight`: expected a whole number, got text"),
        ("rules: [{weight: 1}]", "key `rules[0].name` is missing"),
        ("worker: 3", "unknown key `worker`; did you mean `workers`?"),
        ("log: {levl: info}", "unknown key `log.levl`; did you mean `log.level`?"),
        ("rules: [{nam: a}]", "unknown key `rules[0].nam`; did you mean `rules[0].name`?"),
        ("fallback: {nam: a}", "unknown key `fallback.nam`; did you mean `fallback.name`?"),
        ("log: {zzz: 1}", "unknown key `log.zzz`; known are `log.level`, `log.format`"),
        ("tracker: here", "tracker: 'here' is no address"),
        ("upload_rate: fast", "'fast' is not a rate; expected one such as 40mbit or 10 MiB/s"),
        ("", "is empty; expected keys such as `tracker`, `workers`, `upload_rate`, `rules`, `fallback`"),
        ("# only a comment\n", "is empty;"),
        ("- a\n- b\n", "expected `key: value` lines, got a list;"),
        ("just words", "expected `key: value` lines, got 'just words';"),
        ("workers: 1\nworkers: 2\n", "line 2, column 1: key `workers` is given twice"),
        ("tracker: [a]", "key `tracker`: expected text, got a list"),
        ("rules: a", "key `rules`: expected a list, got text"),
        ("upload_rate: [1]", "key `upload_rate`: expected a whole number or a number or text, got a list"),
        ('tracker: "\\ud800"', "line 1, column 10: a lone surrogate is not text"),
        (
            "upload_rate: 1" + 400 * "0",
            "1000000000000000000000000000000000000000 is not a rate; expected a number from 0",
        ),
        ("workers: [1", "line 1, column 12: expected ',' or ']'"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: !!python/name:os.system x", "line 1, column 4: could not determine a constructor"),
        ("workers: 2026-13-45", "is not valid YAML: month must be in 1..12"),
        ("5: x", "a key is not text; put it in quotes"),
        ("a: \x01", "is not valid YAML: unacceptable character"),
        ("[" * 5_000, "is not valid YAML"),
    ],
)
def test_a_wrong_file(file: Path, text: str, message: str) -> None:
    assert problem(file, text).startswith(message)


def test_no_file_a_directory_and_a_huge_file(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sample\.yaml: No such file"):
        load_settings(file, Sample)
    with pytest.raises(ConfigError, match="directory"):
        load_settings(tmp_path, Sample)
    file.write_text("#" * 2_000_000)
    with pytest.raises(ConfigError, match="larger than"):
        load_settings(file, Sample)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The directories of the user's and the machine's default files; neither is there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(config, "SYSTEM_DIR", tmp_path / "etc" / "zswarm")
    return tmp_path / ".config" / "zswarm", tmp_path / "etc" / "zswarm"


def write(directory: Path, text: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sample.yaml").write_text(text)


def default() -> Sample:
    return settings_of(None, "sample.yaml", Sample)


def test_the_user_s_file_comes_before_the_machine_s_and_a_named_one_before_both(
    places: tuple[Path, Path], file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, system = places
    assert default() == Sample()
    write(system, "workers: 3")
    assert default().workers == 3
    write(own, "workers: 4")
    assert default().workers == 4
    write(tmp_path / "xdg" / "zswarm", "workers: 5")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert default().workers == 5
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert default().workers == 4
    file.write_text("workers: 6")
    assert settings_of(file, "sample.yaml", Sample).workers == 6


def test_a_user_without_a_home_has_the_machine_s_file(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(places[1], "workers: 3")
    monkeypatch.setenv("HOME", "")
    assert default().workers == 3


def test_a_default_file_that_is_wrong_is_named_and_no_other_is_read(places: tuple[Path, Path]) -> None:
    own, system = places
    write(system, "workers: 3")
    write(own, "workers: many")
    with pytest.raises(ConfigError, match=f"^{own}/sample.yaml: key `workers`"):
        default()
    (own / "sample.yaml").unlink()
    (own / "sample.yaml").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=f"^{own}/sample.yaml: No such file.*--config"):
        default()


def test_a_named_pipe_as_default_file_is_refused_and_not_waited_for(places: tuple[Path, Path]) -> None:
    own, _ = places
    own.mkdir(parents=True)
    os.mkfifo(own / "sample.yaml")
    with pytest.raises(ConfigError, match=f"^{own}/sample.yaml: is a named pipe; .*--config"):
        default()


def test_a_place_that_cannot_be_looked_at(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A home may be another user's; what the machine's administrator wrote is for everybody."""
    own, system = places

    def lstat(path: Path) -> None:
        raise PermissionError(13, "Permission denied") if path.parent in closed else FileNotFoundError

    monkeypatch.setattr(Path, "lstat", lstat)
    closed = [own]
    assert default() == Sample()
    closed = [own, system]
    with pytest.raises(ConfigError, match=f"^{system}/sample.yaml: Permission denied; .*--config"):
        default()


def test_where_it_cannot_be_told_whether_there_are_keys_there_are(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = places
    fails = {own: OSError(errno.EIO, "Input/output error")}

    def lstat(path: Path) -> None:
        raise fails.get(path.parent, NotADirectoryError())

    monkeypatch.setattr(Path, "lstat", lstat)
    assert keys_in_force("") == str(own / "keys")
    fails.clear()
    assert keys_in_force("") == ""


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"workers: \xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"sample\.yaml: is not valid YAML"):
        load_settings(file, Sample)


@given(st.binary(max_size=80) | st.text("abcw:-[]{}&*!|>'\"#%@ \n\t0159.", max_size=60).map(str.encode))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_settings_or_a_config_error(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    try:
        found: Sample | str = load_settings(file, Sample)
    except ConfigError as error:
        found = str(error)
    assert isinstance(found, Sample) or found.startswith(f"{file}: ")
