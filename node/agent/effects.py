"""The effects of the agent's pure cores. `node.agent.core` carries out the inner ones itself, its shell the others."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

from msgspec import Struct

from node.agent.library import KeptOrders, LibraryItem, Origin
from node.api_messages import ApiCollect, ApiReply
from node.disk.share_options import AS_USUAL, ShareOptions
from node.local_messages import AgentToDownloader, AgentToPieceServer, Fetch, Unused
from node.schedule import Override
from protocol.messages import Entry, Order, TransferState

# --- inner: from one core to another ---------------------------------------------------------------------


class Announce(Struct, frozen=True):
    """Put ``entry`` into this peer's file list."""

    entry: Entry


class Withdraw(Struct, frozen=True):
    """Remove the entry of ``digest`` from this peer's file list."""

    digest: str


class ReportTransfer(Struct, frozen=True):
    digest: str
    state: TransferState


class FindTorrents(Struct, frozen=True):
    """Ask for swarms, as of all that this peer was told; the answer comes back with ``tag``."""

    tag: Hashable
    pattern: str
    exact: bool = False


class WantSources(Struct, frozen=True):
    """Keep the downloader informed of the sources of ``digest``; with ``own_too`` including this peer's piece
    server."""

    digest: str
    own_too: bool


class UnwantSources(Struct, frozen=True):
    digest: str


class FindOrders(Struct, frozen=True):
    """Ask for all orders, as of all that this peer was told."""


class RoomMade(Struct, frozen=True):
    """The quota allows get ``job`` to begin, or does not, for the reason ``refusal``."""

    job: int
    refusal: str


# --- outer: for the shell --------------------------------------------------------------------------------


class Note(Struct, frozen=True):
    """Write one line to the log."""

    level: Literal["info", "warning", "error"]
    text: str


class ToPieceServer(Struct, frozen=True):
    message: AgentToPieceServer


class ToDownloader(Struct, frozen=True):
    message: AgentToDownloader


class SaveItem(Struct, frozen=True):
    """Put ``item`` into the library, in place of any item with its path; `AgentCore.item_not_saved` follows if that
    fails."""

    item: LibraryItem


class ForgetItem(Struct, frozen=True):
    path: str


class SaveDownload(Struct, frozen=True):
    """Put ``download`` into the library, in place of any with its destination; `AgentCore.download_saved` or
    `download_not_saved` follows."""

    download: Fetch


class ForgetDownload(Struct, frozen=True):
    dest: str


class StoreSeed(Struct, frozen=True):
    """Check and store the canonical manifest ``seed`` of a content named ``name``; `AgentCore.seed_stored` or
    `seed_refused` follows."""

    job: int
    seed: bytes
    name: str


class HashPath(Struct, frozen=True):
    """Hash ``path``, unless it is as ``known`` says; in the ``background``: nobody waits for it. ``before`` is the item
    that is there, and tells rot from other content. With a ``rate``, in bytes/s (0: no limit), it is an audit: the disk
    is read, and not what is cached of it. `AgentCore.hashed` or `hash_failed` follows."""

    path: str
    algorithm: str
    origin: Origin
    known: LibraryItem | None
    options: ShareOptions = AS_USUAL
    background: bool = False
    before: LibraryItem | None = None
    rate: float | None = None


class CancelHash(Struct, frozen=True):
    path: str


class ScanShares(Struct, frozen=True):
    """Scan what the configuration shares, and the items at ``paths``. `AgentCore.scanned` follows. ``options``, by
    path, are those of items that are not shared with the configured ones."""

    paths: list[str]
    options: dict[str, ShareOptions] = {}


DELETED = "it was deleted"
"""What is wrong with an item when nothing is at its path."""


class CheckItem(Struct, frozen=True):
    """Is ``item`` still on disk as it was hashed? `AgentCore.item_checked` follows."""

    item: LibraryItem


class KeepOrders(Struct, frozen=True):
    """Put ``kept`` into the library; `AgentCore.orders_kept` follows, and with it ``reply`` by its route, or
    `orders_not_kept`."""

    kept: KeptOrders
    reply: tuple[bytes, ApiReply] | None


class PrepareOrder(Struct, frozen=True):
    """Make the directory of ``order`` below ``base``, following no link out of it; `AgentCore.order_prepared` or
    `order_refused` follows."""

    order: Order
    base: str


class MeasureRoom(Struct, frozen=True):
    """How many bytes are free at ``base``, which need not exist yet? `AgentCore.room_measured` follows."""

    base: str


class Downloaded(Struct, frozen=True):
    """A downloaded item: its path, `node.agent.quota.mark_of` it at that time, and whether it is being deleted."""

    path: str
    mark: str
    going: bool = False


class DeleteItem(Struct, frozen=True):
    """Remember ``kept`` as `KeepDownloaded` does, and then delete ``item`` from the disk, if it is just what was
    downloaded; `AgentCore.item_deleted` follows. Without ``kept``: only what an agent left of it that was killed while
    it was deleted."""

    item: LibraryItem
    kept: list[Downloaded] | None = None


class KeepDownloaded(Struct, frozen=True):
    """Remember, for later runs, what was downloaded: the least recently served first."""

    items: list[Downloaded]


class ReplyApi(Struct, frozen=True):
    """Answer the command line's request that came over ``route``."""

    route: bytes
    reply: ApiReply


class CollectSeeds(Struct, frozen=True):
    """Delete, or with a dry run find, all seeds and notes of mends whose digests in hex are not in ``used``, and answer
    ``request`` with these and what has already been ``removed``."""

    route: bytes
    request: ApiCollect
    used: frozenset[str]
    removed: list[Unused]
    left: list[str]


class KeepAway(Struct, frozen=True):
    """Remember, for later runs of the agent, whether the peer was told to leave the network."""

    away: bool


class KeepLimits(Struct, frozen=True):
    """Remember the limits that a person set, for later runs of the agent in this run of the peer; None: none."""

    override: Override | None


class Subscribe(Struct, frozen=True):
    """Follow the roster published at ``endpoint``, and no other."""

    endpoint: str


class Stop(Struct, frozen=True):
    """The peer is to end; it is out of the network."""


Inner = Announce | Withdraw | ReportTransfer | FindTorrents | FindOrders | WantSources | UnwantSources | RoomMade
Outer = (
    Note
    | ToPieceServer
    | ToDownloader
    | SaveItem
    | ForgetItem
    | SaveDownload
    | ForgetDownload
    | StoreSeed
    | HashPath
    | CancelHash
    | CheckItem
    | ScanShares
    | KeepOrders
    | PrepareOrder
    | MeasureRoom
    | DeleteItem
    | KeepDownloaded
    | ReplyApi
    | CollectSeeds
    | KeepAway
    | KeepLimits
    | Subscribe
    | Stop
)
Wish = Inner | Outer
