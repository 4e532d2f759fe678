"""The systemd units: systemd understands them, they give little away, and what they start works with what they give."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.config import load_config
from node.client.session import Options
from tests.deploy.sandbox import BIN, Sandbox, needs_sandbox
from tests.outside.commands import ROOT

UNITS = ROOT / "deploy" / "systemd"
SERVICES = ("zswarm-tracker", "zswarm-peer")
EXPOSURE_MAX = 20
"""In tenths, of 100: 1.4 and 1.6 were measured with systemd 252."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (systemd)")


def values(service: str, key: str) -> list[str]:
    """What the unit of ``service`` says of ``key``, in order, with %t as what systemd makes of it."""
    lines = (UNITS / f"{service}.service").read_text().splitlines()
    return [line.partition("=")[2].replace("%t", "/run") for line in lines if line.startswith(f"{key}=")]


def analyze(*arguments: str | Path) -> None:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}{done.stderr}"


@needs_systemd
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for service in SERVICES:
        unit = (UNITS / f"{service}.service").read_text()
        assert BIN in unit
        (tmp_path / f"{service}.service").write_text(
            unit.replace(f"{BIN}/{service.removesuffix('-peer')}", "/bin/true")
        )
    drop_ins = tmp_path / "zswarm-peer.service.d"
    drop_ins.mkdir()
    shutil.copy(UNITS / "directories.conf", drop_ins)
    analyze("verify", "--man=no", *tmp_path.glob("*.service"))


@needs_systemd
@pytest.mark.parametrize("service", SERVICES)
def test_the_services_are_hardened(service: str) -> None:
    analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", UNITS / f"{service}.service")


def test_the_configurations_are_read() -> None:
    assert load_config(UNITS / "tracker.yaml", None).listen == "tcp://*:5550"
    assert Options(config=str(UNITS / "peer.yaml")).settings().data_path.parent == Path("/var/lib/zswarm")


@pytest.mark.process
@needs_sandbox
def test_the_services_work_with_what_the_units_give_them(tmp_path: Path) -> None:
    state = f"/var/lib/{values('zswarm-peer', 'StateDirectory')[0]}"
    writable = [state, *(f"/run/{name}" for service in SERVICES for name in values(service, "RuntimeDirectory"))]
    files = {f"/etc/zswarm/{name}": (UNITS / name).read_text() for name in ("peer.yaml", "tracker.yaml")}
    with contextlib.closing(Sandbox(tmp_path, writable, files, "tracker.example")) as sandbox:
        services = []
        for service in SERVICES:
            (command,) = values(service, "ExecStart")
            env = dict(line.split("=", 1) for line in values(service, "Environment"))
            services.append(sandbox.start(command.split(), env))
        # A person's shell has neither the service's environment nor, here, a /tmp.
        config = ("--config", "/etc/zswarm/peer.yaml")
        sandbox.joined({}, *config)
        assert sandbox.run(["dd", "if=/dev/urandom", f"of={state}/m.bin", "bs=1M", "count=2"], {}).code == 0
        shared = sandbox.run(["zswarm", *config, "share", f"{state}/m.bin"], {})
        assert shared.code == 0, shared.err
        refused = sandbox.run(["zswarm", *config, "get", "m.bin", "-o", "/srv"], {})
        assert (refused.code, "/srv" in refused.err) == (6, True), refused.err
        other = ["zswarm", *config, "--data-dir", f"{state}/other", "--listen", "tcp://*:0", "get", "m.bin"]
        got = sandbox.run([*other, "-o", f"{state}/got"], {"XDG_RUNTIME_DIR": "/run/zswarm-peer"})
        assert got.code == 0, got.err
        assert sandbox.run(["cmp", f"{state}/m.bin", f"{state}/got/m.bin"], {}).code == 0
        no_sockets = sandbox.run([*other, "-o", f"{state}/again"], {})
        assert (no_sockets.code, "set XDG_RUNTIME_DIR" in no_sockets.err) == (2, True), no_sockets.err
        for running in reversed(services):
            running.process.terminate()
            assert running.wait().code == 0, running.err
        left = sandbox.run(["ls", "/run/zswarm-peer", "/run/zswarm-tracker"], {})
        assert "zswarm-1" not in left.out
