"""Whether a peer is alive, and whether it is ready: what who runs it wants to know. Pure."""

from __future__ import annotations

from node.api_messages import StatusReport

SILENT_SECONDS = 10.0
"""A process that says hello every second hangs, or is not there, when it was not heard for so long."""
CHILDREN = ("piece_server", "downloader")


def why_dead(report: StatusReport) -> str:
    """What a restart of the peer may help against, empty for nothing: a process of it that hangs or does not start. Not
    a tracker that is away: a restart of all peers would not bring it back."""
    silent = [(role, report.silent_seconds.get(role, 0.0)) for role in CHILDREN]
    return "; ".join(f"{role} has been silent for {time:.0f} s" for role, time in silent if time > SILENT_SECONDS)


def why_not_ready(report: StatusReport) -> str:
    """Why other peers cannot count on it: it is dead, or no member of the network; empty if they can."""
    if dead := why_dead(report):
        return dead
    if report.network == "joined":
        return ""
    return f"{report.network}: {report.problem}" if report.problem else report.network
