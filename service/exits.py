"""What a child's exit code tells its supervisor.

==========  ==========================================================================================
0           ended because it was told to, by its lifeline or by its own work: all end, with 0
64 + n      could not start, which a restart would only repeat (port in use, bad settings): all end, with n
143         ended in order by a SIGTERM meant for it alone: restarted, as after any signal
other       crashed, or an error while it ran: restarted
==========  ==========================================================================================

n is the ``exit_code`` of the error (`protocol.errors`), 1 to 6.
"""

from __future__ import annotations

import signal

from protocol.errors import ZswarmError

EXIT_STOPPED = 0
EXIT_CRASHED = 1
EXIT_FATAL_BASE = 64
EXIT_FATAL_LAST = EXIT_FATAL_BASE + 15
EXIT_TERMINATED = 128 + signal.SIGTERM
"""As a shell reports a process that SIGTERM ended."""


def fatal_exit(error: ZswarmError) -> int:
    """The exit code of a child that ``error`` kept from starting, which ends it for good."""
    return EXIT_FATAL_BASE + error.exit_code


def final_exit(code: int) -> int | None:
    """The exit code of everything when a child ended with ``code``; None when the child is to be restarted."""
    if code == EXIT_STOPPED:
        return EXIT_STOPPED
    if EXIT_FATAL_BASE < code <= EXIT_FATAL_LAST:
        return code - EXIT_FATAL_BASE
    return None


def describe_exit(code: int) -> str:
    """How a process with ``code`` ended, as `subprocess` gives it: negative for a signal."""
    if code == EXIT_TERMINATED:
        return "ended after SIGTERM"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-code}"
