"""Messages between the agent and the commands and programs of its machine, over ``api.sock``; `node.local_messages`
says how. Each request is answered with the reply that has its ``id``.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct, field

from node.disk.share_options import AS_USUAL, NOTHING, ShareOptions, Skipped
from node.local_messages import OVER, DownloadReport, DownloadTotals, Phase, Unused
from node.rate_limit import UNLIMITED, RateLimits
from node.trace import Trace
from protocol.messages import Message, Moment, Order, OrderEntry, PeerEntry, StandingEntry, TorrentEntry


class ApiShare(Message, frozen=True):
    """Hash and share absolute ``path``; answered with `ApiAccepted` at once, followed through `ApiGetStatus`.
    ``signature``, if not empty, is of what was shared there a moment ago, and is announced with it."""

    id: int
    path: str
    algorithm: str
    options: ShareOptions = AS_USUAL
    signature: bytes = b""


class ApiGet(Message, frozen=True):
    """Download ``target`` to absolute directory ``directory``. ``target`` is a name, a digest or a link; with
    ``seed`` (canonical manifest bytes), which calls the content ``name``, it is only shown. ``keep``: how many of what
    is replaced stay. With written keys in ``signed_by``, only what one of them signed is taken; ``signatures`` are
    those that whoever asks knows. Answered with `ApiAccepted` at once."""

    id: int
    target: str
    directory: str
    seed: bytes
    force: bool
    sequential: bool
    name: str = ""
    keep: int = 0
    signed_by: tuple[str, ...] = ()
    signatures: bytes = b""


class ApiAccepted(Message, frozen=True):
    """``job`` names the work in `StatusReport`."""

    id: int
    job: int


class Following(Struct, frozen=True):
    """What is called ``pattern``, or matches it, goes to absolute ``directory`` and is replaced by what is newer;
    ``keep`` older ones stay beside it. ``force``: what a person put there is replaced too. With written keys in
    ``signed_by``, only what one of them signed counts, and newer is what was signed later."""

    pattern: str
    directory: str
    keep: int = 0
    force: bool = False
    signed_by: tuple[str, ...] = ()

    @property
    def is_glob(self) -> bool:
        return "*" in self.pattern or "?" in self.pattern


class ApiFollow(Message, frozen=True):
    """Follow ``what``, as long as this is asked again within some seconds. Answered with `ApiFollowed`."""

    id: int
    what: Following


class ApiFollowed(Message, frozen=True):
    """``jobs``: the downloads that were begun for it, the last of them, in order."""

    id: int
    jobs: list[int]


class ApiList(Message, frozen=True):
    """``exact``: what is called ``pattern``, and nothing else."""

    id: int
    pattern: str
    exact: bool = False


class ApiListReply(Message, frozen=True):
    """``now`` is `time.time` of the answer. What was announced before ``since`` may be missing. ``silent``: which
    trackers it is without, in words; empty for none."""

    id: int
    settling: bool
    entries: list[TorrentEntry]
    now: float = 0.0
    since: Moment = 0
    silent: str = ""


class ApiPeers(Message, frozen=True):
    id: int


class ApiPeersReply(Message, frozen=True):
    """``silent`` as in `ApiListReply`. ``seen_by``: by peer, the endpoints of the trackers that list it, of those that
    another tracker does not list."""

    id: int
    settling: bool
    peers: list[PeerEntry]
    silent: str = ""
    seen_by: dict[str, list[str]] = field(default_factory=dict)


class ApiStandings(Message, frozen=True):
    """How does every member of the network stand with content ``digest``?"""

    id: int
    digest: str


class ApiStandingsReply(Message, frozen=True):
    """``silent`` as in `ApiListReply`."""

    id: int
    settling: bool
    peers: list[StandingEntry]
    silent: str = ""


class ApiRollout(Message, frozen=True):
    """Order the content of ``link`` to the peers whose name matches ``peers`` (empty: all); ``directory`` and ``force``
    as `Order` has them. Answered with `ApiRolloutReply` once the order is on disk."""

    id: int
    link: str
    directory: str = ""
    peers: str = ""
    force: bool = False


class ApiRolloutReply(Message, frozen=True):
    id: int
    order: Order


class ApiCancelRollout(Message, frozen=True):
    """Take back the orders of what is called ``name`` or has that digest."""

    id: int
    name: str


class ApiOrders(Message, frozen=True):
    """What is ordered in the network, cancelled or not?"""

    id: int


class ApiOrdersReply(Message, frozen=True):
    """``silent`` as in `ApiListReply`."""

    id: int
    settling: bool
    entries: list[OrderEntry]
    silent: str = ""


class ApiRemove(Message, frozen=True):
    """Stop sharing what is named ``name`` (or has that digest), or cancel its hashing or its download; shared files
    stay. Where nothing is named so, what is at absolute ``path`` is meant."""

    id: int
    name: str
    path: str = ""


class ApiCollect(Message, frozen=True):
    """Delete what is left of earlier work and nobody uses any more; with ``dry_run`` only find it."""

    id: int
    dry_run: bool


class ApiCollected(Message, frozen=True):
    """What was, or would be, deleted; ``left`` says why other things that nobody uses are still there."""

    id: int
    removed: list[Unused]
    left: list[str]


class ApiAudit(Message, frozen=True):
    """Read again what is shared and called ``name`` or has that digest, or is at absolute ``path``, or all if both are
    empty: at most ``rate`` bytes a second, 0 for no limit. ``repair``: fetch wrong pieces again where that was not
    to happen by itself. Answered with `ApiAccepted` at once. ``stop``: stop all
    audits instead; answered with `ApiDone`."""

    id: int
    name: str = ""
    path: str = ""
    rate: float = 0.0
    repair: bool = False
    stop: bool = False


class ApiTrace(Message, frozen=True):
    """The trace of the last download of what is called ``name``, has that digest (or beginning of it) or is at absolute
    ``path``. Answered with `ApiTraceReply`."""

    id: int
    name: str
    path: str = ""


class ApiTraceReply(Message, frozen=True):
    id: int
    trace: Trace


class ApiLeave(Message, frozen=True):
    id: int


class ApiJoin(Message, frozen=True):
    id: int


class ApiLimit(Message, frozen=True):
    """Change the rate limits that are given, in bytes a second (0: unlimited), until the peer stops or the next change
    of its schedule. Answered with `ApiLimits`: what holds then, and ``why``, in words."""

    id: int
    upload_rate: float | None = None
    download_rate: float | None = None


class ApiLimits(Message, frozen=True):
    id: int
    limits: RateLimits
    why: str = ""


class ApiStop(Message, frozen=True):
    id: int


class ApiDone(Message, frozen=True):
    id: int
    detail: str = ""


class ApiError(Message, frozen=True):
    """``code`` is a `protocol.errors` word."""

    id: int
    code: str
    detail: str


class ApiGetStatus(Message, frozen=True):
    """``jobs`` None asks for a page of everything, jobs first, from row ``first`` on; else for these jobs alone, those
    of them that there are, with what is shared at ``paths`` and the jobs that say why it is not. ``counts``: the report
    has them, which takes time by the number of shared items."""

    id: int
    jobs: list[int] | None = None
    first: int = 0
    paths: list[str] = field(default_factory=list)
    counts: bool = False


CONTENTS_SHOWN_COUNT = 5
"""Of those with one name, or whose digests have one beginning."""


PROBLEMS_TOLD_COUNT = 1_000
"""Of items that an audit found not to be as they were hashed."""
JobKind = Literal["share", "get", "mend", "audit"]


class JobStatus(Struct):
    """A ``share``, ``get`` or ``audit`` asked for over the API, a download taken up again at start, or a ``mend``:
    wrong pieces of what stands there are fetched again.

    share: phases ``checking`` (hashing, ``done_bytes`` of ``length``), ``waiting`` (for the tracker to list it),
    ``done`` (``link`` is set), ``withdrawn`` (what was shared is not served any more), ``failed``; ``skipped`` was left
    out of it. get: the phases of `DownloadReport`, with its report in ``download``, the last one of a process that has
    said nothing for ``silent_seconds``; mend: the same. audit: ``waiting`` (for its turn), ``checking``, ``done`` (all
    is as it was hashed), ``failed`` (``code`` is ``verification`` if it is not, and ``problems`` say what and how).

    ``started_at`` and ``finished_at`` (0: not yet) are of the wall clock, for people; ``started_monotonic`` and
    ``ended_monotonic`` are these moments by the machine's monotonic clock. ``seconds`` is how long it took, and in a
    report how long it has taken so far. ``contents``: those that have the name that was asked for, if several do, and
    up to `CONTENTS_SHOWN_COUNT`, the one that is taken first. ``signed_by``: the written keys whose signatures go with
    it.

    It is the agent's own record of the job, of which a report has a copy."""

    job: int
    kind: JobKind
    phase: Phase
    name: str
    digest: str = ""
    length: int = 0
    done_bytes: int = 0
    path: str = ""
    link: str = ""
    code: str = ""
    detail: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0
    download: DownloadReport | None = None
    silent_seconds: float = 0.0
    seconds: float = 0.0
    started_monotonic: float = 0.0
    ended_monotonic: float = 0.0
    skipped: Skipped = NOTHING
    contents: list[TorrentEntry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    signed_by: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.phase in OVER


class SharedStatus(Struct, frozen=True):
    """A library item, ``signed_by`` these written keys. ``origin``: ``shared`` by command, found in a ``folder``, or
    ``downloaded``. ``state`` is empty while it is served; or it is ``missing``, ``changed`` or ``damaged``
    (`node.agent.library.ItemState`) ``since`` a moment (`time.time`), for the reason ``detail``; or ``earlier``: its
    path has other content by now. ``hashing``: what is there is being looked at."""

    name: str
    digest: str
    link: str
    length: int
    path: str
    origin: str
    sent_bytes: int
    sessions: int
    state: str = ""
    detail: str = ""
    since: float = 0.0
    signed_by: list[str] = []
    hashing: bool = False


class QuotaStatus(Struct, frozen=True):
    """``used`` of at most ``limit`` bytes are used by downloads. ``deleted``: what was deleted last to keep to it.
    ``kept``: what cannot be deleted, and why."""

    limit: int
    used: int
    deleted: list[str]
    kept: list[str]


class PeerCounts(Struct, frozen=True):
    """What monitoring counts, since the agent started. ``totals`` are of downloads. ``downloads``: those that are not
    over, by phase, ``rate`` of all of them in bytes a second, ``held_back`` by the kind of their `Bottleneck`;
    ``ended``: downloads that ended, by phase; ``repairs`` that are under way. ``shared``: items by state, as
    in `SharedStatus`."""

    totals: DownloadTotals
    downloads: dict[Phase, int]
    rate: float
    held_back: dict[str, int]
    ended: dict[Phase, int]
    repairs: int
    shared: dict[str, int]


Network = Literal["joined", "joining", "refused", "unreachable", "left"]
NETWORKS: tuple[Network, ...] = get_args(Network)
"""How a peer may stand with a tracker, the best first."""


class StatusReport(Message, frozen=True):
    """``network``: how it stands with the best of its trackers. ``pids`` by role. ``problem`` says what keeps this peer
    from its tracker, or a lookup of it from answering; ``reach_problem`` why others cannot fetch from this peer. Both
    are empty when nothing does. ``silent_seconds``: how long ago ``piece_server`` and ``downloader``, which say hello
    every second, and the ``tracker`` were heard, as far as they ever were. ``foreground``: the peer lives as long as
    the command that runs it. ``jobs`` and ``shared`` are what was asked for, and the next page begins at row ``more``
    (0: there is none); ``shared_count`` (items that are served) and ``uploads`` (sessions) are of all. ``limits`` are
    those that hold now, ``limits_why`` says why, and until when; ``following`` is what is followed. ``tracker``: its
    endpoint, or those of several with ", " between them. ``keyed``: the network has keys. ``counts`` if they were asked
    for."""

    id: int
    peer: str
    name: str
    network: Network
    tracker: str
    endpoint: str
    epoch: int
    seq: int
    pids: dict[str, int]
    jobs: list[JobStatus]
    shared: list[SharedStatus]
    sent_bytes: int
    queued_pieces: int
    bad_messages: int
    problem: str = ""
    silent_seconds: dict[str, float] = field(default_factory=dict)
    reach_problem: str = ""
    foreground: bool = False
    shared_count: int = 0
    uploads: int = 0
    more: int = 0
    limits: RateLimits = UNLIMITED
    limits_why: str = ""
    quota: QuotaStatus | None = None
    following: list[Following] = field(default_factory=list)
    keyed: bool = False
    counts: PeerCounts | None = None


ApiRequest = (
    ApiShare
    | ApiGet
    | ApiFollow
    | ApiList
    | ApiPeers
    | ApiStandings
    | ApiRollout
    | ApiCancelRollout
    | ApiOrders
    | ApiRemove
    | ApiCollect
    | ApiAudit
    | ApiLimit
    | ApiTrace
    | ApiLeave
    | ApiJoin
    | ApiStop
    | ApiGetStatus
)
ApiReply = (
    ApiAccepted
    | ApiFollowed
    | ApiListReply
    | ApiPeersReply
    | ApiStandingsReply
    | ApiRolloutReply
    | ApiOrdersReply
    | ApiCollected
    | ApiLimits
    | ApiTraceReply
    | ApiDone
    | ApiError
    | StatusReport
)
