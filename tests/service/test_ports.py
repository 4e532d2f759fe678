"""The ports a tracker holds, and the addresses it tells."""

from __future__ import annotations

import socket

import pytest

from protocol.endpoints import Address, reachable_here
from protocol.errors import NetworkError
from service.ports import HeldPorts


def test_a_held_port_can_be_listened_on_and_is_handed_to_nobody_else() -> None:
    ports = HeldPorts([Address("127.0.0.1", 0), Address("127.0.0.1", 0)])
    numbers = [address.port for address in ports.addresses]
    assert len({*numbers, 0}) == 3
    for _ in range(2):  # a child, and the one that takes its place
        with socket.socket() as child:
            child.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            child.bind(("127.0.0.1", numbers[0]))
            child.listen()
            with pytest.raises(NetworkError, match=f"tcp://127.0.0.1:{numbers[0]}.*in use"):
                HeldPorts([Address("127.0.0.1", numbers[0])])
    ports.close()


def test_of_two_trackers_that_start_at_once_one_has_the_port() -> None:
    first = HeldPorts([Address("127.0.0.1", 0)])
    with pytest.raises(NetworkError, match="in use"):
        HeldPorts(first.addresses)
    first.close()
    HeldPorts(first.addresses).close()


def test_an_address_of_another_machine_cannot_be_held() -> None:
    with pytest.raises(NetworkError, match="does not have that address"):
        HeldPorts([Address("192.0.2.1", 0)])


def test_all_addresses_are_held_of_both_families() -> None:
    ports = HeldPorts([Address("*", 0)])
    number = ports.addresses[0].port
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as stranger, pytest.raises(OSError, match=r"in use|not available|not supported"):
            stranger.bind((host, number))
    ports.close()


@pytest.mark.parametrize(
    ("listen", "here"),
    [
        ("tcp://*:5551", "tcp://127.0.0.1:5551"),
        ("tcp://0.0.0.0:5551", "tcp://127.0.0.1:5551"),
        ("tcp://[::]:5551", "tcp://[::1]:5551"),
        ("tcp://10.0.0.1:5551", "tcp://10.0.0.1:5551"),
    ],
)
def test_how_it_is_dialled_on_its_own_machine(listen: str, here: str) -> None:
    assert reachable_here(listen) == here
