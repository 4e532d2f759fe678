"""Bugs of the product's cores that somebody might have made, planted on purpose: does the simulated world find them?

Each is what a programmer forgot, in a line or two of the source, and says how soon the simulator finds it. None is in
the simulator itself.
"""

from __future__ import annotations

from tests.cluster.simulated.planted_in_downloads import CONVERSATION, CREDIT, DISK, JOBS, PIECES
from tests.cluster.simulated.planted_in_membership import AGENT, TRACKER
from tests.cluster.simulated.planted_in_uploads import UPLOADS
from tests.cluster.simulated.planting import Bug

BUGS: tuple[Bug, ...] = (*DISK, *JOBS, *PIECES, *CREDIT, *CONVERSATION, *UPLOADS, *AGENT, *TRACKER)
FOUND = tuple(bug for bug in BUGS if bug.seed is not None)
