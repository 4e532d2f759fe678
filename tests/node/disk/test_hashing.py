"""Hashing of files and trees, what is refused, content that changes meanwhile, and the check of a copy."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from node.disk import hashing
from node.disk.errors import StoppedError
from node.disk.hashing import hash_content, hash_path, make_big_hash, make_seed, make_small_hashes, measure, verify_path
from node.disk.share_options import ShareOptions
from node.disk.stamps import take_stamps
from node.disk.tree_scan import UnstableContentError, scan
from protocol.errors import DiskError, NotFoundError, SeedError
from protocol.limits import MIB, PIECE_BYTES_MIN
from protocol.manifest import FileEntry, check_manifest, decode_manifest, encode_manifest
from protocol.seed_formats import Seed, parse_seed

PIECE = PIECE_BYTES_MIN


def pattern(length: int) -> bytes:
    """Bytes in which no two pieces are equal."""
    return b"".join(number.to_bytes(4, "big") for number in range(length // 4 + 1))[:length]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files around the bounds of pieces and blocks, empty ones, empty directories, names that sort unusually."""
    root = tmp_path / "tree"
    for path, length in {
        "a/b.txt": 5,
        "a.txt": PIECE,
        "a/empty": 0,
        "big": 2 * MIB + 7,
        "wie schön/日本": 3,
        "zero": 0,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(pattern(length))
    (root / "a/b.txt").chmod(0o755)
    (root / "hollow/inner").mkdir(parents=True)
    (root / "bare").mkdir()
    return root


def at_first_progress(action: Callable[[], object]) -> Callable[[int], None]:
    """A progress callback that does ``action`` once: something that happens while the content is hashed."""
    pending = [action]

    def progress(_done: int) -> None:
        if pending:
            pending.pop()()

    return progress


# --- what is hashed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, MIB, MIB + 1, 3 * MIB + 5])
def test_file_is_hashed_as_the_definition_says(tmp_path: Path, length: int) -> None:
    data = pattern(length)
    path = tmp_path / "data.bin"
    path.write_bytes(data)
    manifest = check_manifest(hash_path(path))
    pieces = [data[start : start + PIECE] for start in range(0, length, PIECE)]
    assert (manifest.length, manifest.files, manifest.empty_dirs) == (length, None, ())
    assert manifest.digest == f"blake3:{blake3(data).hexdigest()}"
    assert [manifest.piece_digest(index) for index in range(manifest.piece_count)] == [
        blake3(p).digest() for p in pieces
    ]


def test_tree_is_the_concatenation_of_its_sorted_files(tree: Path) -> None:
    manifest = check_manifest(hash_path(tree, "sha256"))
    order = ["a.txt", "a/b.txt", "a/empty", "big", "wie schön/日本", "zero"]
    content = b"".join((tree / path).read_bytes() for path in order)
    assert manifest.files == tuple(
        FileEntry(path, (tree / path).stat().st_size, executable=path == "a/b.txt") for path in order
    )
    assert manifest.empty_dirs == ("bare", "hollow/inner")
    assert manifest.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert manifest.pieces == b"".join(
        hashlib.sha256(content[start : start + PIECE]).digest() for start in range(0, len(content), PIECE)
    )
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_pieces_larger_than_a_block_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(pattern(MIB + 5))
    manifest = hash_path(path)
    monkeypatch.setattr(hashing, "BLOCK_BYTES", 1000)
    assert hash_path(path) == manifest


def test_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    manifest = check_manifest(hash_path(tmp_path / "empty"))
    assert (manifest.files, manifest.empty_dirs, manifest.length) == ((), (), 0)


def test_public_functions_agree(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(pattern(600_000))
    for algorithm in ("blake3", "sha256"):
        lines = ["data.bin", "600000", make_big_hash(path, algorithm), *make_small_hashes(str(path), algorithm)]
        assert make_seed(path, algorithm=algorithm).decode().split("\n") == lines
        assert parse_seed(make_seed(path, "msgpack", algorithm)) == Seed("data.bin", hash_path(path, algorithm))
    assert make_big_hash(path, "sha256") == hashlib.sha256(path.read_bytes()).hexdigest()


def test_progress_ends_at_the_length(tree: Path) -> None:
    seen: list[int] = []
    manifest = hash_path(tree, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == manifest.length == measure(tree)


def test_path_may_be_a_link_and_keeps_its_name(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    seed = parse_seed(make_seed(tmp_path / "link", "msgpack"))
    assert seed == Seed("link", hash_path(tree))


def test_links_and_special_files_inside_are_left_out_and_told(tree: Path) -> None:
    before = hash_path(tree)
    (tree / "link").symlink_to("/etc/passwd")
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "fifo")
    hashed = hash_content(tree, "blake3")
    assert hashed.manifest == before
    assert (hashed.skipped.links, hashed.skipped.special) == (2, 1)
    assert sorted(hashed.skipped.examples) == ["fifo", "link", "loop"]
    assert re.fullmatch(r"2 symbolic links and 1 special file \(\w+, \w+, \w+\)", hashed.skipped.described())


def test_stamps_and_fingerprint_are_of_what_was_hashed(tree: Path) -> None:
    hashed = hash_content(tree, "blake3")
    assert hashed.manifest == hash_path(tree)
    assert hashed.stamps == take_stamps(tree, hashed.manifest)
    assert hashed.fingerprint == scan(tree).fingerprint()


# --- what is refused -------------------------------------------------------------------------------------


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        hash_path(tmp_path / "absent")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DiskError, match="cannot read"):
        hash_path(tmp_path / "loop")


def test_special_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DiskError, match="neither a file nor a directory"):
        hash_path(tmp_path / "fifo")


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "nul", "dot.", os.fsdecode(b"latin\xe9")])
def test_names_that_others_could_not_store(tmp_path: Path, name: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / name).write_bytes(b"x")
    for path in (tree, tree / name):
        with pytest.raises(SeedError):
            hash_path(path)


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "A").write_bytes(b"x")
    with pytest.raises(SeedError, match="two spellings"):
        hash_path(tmp_path)


def test_all_names_that_others_could_not_store_are_told_or_said_in_the_manifest(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a:b", "q?", "<x>", "nul", "dot.", "fine"):
        (tree / name).write_bytes(name.encode())
    with pytest.raises(SeedError, match=r"^5 of 6 paths: .*'<x>'.*; and 2 more: .*--posix-names") as caught:
        hash_path(tree)
    assert str(caught.value).count("path '") == 3
    manifest = hash_content(tree, "blake3", options=ShareOptions(posix_names=True)).manifest
    assert manifest.posix_names
    assert decode_manifest(encode_manifest(manifest)) == manifest
    (tree / os.fsdecode(b"latin\xe9")).write_bytes(b"x")
    with pytest.raises(SeedError, match=r"^1 of 7 paths: .*not valid Unicode: no receiver"):
        hash_content(tree, "blake3", options=ShareOptions(posix_names=True))


def test_names_that_all_can_store_have_one_manifest_whatever_was_allowed(tree: Path) -> None:
    assert hash_content(tree, "blake3", options=ShareOptions(posix_names=True)).manifest == hash_path(tree)


def test_the_root_directory_has_no_name() -> None:
    with pytest.raises(SeedError, match="name '' is empty"):
        hash_path(Path("/"))


def test_text_format_and_directories_are_told_apart_before_hashing(tree: Path) -> None:
    with pytest.raises(SeedError, match="use msgpack"):
        make_seed(tree)
    with pytest.raises(SeedError, match="unknown seed format"):
        make_seed(tree, "torrent")
    with pytest.raises(SeedError, match="unknown hash algorithm"):
        make_seed(tree, "msgpack", "md5")


def test_disk_that_cannot_be_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int, _buffers: list[memoryview]) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    manifest = hash_path(tree / "big")
    monkeypatch.setattr("node.disk.concatenation.os.readv", fail)
    with pytest.raises(DiskError, match="big cannot be read: Input/output error") as caught:
        hash_path(tree / "big")
    assert not isinstance(caught.value, UnstableContentError)
    assert verify_path(tree / "big", manifest)[0].detail == "cannot be read: Input/output error"


def test_stopping(tree: Path) -> None:
    with pytest.raises(StoppedError):
        hash_path(tree, cancelled=lambda: True)


# --- what changes meanwhile ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: (tree / "a.txt").write_bytes(b"other"), id="rewritten"),
        pytest.param(lambda tree: os.utime(tree / "a.txt", ns=(1, 1)), id="written to in place"),
        pytest.param(lambda tree: (tree / "zero").write_bytes(b"x"), id="grown later in the order"),
        pytest.param(lambda tree: os.truncate(tree / "big", 2 * MIB), id="cut while it is read"),
        pytest.param(lambda tree: os.truncate(tree / "big", 1), id="cut below what was read"),
        pytest.param(lambda tree: (tree / "wie schön/日本").unlink(), id="deleted"),
        pytest.param(lambda tree: (tree / "new").write_bytes(b""), id="added"),
        pytest.param(lambda tree: (tree / "new dir").mkdir(), id="directory added"),
        pytest.param(lambda tree: (tree / "bare").rmdir(), id="directory removed"),
        pytest.param(lambda tree: (tree / "zero").chmod(0o755), id="made executable"),
        pytest.param(lambda tree: (tree / "zero").rename(tree / "null"), id="renamed"),
    ],
)
def test_a_change_while_hashing_is_noticed(tree: Path, change: Callable[[Path], object]) -> None:
    with pytest.raises(UnstableContentError, match=r"changed|while it was hashed"):
        hash_path(tree, progress=at_first_progress(lambda: change(tree)))


def test_replaced_by_a_fifo_while_hashing(tree: Path) -> None:
    def replace() -> None:
        (tree / "wie schön/日本").unlink()
        os.mkfifo(tree / "wie schön/日本")

    with pytest.raises(UnstableContentError, match="not a regular file while it was hashed"):
        hash_path(tree, progress=at_first_progress(replace))


def test_changed_file_is_named(tree: Path) -> None:
    with pytest.raises(UnstableContentError, match=r"a\.txt changed while it was hashed"):
        hash_path(tree, progress=at_first_progress(lambda: os.utime(tree / "a.txt", ns=(1, 1))))


# --- the check of a copy ---------------------------------------------------------------------------------


def test_right_copies(tree: Path) -> None:
    seen: list[int] = []
    manifest = hash_path(tree)
    (tree / "more").write_bytes(b"not in the manifest")
    assert verify_path(tree, manifest, seen.append) == []
    assert seen[-1] == manifest.length
    assert verify_path(tree / "big", hash_path(tree / "big")) == []
    assert verify_path(tree / "zero", hash_path(tree / "zero")) == []


def problems_after(tree: Path, change: Callable[[], object]) -> list[str]:
    manifest = hash_path(tree)
    change()
    return [str(problem) for problem in verify_path(tree, manifest)]


def test_bad_bytes_are_placed(tree: Path) -> None:
    def spoil() -> None:
        with (tree / "big").open("r+b") as file:
            file.seek(PIECE)
            file.write(b"spoiled")

    assert problems_after(tree, spoil) == ["big differs in piece 2 (bytes 131072 to 196608)"]


def test_all_files_of_a_bad_piece_are_named(tmp_path: Path) -> None:
    """Which of them is wrong nobody can tell."""
    for name in "abcde":
        (tmp_path / name).write_bytes(name.encode() * 10)
    (tmp_path / "c").write_bytes(b"")
    assert problems_after(tmp_path, lambda: (tmp_path / "b").write_bytes(b"x" * 10)) == [
        "a, b or 2 more differs in piece 0 (bytes 0 to 40)"
    ]
    (tmp_path / "d").unlink()
    assert problems_after(tmp_path, lambda: (tmp_path / "b").write_bytes(b"y" * 10)) == [
        "a, b or e differs in piece 0 (bytes 0 to 30)"
    ]


def test_missing_file_leaves_the_others_in_place(tree: Path) -> None:
    assert problems_after(tree, (tree / "wie schön/日本").unlink) == ["wie schön/日本 is missing"]
    assert problems_after(tree, (tree / "zero").unlink) == ["zero is missing"]


def test_missing_file_and_its_pieces(tree: Path) -> None:
    first = "a.txt differs in piece 0 (bytes 0 to 65536)"
    assert problems_after(tree, (tree / "a.txt").unlink) == ["a.txt is missing", first]


def test_wrong_lengths(tree: Path) -> None:
    assert problems_after(tree, lambda: (tree / "zero").write_bytes(b"x")) == ["zero has 1 bytes, not 0"]
    shorter = problems_after(tree, lambda: os.truncate(tree / "big", 2 * MIB))
    assert shorter[0] == f"big has {2 * MIB} bytes, not {2 * MIB + 7}"
    assert [problem[:20] for problem in shorter[1:]] == ["big differs in piece"]


def test_missing_directory_and_wrong_kinds(tree: Path) -> None:
    def change() -> None:
        (tree / "bare").rmdir()
        (tree / "zero").unlink()
        (tree / "zero").mkdir()

    assert problems_after(tree, change) == ["bare is missing (an empty directory)", "zero is not a regular file"]


def test_file_for_a_tree_and_tree_for_a_file(tree: Path) -> None:
    assert verify_path(tree, hash_path(tree / "big"))[0].detail == "is not a regular file"
    whole = hash_path(tree)
    problems = verify_path(tree / "big", whole)
    assert len([problem for problem in problems if problem.piece is None]) == len(whole.files or ()) + 2


def test_nothing_to_check(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        verify_path(tmp_path / "absent", hash_path(tree))


def test_seed_that_contradicts_itself(tree: Path) -> None:
    data = make_seed(tree / "big").decode().split("\n")
    data[2] = "blake3:" + "0" * 64
    problems = verify_path(tree / "big", parse_seed("\n".join(data).encode()).manifest)
    assert ["the seed contradicts itself" in str(problem) for problem in problems] == [True]
