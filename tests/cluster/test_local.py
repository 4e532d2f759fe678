"""Processes on this machine: what happens when they cannot start, and when there is no time to end them in order."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from cluster import local
from cluster.local import LocalCluster, free_ports
from cluster.processes import Program, end_all, python_environment
from protocol.errors import NetworkError
from tests.cluster.conftest import Place


@pytest.mark.process
def test_a_peer_that_cannot_start_says_why(place: Place, tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        cluster.start_tracker()
        cluster.add_peers(["good"])
        cluster.add_peers(["bad"], {"workers": 0})
        with pytest.raises(NetworkError, match=r"(?s)bad ended with exit code 2.*workers"):
            cluster.wait_joined()
    assert place.is_clean()


@pytest.mark.process
def test_a_tracker_that_cannot_start_says_why(place: Place, tmp_path: Path) -> None:
    complaint = pytest.raises(NetworkError, match=r"(?s)the tracker ended with exit code 2.*lookups")
    with LocalCluster(tmp_path, {"lookups": 0}) as cluster, complaint:
        cluster.start_tracker()
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
def test_an_impatient_end_kills_everything(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_programs: Sequence[Program], _seconds: float) -> None:
        raise KeyboardInterrupt

    def run_and_end() -> None:
        with LocalCluster(tmp_path) as cluster:
            cluster.start_tracker()
            peers = cluster.add_peers(["one"])
            cluster.wait_joined()
            assert sorted(peers[0].program.children()) == ["agent", "downloader", "piece_server"]
            assert sorted(cluster.tracker.program.children()) == ["lookup", "registrar"]
            monkeypatch.setattr(local, "end_all", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run_and_end()
    assert place.is_clean()


@pytest.mark.process
@pytest.mark.slow
def test_who_does_not_end_in_time_is_killed(place: Place, tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        cluster.start_tracker()
        program = cluster.tracker.program
        psutil.Process(program.pid).send_signal(signal.SIGSTOP)
        assert end_all([program], 0.2) == [program]
        assert program.pid == 0
    assert place.is_clean()


def test_free_ports_are_free() -> None:
    assert 1 <= free_ports(3) <= 65_533


def test_free_ports_are_found_where_nearly_all_may_be_given_to_outgoing_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr("cluster.local.OUTGOING_PORTS", tmp_path / "range")
    assert 10_000 <= free_ports(3) <= 65_533


def test_what_a_person_set_for_a_peer_of_their_own_does_not_reach_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSWARM_TRACKER", "tcp://elsewhere:1")
    monkeypatch.setenv("ZSWARM_DATA_DIR", "/elsewhere")
    monkeypatch.setenv("KEPT", "yes")
    environment = python_environment()
    assert [name for name in environment if name.startswith("ZSWARM_")] == []
    assert environment["KEPT"] == "yes"
