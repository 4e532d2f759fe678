"""How many clients fit, before anything is started."""

from __future__ import annotations

import os

import pytest

from cluster.load import room
from cluster.load.room import SPARE_COUNT, check_room, clients_fitting, processes_for
from protocol.errors import UsageError
from transport.connection_limit import SPARE_COUNT_MAX


@pytest.mark.parametrize(
    ("files_max", "processes", "idle", "clients"),
    [
        (SPARE_COUNT + 1_200, 1, False, 300),  # four files each
        (SPARE_COUNT + 1_200, 1, True, 200),  # six, with a subscription to the roster
        (SPARE_COUNT + 1_200, 2, False, 600),
        (SPARE_COUNT + 1_200, 8, False, 1_200 - SPARE_COUNT_MAX),  # a lookup has one connection each
        (SPARE_COUNT + 1_200, 8, True, 600 - SPARE_COUNT_MAX // 2),  # a registrar two
        (1_000_000, 1, False, 8_142),  # two sockets each, of those that a context may have
        (SPARE_COUNT, 4, False, 0),
    ],
)
def test_clients_fit_by_files_and_sockets(files_max: int, processes: int, idle: bool, clients: int) -> None:
    assert max(0, clients_fitting(files_max, processes, idle)) == clients


def test_too_many_clients_are_told_how_many_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "open_files_max", lambda: SPARE_COUNT + SPARE_COUNT_MAX + 44)
    with pytest.raises(UsageError, match=r"--load 1000: 44 clients fit, .* 400 files .* raise the hard limit"):
        check_room(1_000, 1, False)
    with pytest.raises(UsageError, match="--load 44: 22 clients fit"):
        check_room(44, 1, True)
    check_room(44, 1, False)


def test_too_many_files_are_told_how_many_would_fit() -> None:
    with pytest.raises(UsageError, match="--files 101: 10000 clients can have at most 100 each"):
        check_room(10_000, 101, False)


def test_there_are_no_more_processes_than_clients() -> None:
    assert processes_for(1, False) == 1


def test_there_are_as_many_processes_as_have_the_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "open_files_max", lambda: 20_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert [processes_for(9_000, idle) for idle in (False, True)] == [2, 3]
