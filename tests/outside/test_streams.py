"""Standard streams as scripts hand them over: missing, full, closed, or for ASCII only."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys

import pytest

from tests.outside.commands import Machine, Result, eventually

NAME = "模型.bin"
ASCII = {"PYTHONIOENCODING": "ascii"}
NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""As in a locale of another encoding, of which this machine may have none."""


def shell(machine: Machine, arguments: str, redirected: str, environment: str = "") -> Result:
    """A command of a peer, as a shell runs it whose redirections are ``redirected``."""
    command = shlex.join(machine.peer(*arguments.split()))
    return machine.run(["sh", "-c", f"{environment} {command} {redirected}"])


def one_line(result: Result, code: int) -> bool:
    return (result.code, result.out, result.err.count("\n"), result.err[:7]) == (code, "", 1, "error: ")


@pytest.mark.slow
def test_results_and_messages_have_streams_of_their_own(network: Machine) -> None:
    (network.place / NAME).write_bytes(b"x" * 100_000)
    share = network.start("share", NAME, "--data-dir", "s")
    eventually(lambda: "zswarm://" in share.out, "a link")

    listed = network.z("--data-dir", "s", "list", env=ASCII)
    assert listed.code == 0
    assert "\\u6a21\\u578b.bin" in listed.out
    assert network.z("--data-dir", "s", "list", "--json", env=ASCII).json["entries"][0]["name"] == NAME

    listed = network.z("--data-dir", "s", "list", NAME, env=NO_UTF8)
    assert (listed.code, "\\u6a21\\u578b.bin" in listed.out) == (0, True)

    silent = shell(network, f"get {NAME} -o o --data-dir g", "2>&-", "PYTHONIOENCODING=ascii")
    assert (silent.code, silent.out.count("\n")) == (0, 1)
    assert "\\u6a21\\u578b.bin" in silent.out
    assert (network.place / "o" / NAME).exists()
    assert shell(network, f"get {NAME} -o none --data-dir g", "<&- >&- 2>&-") == Result(0, "", "")
    assert (network.place / "none" / NAME).exists()

    assert one_line(shell(network, "status --data-dir s", ">/dev/full"), 6)
    assert one_line(shell(network, "list --json --data-dir s", ">/dev/full"), 6)
    assert shell(network, "list --data-dir s", "| true").code == 0


def test_a_command_whose_terminal_is_closed_ends_its_peer_in_order(network: Machine) -> None:
    (network.place / "m.bin").write_bytes(b"x" * 100_000)
    share = network.start("share", "m.bin", "--data-dir", "s")
    eventually(lambda: "zswarm://" in share.out, "a link")
    sockets = (network.place / "s" / "sockets").readlink()
    assert sockets.exists()
    os.killpg(share.process.pid, signal.SIGHUP)  # all processes get it
    assert share.wait().code == 0, share.err
    assert not sockets.exists()


@pytest.mark.parametrize("program", ["node", "broker"])
def test_help_that_cannot_be_written_is_an_error(machine: Machine, program: str) -> None:
    command = shlex.join([sys.executable, "-m", program, "--help"])
    assert one_line(machine.run(["sh", "-c", f"{command} >/dev/full"]), 6)
    assert machine.run(["sh", "-c", f"{command} >&-"]) == Result(0, "", "")


def test_a_directory_that_is_no_utf8(machine: Machine) -> None:
    place = machine.place / "d\udcff"
    place.mkdir()
    (place / "f").write_bytes(b"content")
    command = shlex.join([sys.executable, "-m", "node"])
    done = machine.run(["sh", "-c", f"cd d* && {command} seed f && {command} verify f f.seed --json"])
    assert done.code == 0, done.err
    assert "d\\udcff/f.seed" in done.out
    assert json.loads(done.out.splitlines()[-1])["path"] == str(place / "f")


def test_a_ctrl_c_while_it_is_loaded_ends_a_command_without_a_word(machine: Machine) -> None:
    (machine.place / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "node", "list"]
    path = os.pathsep.join([str(machine.place), machine.env["PYTHONPATH"]])
    assert machine.run(command, env={"PYTHONPATH": path}) == Result(-signal.SIGINT, "", "")
