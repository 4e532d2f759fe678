"""Fixtures of the tests of `service`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.events import Events


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Events]:
    pipe = Events(tmp_path / "events")
    yield pipe
    pipe.close()
