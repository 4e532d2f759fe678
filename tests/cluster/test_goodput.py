"""What one transfer moves, measured without links of our own."""

from __future__ import annotations

import psutil
import pytest

from cluster.goodput import measure_goodput
from cluster.processes import HERE, Host
from protocol.errors import NetworkError

NOWHERE = "203.0.113.1"
"""Of a range for documentation: no machine has it."""


@pytest.mark.process
def test_the_loopback_moves_more_than_a_slow_link() -> None:
    assert measure_goodput(HERE, HERE, 1e6) > 5e6
    assert psutil.Process().children() == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("sender", "receiver", "why"),
    [
        (HERE, Host(NOWHERE), "assign requested address"),
        (Host(within=("false",)), HERE, "exit code 1"),
        (HERE, Host(within=("false",)), "exit code 1"),
    ],
    ids=["no such address", "no sender", "no receiver"],
)
def test_it_says_why_it_cannot(sender: Host, receiver: Host, why: str) -> None:
    with pytest.raises(NetworkError, match=f"cannot measure what the links can do: .*{why}"):
        measure_goodput(sender, receiver, 1e6)
    assert psutil.Process().children() == []
