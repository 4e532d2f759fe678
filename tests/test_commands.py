"""What pyproject.toml says of an installation: its commands, started as it starts them; its version; what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from protocol.limits import PROTOCOL_VERSION
from service.command_line import VERSION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = {"zswarm": "node", "zswarm-tracker": "broker"}
"""By name, the package that ``python -m`` runs instead."""


def run(*command: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=30)


def installed(command: str) -> list[str]:
    """The command line of ``command`` without an installation: what the script that pip makes does."""
    module, _, function = PROJECT["project"]["scripts"][command].partition(":")
    return [sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())"]


def test_there_are_two_commands() -> None:
    assert PROJECT["project"]["scripts"].keys() == COMMANDS.keys()


@pytest.mark.parametrize(("command", "package"), COMMANDS.items())
def test_help_and_hints_name_the_program_as_it_was_started(command: str, package: str, tmp_path: Path) -> None:
    module = f"python -m {package}"
    by_name = run(*installed(command), "--help", cwd=tmp_path)
    by_module = run(sys.executable, "-m", package, "--help", cwd=tmp_path)
    assert by_name.stdout.startswith(f"Usage: {command} [OPTIONS]")
    assert f"\n  {command} --config {'peer' if package == 'node' else 'tracker'}.yaml\n" in by_name.stdout
    assert by_module.stdout.startswith(f"Usage: {module} [OPTIONS]")
    assert by_module.stdout.count(module) == by_name.stdout.count(f" {command} ")
    assert "python" not in by_name.stdout
    wrong = run(*installed(command), "--nonsense", cwd=tmp_path)
    assert (wrong.returncode, f"see '{command} --help'" in wrong.stderr) == (2, True)


def test_the_hint_to_start_a_peer_is_one_that_works_here(tmp_path: Path) -> None:
    for started, program in ((installed("zswarm"), "zswarm"), ([sys.executable, "-m", "node"], "python -m node")):
        for command in ("status", "list"):
            ended = run(*started, "--data-dir", str(tmp_path / "a b"), command, cwd=tmp_path)
            assert ended.returncode == 4
            assert ended.stderr.endswith(f"; start one with: {program} --data-dir '{tmp_path}/a b'\n")


@pytest.mark.parametrize(("command", "package"), COMMANDS.items())
def test_the_version_is_that_of_the_changelog(command: str, package: str, tmp_path: Path) -> None:
    said = f"{command} {VERSION} (protocol {PROTOCOL_VERSION})\n"
    assert run(*installed(command), "--version", cwd=tmp_path).stdout == said
    assert run(sys.executable, "-m", package, "--version", cwd=tmp_path).stdout == said
    newest = re.search(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == VERSION


def test_the_version_has_one_home() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "service.command_line.VERSION"}


@pytest.mark.parametrize("name", ["pyproject.toml", *sorted(path.name for path in ROOT.glob("requirements*.txt"))])
def test_every_dependency_has_a_lower_bound_and_stays_below_a_later_major_version(name: str) -> None:
    if name == "pyproject.toml":
        wanted = PROJECT["build-system"]["requires"]
        assert not {"dependencies", "optional-dependencies"} & PROJECT["project"].keys(), "they are in the other files"
        assert "dependency-groups" not in PROJECT
    else:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        wanted = [line for line in lines if not line.startswith(("#", "-r "))]
    assert wanted
    assert [line for line in wanted if not re.fullmatch(r"[\w-]+>=[\d.]+,<[\d.]+", line)] == []


@pytest.mark.parametrize("script", ["run", "installed"])
def test_ci_checks_the_dependencies_once_all_are_installed(script: str) -> None:
    lines = (ROOT / ".ci" / script).read_text(encoding="utf-8").splitlines()
    *_, last = (number for number, line in enumerate(lines) if "pip install " in line)
    assert [line for line in lines[last:] if line.endswith(" -m pip check")]


def completed(words: str, cwd: Path, shell: str = "bash") -> list[str]:
    """What the shell is told when Tab is pressed after ``words``: kind and text of each completion."""
    command = words.split()[0]
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    env = asked | {f"_{command}_COMPLETE".upper().replace("-", "_"): f"{shell}_complete"}
    done = run(*installed(command), cwd=cwd, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_told_how_to_complete_it(command: str, shell: str, tmp_path: Path) -> None:
    variable = f"_{command}_COMPLETE".upper().replace("-", "_")
    done = run(*installed(command), cwd=tmp_path, env={variable: f"{shell}_source"})
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{variable}={shell}_complete" in done.stdout
    line = f"{variable}={shell}_source"
    assert command == "zswarm-tracker" or line in (ROOT / "README.md").read_text(encoding="utf-8")


def test_commands_options_and_files_are_completed(tmp_path: Path) -> None:
    assert completed("zswarm st", tmp_path) == ["plain,status", "plain,stop"]
    assert completed("zswarm share --link", tmp_path) == ["plain,--link-root"]
    assert completed("zswarm seed x --hash ", tmp_path) == ["plain,blake3", "plain,sha256"]
    for words in ("zswarm share mo", "zswarm get mo", "zswarm verify a mo", "zswarm remove mo", "zswarm --config mo"):
        assert completed(words, tmp_path) == ["file,mo"], words
    for words in ("zswarm get x -o mo", "zswarm --data-dir mo", "zswarm share --link-root mo"):
        assert completed(words, tmp_path) == ["dir,mo"], words
    assert completed("zswarm-tracker --config mo", tmp_path) == ["file,mo"]


def test_an_unknown_shell_is_refused(tmp_path: Path) -> None:
    done = run(*installed("zswarm"), cwd=tmp_path, env={"_ZSWARM_COMPLETE": "csh_source"})
    assert (done.returncode, "_ZSWARM_COMPLETE" in done.stderr, done.stdout) == (2, True, "")
