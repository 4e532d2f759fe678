"""`service.paths`."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import UsageError
from service.paths import absolute_path


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute_path("a/../b") == tmp_path / "b"
    assert absolute_path("~/x") == Path("/home/someone/x")


@pytest.mark.parametrize(
    ("path", "why"), [("", "empty"), ("a\0b", "NUL"), ("~nobody-of-this-name/x", "no user nobody-of")]
)
def test_what_is_no_path_is_refused(path: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        absolute_path(path)


@pytest.mark.parametrize("home", ["", "here"])
def test_a_home_that_is_no_absolute_path_is_no_home(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(UsageError, match="home directory is not known"):
        absolute_path("~/x")


def test_a_current_directory_that_was_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    with pytest.raises(UsageError, match="was deleted"):
        absolute_path("x")
