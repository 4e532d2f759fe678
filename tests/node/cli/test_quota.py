"""`quota:` in the configuration of a real peer, beside another that shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.cli.test_process import Peer, running, tracker, until

__all__ = ["tracker"]
pytestmark = pytest.mark.process

MIB = 1024 * 1024


@pytest.mark.slow
def test_a_peer_keeps_to_its_quota_and_the_last_copy_stays(tmp_path: Path, tracker: str) -> None:
    alice, bob = Peer(tmp_path / "alice", tracker), Peer(tmp_path / "bob", tracker)
    for number, name in enumerate("abcd"):
        (alice.base / name).write_bytes(bytes([number]) * MIB)
    (alice.base / "large").write_bytes(b"x" * 3 * MIB)
    config, got = tmp_path / "bob.yaml", bob.base / "got"
    got.mkdir()
    (got / "mine").write_bytes(b"mine" * MIB)
    config.write_text(f"quota: 2560KiB\ndownload_dir: {got}\n")
    bob.options += ["--config", str(config)]

    def there() -> str:
        return "".join(sorted(path.name for path in got.iterdir() if path.name != "mine"))

    with running("node", *alice.options), running("node", *bob.options) as bobs:
        until(alice.is_up, "the first peer")
        until(bob.is_up, "the second")
        alice.run("share", "a", "b", "c", "d", "large")
        until(bob.knows_all, "a tracker that knows everybody")
        for name in "abc":
            bob.run("get", name)
        assert there() == "bc", "a was there for the longest"
        alice.run("remove", "b")
        bob.run("get", "d")
        assert there() == "bd", "b is nowhere else"
        quota = bob.json("status")["quota"]
        assert (quota["limit"], quota["used"]) == (2_560 * 1024, 2 * MIB)
        assert [text.split()[1] for text in quota["deleted"]] == [str(got / "a"), str(got / "c")]
        assert quota["kept"] == [f"{got / 'b'}: no other peer has all of it"]
        refused = bob.run("get", "large", code=6).stderr
        assert "the quota of 2.5 MiB has no room for 3.0 MiB: it is larger" in refused
        in_the_way = bob.base / "data" / "downloaded.new"
        in_the_way.mkdir()  # as on a full disk, nothing can be remembered
        assert (
            f"{got / 'd'} stays: cannot write {in_the_way.parent}/downloaded.json" in bob.run("get", "a", code=6).stderr
        )
        assert there() == "bd"
        in_the_way.rmdir()
        (got / "d").write_bytes(b"somebody's")
        assert f"{got / 'd'} stays: " in bob.run("get", "a", code=6).stderr
        assert (there(), (got / "d").read_bytes()) == ("bd", b"somebody's")
        assert (got / "mine").stat().st_size == 4 * MIB
        assert "quota      2." in bob.run("status").stdout
        bob.run("stop")
        assert bobs.stderr is not None
        assert f"deleted {got / 'a'} (1.0 MiB" in bobs.stderr.read()


@pytest.mark.slow
def test_a_get_that_runs_its_own_peer_makes_room_too(tmp_path: Path, tracker: str) -> None:
    alice, bob = Peer(tmp_path / "alice", tracker), Peer(tmp_path / "bob", tracker)
    for number, name in enumerate("ab"):
        (alice.base / name).write_bytes(bytes([number]) * MIB)
    config, got = tmp_path / "bob.yaml", bob.base / "got"
    config.write_text("quota: 1536KiB\n")
    bob.options += ["--config", str(config)]
    with running("node", *alice.options):
        until(alice.is_up, "the first peer")
        alice.run("share", "a", "b")
        until(alice.knows_all, "a tracker that knows everybody")
        for name in "ab":
            bob.run("get", name, "-o", str(got))
            assert [path.name for path in got.iterdir()] == [name]
