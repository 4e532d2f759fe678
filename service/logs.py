"""Log lines of every long-running process, to stderr, for people or for programs.

Text: ``2026-01-01 12:00:00 INFO    agent         message`` in local time. JSON: one object a line with ``time`` (ISO
8601 with its offset), ``level``, ``process``, ``message`` and, after an exception, ``traceback``.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import msgspec
from msgspec import Struct

from service.text import as_utf8, printable

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``log`` section of a configuration file."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


def set_up_logging(role: str, settings: LogSettings) -> None:
    """Send this process's log to stderr, a line at a time, as ``settings`` say. ``role`` names the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(role) if settings.format == "json" else TextFormatter(role))
    logging.raiseExceptions = False  # a closed stderr is no reason to write about it on stderr
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(LEVELS[settings.level])


class TextFormatter(logging.Formatter):
    """One line a record, a traceback on the lines after it."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        message = printable(record.getMessage())
        line = f"{stamp} {record.levelname:<7} {self._role:<12} {message}"
        if record.exc_info:
            lines = self.formatException(record.exc_info).split("\n")
            line = "\n".join([line, *map(printable, lines)])
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a record."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _iso_time(record.created),
            "level": record.levelname.lower(),
            "process": self._role,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        whole = {key: as_utf8(value) for key, value in fields.items()}
        return msgspec.json.encode(whole).decode()


def _iso_time(created: float) -> str:
    local = time.localtime(created)
    offset = time.strftime("%z", local)
    milliseconds = int(created * 1_000) % 1_000
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{milliseconds:03d}{offset[:3]}:{offset[3:]}"
