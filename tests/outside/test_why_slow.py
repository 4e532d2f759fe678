"""`status` says what holds a download back."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.outside.commands import Machine, eventually

pytestmark = pytest.mark.slow

MIB = 1 << 20
SLOW = MIB
"""Bytes a second."""


def slow_download(network: Machine, source: dict[str, Any], receiver: dict[str, Any]) -> None:
    """A download from ``a`` to ``b`` that would take half a minute."""
    (network.place / "m.bin").write_bytes(os.urandom(30 * MIB))
    network.start_peer("a", "--listen", "tcp://127.0.0.1:0", config=source)
    network.start_peer("b", "--listen", "tcp://127.0.0.1:0", config=receiver)
    assert network.z("share", "m.bin", "--data-dir", "a").code == 0
    network.start("get", "m.bin", "-o", "o", "--data-dir", "b")


def eventual_bottleneck(network: Machine, kind: str) -> str:
    def found() -> str:
        (job,) = network.status("b").get("jobs") or [{}]
        slow = (job.get("download") or {}).get("bottleneck") or {}
        return str(slow["text"]) if slow.get("kind") == kind else ""

    return str(eventually(found, f"it is held back by {kind}"))


def test_a_download_with_a_limit_says_that_the_limit_holds_it_back(network: Machine) -> None:
    slow_download(network, {}, {"download_rate": SLOW})
    assert eventual_bottleneck(network, "rate_limit").startswith(
        "this peer's download limit of 1.0 MiB/s held it back "
    )
    assert "; this peer's download limit of 1.0 MiB/s held it back " in network.z("status", "--data-dir", "b").out


def test_a_download_whose_source_has_a_limit_says_that_it_waits_for_the_source(network: Machine) -> None:
    slow_download(network, {"upload_rate": SLOW}, {})
    text = eventual_bottleneck(network, "one_source")
    assert text.startswith("waits for its only source, a (")
    assert "it had pieces on their way " in text
