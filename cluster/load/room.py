"""Whether so many clients fit: open files and sockets of each process, entries in all. Checked before anything starts.

Children raise their own soft limit of open files to the hard one (`service.child`), so the hard one is what counts.
"""

from __future__ import annotations

import os
import resource

from protocol.errors import UsageError
from transport.sockets import SOCKETS_COUNT_MAX

PROCESSES_COUNT_MAX = 4
FILES_PER_CLIENT = 4
"""Of a process of clients: two sockets, each with a connection and an event descriptor of libzmq."""
SOCKETS_PER_CLIENT = 2
SPARE_COUNT = 100
"""Open files, and sockets, of any process besides these; more than enough."""


ENTRIES_COUNT_MAX = 1_000_000
"""Of all lists together: some 2 GiB in the processes of clients and tracker."""


def processes_for(clients: int) -> int:
    """How many processes share the clients: as many as there are cores, but few."""
    return max(1, min(PROCESSES_COUNT_MAX, os.cpu_count() or 1, clients))


def check_room(clients: int, files: int) -> None:
    """Can so many clients with so many ``files`` each be run? Raises `UsageError` that says what would fit, and what
    to do."""
    if clients * files > ENTRIES_COUNT_MAX:
        raise UsageError(
            f"--files {files}: {clients} clients can have at most {ENTRIES_COUNT_MAX // clients} each, "
            f"{ENTRIES_COUNT_MAX:,} together"
        )
    files_max = open_files_max()
    fitting = clients_fitting(files_max, processes_for(clients))
    if clients > fitting:
        raise UsageError(
            f"--load {clients}: {max(0, fitting)} clients fit, because a process may open {files_max} files at most; "
            f"raise the hard limit (ulimit -Hn, as root, or LimitNOFILE of the service) or start fewer"
        )


def open_files_max() -> int:
    """How many files a process may have open, once it has raised its soft limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else 1_000_000


def clients_fitting(files_max: int, processes: int) -> int:
    """How many clients fit into so many processes of ``files_max`` files each, and into a tracker: a registrar and a
    lookup have a connection to each of them."""
    files, sockets = files_max - SPARE_COUNT, SOCKETS_COUNT_MAX - SPARE_COUNT
    return min(processes * (files // FILES_PER_CLIENT), processes * (sockets // SOCKETS_PER_CLIENT), files)
