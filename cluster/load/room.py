"""Whether so many clients fit: open files and sockets of each process, entries in all. Checked before anything starts.

Children raise their own soft limit of open files to the hard one (`service.child`), so the hard one is what counts.
"""

from __future__ import annotations

import os
import resource

from protocol.errors import UsageError
from transport.connection_limit import SPARE_COUNT_MAX
from transport.sockets import SOCKETS_COUNT_MAX

PROCESSES_COUNT_MAX = 4
"""Of clients, at each tracker."""
FILES_PER_SOCKET = 2
"""Of a process of clients: a connection, and an event descriptor of libzmq."""
SPARE_COUNT = 100
"""Open files, and sockets, of any process besides these; more than enough."""
ENTRIES_COUNT_MAX = 1_000_000
"""Of all lists together: some 3 GiB in a tracker and in its clients."""


def processes_for(clients: int, idle: bool) -> int:
    """How many processes share the clients of a tracker: as many as there are cores, but few, and as many as it takes
    to have that many sockets."""
    needed = -(-clients // max(1, _clients_of_process(open_files_max(), idle)))
    return max(1, min(PROCESSES_COUNT_MAX, max(os.cpu_count() or 1, needed), clients))


def check_room(clients: int, files: int, idle: bool) -> None:
    """Can so many clients with so many ``files`` each be run? Raises `UsageError` that says what would fit, and what
    to do."""
    if clients * files > ENTRIES_COUNT_MAX:
        raise UsageError(
            f"--files {files}: {clients} clients can have at most {ENTRIES_COUNT_MAX // clients} each, "
            f"{ENTRIES_COUNT_MAX:,} together"
        )
    files_max = open_files_max()
    fitting = clients_fitting(files_max, processes_for(clients, idle), idle)
    if clients > fitting:
        raise UsageError(
            f"--load {clients}: {max(0, fitting)} clients fit, because a process may open {files_max} files at most; "
            f"raise the hard limit (ulimit -Hn, as root, or LimitNOFILE of the service) or start fewer"
        )


def open_files_max() -> int:
    """How many files a process may have open, once it has raised its soft limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else 1_000_000


def clients_fitting(files_max: int, processes: int, idle: bool) -> int:
    """How many clients fit into so many processes of ``files_max`` files each, and into a tracker, which keeps some of
    its files free: a lookup has a connection to each of them, and a registrar another one to those that subscribe to
    the roster, as ``idle`` ones do."""
    of_tracker = (files_max - SPARE_COUNT - SPARE_COUNT_MAX) // (2 if idle else 1)
    return min(processes * _clients_of_process(files_max, idle), of_tracker)


def _clients_of_process(files_max: int, idle: bool) -> int:
    sockets = min((files_max - SPARE_COUNT) // FILES_PER_SOCKET, SOCKETS_COUNT_MAX - SPARE_COUNT)
    return sockets // (3 if idle else 2)
