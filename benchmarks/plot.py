"""Results as pictures (PNG), by matplotlib, which only those who want pictures have to install."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.small_cases import ONE_FILE_MS_MAX
from cluster.report_file import check_writable
from protocol.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.rounds import CaseResult
    from benchmarks.small import Report
    from benchmarks.small_cases import OneFile

OURS_COLOUR, OTHERS_COLOUR, DOT_COLOUR = "#1f6f8b", "#b8c4cc", "#222222"
SMALL_COLUMNS_COUNT = 3
DOTS_BELOW = 0.25
"""The middle of a bar, where its median is written: in parts of the distance of two."""


def check_plot_path(path: Path) -> None:
    """Raises `UsageError` when nothing could be drawn to ``path``."""
    if not importlib.util.find_spec("matplotlib"):
        raise UsageError("--plot needs matplotlib: python -m pip install -r requirements-bench.txt")
    check_writable("--plot", path)


def figure(count: int, columns: int) -> tuple[Any, list[Any]]:
    """A picture with ``count`` panels, so many beside each other, and the panels."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    rows = -(-count // columns)
    size = (5 * columns, 3.4 * rows)
    drawn, panels = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for panel in panels.flat[count:]:
        panel.set_visible(False)
    return drawn, list(panels.flat[:count])


def plot_versus(path: Path, cases: Sequence[CaseResult]) -> None:
    """A bar for each contender's median with a dot for each round; rates and CPU beside each other."""
    drawn, panels = figure(2 * len(cases), 2 * len(cases))
    for case, pair in zip(cases, zip(panels[::2], panels[1::2], strict=True), strict=True):
        _draw_case(case, pair)
    drawn.savefig(path, dpi=130)


def plot_small(path: Path, report: Report) -> None:
    """One file: how many fetches took how long at most. The tree as above, hashing, restarts."""
    trees, bars = report.tree, []
    if report.hashing is not None:
        rates = {"zswarm": report.hashing.ours, "BLAKE3, one thread": report.hashing.plain}
        bars.append(("Hashing: MiB/s", rates))
    if report.restart is not None:
        starts = {"large file": report.restart.large, "small file": report.restart.small}
        listed = {name: [start.listed_s for start in found] for name, found in starts.items()}
        bars.append((f"Restart, {report.restart.size >> 30} GiB shared: s until listed", listed))
    count = (report.one_file is not None) + 2 * (trees is not None) + len(bars)
    drawn, panels = figure(count, min(count, SMALL_COLUMNS_COUNT))
    if report.one_file is not None:
        _draw_times(panels.pop(0), report.one_file)
    if trees is not None:
        _draw_case(trees, (panels.pop(0), panels.pop(0)))
    for panel, (title, values) in zip(panels, bars, strict=True):
        _draw_bars(panel, title, values, {name: median(found) for name, found in values.items()})
    drawn.savefig(path, dpi=130)


def _draw_times(panel: Any, found: OneFile) -> None:
    colours = {"local API": OURS_COLOUR, "command": OTHERS_COLOUR}
    for (name, colour), values in zip(colours.items(), (found.api_ms, found.command_ms), strict=True):
        if values:
            shares = [100 * (number + 1) / len(values) for number in range(len(values))]
            panel.step(sorted(values), shares, where="post", color=colour, label=f"{name}, {len(values)}")
    panel.axvline(ONE_FILE_MS_MAX, color=DOT_COLOUR, linestyle=":", linewidth=1, label=f"{ONE_FILE_MS_MAX} ms")
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_title(f"One file, {found.size >> 20} MiB: % of fetches within so many ms", fontsize=10)
    panel.legend(fontsize=8, frameon=False, loc="lower right")
    panel.spines[["top", "right"]].set_visible(False)


def _draw_case(case: CaseResult, panels: tuple[Any, Any]) -> None:
    what = f"{case.receivers} receiver{'s' if case.receivers > 1 else ''}, {case.size >> 20} MiB"
    if case.files:
        what += f" in {case.files} files"
    for panel, name_of, unit in ((panels[0], "mib_s", "MiB/s in all"), (panels[1], "cpu_s_per_gib", "CPU s per GiB")):
        values = {name: [getattr(found[name], name_of) for found in case.rounds] for name in case.medians}
        heights = {name: getattr(found, name_of) for name, found in case.medians.items()}
        _draw_bars(panel, f"{what}: {unit}", values, heights)


def _draw_bars(panel: Any, title: str, values: Mapping[str, Sequence[float]], heights: Mapping[str, float]) -> None:
    """The first one is ours."""
    names = list(heights)
    colours = [OURS_COLOUR if name == names[0] else OTHERS_COLOUR for name in names]
    bars = panel.barh(names[::-1], list(heights.values())[::-1], color=colours[::-1])
    panel.bar_label(bars, fmt="%.4g", padding=4, fontsize=8)
    for place, name in enumerate(names[::-1]):
        panel.plot(values[name], [place - DOTS_BELOW] * len(values[name]), ".", color=DOT_COLOUR, markersize=3)
    panel.margins(x=0.18)
    panel.set_xlim(left=0)
    panel.set_title(title, fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
