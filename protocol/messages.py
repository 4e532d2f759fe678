"""Every message between tracker and peers and between peers. ``docs/PROTOCOL.md`` gives them their meaning.

A message is one msgpack map: ``{"v": 1, "t": "Join", ...fields}``. Field types carry their bounds, so a value
that got past the codec is inside them. Digests are ``algorithm:hex`` text (`protocol.digest`), times are
seconds, sizes bytes. ``id`` is chosen by whoever asks and echoed by every reply; any request may be repeated.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import limits as lim
from protocol.discreet import Discreet
from protocol.grid import Mate

Count = Annotated[int, Meta(ge=0, le=2**53)]
Length = Annotated[int, Meta(ge=0, le=lim.CONTENT_BYTES_MAX)]
PieceIndex = Annotated[int, Meta(ge=0, lt=lim.PIECES_COUNT_MAX)]
DigestText = Annotated[str, Meta(max_length=71, pattern=r"^(blake3|sha256):[0-9a-f]{64}\Z")]
PeerId = Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX, pattern=r"^[0-9a-zA-Z_.-]+\Z")]
OptionalPeerId = Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX, pattern=r"^[0-9a-zA-Z_.-]*\Z")]
PeerName = Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)]
FileName = Annotated[str, Meta(min_length=1, max_length=lim.NAME_BYTES_MAX)]
Run = Count
"""Which run of its agent a peer's request is of; 0: not stated."""
Token = Annotated[bytes, Meta(min_length=lim.TOKEN_BYTES_MIN, max_length=lim.TOKEN_BYTES_MAX)]
KeyText = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-f]{64}\Z")]
OptionalKey = Annotated[str, Meta(max_length=64, pattern=r"^([0-9a-f]{64})?\Z")]
"""A public key (`protocol.keys`); empty in a network without keys."""
Endpoint = Annotated[str, Meta(max_length=lim.ENDPOINT_BYTES_MAX)]
Detail = Annotated[str, Meta(max_length=lim.DETAIL_BYTES_MAX)]
Seconds = Annotated[float, Meta(ge=0, le=1e6)]
Bits = Annotated[bytes, Meta(max_length=lim.PIECES_COUNT_MAX // 8)]

Signature = Annotated[bytes, Meta(max_length=lim.SIGNATURE_BYTES)]
"""A signature of the content under the name (`protocol.signature`), or empty. Not verified: it may be any bytes."""
Moment = Count
"""When a content was announced under a name: microseconds since 1970 by the registrar's clock, no two alike. 0: it was
not, or not known."""
ANEW = 1
"""In place of a `Moment`: it is announced anew, whatever was known of it before."""

Holding = Literal["whole", "partial", "requesting"]
Cell = Count | None
TransferState = Literal["requesting", "started", "finished", "failed"]
DownloadPhase = Literal["resolving", "waiting", "checking", "downloading", "verifying", "paused", "failed", "done"]
"""``resolving``: it has no manifest yet. One that has ended well is told of by the list of its peer; as ``done`` only
if it carries out an order."""
Sender = tuple[
    Annotated[str, Meta(max_length=lim.SENDER_DIGITS, pattern=r"^[0-9a-zA-Z_.-]+\Z")],
    Annotated[int, Meta(ge=0, le=100)],
]
"""The beginning of a peer's id, and how many per cent of the rate come from it."""


class Message(Discreet, Struct, frozen=True, tag_field="t", tag=True):
    """Base of all messages; the class name is the tag ``t``."""


class Error(Message, frozen=True):
    """A request was refused. ``code`` is for programs, ``detail`` a sentence that helps a person."""

    id: Count
    code: Annotated[str, Meta(max_length=32)]
    detail: Detail


# --- peer and registrar ----------------------------------------------------------------------------------


class Alias(Struct, frozen=True, omit_defaults=True):
    """A further name of a content, and the manifest it goes with: another one if the same bytes have other paths.
    ``announced`` as in `Entry`. A name that several keys have signed is there once for each."""

    name: FileName
    manifest: DigestText
    announced: Moment = 0
    signature: Signature = b""


Aliases = Annotated[tuple[Alias, ...], Meta(max_length=lim.ALIASES_COUNT_MAX)]


class Entry(Struct, frozen=True, omit_defaults=True):
    """One line of a peer's file list: what it has, has part of, or asked for. ``announced``: what the registrar has
    said of its first name (0: nothing yet), or `ANEW`; ``signature`` is of that name."""

    digest: DigestText
    manifest: DigestText
    name: FileName
    length: Length
    holding: Holding
    aliases: Aliases = ()
    announced: Moment = 0
    signature: Signature = b""

    def names(self) -> list[Alias]:
        """All of its names."""
        return [Alias(self.name, self.manifest, self.announced, self.signature), *self.aliases]


Moments = Annotated[list[Moment], Meta(max_length=lim.NAMES_PAGE_COUNT)]
"""Of all names of all entries of a request, in its order; empty from a registrar that has none."""
EntryPage = Annotated[list[Entry], Meta(max_length=lim.ENTRIES_PAGE_COUNT)]


class Join(Message, frozen=True):
    """A peer wants in. ``endpoint`` is where it serves pieces; a host of ``*`` means "the address you see".

    With its list the peer's ``run`` is the member, and a run that was one before is refused from then on."""

    id: Count
    peer: PeerId
    token: Token
    name: PeerName
    endpoint: Endpoint
    run: Run = 0


class Enrol(Message, frozen=True):
    """Let the peer with the public ``key`` into the network, by the invite whose key this connection has. ``name`` is
    for people."""

    id: Count
    key: KeyText
    name: PeerName = ""


class Enrolled(Message, frozen=True):
    """The key is let in, and stays so when the tracker starts again."""

    id: Count


class ListRequest(Message, frozen=True):
    """Send your whole file list as `FileList` pages that name this ``list_id``."""

    id: Count
    list_id: Count


class FileList(Message, frozen=True):
    """Page ``page`` (from 0) of a whole list as of list ``version``."""

    id: Count
    peer: PeerId
    token: Token
    list_id: Count
    page: Count
    last: bool
    version: Count
    entries: EntryPage
    run: Run = 0


class PageOk(Message, frozen=True, omit_defaults=True):
    """The page was taken; send the next. ``announced`` is of its entries."""

    id: Count
    list_id: Count
    page: Count
    announced: Moments = []


class Welcome(Message, frozen=True, omit_defaults=True):
    """The whole list was taken; the peer is a member until its lease runs out without a heartbeat. ``announced`` is of
    the entries of its last page."""

    id: Count
    epoch: Count
    seq: Count
    lease_seconds: Seconds
    heartbeat_seconds: Seconds
    endpoint: Endpoint
    roster: Endpoint
    lookups: Annotated[list[Endpoint], Meta(max_length=64)]
    announced: Moments = []


class DownloadState(Struct, frozen=True, omit_defaults=True):
    """A download for people to read of: ``done`` of ``length`` bytes are verified, ``rate`` in bytes a second, from
    ``sources`` peers, of which ``senders`` send most. ``reason`` is why it waits, or failed. It carries out ``attempt``
    of ``order``, if that is not empty."""

    digest: DigestText
    state: DownloadPhase
    length: Length = 0
    done: Length = 0
    rate: Count = 0
    sources: Count = 0
    reason: Annotated[str, Meta(max_length=lim.REASON_BYTES_MAX)] = ""
    order: OptionalPeerId = ""
    attempt: Count = 0
    senders: Annotated[list[Sender], Meta(max_length=lim.SENDERS_TOLD_COUNT_MAX)] = []


class Order(Struct, frozen=True, omit_defaults=True):
    """A content that its giver wants other peers to have: all that accept orders, or those whose name matches the
    pattern ``peers`` (`protocol.orders`). Each puts it into ``directory``, below the place where it has such things,
    with ``force`` in place of other content. A higher ``attempt`` of the same ``order``: who failed tries again.
    ``cancelled``: who has not all of it stops, and deletes what there is."""

    order: PeerId
    digest: DigestText
    manifest: DigestText
    name: FileName
    length: Length
    directory: Annotated[str, Meta(max_length=lim.ORDER_DIRECTORY_BYTES_MAX)] = ""
    peers: Annotated[str, Meta(max_length=lim.ORDER_PATTERN_BYTES_MAX)] = ""
    force: bool = False
    attempt: Count = 1
    cancelled: bool = False


class OtherTracker(Struct, frozen=True, omit_defaults=True):
    """Another tracker of a peer, at the ``endpoint`` that it is configured with (the beginning of one that is very
    long); whether the peer is its member now."""

    endpoint: Annotated[str, Meta(max_length=lim.TRACKER_TOLD_BYTES_MAX)]
    joined: bool = True


OtherTrackers = Annotated[tuple[OtherTracker, ...], Meta(max_length=lim.TRACKERS_COUNT_MAX)]


class Heartbeat(Message, frozen=True, omit_defaults=True):
    """Still here, with list ``version``; ``load`` is the number of upload sessions open, a figure for people, and so
    are ``downloads``: those under way or that failed lately. None: they are as last told. ``free``: it accepts orders,
    and so many bytes are free where it puts them. ``orders``: those it gives; None: they are as last told. ``rate``:
    bytes a second, of its last download for which that says something; 0: it has had none. ``others``: its trackers
    but for this one."""

    id: Count
    peer: PeerId
    token: Token
    version: Count
    load: Count
    run: Run = 0
    downloads: Annotated[list[DownloadState], Meta(max_length=lim.DOWNLOADS_TOLD_COUNT_MAX)] | None = None
    free: Count | None = None
    orders: Annotated[list[Order], Meta(max_length=lim.ORDERS_TOLD_COUNT_MAX)] | None = None
    rate: Count = 0
    others: OtherTrackers = ()


class Rejoin(Message, frozen=True):
    """The registrar does not know this peer (restart, expiry): join again."""

    id: Count


class Update(Message, frozen=True):
    """List version ``base`` becomes ``version``: first ``removed`` goes, then ``added`` is set."""

    id: Count
    peer: PeerId
    token: Token
    base: Count
    version: Count
    added: EntryPage
    removed: Annotated[list[DigestText], Meta(max_length=lim.ENTRIES_PAGE_COUNT)]
    run: Run = 0


class Transfer(Message, frozen=True):
    """A download of this peer changed state. ``started`` makes it a partial source."""

    id: Count
    peer: PeerId
    token: Token
    digest: DigestText
    state: TransferState
    run: Run = 0


class Leave(Message, frozen=True):
    """Forget me and every entry of mine."""

    id: Count
    peer: PeerId
    token: Token
    run: Run = 0


class Goodbye(Message, frozen=True):
    """Every entry of the peer is gone as of ``seq``."""

    id: Count
    epoch: Count
    seq: Count


class Ok(Message, frozen=True, omit_defaults=True):
    """Done as of registry sequence ``seq``; a lookup that has reached it shows the effect. ``announced`` is of the
    entries that an `Update` added."""

    id: Count
    epoch: Count
    seq: Count
    announced: Moments = []


MemberRequest = Join | FileList | Heartbeat | Update | Transfer | Leave
RegistrarRequest = MemberRequest | Enrol
RegistrarReply = ListRequest | PageOk | Welcome | Rejoin | Ok | Goodbye | Enrolled | Error

# --- peer and lookup -------------------------------------------------------------------------------------


class TorrentEntry(Struct, frozen=True):
    """One swarm under one name, with one signature of that or none: how many peers have it whole, have part of it,
    asked for it. ``announced``: when it was last announced anew under that name; 0: nobody who has any of it calls it
    so."""

    name: FileName
    length: Length
    digest: DigestText
    manifest: DigestText
    have: Count
    partial: Count
    requesting: Count
    announced: Moment = 0
    signature: Signature = b""


class SeederEntry(Struct, frozen=True, omit_defaults=True):
    """One source of a swarm; who dials it finds ``key`` there. ``cell``: its place in the grid (`protocol.grid`), if it
    is or was a receiver."""

    peer: PeerId
    name: PeerName
    endpoint: Endpoint
    whole: bool
    key: OptionalKey = ""
    cell: Cell = None


class PeerEntry(Struct, frozen=True, omit_defaults=True):
    """One member of the network; counts are of its list entries, ``load`` is the number of its upload sessions."""

    peer: PeerId
    name: PeerName
    endpoint: Endpoint
    have: Count
    partial: Count
    requesting: Count
    load: Count
    key: OptionalKey = ""


class StandingEntry(Struct, frozen=True, omit_defaults=True):
    """How a member stands with one content: what it has of it, and how its download of it goes, if it tells of one.
    ``free`` and ``rate`` as in its last heartbeat."""

    peer: PeerId
    name: PeerName
    holding: Holding | None = None
    download: DownloadState | None = None
    free: Count | None = None
    rate: Count = 0


class GetTorrentList(Message, frozen=True):
    """Swarms whose name contains ``pattern`` (case-insensitive; a pattern with ``*`` or ``?`` matches as a shell
    glob; ``exact`` compares the whole name; a digest matches the swarm of that content). Sorted by (name, digest);
    ``after`` is the last reply's ``next``."""

    id: Count
    pattern: Annotated[str, Meta(max_length=lim.PATTERN_BYTES_MAX)] = ""
    exact: bool = False
    after: Annotated[str, Meta(max_length=lim.CURSOR_BYTES_MAX)] = ""
    epoch: Count = 0
    min_seq: Count = 0


class TorrentList(Message, frozen=True):
    """``next`` is empty on the last page. ``settling``: the tracker restarted less than a lease ago."""

    id: Count
    epoch: Count
    seq: Count
    settling: bool
    entries: Annotated[list[TorrentEntry], Meta(max_length=lim.REPLY_PAGE_COUNT)]
    next: Annotated[str, Meta(max_length=lim.CURSOR_BYTES_MAX)]


class GetSeederList(Message, frozen=True):
    """Who has content ``digest``, whole or in part, other than ``peer`` itself?"""

    id: Count
    digest: DigestText
    peer: Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)] = ""
    epoch: Count = 0
    min_seq: Count = 0


class SeederList(Message, frozen=True, omit_defaults=True):
    """``total`` sources are known, of which ``seeders`` is all, or those in the row and column of who asks and a random
    sample of the others. ``cell`` is that of who asks, and there are ``cells``."""

    id: Count
    epoch: Count
    seq: Count
    settling: bool
    total: Count
    seeders: Annotated[list[SeederEntry], Meta(max_length=lim.SEEDERS_COUNT_MAX)]
    cell: Cell = None
    cells: Count = 0


class GetPeerList(Message, frozen=True):
    """Members sorted by id; ``after`` is the last reply's ``next``."""

    id: Count
    after: Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)] = ""
    epoch: Count = 0
    min_seq: Count = 0


class PeerList(Message, frozen=True):
    id: Count
    epoch: Count
    seq: Count
    settling: bool
    peers: Annotated[list[PeerEntry], Meta(max_length=lim.REPLY_PAGE_COUNT)]
    next: Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)]


class GetStandingList(Message, frozen=True):
    """How does every member stand with content ``digest``? Sorted by id; ``after`` is the last reply's ``next``."""

    id: Count
    digest: DigestText
    after: Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)] = ""
    epoch: Count = 0
    min_seq: Count = 0


class StandingList(Message, frozen=True):
    id: Count
    epoch: Count
    seq: Count
    settling: bool
    peers: Annotated[list[StandingEntry], Meta(max_length=lim.REPLY_PAGE_COUNT)]
    next: Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)]


class OrderEntry(Struct, frozen=True):
    """An order, and who gives it."""

    peer: PeerId
    name: PeerName
    order: Order


class GetOrderList(Message, frozen=True):
    """All orders, sorted by who gives them; ``after`` is the last reply's ``next``."""

    id: Count
    after: Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)] = ""
    epoch: Count = 0
    min_seq: Count = 0


class OrderList(Message, frozen=True):
    id: Count
    epoch: Count
    seq: Count
    settling: bool
    entries: Annotated[list[OrderEntry], Meta(max_length=lim.ORDERS_PAGE_COUNT)]
    next: Annotated[str, Meta(max_length=lim.PEER_ID_BYTES_MAX)]


class Behind(Message, frozen=True):
    """The replica did not reach ``min_seq`` in time; it is at (epoch, seq). Ask again."""

    id: Count
    epoch: Count
    seq: Count


LookupRequest = GetTorrentList | GetSeederList | GetPeerList | GetStandingList | GetOrderList
LookupReply = TorrentList | SeederList | PeerList | StandingList | OrderList | Behind | Error

# --- roster on PUB ---------------------------------------------------------------------------------------


class PeerJoined(Message, frozen=True, omit_defaults=True):
    peer: PeerId
    name: PeerName
    endpoint: Endpoint
    key: OptionalKey = ""


class PeerLeft(Message, frozen=True):
    """``expired``: the lease ran out; otherwise the peer said goodbye."""

    peer: PeerId
    expired: bool


class SourceAdded(Message, frozen=True, omit_defaults=True):
    """``peer`` now has ``digest`` whole or in part, ``announced`` last at that moment under one of its names there."""

    digest: DigestText
    peer: PeerId
    name: PeerName
    endpoint: Endpoint
    whole: bool
    announced: Moment = 0
    key: OptionalKey = ""
    cell: Cell = None


class SourceRemoved(Message, frozen=True, omit_defaults=True):
    """``peer`` has nothing of ``digest``. With a ``cell`` it wants it."""

    digest: DigestText
    peer: PeerId
    cell: Cell = None


class OrdersChanged(Message, frozen=True):
    """``peer`` gives other orders than before."""

    peer: PeerId


class Beat(Message, frozen=True):
    """The registrar is alive; a ``seq`` beyond the last event seen means events were lost."""


RosterEvent = PeerJoined | PeerLeft | SourceAdded | SourceRemoved | OrdersChanged | Beat


class Roster(Struct, frozen=True):
    """What is published: the event with its place in the one global sequence."""

    epoch: Count
    seq: Count
    event: RosterEvent


# --- downloader and piece server -------------------------------------------------------------------------


class Test(Message, frozen=True, omit_defaults=True):
    """Do you still have this? Opens session ``session`` of this connection or, if it has ``begun`` with `Follow`, keeps
    it alive. ``peer`` is who is asked; empty: whoever is there."""

    session: Count
    digest: DigestText
    peer: OptionalPeerId = ""
    begun: bool = False


class Status(Message, frozen=True, omit_defaults=True):
    """Answer to `Test`, or said unasked. ``bits`` is the bitfield when ``state`` is partial, empty otherwise; ``later``
    means ask again; ``other_peer`` that another peer is here than the one that was asked. ``stock``: it has pieces to
    assign; ``alone``: nobody else fetches from it; ``idle``: it has nothing to send."""

    session: Count
    state: Literal["complete", "partial", "later", "no", "other_peer"]
    bits: Bits = b""
    stock: bool = False
    alone: bool = False
    idle: bool = False


class GetManifest(Message, frozen=True, omit_defaults=True):
    """Page ``page`` of the manifest whose digest is ``manifest``, of content ``digest``. ``peer`` as in `Test`."""

    session: Count
    digest: DigestText
    manifest: DigestText
    page: Count
    peer: OptionalPeerId = ""


class ManifestPage(Message, frozen=True):
    """``total`` bytes in all; ``total`` 0 means this source has the content under another manifest. One that does not
    have the content answers with `Status` ``no``."""

    session: Count
    page: Count
    total: Annotated[int, Meta(ge=0, le=lim.MANIFEST_BYTES_MAX)]
    data: Annotated[bytes, Meta(max_length=lim.MANIFEST_PAGE_BYTES)]


class Follow(Message, frozen=True, omit_defaults=True):
    """The receiver takes what the source relays, but for the pieces in ``bits``; ``credit`` pieces may come. With
    ``push`` False it takes only what it asks for. ``mate``: what their cells have in common. One in the same row also
    takes what the source hands on along it; one in the same column hands on along its own what it takes."""

    session: Count
    bits: Bits
    credit: Count
    push: bool = True
    mate: Mate | None = None


class Received(Message, frozen=True, omit_defaults=True):
    """The oldest ``count`` pieces on their way have arrived, the last of them with this ``receipt``; ``credit`` more
    may come."""

    session: Count
    count: Count
    credit: Count
    receipt: Count = 0


class Relay(Message, frozen=True, omit_defaults=True):
    """The receiver would relay ``count`` pieces, of the source's choice, in all since its `Follow`. ``assigned``:
    pieces that other sources have assigned or push themselves, since it last said so."""

    session: Count
    count: Count
    assigned: Annotated[list[PieceIndex], Meta(max_length=lim.PIECES_TOLD_COUNT_MAX)] = []


class Get(Message, frozen=True):
    """Send these pieces, in this order."""

    session: Count
    pieces: Annotated[list[PieceIndex], Meta(max_length=lim.PIECES_TOLD_COUNT_MAX)]


class Cancel(Message, frozen=True):
    """Do not send these pieces, asked for or not, as far as they have not been sent."""

    session: Count
    pieces: Annotated[list[PieceIndex], Meta(max_length=lim.PIECES_TOLD_COUNT_MAX)]


class Have(Message, frozen=True):
    """What the receiver has by now: a source that assigns pieces sees by that whether they spread."""

    session: Count
    bits: Bits


class Piece(Message, frozen=True, omit_defaults=True):
    """Header of a piece; its bytes are the next frame, whole. ``relay``: the receiver is to relay it; ``hand_on``: to
    those who follow it along its row. ``promised``: pieces that this source will push in this session, in this order,
    besides those it has named before. A receiver that has not got the piece cannot know its ``receipt``."""

    session: Count
    piece: PieceIndex
    relay: bool = False
    promised: Annotated[list[PieceIndex], Meta(max_length=lim.PIECES_TOLD_COUNT_MAX)] = []
    receipt: Count = 0
    hand_on: bool = False


class NotHeld(Message, frozen=True):
    """A promised piece, or one that was asked for, does not come from this source after all."""

    session: Count
    piece: PieceIndex


class NoSession(Message, frozen=True):
    """The source does not know the session (any more): `Test` again."""

    session: Count


class Bye(Message, frozen=True, omit_defaults=True):
    """The receiver is done with the session; because of the pieces ``bad``, which did not have their digests."""

    session: Count
    bad: Annotated[list[PieceIndex], Meta(max_length=1)] = []


PieceServerRequest = Test | GetManifest | Follow | Received | Relay | Get | Cancel | Have | Bye
PieceServerReply = Status | ManifestPage | Piece | NotHeld | NoSession | Error
