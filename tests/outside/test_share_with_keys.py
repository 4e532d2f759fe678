"""``share`` without a tracker on a machine that has a network's keys: the tracker that it runs lets in only members. In
network namespaces, because the default ports are taken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside.commands import Machine, Running, eventually
from tests.outside.namespaces import Network, network_of

CONTENT = b"confidential" * 100_000
TRY_SECONDS = "1500ms"


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Network]:
    """Two machines, of which the first has keys."""
    with network_of(tmp_path, 2) as network:
        here = network.machines[0]
        (here.place / "m.bin").write_bytes(CONTENT)
        assert here.z("keys", "init", "--quiet").code == 0
        yield network


def sharing(machine: Machine) -> Running:
    """A share that serves."""
    share = machine.start("share", "m.bin")

    def serves() -> bool:
        assert share.process.poll() is None, share.err
        return share.out.endswith("\n")

    eventually(serves, "a link")
    return share


def test_who_has_no_invite_gets_nothing_and_who_has_one_does(lan: Network) -> None:
    here, there = lan.machines
    share = sharing(here)
    keys, link = here.config / "keys", share.out.strip()
    assert f"this command runs one, on port 5550, with the keys in {keys}, until it ends" in share.err
    assert "it has no keys" not in share.err
    stranger = there.z("get", link, "-o", "o", "--timeout", TRY_SECONDS)
    assert (stranger.code, "ask for an invite" in stranger.err) == (4, True), stranger.err
    command = f"keys invite --tracker tcp://{lan.ipv4(0)}:5550"
    assert f"'python -m node {command}'" in share.err
    invite = here.z(*command.split(), "--quiet").out.strip()
    got = there.z("--invite", invite, "get", link, "-o", "o")
    assert (got.code, (there.place / "o/m.bin").read_bytes() == CONTENT) == (0, True), got.err
    assert share.interrupt().code == 0


@pytest.mark.parametrize("trouble", ["no secret", "open to others", "revoked"])
def test_where_it_cannot_use_the_keys_it_does_not_share_without(lan: Network, trouble: str) -> None:
    here, _ = lan.machines
    keys = here.config / "keys"
    if trouble == "no secret":
        (keys / "tracker.secret").unlink()
        said = "tracker.secret: does not exist"
    elif trouble == "open to others":
        keys.chmod(0o755)
        said = "chmod 700"
    else:
        key = here.z("keys", "show").out.strip()
        assert here.z("keys", "authorize", key).code == here.z("keys", "revoke", key).code == 0
        said = "this peer's key was revoked"
    refused = here.z("share", "m.bin")
    assert (refused.code, refused.out, said in refused.err) == (2, "", True), refused.err
    assert ("ZSWARM_KEYS=none" in refused.err) is (trouble != "revoked")


@pytest.mark.slow
def test_the_configuration_of_the_tracker_says_which_keys_it_has(lan: Network) -> None:
    here, _ = lan.machines
    shutil.move(here.config / "keys", here.place / "elsewhere")
    (here.config / "tracker.yaml").write_text(f"mdns: false\nkeys: {here.place / 'elsewhere'}\n")
    share = sharing(here)
    assert f"with the keys in {here.place / 'elsewhere'}" in share.err
    share.interrupt()
    (here.config / "tracker.yaml").write_text("mdns: false\nkeys: none\n")
    share = sharing(here)
    assert "it has no keys" in share.err


@pytest.mark.slow
def test_a_second_peer_of_the_same_user_is_let_in_by_the_keys(lan: Network) -> None:
    here, _ = lan.machines
    sharing(here)
    (here.place / "n.bin").write_bytes(b"n")
    second = here.start("--data-dir", "second", "share", "n.bin")
    eventually(lambda: second.out.endswith("\n") or second.process.poll() is not None, "a link")
    assert second.process.poll() is None, second.err
    assert f"using the tracker at tcp://127.0.0.1:5550, with the keys in {here.config / 'keys'}" in second.err
    assert f"keys invite --tracker tcp://{lan.ipv4(0)}:5550" in second.err
    got = here.z("--data-dir", "third", "get", "m.bin", "n.bin", "-o", "o")
    assert (got.code, (here.place / "o/m.bin").read_bytes() == CONTENT) == (0, True), got.err
    refused = here.z("--data-dir", "fourth", "get", "m.bin", "--timeout", TRY_SECONDS, env={"ZSWARM_KEYS": "none"})
    assert (refused.code, "ask for an invite" in refused.err) == (4, True), refused.err
    key = here.z("--data-dir", "third", "keys", "show").out.strip()
    assert here.z("keys", "revoke", key).code == 0
    refused = here.z("--data-dir", "third", "get", "n.bin", "-o", "p")
    assert (refused.code, "this peer's key was revoked" in refused.err) == (2, True), refused.err


@pytest.mark.slow
def test_a_peer_that_cannot_use_the_keys_says_so_and_needs_an_invite(lan: Network) -> None:
    here, _ = lan.machines
    sharing(here)
    (here.config / "keys").chmod(0o755)
    refused = here.z("--data-dir", "second", "get", "m.bin", "--timeout", TRY_SECONDS)
    assert refused.code == 4
    assert f"this peer cannot use the keys here: {here.config / 'keys'}" in refused.err
    assert "chmod 700" in refused.err
    assert "ask for an invite" in refused.err


@pytest.mark.slow
def test_a_peer_that_is_there_before_the_tracker_is_let_in_too(lan: Network) -> None:
    here, _ = lan.machines
    get = here.start("--data-dir", "second", "get", "m.bin", "-o", "o")
    eventually(lambda: "still trying there" in get.err, "it waits")
    sharing(here)
    assert get.wait().code == 0, get.err


def test_what_is_meant_for_a_network_with_keys_is_not_shared_without(lan: Network) -> None:
    here, _ = lan.machines
    here.start_tracker("--keys", "none", listen="tcp://*:5550")
    plain, here.tracker = here.tracker, ""
    refused = here.z("share", "m.bin")
    assert (refused.code, refused.out) == (2, ""), refused.err
    assert f"tcp://127.0.0.1:5550 has no keys, but there are keys in {here.config / 'keys'}" in refused.err
    assert "ZSWARM_KEYS=none" in refused.err
    peer = here.z("--data-dir", "p", "get", "m.bin", "--timeout", TRY_SECONDS)  # a share there would go where it is
    assert (peer.code, peer.err) == (2, refused.err)
    share = here.start("share", "m.bin", env={"ZSWARM_KEYS": "none"})
    eventually(lambda: share.out.endswith("\n"), "a link")
    here.tracker = plain
    share = here.start("--data-dir", "second", "share", "m.bin")
    eventually(lambda: share.out.endswith("\n"), "a link")
