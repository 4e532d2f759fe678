"""``zswarm``, or ``python -m node``: the command line; without a command, a peer."""

from __future__ import annotations

import signal
import sys


def run(program: str = "") -> int:
    """The command line of this process, which was started as ``program`` (default: as a module); the exit code."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing has begun: what Ctrl-C finds being loaded is no news
    from node.cli.app import main
    from node.config import PROGRAM
    from service.streams import prepare_streams

    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)
    prepare_streams()
    return main(sys.argv[1:], program=program or PROGRAM)


def zswarm() -> int:
    """The command ``zswarm``."""
    return run("zswarm")


if __name__ == "__main__":
    sys.exit(run())
