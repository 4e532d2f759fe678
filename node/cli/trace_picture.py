"""The timeline of a download as a picture (PNG), by matplotlib, which only those who want pictures have to install."""

from __future__ import annotations

import importlib
import importlib.util
import io
import warnings
from collections.abc import Sequence
from typing import Any

from node.client.timeline import CORRUPT, Slice, Timeline, Track
from protocol.errors import UsageError

ROWS_MAX = 48
"""Tracks that are drawn; the sources that began last are left out."""
COLOURS = {
    "assigned": "#1f6f8b",
    "pushed": "#59a5b8",
    "asked for": "#e0a030",
    "reused": "#8a8f98",
    CORRUPT: "#d62839",
    "hash": "#7a5ea8",
    "write": "#4b8b3b",
    "sources": "#c9d6df",
    "hashing and writing": "#c3a5e3",
    "the rate limit": "#e07a3f",
    "resolving": "#e8e4d8",
    "checking": "#cfc8b2",
    "downloading": "#dfe7ec",
    "verifying": "#b5ab8b",
    "paused": "#d9a0a0",
    "check": "#cfc8b2",
    "sync": "#8d9bb0",
    "verify": "#b5ab8b",
}
OTHER_COLOUR = "#b8b8b8"
HELD_BACK = "held back by"
LABELLED = ("phase", "disk")
"""Tracks whose slices have their text in them, where it fits, and are not in the legend."""
ROW_INCHES, WIDTH_INCHES, RATE_INCHES, MARGIN_INCHES = 0.27, 13.0, 1.3, 1.5
DOTS_PER_INCH = 150
EDGE_PIXELS = 4
"""Slices that are at least so wide on average have edges."""
CHARACTER_PART = 0.0055
"""What a character of a label takes of the width."""
TEXT_AS_IT_IS = {"text.parse_math": False, "text.usetex": False}
"""Names are text: a ``$`` in them is no formula."""


def check_can_draw() -> None:
    """`UsageError` when matplotlib is not there."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--png needs matplotlib: python -m pip install 'zswarm[trace]'")


def picture(made: Timeline, title: str) -> bytes:
    """The picture as a PNG file, whatever the user's own settings of matplotlib are."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    with warnings.catch_warnings(), pyplot.style.context(["default", TEXT_AS_IT_IS]):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a letter that its fonts do not have is a box
        return _png(pyplot, made, title)


def _png(pyplot: Any, made: Timeline, title: str) -> bytes:
    tracks, left_out = _chosen(made.tracks)
    height = MARGIN_INCHES + RATE_INCHES + ROW_INCHES * len(tracks)
    figure, (rows, rate) = pyplot.subplots(
        2,
        1,
        sharex=True,
        figsize=(WIDTH_INCHES, height),
        layout="constrained",
        height_ratios=[ROW_INCHES * len(tracks) + 0.1, RATE_INCHES],
    )
    try:
        kinds = _draw_rows(rows, tracks, made.seconds)
        _draw_rate(rate, made)
        figure.suptitle(f"{title}; {left_out} sources are not shown" if left_out else title, fontsize=11, ha="center")
        patch = importlib.import_module("matplotlib.patches").Patch
        words = {kind: f"{HELD_BACK} {kind}" if track == HELD_BACK else kind for kind, track in kinds.items()}
        handles = [patch(color=COLOURS[kind], label=words[kind]) for kind in COLOURS if kind in words]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=DOTS_PER_INCH)
    finally:
        pyplot.close(figure)
    return data.getvalue()


def _chosen(tracks: Sequence[Track]) -> tuple[list[Track], int]:
    """Those to be drawn, and how many sources are not."""
    sources = [track for track in tracks if track.group == "sources"]
    others = [track for track in tracks if track.group != "sources"]
    room = max(1, ROWS_MAX - len(others))
    return [*sources[:room], *others], max(0, len(sources) - room)


def _draw_rows(panel: Any, tracks: Sequence[Track], seconds: float) -> dict[str, str]:
    """Returns the kinds of slices that need to be explained, each with a track that has it."""
    for place, track in enumerate(tracks):
        by_colour: dict[str, list[Slice]] = {}
        for one in track.slices:
            by_colour.setdefault(COLOURS.get(one.kind, OTHER_COLOUR), []).append(one)
        width = sum(one.end - one.start for one in track.slices) / max(1, len(track.slices))
        has_edges = width > 0 and width / max(seconds, 1e-9) * WIDTH_INCHES * DOTS_PER_INCH >= EDGE_PIXELS
        for colour, slices in by_colour.items():
            spans = [(one.start, one.end - one.start) for one in slices]
            edges = {"edgecolor": "white", "linewidth": 0.4} if has_edges else {"edgecolor": colour, "linewidth": 0.3}
            panel.broken_barh(spans, (place - 0.4, 0.8), facecolor=colour, **edges)
        if track.title in LABELLED:
            _label(panel, place, track.slices, seconds)
        wrong = [mark.at for mark in track.marks if mark.text != "connected"]
        panel.plot(wrong, [place] * len(wrong), "x", color=COLOURS[CORRUPT], markersize=6)
    panel.set_yticks(range(len(tracks)), [track.title[:40] for track in tracks], fontsize=8)
    panel.set_ylim(len(tracks) - 0.4, -0.6)
    machine = sum(track.group == "sources" for track in tracks)
    panel.axhline(machine - 0.5, color="#888888", linewidth=0.8)
    panel.set_xlim(0, seconds or 1.0)
    panel.grid(axis="x", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    return {one.kind: track.title for track in tracks if track.title not in LABELLED for one in track.slices}


def _label(panel: Any, place: int, slices: Sequence[Slice], seconds: float) -> None:
    for one in slices:
        if one.end - one.start >= CHARACTER_PART * len(one.text) * seconds:
            middle = (one.start + one.end) / 2
            panel.text(middle, place, one.text, ha="center", va="center", fontsize=7, clip_on=True)


def _draw_rate(panel: Any, made: Timeline) -> None:
    moments, rates = [at for at, _ in made.rates], [rate / 2**20 for _, rate in made.rates]
    panel.fill_between(moments, rates, step="post", color=COLOURS["pushed"], alpha=0.6)
    panel.set_ylabel("MiB/s verified", fontsize=8)
    panel.set_xlabel("seconds", fontsize=8)
    panel.set_ylim(bottom=0)
    panel.tick_params(labelsize=8)
    panel.grid(color="#dddddd", linewidth=0.6)
