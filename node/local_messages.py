"""Messages between the processes of one peer, over ipc sockets that only its user can open.

The agent binds ``agent.sock`` (ROUTER) for its two children and ``api.sock`` (ROUTER) for the command line, whose
messages are in `node.api_messages`; the piece server binds ``pieces.sock`` (ROUTER) for the downloader. Same codec as
the wire; the bound of a frame is `LOCAL_BYTES_MAX`.

Every process draws a random ``instance`` at start and says it in a `Hello` now and then. Whoever sees a new
instance on the other side says its full state again: that is all it takes to survive the restart of either.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from node.trace import Trace
from protocol.messages import Message, SeederEntry

AGENT_SOCKET, PIECES_SOCKET, API_SOCKET = "agent.sock", "pieces.sock", "api.sock"
"""Their names in the runtime directory."""
HELLO_SECONDS, REPORT_SECONDS = 1.0, 0.25
"""How often a process says `Hello`, and the agent is told how downloads and uploads go where that has changed."""


Phase = Literal[
    "resolving",
    "waiting",
    "checking",
    "downloading",
    "verifying",
    "done",
    "failed",
    "paused",
    "interrupted",
    "withdrawn",
]
"""Of a job. ``interrupted`` is a download that an earlier run of the peer left, and that nobody works on."""
OVERTAKEN = "overtaken"
"""The code of a download that was given up, since other content is to be at its place."""
OVER: tuple[Phase, ...] = ("done", "failed", "withdrawn")
"""Those in which a job has ended."""


class DownloadTotals(Struct):
    """Of all downloads in this run of the downloader: bytes that came over the wire, pieces that were verified and
    written, pieces from others that were not what their digest says, and bans of sources. The downloader's own record,
    of which a `Hello` has a copy."""

    received_bytes: int = 0
    verified_pieces: int = 0
    failed_pieces: int = 0
    bans: int = 0


class Hello(Message, frozen=True):
    """``role`` is ``agent``, ``piece_server`` or ``downloader``; ``port`` is the piece server's, else 0; ``totals`` are
    the downloader's."""

    role: str
    instance: int
    pid: int
    port: int = 0
    totals: DownloadTotals | None = None


# --- agent -> piece server and downloader ----------------------------------------------------------------


class Limit(Message, frozen=True):
    """Send, or receive, no more than ``rate`` bytes a second from now on, 0: as much as possible. Said to a new
    instance, for which nothing is limited, before there is anything to do."""

    rate: float


# --- agent and downloader -> piece server ----------------------------------------------------------------


class Serve(Message, frozen=True):
    """Serve the content of ``digest``: all of it, said by the agent, or the pieces of ``bits`` of a download, said by
    the downloader, who is answered with `ServeOk` and says it again after a restart. It takes the place of what was
    said of the digest before.

    ``seed_path`` is a file with the canonical manifest. ``root`` is where the bytes are now: the file or directory of
    the content, for a download its hidden partial file or staging directory until the rename. ``stamps`` are its
    `node.disk.stamps` when it was hashed: content that no longer has them is not served; a download has none until the
    rename. ``more`` are further manifests of the same bytes, shared elsewhere under other paths, each with its file:
    they are handed out too. ``spread``: those of ``bits`` that others relay."""

    digest: str
    manifest: str
    seed_path: str
    root: str
    bits: bytes = b""
    stamps: bytes = b""
    more: dict[str, str] = field(default_factory=dict)
    spread: bytes = b""


class Unserve(Message, frozen=True):
    """What the sender said of ``digest`` holds no longer."""

    digest: str


# --- agent -> piece server -------------------------------------------------------------------------------


class ShareState(Message, frozen=True):
    """All that is shared by ``peer``; said to a new instance. ``serving`` False: answer every Test with ``later``."""

    instance: int
    peer: str
    items: list[Serve]
    serving: bool


class Serving(Message, frozen=True):
    serving: bool


class MemberKeys(Message, frozen=True):
    """In a network with keys: peers with the keys ``added`` are admitted, those ``removed`` no more. ``whole``:
    ``added`` are all. Before it has heard any, a piece server admits nobody."""

    added: list[str]
    removed: list[str]
    whole: bool


# --- piece server -> agent -------------------------------------------------------------------------------


class ContentChanged(Message, frozen=True):
    """The content of ``digest`` at ``root`` is no longer what was hashed: it is not served any more."""

    digest: str
    root: str
    detail: str


class SwarmUpload(Struct, frozen=True):
    """What was sent of ``digest`` since the last report, and to how many sessions it is open now."""

    digest: str
    sent_bytes: int
    sessions: int


class UploadReport(Message, frozen=True):
    """Every quarter of a second while anything changes. ``swarms`` are those that changed; a new agent is told of all
    that have sessions. ``bad_messages`` counts what strangers sent that was no message; it and ``sent_bytes`` are of
    this run."""

    swarms: list[SwarmUpload]
    queued_pieces: int
    bad_messages: int
    sent_bytes: int


# --- agent -> downloader ---------------------------------------------------------------------------------


class Fetch(Message, frozen=True):
    """Get content ``digest`` to ``dest`` (the final path, parent included). An empty ``seed_path`` means the
    manifest has to be fetched and must have digest ``manifest``; ``length`` is then only a hint for a person.

    So it is in the agent's library too until it is complete. ``force`` holds for the run of the peer that it was given
    to, and for no other. ``superseded``: the same content was asked for elsewhere since, so this one is not ordered
    before it is asked for again. ``keep``: how many of what it replaces stay beside it. ``signatures``
    of it, one after another, which were verified."""

    digest: str
    manifest: str
    name: str
    length: int
    dest: str
    seed_path: str
    force: bool
    sequential: bool
    superseded: bool = False
    keep: int = 0
    signatures: bytes = b""


class Mend(Message, frozen=True):
    """Fetch again the wrong pieces of content ``digest``, which stands at ``dest`` and had ``stamps``
    (`node.disk.stamps`) when it was right. Reported on as a download is; it is stopped as one, and then deletes
    nothing."""

    digest: str
    manifest: str
    name: str
    length: int
    dest: str
    seed_path: str
    stamps: bytes


class LocalCopy(Struct, frozen=True):
    """Other content that should be at ``root`` on this machine, with its manifest at ``seed_path``."""

    seed_path: str
    root: str


class Copies(Message, frozen=True):
    """Said before the `Fetch` of ``digest``, if there are any: content that may have pieces in common with it, the
    likeliest first."""

    digest: str
    copies: list[LocalCopy]


class StopFetch(Message, frozen=True):
    """Stop the download; its partial content and journal stay."""

    digest: str


class DeleteFetch(Message, frozen=True):
    """Stop the download of ``digest`` to ``dest``, and delete its partial content and journal, whichever run began it.
    An empty ``seed_path``: the journal has it if there is any."""

    digest: str
    dest: str
    seed_path: str


class Collect(Message, frozen=True):
    """Delete the partial downloads that the journal has and that are not in ``used``, by digest and destination; with
    ``dry_run`` only find them. Answered with `Collected`, which repeats ``tag``."""

    tag: int
    used: list[tuple[str, str]]
    dry_run: bool


class Sources(Message, frozen=True):
    """The sources a lookup or the roster names for ``digest`` now: all there are, or some. ``listed`` is how many the
    tracker lists; None: that is not known, or not sure. ``cell`` is this peer's in the grid, if that is told,
    which has at least so many ``cells``."""

    digest: str
    seeders: list[SeederEntry]
    listed: int | None = None
    cell: int | None = None
    cells: int = 0


class SourceLost(Message, frozen=True):
    """``peer`` left, expired or no longer has ``digest`` (empty: it has nothing any more)."""

    peer: str
    digest: str


class GetTrace(Message, frozen=True):
    """The `Trace` of the download of ``digest``, under way or over. Answered with `Traced`, which repeats ``tag``."""

    tag: int
    digest: str


class Pause(Message, frozen=True):
    """``paused`` True: ask for nothing until told otherwise; keep what is there."""

    paused: bool


# --- downloader -> agent ---------------------------------------------------------------------------------


SourceStanding = Literal[
    "known",
    "connecting",
    "connected",
    "unreachable",
    "other_peer",
    "no_peer",
    "no_content",
    "other_manifest",
    "not_serving",
    "banned",
    "gone",
]
"""How it is with a source: ``known`` and not dialled now; ``other_peer`` and ``no_peer``: at its address there is
another one, or something else; ``not_serving``: it says to come again later; ``gone``: no longer named by anybody."""


class SourceReport(Struct, frozen=True):
    """``reason`` adds to ``state`` what is wrong with a source that cannot be used; ``rate`` in bytes/s; ``pieces`` is
    how many it has, as far as it is connected, ``on_way`` how many of them it is to send."""

    peer: str
    name: str
    endpoint: str
    state: SourceStanding
    reason: str
    received_bytes: int
    rate: float
    pieces: int
    on_way: int = 0


BottleneckKind = Literal["rate_limit", "disk", "hashing", "sources", "one_source", "missing_pieces", "no_sources"]


class Bottleneck(Struct, frozen=True):
    """What holds a running download back, as measured over the last seconds: ``text`` says it and how it is known."""

    kind: BottleneckKind
    text: str


class DownloadReport(Message, frozen=True):
    """Progress, on a change of phase at once and otherwise every quarter of a second. ``done_bytes`` counts verified
    bytes, resumed ones included; ``checked_bytes`` how far a check or the final digest has read; ``received_bytes``
    what came over the wire in this run, bad and duplicate pieces included; ``resumed_bytes`` what was found on disk;
    ``reused_bytes`` what was taken in this run from other content of this machine, at the paths ``reused_from``, those
    that gave most first; ``rate`` is that of both. ``sources`` are all that were ever named, less ``more_sources``, of
    which there is nothing to say. ``detail`` is what the download waits for, besides sources. ``bottleneck`` is there
    while it is downloading, but for the first moment.
    """

    digest: str
    phase: Phase
    length: int
    pieces: int
    done_pieces: int
    done_bytes: int
    checked_bytes: int
    received_bytes: int
    resumed_bytes: int
    rate: float
    sources: list[SourceReport]
    detail: str
    more_sources: int = 0
    reused_bytes: int = 0
    reused_from: list[str] = field(default_factory=list)
    bottleneck: Bottleneck | None = None


class DownloadStarted(Message, frozen=True):
    """The partial content is being served: the tracker may be told."""

    digest: str
    seed_path: str
    manifest: str
    length: int


class DownloadFinished(Message, frozen=True):
    """Verified, synced and renamed to ``path``. ``stamps`` as `Serve` has them. ``finished_at`` is the moment
    after the rename, in monotonic seconds, which all processes of a machine share. ``left_behind``: why all of the
    directory that was replaced could not be deleted, and where the rest is. ``written``: it was not there before."""

    digest: str
    manifest: str
    length: int
    path: str
    seed_path: str
    stamps: bytes
    finished_at: float
    left_behind: str = ""
    written: bool = False


class DownloadFailed(Message, frozen=True):
    """``code`` is a `protocol.errors` word."""

    digest: str
    code: str
    detail: str


class Unused(Struct, frozen=True):
    """Something of ours at ``path`` that nobody uses any more; it takes ``bytes`` on disk. A ``journal`` is a damaged
    one that was put aside, a ``mend`` the note of one."""

    kind: Literal["download", "seed", "journal", "mend"]
    path: str
    bytes: int


class Collected(Message, frozen=True):
    """What was, or would be, deleted for `Collect`. ``left`` is not used either, and is under way, being deleted
    already, or cannot be deleted, for a reason that the log has; its ``seeds`` are still needed. ``code``, a
    `protocol.errors` word, and ``detail`` when the journal cannot be read."""

    tag: int
    removed: list[Unused]
    left: list[Unused]
    seeds: list[str]
    code: str = ""
    detail: str = ""


class Traced(Message, frozen=True):
    """``trace`` is None where this run of the downloader knows of no such download, or no more."""

    tag: int
    trace: Trace | None


class NeedSources(Message, frozen=True):
    """The download has too few sources: ask the lookup now rather than at the next refresh."""

    digest: str


# --- downloader -> piece server --------------------------------------------------------------------------


class ServeOk(Message, frozen=True):
    digest: str


class Held(Message, frozen=True):
    """More pieces of a served download are verified and on disk; this peer is to relay those of ``relayed``, and
    to hand those of ``handed_on`` on to its row."""

    digest: str
    pieces: list[int]
    relayed: list[int]
    handed_on: list[int] = field(default_factory=list)


# --- piece server -> downloader --------------------------------------------------------------------------


class Room(Message, frozen=True):
    """The download may have ``count`` pieces assigned to it, in all since its last `Serve`."""

    digest: str
    count: int


AgentToPieceServer = Hello | Limit | ShareState | Serve | Unserve | Serving | MemberKeys
PieceServerToAgent = Hello | ContentChanged | UploadReport
AgentToDownloader = (
    Hello | Limit | Copies | Fetch | Mend | StopFetch | DeleteFetch | Collect | Sources | SourceLost | Pause | GetTrace
)
DownloaderToAgent = (
    Hello | DownloadReport | DownloadStarted | DownloadFinished | DownloadFailed | NeedSources | Collected | Traced
)
DownloaderToPieceServer = Hello | Serve | Held | Unserve
PieceServerToDownloader = Hello | ServeOk | Room
ChildToAgent = PieceServerToAgent | DownloaderToAgent
