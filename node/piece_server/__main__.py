"""``python -m node.piece_server``: the piece server process, as the supervisor starts it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from random import SystemRandom

from node.config import PieceServerSettings
from node.host import ProcessHost
from node.identity import RunningMark, load_identity
from node.piece_server.admitted import Admitted
from node.piece_server.disk_files import DiskFiles
from node.piece_server.process import PieceServer, listen_kept
from node.piece_server.reading_threads import ReadingThreads
from service.child import run_child
from transport.curve import Keys
from transport.loop import Loop
from transport.sockets import open_context

log = logging.getLogger(__name__)


def main(settings: PieceServerSettings, loop: Loop) -> int:
    """Run until the loop is stopped."""
    data_dir = Path(settings.data_dir)
    mark = RunningMark(data_dir)
    context = open_context()
    admitted = Admitted()
    keys = Keys(load_identity(data_dir).keys, lambda _role, key: key in admitted) if settings.keyed else None
    host = ProcessHost(loop, context, Path(settings.runtime_dir), keys)
    peers = listen_kept(host, settings.listen, data_dir / "port")
    threads = ReadingThreads(loop)
    server = PieceServer(host, peers, DiskFiles(), threads, SystemRandom(), os.getpid(), admitted)
    log.info("serving pieces on port %d", peers.port)
    try:
        host.run(server.tick)
    finally:
        host.close()
        threads.close()
        context.term()
        mark.release()
    return 0


if __name__ == "__main__":
    run_child("piece_server", PieceServerSettings, main)
