"""The commands that make a network of shaped links, without running them."""

from __future__ import annotations

import pytest

from cluster.shaped_network import Machine, Owner, address_of, commands, owner_of

OWNER = Owner(12, 3400)


def lines(*machines: Machine) -> list[str]:
    return [" ".join(command) for command in commands(OWNER, machines)]


def test_a_network_of_two() -> None:
    assert lines(Machine("tracker"), Machine("peer-01", up=5e6, down=125e6)) == [
        "ip netns add zswarm-12-3400-hub",
        "ip -n zswarm-12-3400-hub link add bridge type bridge",
        "ip -n zswarm-12-3400-hub link set bridge up",
        "ip netns add zswarm-12-3400-tracker",
        "ip -n zswarm-12-3400-hub link add port0 type veth peer name eth0 netns zswarm-12-3400-tracker",
        "ip -n zswarm-12-3400-hub link set port0 master bridge up",
        "ip -n zswarm-12-3400-tracker address add 10.77.0.1/16 dev eth0",
        "ip -n zswarm-12-3400-tracker link set lo up",
        "ip -n zswarm-12-3400-tracker link set eth0 up",
        "ip netns add zswarm-12-3400-peer-01",
        "ip -n zswarm-12-3400-hub link add port1 type veth peer name eth0 netns zswarm-12-3400-peer-01",
        "ip -n zswarm-12-3400-peer-01 link set eth0 gso_max_size 16589",
        "tc -n zswarm-12-3400-peer-01 qdisc add dev eth0 root tbf rate 40000000bit burst 18432b limit 268432b",
        "tc -n zswarm-12-3400-hub qdisc add dev port1 root tbf rate 1000000000bit burst 125000b limit 6375000b",
        "ip -n zswarm-12-3400-hub link set port1 master bridge up",
        "ip -n zswarm-12-3400-peer-01 address add 10.77.0.2/16 dev eth0",
        "ip -n zswarm-12-3400-peer-01 link set lo up",
        "ip -n zswarm-12-3400-peer-01 link set eth0 up",
    ]


def test_the_host_itself_is_never_touched() -> None:
    for command in commands(OWNER, [Machine("tracker"), Machine("peer-01", 1e6, 1e6)]):
        inside = command[1] == "-n" and owner_of(command[2]) == OWNER
        assert inside or (command[:3] == ("ip", "netns", "add") and owner_of(command[3]) == OWNER), command


def test_as_many_machines_as_there_can_be_peers_have_addresses_and_short_names() -> None:
    many = [Machine(f"peer-{number:03}") for number in range(201)]
    assert len({address_of(number) for number in range(201)}) == 201
    names = [command[6] for command in commands(OWNER, many) if command[3:5] == ("link", "add")]
    assert max(map(len, names)) <= 15  # IFNAMSIZ


def test_a_queue_has_room_for_packets_on_a_slow_link() -> None:
    assert "rate 1000000bit burst 18432b limit 83968b" in lines(Machine("slow", down=125e3))[5]


@pytest.mark.parametrize("name", ["hub", "tracker", "peer-01"])
def test_a_name_tells_who_made_it(name: str) -> None:
    assert owner_of(OWNER.namespace(name)) == OWNER


@pytest.mark.parametrize("name", ["zswarm", "zswarm-1-hub", "zswarm-1-2", "zswarm-a-2-hub", "blue", "x-zswarm-1-2-hub"])
def test_other_names_are_not_ours(name: str) -> None:
    assert owner_of(name) is None
