"""`transport.sockets` over real sockets."""

from __future__ import annotations

import socket as plain
import stat
from pathlib import Path

import pytest
import zmq

from protocol.errors import LocalError, NetworkError
from protocol.limits import CONTROL_BYTES_MAX, FRAMES_COUNT_MAX, LOCAL_BYTES_MAX, MIB
from tests.transport.conftest import Open
from transport.sockets import (
    OPTIONS,
    Role,
    bind,
    connect,
    drain,
    drain_routed,
    open_socket,
    peer_address,
    send_or_drop,
)

WAIT_MS = 10_000


def pair(opened: Open, endpoint: str = "tcp://127.0.0.1:0") -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """A piece router and a dealer that have met: the router has one message of the dealer's to read."""
    router, dealer = opened(Role.PIECE_ROUTER), opened(Role.FETCH_DEALER, MIB)
    connect(dealer, bind(router, endpoint))
    assert send_or_drop(dealer, [b"hello"])
    assert router.poll(WAIT_MS)
    return router, dealer


def endpoint_of(socket: zmq.Socket[bytes]) -> str:
    endpoint = socket.get(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.decode()


def only(socket: zmq.Socket[bytes]) -> list[zmq.Frame]:
    assert socket.poll(WAIT_MS)
    (message,) = drain(socket)
    return message


def only_routed(router: zmq.Socket[bytes]) -> tuple[bytes, list[zmq.Frame]]:
    assert router.poll(WAIT_MS)
    (message,) = drain_routed(router)
    return message


# --- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
def test_every_role_has_the_options_of_its_row(opened: Open, role: Role) -> None:
    socket = opened(role, 1_000_000)
    assert socket.type == OPTIONS[role].kind
    assert socket.get(zmq.MAXMSGSIZE) == 1_000_000
    for option, value in OPTIONS[role].values.items():
        if option not in (zmq.SUBSCRIBE, zmq.ROUTER_MANDATORY):  # which cannot be read back
            assert socket.get(option) == value, option


@pytest.mark.parametrize("role", list(Role))
def test_no_role_may_abort_or_hang_the_process(role: Role) -> None:
    values = OPTIONS[role].values
    assert values[zmq.RCVHWM] == 0
    assert zmq.HEARTBEAT_IVL not in values
    assert values[zmq.LINGER] in (0, 500)
    assert zmq.IDENTITY not in values
    if OPTIONS[role].kind is zmq.ROUTER:
        assert values[zmq.ROUTER_MANDATORY] == 1


def test_the_size_limits() -> None:
    limits = {role: OPTIONS[role].max_message_bytes for role in Role}
    assert limits[Role.TRACKER_ROUTER] == limits[Role.PIECE_ROUTER] == CONTROL_BYTES_MAX
    assert limits[Role.CONTROL_DEALER] == MIB
    assert limits[Role.LOCAL_ROUTER] == limits[Role.LOCAL_DEALER] == LOCAL_BYTES_MAX


def test_a_fetch_dealer_needs_its_size(opened: Open) -> None:
    with pytest.raises(LocalError, match="largest message"):
        opened(Role.FETCH_DEALER)


def test_a_context_has_room_for_thousands_of_sockets(opened: Open) -> None:
    sockets = [opened(Role.FETCH_DEALER, MIB) for _ in range(1_100)]
    assert len(sockets) == 1_100


def test_no_more_sockets_is_a_network_error() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 1)
    first = open_socket(context, Role.PIECE_ROUTER)
    with pytest.raises(NetworkError, match="limit of open files"):
        open_socket(context, Role.PIECE_ROUTER)
    first.close()
    context.term()


def test_too_large_a_frame_never_arrives(opened: Open) -> None:
    router, dealer = pair(opened)
    only(router)
    assert send_or_drop(dealer, [bytes(CONTROL_BYTES_MAX + 1)])
    connect(other := opened(Role.FETCH_DEALER, MIB), endpoint_of(router))
    assert send_or_drop(other, [bytes(CONTROL_BYTES_MAX)])
    assert len(only(router)[1]) == CONTROL_BYTES_MAX


# --- bind and connect ------------------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with plain.socket(plain.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "tcp://127.0.0.1:*", "tcp://localhost:0"])
def test_bind_returns_the_real_port(opened: Open, endpoint: str) -> None:
    real = bind(opened(Role.PIECE_ROUTER), endpoint)
    host, port = real.removeprefix("tcp://").split(":")
    assert host == "127.0.0.1"
    assert 0 < int(port) < 65_536


def heard_from(opened: Open, listen: str, host: str) -> str:
    """The address that a router which listens at ``listen`` sees a dealer at that dials ``host``."""
    router, dealer = opened(Role.PIECE_ROUTER), opened(Role.FETCH_DEALER, MIB)
    port = bind(router, listen).rpartition(":")[2]
    connect(dealer, f"tcp://{host}:{port}")
    assert send_or_drop(dealer, [b"hello"])
    return peer_address(only(router)[1])


@pytest.mark.parametrize("listen", ["tcp://*:0", "tcp://0.0.0.0:*", "tcp://[::]:0", "tcp://localhost:0"])
def test_every_address_takes_in_ipv4_which_is_seen_as_such(opened: Open, listen: str) -> None:
    if listen == "tcp://[::]:0" and not has_ipv6():
        pytest.skip("no IPv6 here")
    assert heard_from(opened, listen, "127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize("listen", ["tcp://*:0", "tcp://[::]:0", "tcp://[::1]:0"])
def test_every_address_takes_in_ipv6(opened: Open, listen: str) -> None:
    if not has_ipv6():
        pytest.skip("no IPv6 here")
    assert heard_from(opened, listen, "[::1]") == "::1"


def test_a_name_with_several_addresses_is_served_at_each(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plain, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (at, 0)) for at in ("127.0.0.2", "127.0.0.3")]
    )
    router = opened(Role.PIECE_ROUTER)
    port = bind(router, "tcp://some.name:0").rpartition(":")[2]
    for host in ("127.0.0.2", "127.0.0.3"):
        dealer = opened(Role.FETCH_DEALER, MIB)
        connect(dealer, f"tcp://{host}:{port}")
        assert send_or_drop(dealer, [host.encode()])
        assert only(router)[1].bytes == host.encode()


def test_without_ipv6_every_address_is_all_of_ipv4(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.addresses.is_here", lambda host: not host.startswith("["))
    assert heard_from(opened, "tcp://*:0", "127.0.0.1") == "127.0.0.1"


def test_an_address_in_use_says_so(opened: Open) -> None:
    taken = bind(opened(Role.PIECE_ROUTER), "tcp://127.0.0.1:0")
    with pytest.raises(NetworkError, match=f"cannot listen on {taken}: the port is in use; stop the other"):
        bind(opened(Role.PIECE_ROUTER), taken)


@pytest.mark.parametrize("endpoint", ["tcp://192.0.2.1:0", "tcp://no.such.invalid:0"])
def test_another_machines_address_says_so(opened: Open, endpoint: str) -> None:
    with pytest.raises(NetworkError, match=r"cannot listen on tcp://.*(this machine|cannot be resolved)"):
        bind(opened(Role.PIECE_ROUTER), endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "x",
        "tcp://",
        "tcp://host",
        "tcp://:5",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:5x",
        "tcp://127.0.0.1:٣",
        "tcp://127.0.0.1:" + "1" * 5_000,
        "udp://127.0.0.1:5",
        "inproc://x",
    ],
)
def test_what_is_no_address(opened: Open, endpoint: str) -> None:
    with pytest.raises(NetworkError, match="endpoint"):
        bind(opened(Role.PIECE_ROUTER), endpoint)
    with pytest.raises(NetworkError, match="endpoint"):
        connect(opened(Role.CONTROL_DEALER), endpoint)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:0", "tcp://127.0.0.1:*"])
def test_nobody_listens_on_no_port(opened: Open, endpoint: str) -> None:
    with pytest.raises(NetworkError, match="endpoint"):
        connect(opened(Role.CONTROL_DEALER), endpoint)


def test_an_ipc_socket_is_its_users_alone_and_replaces_a_stale_one(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    path.write_bytes(b"left behind")
    path.chmod(0o644)
    router, dealer = opened(Role.LOCAL_ROUTER), opened(Role.LOCAL_DEALER)
    assert bind(router, f"ipc://{path}") == f"ipc://{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connect(dealer, f"ipc://{path}")
    assert send_or_drop(dealer, [b"hello"])
    assert peer_address(only(router)[1]) == ""


def test_an_ipc_path_that_cannot_be(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"cannot listen on ipc://.*: No such file"):
        bind(opened(Role.LOCAL_ROUTER), f"ipc://{tmp_path}/no/x.sock")
    with pytest.raises(NetworkError, match=r"too long|longer than"):
        bind(opened(Role.LOCAL_ROUTER), f"ipc://{tmp_path}/{'x' * 200}")


def test_a_local_dealer_may_come_before_its_router(opened: Open, tmp_path: Path) -> None:
    router, dealer = opened(Role.LOCAL_ROUTER), opened(Role.LOCAL_DEALER)
    connect(dealer, f"ipc://{tmp_path}/x.sock")
    assert send_or_drop(dealer, [b"early"])
    bind(router, f"ipc://{tmp_path}/x.sock")
    assert only(router)[1].bytes == b"early"


# --- receiving -------------------------------------------------------------------------------------------


def test_drain_yields_what_is_there_and_no_more(opened: Open) -> None:
    router, dealer = pair(opened)
    assert [[frame.bytes for frame in message] for _, message in drain_routed(router)] == [[b"hello"]]
    assert list(drain_routed(router)) == []
    assert list(drain(dealer)) == []


def test_drain_stops_at_its_limit(opened: Open) -> None:
    router, dealer = pair(opened)
    for number in range(9):
        send_or_drop(dealer, [b"%d" % number])
    seen: list[bytes] = []
    while len(seen) < 10:
        assert router.poll(WAIT_MS)
        batch = [message[0].bytes for _, message in drain_routed(router, 4)]
        assert 0 < len(batch) <= 4
        seen += batch
    assert seen == [b"hello"] + [b"%d" % number for number in range(9)]


def test_of_a_message_of_many_frames_as_many_are_kept_as_show_that(opened: Open) -> None:
    router, dealer = pair(opened)
    route, _ = only_routed(router)
    send_or_drop(dealer, [b"x"] * 25_000)
    send_or_drop(dealer, [b"y"] * FRAMES_COUNT_MAX)  # and the route: one too many
    send_or_drop(dealer, [b"z"] * (FRAMES_COUNT_MAX - 1))
    messages: list[tuple[bytes, list[zmq.Frame]]] = []
    while len(messages) < 3:
        assert router.poll(WAIT_MS)
        messages += drain_routed(router)
    assert [(who, [frame.bytes for frame in message]) for who, message in messages] == [
        (route, [b"x"] * FRAMES_COUNT_MAX),
        (route, [b"y"] * FRAMES_COUNT_MAX),
        (route, [b"z"] * (FRAMES_COUNT_MAX - 1)),
    ]
    send_or_drop(router, [route, *([b"x"] * (FRAMES_COUNT_MAX + 1))])
    send_or_drop(router, [route, *([b"y"] * FRAMES_COUNT_MAX)])
    replies: list[list[zmq.Frame]] = []
    while len(replies) < 2:
        assert dealer.poll(WAIT_MS)
        replies += drain(dealer)
    assert [[frame.bytes for frame in message] for message in replies] == [
        [b"x"] * (FRAMES_COUNT_MAX + 1),
        [b"y"] * FRAMES_COUNT_MAX,
    ]


def test_drain_ends_when_its_socket_is_closed_meanwhile(opened: Open) -> None:
    router, dealer = pair(opened)
    send_or_drop(dealer, [b"more"])
    for _ in drain_routed(router):
        router.close()
    assert router.closed


def test_the_address_of_a_peer(opened: Open) -> None:
    router, dealer = pair(opened)
    route, (header,) = only_routed(router)
    assert peer_address(header) == "127.0.0.1"
    send_or_drop(router, [route, b"back"])
    assert peer_address(only(dealer)[0]) == "127.0.0.1"
    assert peer_address(zmq.Frame(b"made here")) == ""


# --- sending ---------------------------------------------------------------------------------------------


def test_a_vanished_route_is_false(opened: Open) -> None:
    router = opened(Role.PIECE_ROUTER)
    bind(router, "tcp://127.0.0.1:0")
    assert not send_or_drop(router, [b"nobody", b"x"])


def test_a_full_queue_is_false_and_only_for_its_receiver(opened: Open) -> None:
    router, _slow = pair(opened)
    route, _ = only_routed(router)
    # The receiver's kernel and libzmq take some; it is the sender's high-water mark that ends this.
    large = bytes(MIB)
    count = 0
    while send_or_drop(router, [route, large], copy=False):
        count += 1
        assert count < 100_000
    connect(other := opened(Role.FETCH_DEALER, MIB), endpoint_of(router))
    send_or_drop(other, [b"me too"])
    assert send_or_drop(router, [only_routed(router)[0], b"x"])


def test_a_dealer_that_is_not_connected_is_false(opened: Open) -> None:
    dealer = opened(Role.CONTROL_DEALER)
    assert not send_or_drop(dealer, [b"x"])
    with plain.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    connect(dealer, f"tcp://127.0.0.1:{port}")
    assert not send_or_drop(dealer, [b"x"])


def test_large_frames_go_as_they_are(opened: Open) -> None:
    router, dealer = pair(opened)
    route, _ = only_routed(router)
    data = bytes(range(256)) * 1024
    assert send_or_drop(router, [route, b"header", data], copy=False)
    header, frame = only(dealer)
    assert header.bytes == b"header"
    assert frame.buffer.tobytes() == data
