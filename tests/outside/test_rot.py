"""Copies that rotted: found, said, and mended from the network; nobody gets a wrong byte meanwhile."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.outside.commands import Machine, eventually

PIECE = 64 * 1024
PIECES = 128
RARELY, QUICK = {"scan_seconds": "1h"}, {"scan_seconds": 0.2}


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory whose files can be written to without a trace: writes through a map of a page that is dirty already
    show in no time, and in memory a page stays dirty."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no file system in memory")
    made = Path(tempfile.mkdtemp(prefix="zs-", dir="/dev/shm"))
    yield made
    shutil.rmtree(made)


class Rot:
    """Bytes of ``path`` that can be changed so that no stamp shows it, once they are as they will be hashed."""

    def __init__(self, path: Path, pieces: range) -> None:
        self._pieces = pieces
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        for piece in pieces:
            self._map[piece * PIECE] = self._map[piece * PIECE]

    def set_in(self) -> None:
        for piece in self._pieces:
            self._map[piece * PIECE] ^= 1
        self._map.close()


def flip(path: Path, *pieces: int) -> None:
    """Change a byte of each of ``pieces``, and put the modification time back."""
    found = path.stat()
    with path.open("r+b") as file:
        for piece in pieces:
            file.seek(piece * PIECE)
            byte = file.read(1)[0]
            file.seek(piece * PIECE)
            file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def make(path: Path) -> bytes:
    content = os.urandom(PIECES * PIECE)
    path.write_bytes(content)
    return content


def item(machine: Machine, name: str) -> dict[str, Any]:
    (found,) = machine.status(name)["shared"]
    return dict(found)


def whole(machine: Machine, name: str) -> int:
    """How many have it whole, as the tracker knows."""
    (entry,) = machine.z("list", "--json", "--data-dir", name).json["entries"]
    return int(entry["have"])


@pytest.mark.slow
def test_a_source_that_sent_false_pieces_says_so_mends_itself_and_is_a_source_again(
    network: Machine, memory: Path
) -> None:
    content = make(network.place / "m.bin")
    network.start_peer("s", config={**RARELY, "upload_rate": "4 MiB/s"})
    assert network.z("share", "m.bin", "--data-dir", "s").code == 0
    rotted = network.start_peer("r", config=RARELY)
    assert network.z("get", "m.bin", "-o", memory, "--data-dir", "r").code == 0
    copy = memory / "m.bin"
    rot = Rot(copy, range(0, PIECES, 4))
    assert network.z("share", copy, "--data-dir", "r").code == 0, "its stamps are taken anew"
    rot.set_in()
    assert copy.read_bytes() != content

    got = network.z("get", "m.bin", "-o", "o", "--data-dir", "g")
    assert got.code == 0, got.err
    assert (network.place / "o/m.bin").read_bytes() == content
    assert "damaged piece" in got.err
    eventually(lambda: "withdrawing" in rotted.err, "the receiver has told the source")
    eventually(lambda: copy.read_bytes() == content, "it is mended")
    eventually(lambda: item(network, "r")["state"] == "", "it is served again")
    assert f"rotted: {PIECES // 4} pieces of {PIECES}" in rotted.err
    assert "mended m.bin" in rotted.err
    eventually(lambda: whole(network, "r") >= 2, "the tracker lists it as whole")
    again = network.z("get", "m.bin", "-o", "p", "--data-dir", "h")
    assert again.code == 0
    assert "banned" not in again.err


@pytest.mark.slow
def test_a_look_finds_what_was_changed_though_its_time_was_not_and_only_wrong_pieces_are_fetched(
    network: Machine,
) -> None:
    content = make(network.place / "m.bin")
    network.start_peer("s", config=RARELY)
    assert network.z("share", "m.bin", "--data-dir", "s").code == 0
    network.start_peer("r", config=QUICK)
    assert network.z("get", "m.bin", "-o", "o", "--data-dir", "r").code == 0
    copy = network.place / "o/m.bin"
    before = copy.stat()
    flip(copy, 3, 77)
    eventually(lambda: copy.read_bytes() == content, "it is mended")
    eventually(lambda: item(network, "r")["state"] == "", "it is served again")
    after = copy.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    (mend,) = [job for job in network.status("r")["jobs"] if job["kind"] == "mend"]
    assert mend["detail"] == f"mended; rotted: 2 pieces of {PIECES}"
    assert mend["download"]["received_bytes"] <= 3 * PIECE


@pytest.mark.slow
def test_what_a_person_shares_is_mended_when_they_say_so(network: Machine) -> None:
    content = make(network.place / "m.bin")
    own = network.place / "m.bin"
    own.chmod(0o640)
    network.start_peer("s", config=QUICK)
    assert network.z("share", "m.bin", "--data-dir", "s").code == 0
    network.start_peer("r", config=RARELY)
    assert network.z("get", "m.bin", "-o", "o", "--data-dir", "r").code == 0
    assert network.z("verify", "m.bin", "--data-dir", "s").code == 0
    flip(own, 5)
    eventually(lambda: item(network, "s")["state"] == "damaged", "it is found")
    assert whole(network, "r") == 1
    assert f"rotted: 1 piece of {PIECES}, the first piece 5" in item(network, "s")["detail"]
    found = network.z("verify", "m.bin", "--data-dir", "s")
    assert found.code == 5
    assert "rotted: 1 piece" in found.out
    assert own.read_bytes() != content, "nothing is changed without being asked"
    mended = network.z("verify", "m.bin", "--repair", "--data-dir", "s")
    assert mended.code == 0, mended.err
    assert own.read_bytes() == content
    assert own.stat().st_mode & 0o777 == 0o640
    eventually(lambda: whole(network, "r") == 2, "it is a source again")


KILLED_AT_UTIME = """
import os, signal

if os.environ.get("KILL_AT_UTIME"):
    os.utime = lambda *_, **__: os.killpg(0, signal.SIGKILL)
"""
"""A mend writes a piece, and then puts the modification time back."""


@pytest.mark.slow
@pytest.mark.parametrize("mender", ["downloaded", "shared"])
def test_a_mend_that_is_killed_within_a_write_leaves_rot_and_no_new_content(network: Machine, mender: str) -> None:
    hook = network.place / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(KILLED_AT_UTIME)
    killed = {"KILL_AT_UTIME": "1", "PYTHONPATH": f"{hook}:{network.env['PYTHONPATH']}"}
    content = make(network.place / "m.bin")
    other = "shared" if mender == "downloaded" else "downloaded"
    copy = network.place / ("m.bin" if mender == "shared" else "o/m.bin")
    network.start_peer(other, config=RARELY)
    fragile = network.start_peer(mender, config=QUICK, env=killed)
    assert network.z("share", "m.bin", "--data-dir", "shared").code == 0
    assert network.z("get", "m.bin", "-o", "o", "--data-dir", "downloaded").code == 0
    flip(copy, 3, 77)
    if mender == "shared":
        eventually(lambda: item(network, mender)["state"] == "damaged", "it is found")
        network.z("verify", "m.bin", "--repair", "--data-dir", mender)
    fragile.wait()
    assert copy.read_bytes() != content, "one of two pieces is mended"
    again = network.start_peer(mender, config=QUICK)
    eventually(lambda: "rotted: 1 piece of" in again.err, "what is left is found")
    (listed,) = network.z("list", "--json", "--data-dir", other).json["entries"]
    mended = network.z("verify", "m.bin", "--repair", "--data-dir", mender)
    assert mended.code == 0, mended.err
    assert copy.read_bytes() == content
    assert item(network, mender)["digest"] == listed["digest"]
    assert item(network, mender)["origin"] == mender


@pytest.mark.slow
def test_an_audit_reads_all_at_its_rate_and_names_what_is_wrong(network: Machine) -> None:
    contents = [make(network.place / name) for name in ("a.bin", "b.bin")]
    network.start_peer("s", config=RARELY)
    assert network.z("share", "a.bin", "b.bin", "--data-dir", "s").code == 0
    network.start_peer("r", config=RARELY)
    assert network.z("get", "a.bin", "b.bin", "-o", "o", "--data-dir", "r").code == 0
    sound = network.z("audit", "--rate", "8 MiB/s", "--json", "--data-dir", "r")
    assert sound.code == 0, sound.err
    (job,) = [job for job in network.status("r")["jobs"] if job["kind"] == "audit"]
    assert 1.5 < job["seconds"] < 10
    flip(network.place / "o/b.bin", 9)
    found = network.z("audit", "--rate", "0", "--data-dir", "r")
    assert found.code == 5, found.err
    assert f"{network.place}/o/b.bin: damaged: rotted: 1 piece" in found.out
    eventually(lambda: (network.place / "o/b.bin").read_bytes() == contents[1], "it mends itself")
    eventually(lambda: network.z("audit", "b.bin", "--rate", "0", "--data-dir", "r").code == 0, "all is right")
    network.start("audit", "--rate", "1 MiB/s", "--data-dir", "r")
    eventually(lambda: network.status("r")["jobs"][-1]["phase"] == "checking", "a slow one is at work")
    assert "stopped 1 audit" in network.z("audit", "--stop", "--data-dir", "r").err
