"""Who waits for the ready file and reads it as soon as it is there finds all of it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from broker.ready_file import check_ready_file, write_ready_file
from protocol.errors import DiskError


def test_who_waits_for_it_never_sees_an_empty_one(tmp_path: Path) -> None:
    path, seen, ended = tmp_path / "ready.json", list[str](), threading.Event()

    def wait_for_it() -> None:
        while not seen and not ended.is_set():
            if path.exists():
                seen.append(path.read_text())

    reader = threading.Thread(target=wait_for_it)
    reader.start()
    for _ in range(500):
        check_ready_file(path)
    assert not seen
    write_ready_file(path, {"registrar": "tcp://127.0.0.1:1"})
    reader.join(10)
    ended.set()
    assert [json.loads(text) for text in seen] == [{"registrar": "tcp://127.0.0.1:1"}]
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_earlier_run_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("old")
    check_ready_file(path)
    assert not path.exists()


def test_a_place_where_it_cannot_be_written_is_told(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "no" / "ready.json", tmp_path, pipe):
        with pytest.raises(DiskError, match="cannot write the ready file"):
            check_ready_file(path)
    assert pipe.exists()
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="cannot write the ready file"):
        write_ready_file(tmp_path / "file" / "ready.json", {})
