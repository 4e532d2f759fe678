"""``python -m node.piece_server``: the piece server process, as the supervisor starts it."""

from __future__ import annotations

import logging
from pathlib import Path

from node.config import PieceServerSettings
from node.identity import RunningMark
from node.piece_server.process import PieceServer
from service.child import run_child
from transport.loop import Loop
from transport.sockets import open_context

log = logging.getLogger(__name__)


def main(settings: PieceServerSettings, loop: Loop) -> int:
    """Run until the loop is stopped."""
    mark = RunningMark(Path(settings.data_dir))
    context = open_context()
    server = PieceServer(settings, loop, context)
    log.info("serving pieces on port %d", server.port)
    try:
        loop.run(server.tick)
    finally:
        server.close()
        context.term()
        mark.release()
    return 0


if __name__ == "__main__":
    run_child("piece_server", PieceServerSettings, main)
