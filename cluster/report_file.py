"""The file a report is written to, as JSON."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from protocol.errors import DiskError, UsageError


def check_report_path(path: Path) -> None:
    """Raises `UsageError` when nothing could be written to ``path``: better now than when all is measured."""
    check_writable("--report", path)


def check_writable(option: str, path: Path) -> None:
    """As `check_report_path`, of a file that another ``option`` names."""
    directory = path.absolute().parent
    if not directory.is_dir():
        raise UsageError(f"{option} {path}: its directory does not exist")
    if not os.access(path if path.exists() else directory, os.W_OK):
        raise UsageError(f"{option} {path}: cannot be written")


def write_report(path: Path, report: Struct) -> None:
    """Raises `DiskError` when that fails."""
    try:
        path.write_bytes(report_bytes(report))
    except OSError as error:
        raise DiskError(f"--report {path}: {error.strerror or error}") from error


def report_bytes(report: Struct) -> bytes:
    """``report`` as JSON, for people too. Infinite figures are null."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
