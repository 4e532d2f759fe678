"""The Kubernetes manifests: they fit its schemas, and what they start works with what they give it, probes included."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.command_line import VERSION
from tests.deploy.sandbox import Sandbox, needs_sandbox
from tests.deploy.test_container import ENVIRONMENT
from tests.outside.commands import ROOT, eventually

MANIFESTS = ROOT / "deploy" / "kubernetes"
SCHEMA_VERSIONS = ("1.29", "1.34")
"""Of Kubernetes."""
FIELDS = {"spec.nodeName": "node-1", "status.podIP": "127.0.0.1"}


def resource(name: str, kind: str) -> Any:
    found = yaml.safe_load_all((MANIFESTS / name).read_text())
    return next(each for each in found if each["kind"] == kind)


def pod(name: str, kind: str) -> Any:
    return resource(name, kind)["spec"]["template"]["spec"]


def variables(container: Any) -> dict[str, str]:
    return {
        each["name"]: each.get("value") or FIELDS[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container["env"]
    }


def command(container: Any) -> list[str]:
    words = container["command"]
    for name, value in variables(container).items():
        words = [word.replace(f"$({name})", value) for word in words]
    return list(words)


@pytest.mark.parametrize("version", SCHEMA_VERSIONS)
def test_the_manifests_fit_the_schemas(version: str) -> None:
    files = [str(path) for path in sorted(MANIFESTS.glob("*.yaml"))]
    assert len(files) == 2
    line = [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", "-k", version, *files]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(("name", "kind"), [("tracker.yaml", "Deployment"), ("peer.yaml", "DaemonSet")])
def test_names_agree(name: str, kind: str) -> None:
    spec = pod(name, kind)
    (container,) = spec["containers"]
    assert container["image"] == f"zswarm:{VERSION}"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    configured = resource(name, "ConfigMap")["metadata"]["name"]
    assert [volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume] == [configured]
    labels = resource(name, kind)["spec"]["template"]["metadata"]["labels"]
    assert resource(name, kind)["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert resource("tracker.yaml", "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_service_leads_to_the_tracker_under_the_same_numbers() -> None:
    service = resource("tracker.yaml", "Service")
    template = resource("tracker.yaml", "Deployment")["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    inside = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == inside
    peer = yaml.safe_load(resource("peer.yaml", "ConfigMap")["data"]["peer.yaml"])
    assert peer["tracker"] == f"tcp://{service['metadata']['name']}:{inside['registrar']}"


@pytest.mark.process
@needs_sandbox
def test_the_pods_work_with_what_the_manifests_give_them(tmp_path: Path) -> None:
    (tracker,) = pod("tracker.yaml", "Deployment")["containers"]
    (peer,) = pod("peer.yaml", "DaemonSet")["containers"]
    files: dict[str, str] = {}
    for name in ("tracker.yaml", "peer.yaml"):
        files |= {f"/etc/zswarm/{key}": text for key, text in resource(name, "ConfigMap")["data"].items()}
    mounts = {
        mount["mountPath"] for each in (tracker, peer) for mount in each["volumeMounts"] if not mount.get("readOnly")
    }
    env = {**ENVIRONMENT, **variables(peer)}

    def probe(container: Any, name: str) -> int:
        return sandbox.run(container[name]["exec"]["command"], env).code

    with contextlib.closing(Sandbox(tmp_path, sorted(mounts), files, "zswarm-tracker")) as sandbox:
        assert probe(tracker, "readinessProbe") == 1
        assert (probe(peer, "livenessProbe"), probe(peer, "readinessProbe")) == (4, 1)
        with sandbox.process_1(command(peer), env) as running_peer:
            eventually(lambda: probe(peer, "startupProbe") == 0, "the agent answers")
            assert (probe(peer, "livenessProbe"), probe(peer, "readinessProbe")) == (0, 1)
            with sandbox.process_1(command(tracker), {**ENVIRONMENT, **variables(tracker)}) as running_tracker:
                eventually(lambda: probe(tracker, "readinessProbe") == 0, "the tracker is ready")
                eventually(lambda: probe(peer, "readinessProbe") == 0, "the peer has joined")
                told = json.loads(sandbox.run(["zswarm", "peers", "--json"], env).out)["peers"]
                assert [(each["name"], each["endpoint"]) for each in told] == [("node-1", "tcp://127.0.0.1:5600")]
        assert (running_tracker.wait().code, running_peer.wait().code) == (0, 0), running_peer.err
