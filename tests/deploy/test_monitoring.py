"""What Prometheus and Grafana are given: every metric that it names is exported and documented, alerts fire when they
should, and Prometheus' own tool has nothing to complain about (Debian's package prometheus has it)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from broker.web.metrics import families as tracker_families
from node.api_messages import QuotaStatus
from node.metrics.families import families as peer_families
from tests.node.metrics.served import DISKS, reading, served
from tests.outside.commands import ROOT
from tests.web.fed_page import FedPage, busy_network, get
from tests.web.figures import FIGURES

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "zswarm.rules.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "zswarm.json").read_text())
API = (ROOT / "docs" / "API.md").read_text()
REQUIRED = "PROMTOOL_TESTS"
"""In the environment of a run that must not skip tests for lack of promtool."""
NAME = r"zswarm_(?:tracker|peer)_[a-z_]+"


def promtool(*arguments: str | Path, text: str = "") -> None:
    """Run it; the test is skipped where there is none."""
    program = shutil.which("promtool")
    if program is None:
        assert REQUIRED not in os.environ, "this run has to have promtool"
        pytest.skip("there is no promtool: apt-get install prometheus")
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, cwd=PROMETHEUS, input=text, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


@cache
def exported() -> dict[str, Metric]:
    """Every metric of tracker and peers, by the name that its samples have."""
    peer = peer_families(reading(quota=QuotaStatus(100, 1, [], [])), DISKS)
    metrics = [*tracker_families(FIGURES, 0).collect(), *peer.collect()]
    return {f"{metric.name}_total" if metric.type == "counter" else metric.name: metric for metric in metrics}


def expressions() -> list[str]:
    """All of the dashboard, with its variables replaced."""
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    found += filter(None, map(_labelled, DASHBOARD["templating"]["list"]))
    for variable, value in (("$tracker", ".*"), ("$peer", ".*"), ("$__rate_interval", "1m"), ("$__range", "1h")):
        found = [text.replace(variable, value) for text in found]
    return found


def _labelled(variable: dict[str, Any]) -> str:
    """The expression behind ``label_values(EXPRESSION, LABEL)``."""
    match = re.fullmatch(r"label_values\((.*), \w+\)", variable.get("definition", ""))
    return "" if match is None else match[1]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


# --- names ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expression", [*expressions(), *(rule["expr"] for rule in rules())])
def test_every_metric_that_is_named_is_exported_with_these_labels(expression: str) -> None:
    for name, selector in re.findall(rf"\b({NAME})\b(?:\{{(.*?)\}})?", expression):
        assert name in exported()
        known = {label for sample in exported()[name].samples for label in sample.labels} | {"instance", "job"}
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) <= known
        for label, values in re.findall(r'(\w+)=~?"([a-z_|]+)"', selector):
            told = {sample.labels[label] for sample in exported()[name].samples if label in sample.labels}
            assert set(values.split("|")) <= told or label == "job", (label, values)


def test_every_metric_is_documented_and_no_other() -> None:
    documented: set[str] = set()
    for row in re.findall(r"^\| (`zswarm_(?:tracker|peer)_.*?) \|", API, re.MULTILINE):
        names = [name.partition("{")[0] for name in re.findall(r"`(\w+(?:\{\w+\})?)`", row)]
        prefix = re.match(r"zswarm_(?:tracker|peer)", names[0])
        assert prefix is not None
        documented |= {names[0], *(prefix[0] + name for name in names[1:])}
    assert documented == set(exported())


def test_rules_know_the_jobs_by_the_names_of_the_example() -> None:
    jobs = {job["job_name"] for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]}
    named = {job for rule in rules() for job in re.findall(r'job="([^"]+)"', rule["expr"])}
    assert named == jobs


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    tested = (PROMETHEUS / "zswarm.rules.test.yml").read_text()
    for rule in rules():
        assert rule["alert"] in tested
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_the_dashboard_is_in_order() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] for panel in panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells


# --- promtool -------------------------------------------------------------------------------------------


def test_the_rules_are_right_and_fire_when_they_should() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", "zswarm.rules.test.yml")


def test_the_example_configuration_is_right() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_expressions_of_the_dashboard_are_right(tmp_path: Path) -> None:
    recorded = [{"record": f"one:{number}", "expr": text} for number, text in enumerate(expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", path)


def test_the_metrics_of_a_tracker_are_right() -> None:
    with FedPage() as page:
        page.feed(busy_network(10))
        promtool("check", "metrics", text=page.get("/metrics").body)


def test_the_metrics_of_a_peer_are_right() -> None:
    with served(lambda: reading(quota=QuotaStatus(100, 1, [], []))) as url:
        promtool("check", "metrics", text=get(f"{url}/metrics").body)
