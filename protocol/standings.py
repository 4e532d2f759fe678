"""How a peer stands with a content, or with an order of it, in one or two words. Pure.

Commands of a peer and the tracker's page read it from what lookups tell (PROTOCOL.md, section 5).
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from protocol.messages import DownloadState, Order, StandingEntry

OpenState = Literal["fetching", "checking", "verifying", "waits", "failed"]
State = Literal["has it", "fetching", "checking", "verifying", "waits", "failed", "has not"]
OrderState = Literal["has it", "fetching", "checking", "verifying", "waits", "failed", "has not", "refuses"]
REFUSES = "it accepts no orders: 'rollouts' is not set in its configuration"


def state_of(entry: StandingEntry) -> State:
    """The state of a peer in one or two words."""
    download = entry.download
    if entry.holding == "whole":
        return "has it"
    if download is None or download.state == "done":
        return "has not" if entry.holding is None else "fetching" if entry.holding == "partial" else "waits"
    return open_state(download)


def open_state(download: DownloadState) -> OpenState:
    """The state of a download that is not done."""
    match download.state:
        case "checking" | "verifying" | "failed":
            return download.state
        case "downloading" if download.rate or not download.reason:
            return "fetching"
    return "waits"


def seconds_left(download: DownloadState) -> float | None:
    """The time left at its current rate; None when that says nothing."""
    return (download.length - download.done) / download.rate if download.rate else None


def percent(entry: StandingEntry) -> int | None:
    """Whole percent, 100 only if the peer has all of it; None when it is not known."""
    if entry.holding == "whole":
        return 100
    return None if entry.download is None else percent_of(entry.download.done, entry.download.length)


def percent_of(done: int, length: int) -> int | None:
    """Whole percent of something that is not complete; None when it is not known."""
    return min(99, done * 100 // length) if length else None


def carries_out(order: Order, entry: StandingEntry) -> bool:
    """Whether the peer reports a download for ``order``, in its present attempt."""
    download = entry.download
    return download is not None and download.order == order.order and download.attempt >= order.attempt


def order_state(order: Order, entry: StandingEntry) -> tuple[OrderState, str]:
    """State and reason: for a peer that accepts orders, of this ``order``. That it has the content says nothing about
    the ordered directory; but for an older order, which it does not report any more, there is nothing else to go by."""
    download = entry.download
    if entry.free is None:
        return ("refuses", REFUSES) if entry.holding is None else ("has it", "verified")
    if carries_out(order, entry) and download is not None and download.state != "done":
        return state_of(replace(entry, holding=None)), download.reason
    if entry.holding != "whole":
        return state_of(replace(entry, download=None)), ""
    return "has it", "verified"
