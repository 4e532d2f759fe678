"""Looking for a tracker: what answers, and what does not count."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from node import rendezvous
from node.rendezvous import ANSWER_SECONDS, answering, answers, for_others, outward_host, same_tracker
from protocol.codec import encode
from protocol.endpoints import is_loopback, parse_endpoint
from protocol.limits import CONTROL_BYTES_MAX
from protocol.messages import Ok, Rejoin
from tests.broker.running import Client, RunningTracker
from transport.monitor import ConnectionEvent, ConnectionMonitor

NOBODY = "tcp://127.0.0.1:1"


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTracker]:
    with RunningTracker(tmp_path_factory.mktemp("tracker")) as running:
        yield running


@pytest.mark.process
def test_a_tracker_answers_and_remembers_nothing(tracker: RunningTracker) -> None:
    endpoint = tracker.endpoints["registrar"]
    assert answering([NOBODY, endpoint, tracker.endpoints["lookups"][0], tracker.endpoints["roster"]]) == [endpoint]
    with Client(tracker) as client:
        assert client.join("first").seq == 1, "it is the first change there"


@pytest.mark.process
def test_one_that_others_cannot_reach_is_not_named_to_them(
    tracker: RunningTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = tracker.endpoints["registrar"]  # at a loopback address only
    assert for_others("tcp://10.0.0.1:5550") == "tcp://10.0.0.1:5550"
    monkeypatch.setattr(rendezvous, "outward_host", lambda: "127.0.0.2")
    assert for_others(endpoint) == ""
    monkeypatch.setattr(rendezvous, "outward_host", lambda: "")
    assert for_others(endpoint) == endpoint


def test_nobody_is_found_out_at_once() -> None:
    started = time.monotonic()
    assert answering([NOBODY]) == []
    assert answering([]) == []
    assert time.monotonic() - started < ANSWER_SECONDS


def test_who_accepts_connections_and_says_nothing_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert not answers(f"tcp://127.0.0.1:{mute.getsockname()[1]}")


@pytest.mark.parametrize(
    ("reply", "is_one"),
    [
        (encode(Rejoin(1)), True),
        (encode(Ok(1, 1, 1)), False),
        (b"", False),
        (b"\xc1", False),
        (b"x" * CONTROL_BYTES_MAX, False),
        (encode(Rejoin(1)).replace(b"\xa1v\x01", b"\xa1v\x02"), True),
    ],
)
def test_only_the_reply_of_a_registrar_counts_of_whatever_version(reply: bytes, is_one: bool) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        router.set(zmq.RCVTIMEO, 5_000)

        def answer() -> None:
            route, _ = router.recv_multipart()
            router.send_multipart([route, reply])

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            assert answers(f"tcp://127.0.0.1:{port}") is is_one
        finally:
            thread.join()


def test_who_hangs_up_before_it_is_asked_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)

    class Late(ConnectionMonitor):
        """Tells of a connection when that has ended."""

        def events(self) -> list[ConnectionEvent]:
            found = super().events()
            if ConnectionEvent.CONNECTED in found:
                router.close(0)
                context.term()
                self.socket.poll(5_000)
            return found

    monkeypatch.setattr(rendezvous, "ConnectionMonitor", Late)
    assert answering([f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"]) == []
    assert router.closed


def test_one_tracker_may_have_several_addresses() -> None:
    assert same_tracker("tcp://127.0.0.1:5550", "tcp://127.0.0.2:5550")
    assert not same_tracker("tcp://127.0.0.1:5550", "tcp://127.0.0.1:5551")
    assert not same_tracker("tcp://127.0.0.1:5550", "tcp://192.0.2.77:5550")
    assert same_tracker("tcp://lab:5550", "tcp://lab:5550")


def test_the_address_for_others_is_none_of_loopback() -> None:
    host = outward_host()
    assert not host or not is_loopback(parse_endpoint(f"tcp://{host}:1").host)
