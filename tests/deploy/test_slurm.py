"""The Slurm recipe, with a Slurm that runs the nodes of a job as directories of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.sandbox import COMMANDS
from tests.outside.commands import ROOT, Machine, Running, eventually

RECIPE = ROOT / "deploy" / "slurm" / "zswarm.sbatch"
NODES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
SIZE_BYTES = 3_000_000
SRUN = f"""#!{sys.executable}
import os, re, signal, subprocess, sys

start = sys.argv.index("bash")
options, command = sys.argv[1:start], sys.argv[start:]
given = dict(re.fullmatch("--([a-z-]+)=?(.*)", option).groups() for option in options)
known = dict.fromkeys(["nodes", "ntasks", "nodelist", "mem", "cpus-per-task", "kill-on-bad-exit", "wait", "label"])
assert given.keys() == known.keys(), given
nodes = given["nodelist"].split(",")
assert given["nodes"] == given["ntasks"] == str(len(nodes)), given
tasks = []
for node in nodes:
    place = os.environ["NODES"] + "/" + node
    env = {{**os.environ, "TMPDIR": place + "/tmp", "SLURMD_NODENAME": node}}
    tasks.append(subprocess.Popen(command, cwd=place, env=env))
signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in tasks])
sys.exit(max(task.wait() % 256 for task in tasks))
"""


class Cluster:
    """What a job sees of Slurm, and the disks of its nodes."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.place = machine.place
        for node in NODES:
            (self.place / node / "tmp").mkdir(parents=True)
        programs = {name: f'#!/bin/sh\nexec {sys.executable} -m {package} "$@"\n' for name, package in COMMANDS.items()}
        programs |= {"srun": SRUN, "scontrol": "#!/bin/sh\n" + "".join(f"echo {node}\n" for node in NODES)}
        commands = self.place / "bin"
        commands.mkdir()
        for name, text in programs.items():
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        self.content = os.urandom(SIZE_BYTES)
        (self.place / "model.bin").write_bytes(self.content)
        self.env = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "NODES": str(self.place),
            "TMPDIR": str(self.place / NODES[0] / "tmp"),
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "node[1-3]",
            "SLURMD_NODENAME": NODES[0],
        }

    def submit(self, *arguments: str | Path) -> Running:
        """The batch script, as Slurm runs it on the first node."""
        return self.machine.start_command(["bash", str(RECIPE), *map(str, arguments)], self.env)

    def has(self, node: str) -> bool:
        path = self.place / node / "scratch" / "model.bin"
        return path.exists() and path.read_bytes() == self.content

    def left_over(self) -> list[Path]:
        return [path for node in NODES for path in (self.place / node / "tmp").iterdir()]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    machine = Machine(tmp_path)
    yield Cluster(machine)
    machine.close()


def test_the_script_is_sound() -> None:
    assert subprocess.run(["bash", "-n", str(RECIPE)], check=False).returncode == 0
    checker = shutil.which("shellcheck", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert checker is not None, "pip install -r requirements-dev.txt"
    done = subprocess.run([checker, str(RECIPE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.process
def test_every_other_node_gets_a_copy_and_nothing_is_left(cluster: Cluster) -> None:
    job = cluster.submit("model.bin", "scratch")
    done = job.wait()
    assert done.code == 0, done.err
    assert [cluster.has(node) for node in NODES] == [False, True, True]
    assert done.out.count("model.bin") == len(NODES) - 1
    assert cluster.left_over() == []
    with pytest.raises(ProcessLookupError):
        os.killpg(job.process.pid, 0)


@pytest.mark.slow
@pytest.mark.process
def test_a_node_that_fails_makes_the_verdict_and_stops_no_other(cluster: Cluster) -> None:
    other = cluster.place / NODES[1] / "scratch" / "model.bin"
    other.parent.mkdir()
    other.write_bytes(b"something else")
    done = cluster.submit("model.bin", "scratch").wait()
    assert (done.code, f"error: {NODES[1]} has no copy (exit code 6)" in done.err) == (6, True), done.err
    assert cluster.has(NODES[2])
    assert other.read_bytes() == b"something else"
    assert cluster.left_over() == []


@pytest.mark.process
def test_what_cannot_begin_says_why(cluster: Cluster) -> None:
    missing = cluster.submit("no.such.file", "scratch").wait()
    assert (missing.code, "no.such.file" in missing.err) == (3, True), missing.err
    assert cluster.submit("model.bin").wait().code == 2
    assert cluster.left_over() == []


@pytest.mark.slow
@pytest.mark.process
def test_a_job_that_is_told_to_end_cleans_up(cluster: Cluster) -> None:
    (cluster.machine.config / "peer.yaml").write_text("upload_rate: 100 KiB/s\n")
    job = cluster.submit("model.bin", "scratch")
    eventually(lambda: len(cluster.left_over()) == len(NODES), "all have begun")
    eventually(lambda: list(cluster.place.glob("*/scratch/.model.bin.part")), "they fetch")
    job.process.terminate()
    done = job.wait()
    assert (done.code, "not every node has a copy" in done.err) == (143, True), done.err
    assert cluster.left_over() == []
    with pytest.raises(ProcessLookupError):
        os.killpg(job.process.pid, 0)
