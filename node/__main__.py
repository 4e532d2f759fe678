"""``python -m node``: the command line; without a command, a peer."""

from __future__ import annotations

import sys

from node.cli.app import main
from service.streams import prepare_streams

if __name__ == "__main__":
    prepare_streams()
    sys.exit(main(sys.argv[1:]))
