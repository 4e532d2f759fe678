"""What /metrics of the tracker says."""

from __future__ import annotations

import re

from broker.web.questions import Figures
from service.web.exposition import Families


def families(figures: Figures, streams: int) -> Families:
    """``streams`` are the viewers of the page."""
    found, tracker, totals = Families("zswarm_tracker_"), figures.tracker, figures.totals
    found.gauge("up", "1 while the page is fed by the registrar.", int(is_fed(figures)))
    found.gauge("start_time_seconds", "When the registrar started, in seconds since 1970.", tracker.started)
    found.gauge("settling", "1 while members may be missing after a start.", int(tracker.state == "settling"))
    found.gauge("replica_silent_seconds", "Since the registrar was last heard.", tracker.silent_seconds)
    found.gauge("lookups", "Lookup processes that are configured.", tracker.lookups)
    found.gauge("lookups_following", "Lookup processes that can answer.", tracker.lookups_following)
    found.counter("changes", "Numbered changes of the registry since the registrar's start.", tracker.changes)
    requests = {_snake(kind): count for kind, count in tracker.requests.items()}
    found.counters("requests", "Requests of peers by kind.", "kind", requests)
    gone = {"left": figures.left, "silent": figures.lost}
    found.counters("peers_gone", "Peers that left, or fell silent, since the page started.", "why", gone)
    found.gauge("page_streams", "Viewers of the page.", streams)
    if totals is None:
        return found
    found.gauge("peers", "Members of the network.", totals.peers)
    found.gauge("contents", "Contents that somebody has or wants.", totals.contents)
    text = "Contents that somebody has a part of or wants, and nobody has whole."
    found.gauge("contents_without_seeder", text, figures.without_seeder)
    text = "Contents in all peers' lists, by what the peer has of them."
    found.gauges("entries", text, "holding", figures.holdings)
    found.gauges("downloads", "Downloads that peers report, by state.", "state", figures.downloads)
    found.gauge("download_rate_bytes_per_second", "All downloads together.", totals.rate)
    found.gauge("upload_sessions", "Upload sessions that peers report.", totals.uploads)
    found.gauge("orders", "Orders that peers give.", totals.orders)
    return found


def is_fed(figures: Figures) -> bool:
    """Whether the replica is there and hears from the registrar."""
    return figures.totals is not None and figures.tracker.state not in ("starting", "silent")


def _snake(kind: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
