"""Where a peer keeps its things: homes that are missing, shared by machines, copied; directories that are none."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from tests.outside.commands import Machine, Result


def refused(result: Result, *words: str) -> bool:
    lines = result.err.splitlines()
    return result.code == 2 and len(lines) == 1 and all(word in lines[0] for word in words)


def test_directories_that_are_none_are_refused_in_one_line(machine: Machine) -> None:
    (machine.place / "file").touch()
    (machine.place / "loop").symlink_to("loop")
    for place in ("file", "file/below", "loop", "~nobody-of-this-name/x"):
        assert refused(machine.z("--data-dir", place, "list"), place, ""), place
    assert refused(machine.z("--data-dir", "", "list"), "--data-dir", "empty")


def test_settings_come_from_the_option_the_environment_or_the_user_s_file(machine: Machine) -> None:
    (machine.config / "peer.yaml").write_text(f"data_dir: {machine.place}/by-file\n")
    by_environment = {"ZSWARM_DATA_DIR": f"{machine.place}/by-environment"}
    assert "by-file;" in machine.z("list").err
    assert "by-environment;" in machine.z("list", env=by_environment).err
    assert "by-option;" in machine.z("list", "--data-dir", "by-option", env=by_environment).err
    assert refused(machine.z("list", env={"ZSWARM_TRACKER": "here"}), "ZSWARM_TRACKER", "'here'")
    (machine.config / "peer.yaml").write_text("data_dri: x\n")
    assert refused(machine.z("list"), f"{machine.config}/peer.yaml", "`data_dir`")
    (machine.config / "tracker.yaml").write_text("lookups: 0\n")
    assert refused(machine.run([sys.executable, "-m", "broker"]), f"{machine.config}/tracker.yaml", "`lookups`")


def test_a_user_without_a_home_is_told_the_way_out(machine: Machine) -> None:
    (machine.place / "files").write_text("passwd: files\n")  # which know nobody
    mounts = "mount --bind /dev/null /etc/passwd && mount --bind files /etc/nsswitch.conf"
    unknown = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    if machine.run([*unknown, "true"]).code:
        pytest.skip("no namespaces can be made here")
    assert refused(machine.run([*unknown, "env", "-u", "HOME", *machine.peer("list")]), "set HOME", "--data-dir")


@pytest.mark.slow
def test_a_peer_is_found_only_where_it_runs(network: Machine) -> None:
    network.start_peer("b")
    shutil.copytree(network.place / "b", network.place / "c", symlinks=True)
    assert network.z("stop", "--data-dir", "c").code == 4
    assert network.status("b")["network"] == "joined"
    (network.place / "b").rename(network.place / "moved")
    assert network.status("moved")["network"] == "joined"


@pytest.mark.slow
def test_two_hosts_with_one_home(network: Machine) -> None:
    def on_host(name: str, command: list[str]) -> list[str]:
        mounts = 'mount -t proc proc /proc && mount -t tmpfs tmpfs "$XDG_RUNTIME_DIR"'
        script = f'hostname {name} && {mounts} && exec "$@"'
        return ["unshare", "--uts", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c", script, "sh", *command]

    if network.run(on_host("lab9", ["true"])).code:
        pytest.skip("no namespaces can be made here")
    network.start_peer("s")
    away = network.run(on_host("lab9", network.peer("--data-dir", "s", "get", "x")), timeout=10)
    assert refused(away, f"in use by a peer on host {os.uname().nodename} (pid ", " there)", "--data-dir")
    ours, theirs = network.z("list"), network.run(on_host("lab9", network.peer("list")))
    assert f".local/share/zswarm/{os.uname().nodename}" in ours.err
    assert ".local/share/zswarm/lab9" in theirs.err
