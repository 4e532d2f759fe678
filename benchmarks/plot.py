"""Results as pictures (PNG), by matplotlib, which only those who want pictures have to install."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.versus_cases import OURS
from cluster.report_file import check_writable
from protocol.errors import UsageError
from service.units import format_bytes

if TYPE_CHECKING:
    from benchmarks.rounds import CaseResult
    from benchmarks.shaped_rounds import CaseResult as ShapedResult

OURS_COLOUR, OTHERS_COLOUR, DOT_COLOUR = "#1f6f8b", "#b8c4cc", "#222222"
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
        draw_case(case, pair)
    save(drawn, path)


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def save(drawn: Any, path: Path) -> None:
    drawn.savefig(path, dpi=130)


def draw_case(case: CaseResult, panels: tuple[Any, Any]) -> None:
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
