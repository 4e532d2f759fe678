"""``keys``: what a person is told when the key folder cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from service.key_folder import KeyFolder
from tests.node.cli.fakes import World

KEY = "a1" * 32


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(tmp_path / "keys")
    folder.make()
    folder.authorize("b2" * 32, "lab-7")
    return folder


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("invite",), "invites/"),
        (("init", "--reusable"), "tracker.secret"),
        (("authorize", KEY), f"members/{KEY}.key"),
        (("revoke", "lab-7"), f"revoked/{'b2' * 32}.key"),
    ],
)
def test_a_full_disk_is_told_with_the_file_and_what_to_do(
    folder: KeyFolder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    where: str,
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert World().run("keys", *words, "--keys", str(folder.path)) == 6
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith(f"error: cannot write {folder.path}/{where}")
    assert last.endswith(": the disk is full; free some space")
    assert ".new" not in last


def test_a_full_disk_as_the_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "keys"))

    monkeypatch.setattr(Path, "mkdir", full)
    assert World().run("keys", "init", "--keys", str(tmp_path / "keys")) == 6
    assert capsys.readouterr().err == f"error: cannot write {tmp_path}/keys: the disk is full; free some space\n"


def test_a_folder_that_cannot_be_read_is_named(folder: KeyFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.members_path / f"{'b2' * 32}.key").unlink()
    folder.members_path.rmdir()
    assert World().run("keys", "list", "--keys", str(folder.path)) == 6
    assert capsys.readouterr().err == f"error: cannot read {folder.members_path}: {os.strerror(errno.ENOENT)}\n"
