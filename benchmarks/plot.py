"""Results as pictures (PNG), by matplotlib, which only those who want pictures have to install."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.report_file import check_writable
from protocol.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.versus import CaseResult

OURS_COLOUR, OTHERS_COLOUR, DOT_COLOUR = "#1f6f8b", "#b8c4cc", "#222222"


def check_plot_path(path: Path) -> None:
    """Raises `UsageError` when nothing could be drawn to ``path``."""
    if not importlib.util.find_spec("matplotlib"):
        raise UsageError("--plot needs matplotlib: python -m pip install -r requirements-bench.txt")
    check_writable("--plot", path)


def figure(columns: int) -> tuple[Any, list[Any]]:
    """A picture with so many panels beside each other, and the panels."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    drawn, panels = pyplot.subplots(1, columns, figsize=(5 * columns, 3.4), squeeze=False, layout="constrained")
    return drawn, list(panels[0])


def plot_versus(path: Path, cases: Sequence[CaseResult]) -> None:
    """A bar for each contender's median with a dot for each round; rates and CPU beside each other."""
    drawn, panels = figure(2 * len(cases))
    for case, pair in zip(cases, zip(panels[::2], panels[1::2], strict=True), strict=True):
        names = list(case.medians)
        what = f"{case.receivers} receiver{'s' if case.receivers > 1 else ''}, {case.size >> 20} MiB"
        for panel, name_of, unit in ((pair[0], "mib_s", "MiB/s in all"), (pair[1], "cpu_s_per_gib", "CPU s per GiB")):
            colours = [OURS_COLOUR if name == names[0] else OTHERS_COLOUR for name in names]
            heights = [getattr(case.medians[name], name_of) for name in names]
            bars = panel.barh(names[::-1], heights[::-1], color=colours[::-1])
            panel.bar_label(bars, fmt="%.4g", padding=4, fontsize=8)
            for place, name in enumerate(names[::-1]):
                values = [getattr(found[name], name_of) for found in case.rounds]
                panel.plot(values, [place] * len(values), ".", color=DOT_COLOUR, markersize=3)
            panel.margins(x=0.18)
            panel.set_xlim(left=0)
            panel.set_title(f"{what}: {unit}", fontsize=10)
            panel.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, dpi=130)
