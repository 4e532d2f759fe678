"""``python -m node.metrics``: serves the figures of a peer over HTTP. Run as a child of the peer's supervisor.

Asks the agent what `status` asks, when somebody scrapes: so nobody waits for a scraper but this process. The only one
of a peer that imports Starlette, uvicorn and prometheus_client: if one of them fails, the peer does not.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from node.config import MetricsSettings
from node.metrics.app import MetricsApp
from node.metrics.asked import Asked
from node.metrics.machine import file_systems
from node.metrics.reading import Reader
from protocol.endpoints import parse_endpoint, reachable_here
from service.child import run_child
from service.web.server import HttpThread
from transport.loop import Loop

CONNECTIONS_COUNT_MAX = 32

_logger = logging.getLogger(__name__)


def main(settings: MetricsSettings, loop: Loop) -> int:
    """Serve until the loop is stopped; 0."""
    reader = Reader(Path(settings.data_dir), os.getppid())
    served = MetricsApp(Asked(reader.read), Asked(lambda: file_systems(settings.directories)), settings.token)
    http = HttpThread(settings.listen, served.app, loop, CONNECTIONS_COUNT_MAX)
    address = parse_endpoint(reachable_here(settings.listen))
    _logger.info("metrics at http://%s:%d/metrics%s", *address, " (with the token)" if settings.token else "")
    try:
        loop.run(lambda _now: None)
    finally:
        http.end()
    return 0


if __name__ == "__main__":
    run_child("metrics", MetricsSettings, main)
