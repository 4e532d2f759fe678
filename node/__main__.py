"""``zswarm``, or ``python -m node``: the command line; without a command, a peer."""

from __future__ import annotations

import sys

from node.cli.app import main
from node.config import PROGRAM
from service.streams import prepare_streams


def run(program: str) -> int:
    """The command line of this process, which was started as ``program``; the exit code."""
    prepare_streams()
    return main(sys.argv[1:], program=program)


def zswarm() -> int:
    """The command ``zswarm``."""
    return run("zswarm")


if __name__ == "__main__":
    sys.exit(run(PROGRAM))
