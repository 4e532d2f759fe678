"""A downloader killed with -9 while it writes: what its journal says is on disk, and it goes on from there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.disk.journal import Journal
from node.disk.piece_work import check_pieces, whole_digest
from node.disk.storage import Partial
from protocol.bitfield import Bitfield
from tests.node.disk.made_content import PIECE, Made, made_file, made_tree

WRITER = """
import select
import sys
from pathlib import Path
from functools import partial as bind
from node.disk.journal import Journal
from node.disk.piece_work import verify_and_write
from node.disk.storage import Partial
from node.workers import Workers
from protocol.bitfield import Bitfield
from tests.node.disk.test_kill import content

made, dest, data_dir = content(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
partial, journal = Partial.open(made.manifest, dest), Journal(data_dir)
entry = journal.get(made.manifest.digest)
durable = Bitfield.from_bytes(entry.bits, made.manifest.piece_count) if entry else Bitfield(made.manifest.piece_count)
journal.start(made.manifest.digest, "seed", str(dest), durable.to_bytes())
workers = Workers(2)
print("started", flush=True)
missing = list(durable.missing())
written = submitted = 0
while written < len(missing):
    for piece in missing[submitted : written + 3]:
        workers.submit(piece, bind(verify_and_write, partial, made.manifest, piece, made.piece(piece)))
        submitted += 1
    select.select([workers.fd], [], [])
    written += len(workers.results())
    for piece in partial.sync():
        durable.set(piece)
    journal.record(made.manifest.digest, durable.to_bytes())
    print(durable.count_set, flush=True)
"""


def content(name: str) -> Made:
    if name == "file":
        return made_file(100 * PIECE + 17)
    return made_tree({f"d{index % 11}/{index:04}": PIECE // 5 for index in range(500)})


def run_and_kill(name: str, dest: Path, data_dir: Path, at_count: int) -> int:
    """Start the writer, kill it in full flight once it says that ``at_count`` pieces are journaled."""
    said = 0
    arguments = [sys.executable, "-c", WRITER, name, str(dest), str(data_dir)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        for line in process.stdout:
            said = int(line)
            if said >= at_count:
                break
        process.kill()
        for line in process.stdout:
            said = int(line)
    return said


@pytest.mark.process
@pytest.mark.parametrize("name", ["file", "tree"])
def test_kill_9_loses_nothing_that_was_journaled(name: str, tmp_path: Path) -> None:
    made = content(name)
    manifest = made.manifest
    dest = tmp_path / "dest"
    for at_count in (1, 50):
        said = run_and_kill(name, dest, tmp_path, at_count)
        journal = Journal(tmp_path)
        entry = journal.get(manifest.digest)
        journal.close()
        assert entry is not None
        noted = list(Bitfield.from_bytes(entry.bits, manifest.piece_count).indices())
        assert len(noted) >= said >= at_count
        partial = Partial.open(manifest, dest)
        assert partial.resumed
        assert check_pieces(partial, manifest, noted) == noted
        assert not dest.exists()
        partial.close()
    partial = Partial.open(manifest, dest)
    made.write(partial, [piece for piece in range(manifest.piece_count) if piece not in noted])
    assert whole_digest(partial, manifest)
    partial.publish()
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
