"""``python -m node``: the command line; without a command, a peer."""

from __future__ import annotations

import sys

from node.cli.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
