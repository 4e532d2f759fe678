"""node.disk.piece_work: only what has the right digest is written, believed and published."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from node.disk import piece_work
from node.disk.errors import NoSpaceError, NotThereError, StoppedError
from node.disk.open_files import OPEN_FILES_COUNT_MAX
from node.disk.piece_work import BUFFER_BYTES, check_pieces, verify_and_write, verify_and_write_each, whole_digest
from node.disk.storage import Partial
from node.disk.store import Buffer
from tests.node.disk.made_content import PIECE, Made, made_file, made_tree

MADE = [made_file(5 * PIECE + 1), made_file(3 * PIECE, algorithm="sha256"), made_tree(), made_file(0), made_tree({})]
each = pytest.mark.parametrize("made", MADE)


@each
def test_good_pieces_are_written(made: Made, tmp_path: Path) -> None:
    partial = Partial.open(made.manifest, tmp_path / "dest")
    for piece in range(made.manifest.piece_count):
        assert verify_and_write(partial, made.manifest, piece, memoryview(made.piece(piece)))
    steps: list[int] = []
    assert whole_digest(partial, made.manifest, steps.append)
    assert steps == sorted(steps)
    assert sum(steps[-1:]) == made.manifest.length
    partial.publish()


def test_bad_pieces_are_not(tmp_path: Path) -> None:
    made = MADE[0]
    partial = Partial.open(made.manifest, tmp_path / "dest")
    good = made.piece(0)
    for bad in (made.piece(1), bytes(PIECE)):
        assert not verify_and_write(partial, made.manifest, 0, bad)
    assert partial.sync() == []
    assert check_pieces(partial, made.manifest, [0]) == []
    assert verify_and_write(partial, made.manifest, 0, bytearray(good))
    partial.discard()


def test_of_several_pieces_each_has_a_result_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MADE[0]
    partial = Partial.open(made.manifest, tmp_path / "dest")
    full = NoSpaceError("the disk is full")
    write = partial.write

    def write_all_but_2(piece: int, data: Buffer) -> None:
        if piece == 2:
            raise full
        write(piece, data)

    monkeypatch.setattr(partial, "write", write_all_but_2)
    pieces = [(0, made.piece(0)), (1, made.piece(0)), (2, made.piece(2)), (3, made.piece(3))]
    assert verify_and_write_each(partial, made.manifest, pieces) == [True, False, full, True]
    assert sorted(partial.sync()) == [0, 3]
    partial.discard()


@pytest.mark.parametrize("piece", [0, 5])
@pytest.mark.parametrize(
    "odd", [lambda good: good[:-1], lambda good: good + b"x", lambda _: b""], ids=["short", "long", "none"]
)
def test_a_piece_of_another_length_is_refused(odd: Callable[[bytes], bytes], piece: int, tmp_path: Path) -> None:
    made = MADE[0]
    partial = Partial.open(made.manifest, tmp_path / "dest")
    assert not verify_and_write(partial, made.manifest, piece, odd(made.piece(piece)))
    assert partial.sync() == []
    assert check_pieces(partial, made.manifest, [piece]) == []
    partial.discard()


def test_checking_tells_what_is_good_and_how_far_it_is(tmp_path: Path) -> None:
    made = MADE[0]
    partial = Partial.open(made.manifest, tmp_path / "dest")
    assert check_pieces(partial, made.manifest, [0, 3]) == []
    made.write(partial, [1, 3, 5])
    steps: list[int] = []
    assert check_pieces(partial, made.manifest, [0, 1, 2, 3, 5], steps.append) == [1, 3, 5]
    assert steps == [PIECE, 2 * PIECE, 3 * PIECE, 4 * PIECE, 4 * PIECE + 1]
    with pytest.raises(StoppedError):
        check_pieces(partial, made.manifest, [1, 3], None, lambda: True)
    partial.discard()


def test_the_whole_cannot_be_hashed_with_holes_of_missing_files(tmp_path: Path) -> None:
    made = MADE[2]
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial, [0])
    with pytest.raises(NotThereError):
        whole_digest(partial, made.manifest)
    partial.discard()


def test_hashing_the_whole_can_be_stopped(tmp_path: Path) -> None:
    made = made_file(2 * BUFFER_BYTES)
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)
    steps: list[int] = []
    with pytest.raises(StoppedError):
        whole_digest(partial, made.manifest, steps.append, lambda: len(steps) == 2)
    assert steps == [BUFFER_BYTES // 2, BUFFER_BYTES]
    partial.discard()


def test_a_chunk_is_hashed_before_its_place_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_file(5 * BUFFER_BYTES)
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)

    class Late(Future[object]):
        """Does its work when somebody asks for the result, and no sooner."""

        def __init__(self, work: Callable[[memoryview], object], chunk: memoryview) -> None:
            super().__init__()
            self._work, self._chunk = work, chunk

        def result(self, timeout: float | None = None) -> object:
            assert timeout is None
            return self._work(self._chunk)

    class LatePool(ThreadPoolExecutor):
        def submit(self, work: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
            return Late(work, *arguments)

    monkeypatch.setattr(piece_work, "ThreadPoolExecutor", LatePool)
    assert whole_digest(partial, made.manifest)
    partial.discard()


@pytest.mark.parametrize("count", [3, OPEN_FILES_COUNT_MAX + 1])
@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: os.truncate(path, 1)])
def test_what_somebody_deleted_or_cut_short_is_bad_and_can_be_written_again(
    count: int, spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    made = made_tree({f"{number:04}": PIECE // 2 for number in range(count)})
    partial = Partial.open(made.manifest, tmp_path / "dest")
    made.write(partial)
    partial.sync()
    partial.close()
    again = Partial.open(made.manifest, tmp_path / "dest")
    spoil(Path(again.root) / "0001")
    with contextlib.suppress(NotThereError):
        assert not whole_digest(again, made.manifest)
    pieces = range(made.manifest.piece_count)
    assert check_pieces(again, made.manifest, pieces) == [*pieces][1:]
    made.write(again, [0])
    assert whole_digest(again, made.manifest)
    assert Path(again.publish(), "0001").read_bytes() == made.piece(0)[PIECE // 2 :]
