"""`service.logs`: what a line looks like."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from service.logs import JsonFormatter, LogSettings, TextFormatter, set_up_logging


def record(message: str, *arguments: object, failed: bool = False) -> logging.LogRecord:
    trouble = None
    if failed:
        try:
            raise ValueError("why")
        except ValueError:
            trouble = sys.exc_info()
    made = logging.LogRecord("x", logging.WARNING, "file", 1, message, arguments, trouble)
    made.created = 1_767_268_800.25
    return made


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_a_text_line() -> None:
    line = TextFormatter("agent").format(record("joined %s", "tracker"))
    assert line == "2026-01-01 12:00:00 WARNING agent        joined tracker"


@pytest.mark.usefixtures("utc")
def test_a_name_cannot_forge_a_line() -> None:
    line = TextFormatter("agent").format(record("name %s", "a\nb\x1b[2J\u2028\u0085é"))
    assert line.endswith(r"name a\nb\x1b[2J\u2028\x85é")


@pytest.mark.usefixtures("utc")
def test_a_json_line() -> None:
    line = JsonFormatter("agent").format(record("a\n%s", "\ud800é", failed=True))
    fields = json.loads(line)
    assert "\n" not in line
    assert fields.pop("traceback").endswith("ValueError: why")
    assert fields == {
        "time": "2026-01-01T12:00:00.250+00:00",
        "level": "warning",
        "process": "agent",
        "message": "a\n\\ud800é",
    }


def test_the_time_of_a_json_line_is_iso_8601() -> None:
    made = record("x")
    stamp = json.loads(JsonFormatter("agent").format(made))["time"]
    assert datetime.fromisoformat(stamp).timestamp() == made.created


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising


@pytest.mark.usefixtures("root_logger")
def test_setting_up_replaces_what_was(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("one", LogSettings())
    set_up_logging("two", LogSettings(level="warning", format="text"))
    logging.getLogger("a.b").info("not this")
    logging.getLogger("a.b").warning("this")
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING two          this\n", output.err)
