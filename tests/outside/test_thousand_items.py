"""`status` and `list` of a peer that shares a thousand items. What they import decides how long they take."""

from __future__ import annotations

import re

import pytest

from tests.outside.commands import Machine, eventually

MODULES_COUNT_MAX = 330
"""Some 260 now; those of rich that draw would be 150 more."""


@pytest.mark.slow
def test_status_and_list_import_little_and_tell_all(network: Machine) -> None:
    folder = network.place / "shared"
    folder.mkdir()
    for number in range(1000):
        (folder / f"f{number:04}.bin").write_bytes(b"%d" % number)
    network.start_peer("a", "--listen", "tcp://127.0.0.1:0", config={"share": [str(folder)]})
    eventually(lambda: network.status("a").get("shared_count") == 1000, "all is shared")
    for command in ("status", "list"):
        shown = network.z(command, "--data-dir", "a", env={"PYTHONPROFILEIMPORTTIME": "1"})
        assert shown.code == 0, shown.err
        assert len(set(re.findall(r"^f\d{4}\.bin ", shown.out, re.MULTILINE))) == 1000
        modules = re.findall(r"^import time: .*\| +(\S+)$", shown.err, re.MULTILINE)
        assert 100 < len(modules) < MODULES_COUNT_MAX, sorted(modules)
        assert not {"rich.console", "sqlite3", "asyncio", "concurrent.futures", "psutil"}.intersection(modules)
