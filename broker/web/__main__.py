"""The process of the tracker's page. Run as a child of the tracker's supervisor.

The only process that imports Starlette, uvicorn, Jinja and prometheus_client: if one of them fails, the tracker does
not.
"""

from __future__ import annotations

import logging
from random import Random

from broker.child_settings import WebSettings
from broker.web.app import Page
from broker.web.desk import STREAMS_COUNT_MAX, Desk
from broker.web.process import PageProcess
from protocol.endpoints import parse_endpoint, reachable_here
from service.child import run_child
from service.web.server import HttpThread
from transport.loop import Loop
from transport.sockets import open_context
from transport.zmq_transport import ZmqTransport

CONNECTIONS_COUNT_MAX = 4 * STREAMS_COUNT_MAX

_logger = logging.getLogger(__name__)


def main(settings: WebSettings, loop: Loop) -> int:
    """Serve the page; 0 when it was told to end."""
    context = open_context()
    transport = ZmqTransport(loop, context)
    desk = Desk()
    process = PageProcess(settings, transport, Random(), desk)
    try:
        desk.answer_by(loop, process.answer)
        http = HttpThread(settings.listen, Page(desk, settings.token).app, loop, CONNECTIONS_COUNT_MAX)
        address = parse_endpoint(reachable_here(settings.listen))
        _logger.info("page at http://%s:%d/%s", *address, " (with its token)" if settings.token else "")
        try:
            transport.run(process.tick)
        finally:
            desk.close()
            http.end()
    finally:
        process.close()
        transport.close()
        context.term()
    return 0


if __name__ == "__main__":
    run_child("web", WebSettings, main)
