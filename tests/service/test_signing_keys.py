"""Signing keys as files: made once, and refused where others may read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from protocol.errors import ConfigError, NotFoundError, UsageError
from protocol.signature import format_secret, public_key
from service.signing_keys import load_signing_key, make_signing_key, signing_key_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "zswarm/signing"


def test_a_key_is_made_once_for_its_owner_alone(folder: Path) -> None:
    made, fresh = make_signing_key("release")
    assert (made.path, fresh) == (folder / "release.key", True)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert make_signing_key("release") == (made, False)
    assert load_signing_key("release") == made
    assert public_key(made.secret).hex() in made.public
    assert make_signing_key("another")[0].secret != made.secret


def test_a_path_may_be_anywhere(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert signing_key_path("./mine") == tmp_path / "mine"
    assert make_signing_key("deep/er/k")[0].path == tmp_path / "deep/er/k"
    assert not folder.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_one_that_others_may_read_is_refused(folder: Path, mode: int) -> None:
    make_signing_key("release")
    (folder / "release.key").chmod(mode)
    with pytest.raises(ConfigError, match=r"open to other users .*; close it with: chmod 600"):
        load_signing_key("release")


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o770])
def test_one_in_a_directory_that_others_may_enter_is_refused(folder: Path, mode: int) -> None:
    make_signing_key("release")
    folder.chmod(mode)
    for use in (load_signing_key, make_signing_key):
        with pytest.raises(ConfigError, match="close it with: chmod 700"):
            use("release")


def test_what_is_not_there_says_how_to_make_it(folder: Path) -> None:
    make_signing_key("release")
    with pytest.raises(NotFoundError, match="make one with: signing-key other"):
        load_signing_key("other")
    with pytest.raises(UsageError, match="empty"):
        load_signing_key(" ")
    assert folder.exists()


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"ed25519:" + b"f" * 64, format_secret(b"s" * 32).encode()[:-1]])
def test_what_is_no_key_is_refused_without_repeating_it(folder: Path, text: bytes) -> None:
    make_signing_key("release")
    (folder / "release.key").write_bytes(text)
    with pytest.raises(ConfigError, match="not a signing key") as refused:
        load_signing_key("release")
    assert "7373" not in str(refused.value)
