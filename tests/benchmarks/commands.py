"""A benchmark as a person runs it, in a directory for temporary files of its own that has to be empty afterwards."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """``report`` as JSON, ``plot`` as PNG (None where there is no matplotlib); ``left``: files that should be gone."""

    stdout: str
    report: dict[str, Any]
    plot: bytes | None
    left: list[Path]


def run_benchmark(module: str, *options: str) -> Ended:
    """``python -m module options``, which must succeed."""
    with tempfile.TemporaryDirectory(prefix="z-") as place, tempfile.TemporaryDirectory(prefix="z-") as results:
        report, plot = Path(results) / "report.json", Path(results) / "plot.png"
        draw = ["--plot", str(plot)] if importlib.util.find_spec("matplotlib") else []
        environment = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
        ended = subprocess.run(
            [sys.executable, "-m", module, *options, "--report", str(report), *draw],
            cwd=ROOT,
            env={**environment, "TMPDIR": place},
            capture_output=True,
            text=True,
            timeout=55,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        drawn = plot.read_bytes() if draw else None
        return Ended(ended.stdout, json.loads(report.read_text()), drawn, sorted(Path(place).iterdir()))
