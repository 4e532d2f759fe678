"""node.disk.sparse: zeros stay holes, and never hide old bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.disk.sparse import BLOCK_BYTES, PROBE_BYTES, write_sparse, zero_runs
from node.disk.storage import Partial
from tests.node.disk.made_content import PIECE, made_sparse, made_tree, some_bytes

ZEROS = bytes(PIECE)


@given(
    st.lists(st.tuples(st.sampled_from([b"\0", b"x"]), st.integers(0, 3 * PROBE_BYTES)), max_size=5),
    st.integers(0, 3 * BLOCK_BYTES),
)
def test_runs_are_zeros_in_whole_blocks_and_no_long_one_is_missed(parts: list[tuple[bytes, int]], offset: int) -> None:
    data = b"".join(byte * length for byte, length in parts)
    runs = zero_runs(memoryview(data), offset)
    before = 0
    for start, end in runs:
        assert before <= start < end
        assert (start + offset) % BLOCK_BYTES == (end - start) % BLOCK_BYTES == 0
        assert not any(data[start:end])
        before = end
    rest = bytearray(data)
    for start, end in runs:
        rest[start:end] = b"x" * (end - start)
    assert bytes(PROBE_BYTES + 2 * BLOCK_BYTES) not in rest


def data_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


def needs_holes(directory: Path) -> None:
    """Skip where a file takes room for what was never written to it."""
    probe = directory / "probe"
    with probe.open("wb") as file:
        file.truncate(1 << 20)
    if data_bytes(probe):
        pytest.skip("no sparse files here")
    probe.unlink()


def test_zeros_of_a_download_take_no_room(tmp_path: Path) -> None:
    needs_holes(tmp_path)
    half = bytes(PIECE // 2) + some_bytes(PIECE // 2)
    made = made_sparse([ZEROS, some_bytes(PIECE), ZEROS, half, ZEROS, bytes(10_000)])
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)
    assert data_bytes(tmp_path / ".dest.part/content") <= 1.6 * PIECE
    partial.publish()
    assert (tmp_path / "dest").read_bytes() == made.data


def test_zeros_of_trees_whose_files_are_written_whole_take_no_room(tmp_path: Path) -> None:
    needs_holes(tmp_path)
    made = made_tree({f"{index:03}": 16_000 for index in range(200)})
    zeros = made_tree({f"{index:03}": 16_000 for index in range(200)}, fill=lambda length, _: bytes(length))
    for name, one in (("data", made), ("zeros", zeros)):
        partial = Partial.open(one.manifest, tmp_path / name)
        one.write(partial)
        partial.publish()
    taken = {name: sum(data_bytes(path) for path in (tmp_path / name).iterdir()) for name in ("data", "zeros")}
    assert taken["zeros"] < taken["data"] / 3
    assert all((tmp_path / "zeros" / path).read_bytes() == bytes(16_000) for path in zeros.files or ())


@pytest.mark.parametrize("old", [b"x" * (2 * PIECE), b"x" * PIECE, b"x" * 5_000, b""])
def test_zeros_take_the_place_of_old_bytes(old: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(old)
    data = some_bytes(9_000) + bytes(PIECE) + b"end"
    with path.open("r+b") as file:
        write_sparse(file.fileno(), memoryview(data), 100)
    assert path.read_bytes() == (old[:100].ljust(100, b"\0") + data + old[100 + len(data) :])


def test_a_piece_that_is_written_again_over_other_bytes(tmp_path: Path) -> None:
    made = made_sparse([ZEROS, some_bytes(PIECE)])
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)
    partial.sync()
    (tmp_path / ".dest.part/content").write_bytes(b"x" * 2 * PIECE)
    made.write(partial)
    partial.publish()
    assert (tmp_path / "dest").read_bytes() == made.data
