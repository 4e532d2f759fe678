"""A machine, and a network on it, for the tests that use zswarm from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outside.commands import Machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start processes of the product."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.process)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which nothing runs."""
    made = Machine(tmp_path)
    yield made
    made.close()


@pytest.fixture
def network(machine: Machine) -> Machine:
    """The same with a tracker on it, known to each command."""
    machine.start_tracker()
    return machine
