"""Figures of a tracker, for what is made of them."""

from __future__ import annotations

from broker.web.questions import Figures
from broker.web.rows import Totals, TrackerRow

FIGURES = Figures(
    tracker=TrackerRow(
        state="ok",
        reason="",
        started=1_800_000_000.0,
        uptime_seconds=60.0,
        silent_seconds=0.4,
        changes=7,
        lookups=1,
        lookups_following=1,
        requests={"Heartbeat": 7},
        requests_per_second=1.0,
    ),
    totals=Totals(peers=3, contents=2, entries=4, downloads=1, failed=0, rate=100, uploads=1, orders=0),
    downloads={"downloading": 1, "failed": 0, "done": 0},
    holdings={"whole": 3, "partial": 1, "requesting": 0},
    lost=0,
    left=0,
    without_seeder=0,
)
