"""Trees of every kind: what is left out is told, what was asked for arrives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.outside.commands import Machine, Running, eventually

DEEP = 1_500


def linked(share: Running) -> str:
    return str(eventually(lambda: [line for line in share.out.splitlines() if "zswarm://" in line], "a link")[0])


def tree_at(root: Path) -> dict[str, str]:
    """Regular files below ``root`` with what they hold; nothing else may be there."""
    found = {}
    for path in root.rglob("*"):
        assert not path.is_symlink()
        if not path.is_dir():
            found[str(path.relative_to(root))] = path.read_text()
    return found


@pytest.mark.slow
def test_what_a_tree_leaves_out_is_told(network: Machine) -> None:
    tree = network.place / "t"
    (tree / "sub").mkdir(parents=True)
    (tree / "a").write_text("a")
    for name in ("l1", "l2", "l3", "sub/l4"):
        (tree / name).symlink_to("/etc/hostname")
    os.mkfifo(tree / "sub/pipe")
    share = network.start("share", "t", "--json", "--data-dir", "s")
    eventually(lambda: share.out, "a result")
    (result,) = share.interrupt().json["results"]
    assert (result["skipped"]["links"], result["skipped"]["special"]) == (4, 1)
    assert len(result["skipped"]["examples"]) == 3
    assert "left out: 4 symbolic links and 1 special file (" in share.err
    assert "--follow-links" in share.err
    seed = network.z("seed", "t", "--json")
    assert seed.json["skipped"]["links"] == 4
    assert "left out: 4 symbolic links and 1 special file (" in seed.err


@pytest.mark.slow
def test_a_cache_of_links_is_shared_as_what_they_lead_to_after_a_restart_too(network: Machine) -> None:
    model = network.place / "models--x"
    (model / "blobs").mkdir(parents=True)
    (model / "snapshots/REV").mkdir(parents=True)
    for name in ("config", "weights"):
        (model / "blobs" / f"hash-{name}").write_text(f"the {name}")
        (model / "snapshots/REV" / name).symlink_to(f"../../blobs/hash-{name}")
    refused = network.z("share", "models--x/snapshots/REV", "--data-dir", "s")
    assert refused.code == 2
    assert "2 symbolic links" in refused.err
    assert "--follow-links" in refused.err
    still = network.z("share", "models--x/snapshots/REV", "--follow-links", "--data-dir", "s")
    assert still.code == 2
    assert "--link-root" in still.err
    share = network.start("share", "models--x/snapshots/REV", "--link-root", "models--x", "--data-dir", "s")
    link = linked(share)
    share.interrupt()
    network.start_peer("s")
    got = network.z("get", link, "-o", "o", "--data-dir", "g", "--timeout", "20s")
    assert got.code == 0, got.err
    assert tree_at(network.place / "o/REV") == {"config": "the config", "weights": "the weights"}


@pytest.mark.slow
def test_names_that_only_posix_systems_can_store_are_told_and_shared_on_request(network: Machine) -> None:
    tree = network.place / "t"
    tree.mkdir()
    files = {name: name for name in ("a:b", "q?", "<x>", "nul", "dot.", "new\nline", "fine", "Fine")}
    for name, text in files.items():
        (tree / name).write_text(text)
    refused = network.z("share", "t", "--data-dir", "s")
    assert refused.code == 2
    assert "7 of 8 paths" in refused.err
    assert "and 4 more" in refused.err
    assert "--posix-names" in refused.err
    share = network.start("share", "t", "--posix-names", "--data-dir", "s")
    got = network.z("get", linked(share), "-o", "o", "--data-dir", "g")
    assert got.code == 0, got.err
    assert tree_at(network.place / "o/t") == files


@pytest.mark.slow
def test_a_deep_tree_arrives(network: Machine) -> None:
    deep = network.place / "deep"
    deep.mkdir()
    fd = os.open(deep, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    share = network.start("share", "deep", "--data-dir", "s")
    try:
        got = network.z("get", linked(share), "-o", "o", "--data-dir", "g")
        assert got.code == 0, got.err
        assert network.run(["find", "o/deep", "-name", "f", "-printf", "%d"]).out == str(DEEP + 1)
    finally:
        network.run(["rm", "-rf", "deep", "o"])  # pytest could not


@pytest.mark.slow
def test_a_sparse_file_stays_sparse(network: Machine) -> None:
    source, copy = network.place / "sparse.img", network.place / "o/sparse.img"
    with source.open("wb") as file:
        file.truncate(16 << 20)
        for place in (0, 3 << 20, 12 << 20):
            file.seek(place)
            file.write(os.urandom(3 * 32_768))
    share = network.start("share", "sparse.img", "--data-dir", "s")
    got = network.z("get", linked(share), "-o", "o", "--data-dir", "g")
    assert got.code == 0, got.err
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_blocks <= source.stat().st_blocks + 3 * 16


@pytest.mark.slow
def test_a_tree_of_more_files_than_can_be_open_arrives(network: Machine) -> None:
    tree = network.place / "t"
    tree.mkdir()
    files = {str(number): str(number) * 100_000 for number in range(100)}
    for name, text in files.items():
        (tree / name).write_text(text)
    share = network.start("share", "t", "--data-dir", "s")
    command = network.peer("get", linked(share), "-o", "o", "--data-dir", "g")
    got = network.run(["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *command])
    assert got.code == 0, got.err
    assert tree_at(network.place / "o/t") == files
