"""``python -m node.downloader``: the downloader process, as the supervisor starts it."""

from __future__ import annotations

from pathlib import Path

from node.config import DownloaderSettings
from node.downloader.process import Downloader
from node.identity import RunningMark
from service.child import run_child
from transport.loop import Loop
from transport.sockets import open_context


def main(settings: DownloaderSettings, loop: Loop) -> int:
    """Run until the loop is stopped."""
    mark = RunningMark(Path(settings.data_dir))
    context = open_context()
    downloader = Downloader(settings, loop, context)
    try:
        loop.run(downloader.tick)
    finally:
        downloader.close()
        context.term()
        mark.release()
    return 0


if __name__ == "__main__":
    run_child("downloader", DownloaderSettings, main)
