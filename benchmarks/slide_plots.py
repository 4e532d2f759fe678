"""The plots of the slides, as SVG."""

from __future__ import annotations

import importlib
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks import slide_figures
from benchmarks.plot import OTHERS_COLOUR, OURS_COLOUR, figure

TARGET_COLOUR = "#d97706"
LETTERS = {"font.size": 19, "svg.hashsalt": "zswarm"}


def draw_all(performance: str, directory: Path) -> None:
    """Writes each plot into ``directory``; ``performance`` is the text of PERFORMANCE.md. Raises `UsageError` when a
    section is not there."""
    for name, draw in PLOTS.items():
        with importlib.import_module("matplotlib").rc_context(LETTERS):
            drawn = draw(performance)
            drawn.savefig(directory / name, metadata={"Date": None})
            importlib.import_module("matplotlib.pyplot").close(drawn)


def slow_links(performance: str) -> Any:
    """The range of what was measured for each number of receivers, and the target."""
    found = slide_figures.slow_links(performance)
    drawn, (panel,) = _panels(1, (8, 5))
    for place, (_, least, most, target) in enumerate(found):
        panel.barh(place, most - least, left=least, height=0.45, color=OURS_COLOUR)
        panel.text(most + 0.03, place, f"{least:.2f} to {most:.2f}", va="center")
        panel.plot([target, target], [place - 0.36, place + 0.36], color=TARGET_COLOUR, linewidth=5)
    panel.set_yticks(range(len(found)), [spread.swarm for spread in found])
    panel.plot([], [], color=TARGET_COLOUR, linewidth=5, label="target")
    panel.barh(0, 0, color=OURS_COLOUR, label="measured")
    panel.legend(frameon=False, loc="upper right")
    panel.set_xlim(1, 1.3 * max(spread.most for spread in found))
    panel.set_xlabel("last receiver's time / least possible")
    return drawn


def loopback(performance: str) -> Any:
    """A panel for each content that was copied: a bar for each contender and day."""
    found = slide_figures.loopback(performance)
    names = [f"{one.name}\n" + fill(f"verifies {one.verifies}", 30) for one in found]
    drawn, panels = _panels(len(found[0].rates), (9, 5.1))
    for panel, what in zip(panels, found[0].rates, strict=True):
        for place, one in enumerate(found):
            days = one.rates[what]
            thick = 0.8 / len(days)
            places = [place + thick * (day - (len(days) - 1) / 2) for day in range(len(days))]
            bars = panel.barh(places, days, height=0.9 * thick, color=OTHERS_COLOUR if place else OURS_COLOUR)
            panel.bar_label(bars, fmt="%.0f", padding=4)
        panel.set_title(what, fontsize="medium")
        panel.set_yticks(range(len(found)), names if panel is panels[0] else [""] * len(found))
        _hide_scale(panel)
        panel.margins(x=0.2)
    return drawn


def targets(performance: str) -> Any:
    """Of each section, how many targets were met and how many missed."""
    found = slide_figures.targets(performance)
    titles = [fill(title, 15) for title in found]
    met, missed = ([verdicts[part] for verdicts in found.values()] for part in (0, 1))
    drawn, (panel,) = _panels(1, (6.2, 4.8))
    panel.barh(titles, met, color=OURS_COLOUR, label="met", height=0.7)
    panel.barh(titles, missed, left=met, color=TARGET_COLOUR, label="missed", height=0.7)
    for bars, counts in zip(panel.containers, (met, missed), strict=True):
        labels = [str(count) if count else "" for count in counts]
        panel.bar_label(bars, labels, label_type="center", color="white", fontweight="bold")
    panel.legend(frameon=False, loc="lower right")
    _hide_scale(panel)
    return drawn


def _panels(count: int, inches: tuple[float, float]) -> tuple[Any, list[Any]]:
    """The first row of each is on top."""
    drawn, panels = figure(count, count)
    drawn.set_size_inches(*inches)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.invert_yaxis()
    return drawn, panels


def _hide_scale(panel: Any) -> None:
    """Where each bar has its value."""
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)


PLOTS = {"slow-links.svg": slow_links, "loopback.svg": loopback, "targets.svg": targets}
"""By the name that the slides use."""
