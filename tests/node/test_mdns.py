"""What is announced on the local network: any of it may be a lie. `tests.outside` has real announcements."""

from __future__ import annotations

from typing import Any

import pytest

from node import mdns
from protocol.endpoints import MDNS_SERVICE
from protocol.errors import UsageError

zeroconf = pytest.importorskip("zeroconf")


def endpoints(port: int, *addresses: str) -> list[str]:
    info: Any = zeroconf.ServiceInfo(MDNS_SERVICE, f"x.{MDNS_SERVICE}", port, parsed_addresses=list(addresses))
    return mdns.endpoints_of(info)


def test_addresses_become_endpoints_and_those_that_can_be_none_are_left_out() -> None:
    assert endpoints(5550, "10.0.0.1", "127.0.0.1", "224.0.0.251", "0.0.0.0") == ["tcp://10.0.0.1:5550"]
    assert endpoints(0, "10.0.0.1") == []
    assert endpoints(5550) == []
    many = [f"10.0.0.{number}" for number in range(100)]
    assert len(endpoints(5550, *many)) == mdns.ADDRESSES_COUNT_MAX


def found_where(monkeypatch: pytest.MonkeyPatch, *answers: str) -> mdns.Found | None:
    announced = [("one 5550", ["tcp://10.0.0.1:5550"]), ("two 5550", ["tcp://10.0.0.2:5550", "tcp://10.9.9.9:5550"])]
    monkeypatch.setattr(mdns, "_announced", lambda: announced)
    monkeypatch.setattr(mdns, "answering", lambda asked: [one for one in asked if one in answers])
    return mdns.search()


def test_one_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_where(monkeypatch) is None
    assert found_where(monkeypatch, "tcp://10.9.9.9:5550") == mdns.Found("two 5550", "tcp://10.9.9.9:5550")


def test_of_two_a_person_has_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"10\.0\.0\.1:5550 \('one 5550'\) and .*10\.0\.0\.2:5550.*--tracker"):
        found_where(monkeypatch, "tcp://10.0.0.1:5550", "tcp://10.0.0.2:5550")
