"""`node.enrolment`: what a data directory keeps of its network. Invites in use: `tests.outside.test_keys`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import zmq

from node import enrolment
from node.config import PeerSettings
from node.enrolment import NETWORK_NAME, network_of
from node.identity import load_identity
from protocol.errors import ConfigError, DiskError
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, bind, connect, open_context, open_socket

TRACKER, KEY = "tcp://10.0.0.1:5550", "a1" * 32


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory that is not of any network yet."""
    made = tmp_path / "data"
    load_identity(made)
    return made


def keep(place: Path, content: str) -> None:
    (place / NETWORK_NAME).write_text(content)
    (place / NETWORK_NAME).chmod(0o600)


def test_a_configured_key_is_kept_and_the_configuration_comes_first(place: Path) -> None:
    assert network_of(PeerSettings(tracker=TRACKER), place) == ([TRACKER], "")
    assert network_of(PeerSettings(tracker=TRACKER, tracker_key=KEY.upper()), place) == ([TRACKER], KEY)
    assert network_of(PeerSettings(), place) == ([TRACKER], KEY)
    assert network_of(PeerSettings(tracker="tcp://10.0.0.2:1"), place) == (["tcp://10.0.0.2:1"], KEY)
    assert network_of(PeerSettings(tracker=TRACKER, tracker_key="b2" * 32), place) == ([TRACKER], "b2" * 32)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        json.dumps({"tracker": TRACKER, "key": "zz"}),
        json.dumps({"tracker": "ipc:///tmp/x", "key": KEY}),
        json.dumps({"tracker": "tcp://*:1", "key": KEY}),
    ],
)
def test_what_is_damaged_is_not_taken_for_a_network_without_keys(place: Path, content: str) -> None:
    keep(place, content)
    with pytest.raises(DiskError, match=r"network\.json is damaged .*; delete it"):
        network_of(PeerSettings(), place)


def test_what_others_may_change_is_refused(place: Path) -> None:
    keep(place, json.dumps({"tracker": TRACKER, "key": KEY}))
    (place / NETWORK_NAME).chmod(0o622)
    with pytest.raises(ConfigError, match="chmod 600"):
        network_of(PeerSettings(), place)
    (place / NETWORK_NAME).chmod(0o600)
    place.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod 700"):
        network_of(PeerSettings(), place)


def test_a_tracker_that_hangs_up_before_it_is_asked_is_not_waited_for() -> None:
    context, trackers = open_context(), open_context()
    router, dealer = open_socket(trackers, Role.TRACKER_ROUTER), open_socket(context, Role.CONTROL_DEALER)
    monitor = ConnectionMonitor(dealer)
    connect(dealer, bind(router, "tcp://127.0.0.1:0"))
    assert dealer.poll(5_000, zmq.POLLOUT)
    router.close(0)
    trackers.term()
    while dealer.poll(0, zmq.POLLOUT):
        pass
    assert enrolment._await(dealer, monitor, b"question", time.monotonic() + 5.0) is ConnectionEvent.LOST
    monitor.close()
    dealer.close(0)
    context.term()
