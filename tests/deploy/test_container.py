"""The Containerfile: it copies what an installation is built of, and what it starts works as process 1."""

from __future__ import annotations

import contextlib
import re
import tomllib
from pathlib import Path

import pytest

from tests.deploy.sandbox import BIN, COMMANDS, Sandbox, needs_sandbox
from tests.outside.commands import ROOT, eventually

CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENVIRONMENT = dict(
    word.split("=", 1)
    for line in re.findall(r"^ENV (.*)$", CONTAINERFILE, re.MULTILINE)
    for word in line.replace("$PATH", "/usr/bin:/bin").split()
)
"""Of what the image runs."""
VOLUME = re.findall(r"^VOLUME (.*)$", CONTAINERFILE, re.MULTILINE)[0]


def test_everything_that_a_wheel_is_built_of_is_copied() -> None:
    copied = {
        path for line in re.findall(r"^COPY (?!--)(.*) \S+$", CONTAINERFILE, re.MULTILINE) for path in line.split()
    }
    assert [path for path in copied if not (ROOT / path).exists()] == []
    tools = PROJECT["tool"]["setuptools"]
    needed = {"pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    needed |= set(tools["dynamic"]["dependencies"]["file"])
    needed |= {path.partition("/")[0] for paths in tools["data-files"].values() for path in paths}
    needed |= {package.rstrip("*") for package in tools["packages"]["find"]["include"]}
    assert copied == needed


def test_it_is_not_root_and_runs_the_commands_of_the_project() -> None:
    assert re.findall(r"^USER (\d+):(\d+)$", CONTAINERFILE, re.MULTILINE) == [("10001", "10001")]
    assert ENVIRONMENT["PATH"].split(":")[0] == BIN
    (command,) = re.findall(r'^CMD \["([\w-]+)"\]$', CONTAINERFILE, re.MULTILINE)
    assert command in PROJECT["project"]["scripts"]


@pytest.mark.process
@needs_sandbox
def test_both_commands_work_as_process_1_of_a_container(tmp_path: Path) -> None:
    with contextlib.closing(Sandbox(tmp_path, [VOLUME, "/var/tmp"], {})) as sandbox:
        in_container = [sandbox.process_1([command], ENVIRONMENT) for command in COMMANDS]
        with in_container[0] as peer, in_container[1] as tracker:
            sandbox.joined(ENVIRONMENT)
        assert (tracker.wait().code, peer.wait().code) == (0, 0), peer.err
        assert sandbox.run(["ls", "/var/tmp"], {}).out == ""


@pytest.mark.process
@needs_sandbox
def test_a_command_that_is_process_1_ends_by_sigterm(tmp_path: Path) -> None:
    with contextlib.closing(Sandbox(tmp_path, [VOLUME], {})) as sandbox:
        assert sandbox.run(["truncate", "--size=100G", f"{VOLUME}/big"], {}).code == 0
        with sandbox.process_1(["zswarm", "seed", f"{VOLUME}/big", "-o", f"{VOLUME}/seed"], ENVIRONMENT) as seed:
            eventually(lambda: "hashing" in seed.err, "it hashes")
        assert (seed.wait().code, "interrupted" in seed.err) == (130, True)
