"""Results as pictures (PNG), by matplotlib, which only those who want pictures have to install."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.memory_figures import ROLES
from benchmarks.small_cases import ONE_FILE_MS_MAX
from benchmarks.tracker_figures import CASES, MEMORY_FIGURES, REBUILD_FIGURES
from benchmarks.versus_cases import OURS
from cluster.report_file import check_writable
from protocol.errors import UsageError
from service.units import format_bytes

if TYPE_CHECKING:
    from benchmarks.memory import Report as MemoryReport
    from benchmarks.rounds import CaseResult
    from benchmarks.shaped_rounds import CaseResult as ShapedResult
    from benchmarks.small import Report as SmallReport
    from benchmarks.small_cases import OneFile
    from benchmarks.tracker import Report as TrackerReport

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


def _row_of(count: int) -> tuple[Any, list[Any]]:
    return figure(count, count)


def bars(
    panel: Any,
    title: str,
    heights: Mapping[str, float],
    dots: Mapping[str, Sequence[float]],
    ours: Sequence[str] | None = None,
) -> None:
    """A bar for each name, with a dot for each of its rounds. ``ours`` stand out (None: all are)."""
    names = list(heights)[::-1]
    colours = [OURS_COLOUR if ours is None or name in ours else OTHERS_COLOUR for name in names]
    drawn = panel.barh(names, [heights[name] for name in names], color=colours)
    panel.bar_label(drawn, fmt=_written, padding=4, fontsize=8)
    for place, name in enumerate(names):
        panel.plot(dots[name], [place - DOTS_BELOW] * len(dots[name]), ".", color=DOT_COLOUR, markersize=3)
    panel.margins(x=0.18)
    panel.locator_params(axis="x", nbins=4)
    panel.set_xlim(left=0)
    panel.set_title(title, fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)


def plot_versus(path: Path, cases: Sequence[CaseResult]) -> None:
    """Rates and CPU of everybody beside each other."""
    drawn, panels = figure(2 * len(cases), 2 * len(cases))
    for case, pair in zip(cases, zip(panels[::2], panels[1::2], strict=True), strict=True):
        _draw_case(case, pair)
    save(drawn, path)


def plot_tracker(path: Path, result: TrackerReport) -> None:
    """Requests of each server beside its echo; memory and time of the registries."""
    drawn, panels = _row_of(2 * bool(result.rounds) + 2 * bool(result.registries))
    if result.rounds:
        ours = [case.ours for case in CASES]
        for name_of, title in (("requests_s", "requests a second"), ("cpu_us", "CPU of the server, us a request")):
            heights = {name: getattr(found, name_of) for name, found in result.medians.items()}
            dots = {name: [getattr(found[name], name_of) for found in result.rounds] for name in heights}
            bars(panels.pop(0), title, heights, dots, ours)
    if result.registries:
        title = f"{result.peers:,} peers with {result.files:,} files"
        for unit, figures in (("bytes an entry", MEMORY_FIGURES), ("s after a kill", REBUILD_FIGURES)):
            dots = {text: [value_of(one) for one in result.registries] for text, value_of in figures.items()}
            bars(panels.pop(0), f"{title}: {unit}", {text: median(found) for text, found in dots.items()}, dots)
    save(drawn, path)


def plot_memory(path: Path, result: MemoryReport) -> None:
    """The peaks of each content beside each other, by role."""
    drawn, panels = _row_of(len(result.sizes))
    for panel, (name, size) in zip(panels, result.sizes.items(), strict=True):
        heights = {role: getattr(result.medians[name], role) for role in ROLES}
        dots = {role: [getattr(found[name], role) for found in result.rounds] for role in ROLES}
        bars(panel, f"{format_bytes(size)} from {result.sources} sources: peak MiB", heights, dots)
        panel.set_xlim(0, 1.18 * max(getattr(found, role) for found in result.medians.values() for role in ROLES))
    save(drawn, path)


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def save(drawn: Any, path: Path) -> None:
    drawn.savefig(path, dpi=130)


def plot_small(path: Path, report: SmallReport) -> None:
    """One file: how many fetches took how long at most. The tree as above, hashing, restarts."""
    trees, others = report.tree, list[tuple[str, Mapping[str, Sequence[float]]]]()
    if report.hashing is not None:
        rates = {"zswarm": report.hashing.ours, "BLAKE3, one thread": report.hashing.plain}
        others.append(("Hashing: MiB/s", rates))
    if report.restart is not None:
        starts = {"large file": report.restart.large, "small file": report.restart.small}
        listed = {name: [start.listed_s for start in found] for name, found in starts.items()}
        others.append((f"Restart, {report.restart.size >> 30} GiB shared: s until listed", listed))
    count = (report.one_file is not None) + 2 * (trees is not None) + len(others)
    drawn, panels = figure(count, min(count, SMALL_COLUMNS_COUNT))
    if report.one_file is not None:
        _draw_times(panels.pop(0), report.one_file)
    if trees is not None:
        _draw_case(trees, (panels.pop(0), panels.pop(0)))
    for panel, (title, values) in zip(panels, others, strict=True):
        heights = {name: median(found) for name, found in values.items()}
        bars(panel, title, heights, values, list(heights)[:1])
    save(drawn, path)


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
        bars(panel, f"{what}: {unit}", heights, values, [OURS])


def plot_shaped(path: Path, cases: Sequence[ShapedResult]) -> None:
    """What becomes of each figure with more receivers: lines through the medians, a dot for each round."""
    drawn, panels = figure(4, 2)
    places = [case.receivers for case in cases]
    names = dict.fromkeys(name for case in cases for name in case.medians)
    titles = {
        "last_s": "s until the last one has all of it",
        "of_bound": "the last one's time over the bound",
        "seeder_copies": "the seeder's bytes over the size",
        "cpu_s_per_gib": "CPU s per GiB delivered",
    }
    for panel, (name_of, title) in zip(panels, titles.items(), strict=True):
        for name in names:
            colour = OURS_COLOUR if name == OURS else OTHERS_COLOUR
            heights = [getattr(case.medians[name], name_of) for case in cases]
            panel.plot(places, heights, "-o", color=colour, label=name)
            for case in cases:
                values = [getattr(found[name], name_of) for found in case.rounds]
                panel.plot([case.receivers] * len(values), values, ".", color=DOT_COLOUR, markersize=3)
        if name_of == "last_s":
            panel.plot(places, [case.bound_s for case in cases], ":_", color=DOT_COLOUR, label="bound")
        panel.set_xscale("log", base=2)
        panel.set_xticks(places, [str(place) for place in places])
        panel.set_xlabel("receivers", fontsize=8)
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        panel.set_title(title, fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=8, frameon=False)
    drawn.suptitle(f"{format_bytes(cases[0].size)} over {cases[0].links}", fontsize=11)
    save(drawn, path)
