"""How many clients fit, before anything is started."""

from __future__ import annotations

import pytest

from cluster.load import room
from cluster.load.room import SPARE_COUNT, check_room, clients_fitting, processes_for
from protocol.errors import UsageError


@pytest.mark.parametrize(
    ("files_max", "processes", "clients"),
    [
        (SPARE_COUNT + 400, 1, 100),  # four files each
        (SPARE_COUNT + 400, 2, 200),
        (SPARE_COUNT + 400, 8, 400),  # the registrar has one connection each
        (1_000_000, 1, 8_142),  # two sockets each, of those that a context may have
        (SPARE_COUNT, 4, 0),
    ],
)
def test_clients_fit_by_files_and_sockets(files_max: int, processes: int, clients: int) -> None:
    assert clients_fitting(files_max, processes) == clients


def test_too_many_clients_are_told_how_many_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "open_files_max", lambda: SPARE_COUNT + 40)
    fitting = 10 * processes_for(1_000)
    with pytest.raises(UsageError, match=rf"--load 1000: {fitting} clients fit, .* 140 files .* raise the hard limit"):
        check_room(1_000, 1)
    check_room(fitting, 1)


def test_too_many_files_are_told_how_many_would_fit() -> None:
    with pytest.raises(UsageError, match="--files 101: 10000 clients can have at most 100 each"):
        check_room(10_000, 101)


def test_there_are_no_more_processes_than_clients() -> None:
    assert processes_for(1) == 1
