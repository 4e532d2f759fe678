"""``python -m node.downloader``: the downloader process, as the supervisor starts it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from random import Random

from node.config import DownloaderSettings
from node.disk.disk_store import DiskStore
from node.disk.journal import Journal
from node.downloader.links import FetchLinks
from node.downloader.process import Downloader
from node.host import ProcessHost
from node.identity import RunningMark, load_identity
from service.child import run_child
from transport.curve import Keys, nobody
from transport.loop import Loop
from transport.sockets import open_context


def main(settings: DownloaderSettings, loop: Loop) -> int:
    """Run until the loop is stopped."""
    data_dir = Path(settings.data_dir)
    mark = RunningMark(data_dir)
    context = open_context()
    keys = Keys(load_identity(data_dir).keys, nobody) if settings.keyed else None
    host = ProcessHost(loop, context, Path(settings.runtime_dir), keys)
    journal = Journal(data_dir)
    store, rng = DiskStore(data_dir, journal), Random(secrets.randbits(64))
    links, instance = FetchLinks(host), secrets.randbits(48)
    downloader = Downloader(host, links, store, settings.workers, rng, instance, os.getpid())
    try:
        host.run(downloader.tick)
    finally:
        downloader.close()
        host.close()
        journal.close()
        context.term()
        mark.release()
    return 0


if __name__ == "__main__":
    run_child("downloader", DownloaderSettings, main)
