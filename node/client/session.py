"""The peer a command talks to: the one that runs on the data directory, or one in the foreground.

Owns the options every command shares, the connection to the running peer, and the life of a foreground peer. When that
is another command's, it ends with that command: whoever else uses it goes on with one of its own.
Prints nothing; commands can be tested with a `Services` of fakes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import msgspec

from node.api_messages import ApiError, ApiGetStatus, ApiReply, ApiRequest, StatusReport
from node.config import CONFIG_FILE, ENVIRONMENT, PeerSettings
from node.identity import DataDirInUseError
from protocol.discreet import Discreet
from protocol.errors import EXIT_CODES, ConfigError, NetworkError, RefusedError, UsageError, ZswarmError
from service.paths import absolute_path
from service.text import check_utf8

REQUEST_SECONDS = 10.0
"""How long the agent may take to answer; list and peers make it ask the tracker first."""
START_SECONDS = 15.0
"""How long a peer may take until its agent answers: one in the foreground, or one that starts or restarts it."""
TELL_SECONDS = 1.0
"""Longer than a peer takes to start on a machine that is not busy."""
POLL_SECONDS = 0.05

FOREGROUND_LOG_LEVEL: Literal["error"] = "error"
"""Of a foreground peer's processes: what a person should know of the rest, the command itself says."""

if TYPE_CHECKING:
    from node.stored import Stored

R = TypeVar("R")


class Client(Protocol):
    """What `node.client.api_client.ApiClient` is to the commands."""

    def request(self, message: ApiRequest, timeout: float) -> ApiReply: ...
    def close(self) -> None: ...


class Foreground(Protocol):
    """What `node.peer.Peer` is to the commands. ``start`` raises `DataDirInUseError` when another was quicker."""

    def start(self) -> None: ...
    def poll(self, timeout: float) -> int | None: ...
    def stop(self) -> None: ...


class Options(Discreet, msgspec.Struct):
    """The options every command shares, as given on the command line; empty means not given. ``in_file`` is what the
    configuration file says, once it was read: a pipe can be read only once."""

    config: str = ""
    data_dir: str = ""
    tracker: str = ""
    listen: str = ""
    name: str = ""
    invite: str = ""
    metrics: str = ""
    no_mdns: bool = False
    quiet: bool = False
    json: bool = False
    in_file: PeerSettings | None = None

    def settings(self) -> PeerSettings:
        """The configuration file, the environment's values on top of it, and the command line's on top of both; raises
        `UsageError`."""
        if self.in_file is None:
            self.in_file = self._read_file()
        settings = self.in_file
        keys = ("data_dir", "tracker", "invite", "listen", "name", "metrics")
        given = {key: getattr(self, key) for key in keys if getattr(self, key)}
        for key, variable in ENVIRONMENT.items():
            if key not in given and (value := os.environ.get(variable, "")):
                settings = with_values(settings, {key: value}, f"environment variable {variable}")
        if given:
            settings = with_values(settings, given, "command line")
        check_utf8(str(settings.data_path))
        return msgspec.structs.replace(settings, mdns=settings.mdns and not self.no_mdns)

    def _read_file(self) -> PeerSettings:
        from service.config import find_default, load_settings

        path = Path(self.config) if self.config else find_default(CONFIG_FILE)
        if path is None:
            return PeerSettings()
        settings = load_settings(path, PeerSettings)
        # What a shell makes of <(...) has no directory to speak of.
        return settings.placed(absolute_path(str(path.parent))) if path.is_file() else settings


def with_values(settings: PeerSettings, given: dict[str, str], source: str) -> PeerSettings:
    """``settings`` with the values ``given`` by ``source``, checked as the file's are; raises `ConfigError`."""
    try:
        changed = msgspec.structs.replace(settings, **given)
        if "data_dir" in given:
            check_utf8(str(changed.data_path))
    except (ValueError, UsageError) as error:
        raise ConfigError(f"{source}: {error}") from None
    return changed


class Services(msgspec.Struct, frozen=True):
    """What the commands need from outside; tests give their own. ``is_free`` tells whether no peer, not even one that
    is ending, uses a data directory; ``stored`` is what one holds without a peer, ``remove_stored`` does there what
    ``remove`` does, and ``collect_stored`` what ``gc`` does; ``tell`` is told what is waited for; ``clock`` is
    monotonic seconds. ``foreground`` makes a peer that runs a tracker if it has to and may; ``for_others`` is
    `node.rendezvous.for_others`, ``same_tracker`` too. ``owns_process``: the program is this project's, so that SIGTERM
    and SIGHUP are handled while it runs a peer."""

    client: Callable[[Path], Client]
    foreground: Callable[[PeerSettings, bool], Foreground]
    run_peer: Callable[[PeerSettings], int]
    is_free: Callable[[Path], bool]
    stored: Callable[[Path], Stored]
    remove_stored: Callable[[Path, str, str], ApiReply]
    collect_stored: Callable[[Path, bool], ApiReply]
    tell: Callable[[str], None]
    for_others: Callable[[str], str]
    same_tracker: Callable[[str, str], bool]
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep
    owns_process: bool = True


Attached = tuple[Client, Foreground | None]
"""A connection to a peer, and the peer itself if it is this command's own."""


class PeerStoppedError(NetworkError):
    """The peer that a command talked to has ended."""


class Session:
    """An open conversation with the peer on ``data_dir``. ``attach`` finds or makes one that can take the place of
    another command's."""

    def __init__(
        self, attached: Attached, services: Services, data_dir: Path, attach: Callable[[], Attached] | None = None
    ) -> None:
        self._client, self._peer = attached
        self._services = services
        self._data_dir = data_dir
        self._attach = attach
        self._ids = 0
        self._borrowed = self._is_closed = False
        self._agent = 0
        self.trackers: list[str] = []
        """The endpoints of the peer's trackers; as far as its last `status` says."""
        self.keyed = False
        """Whether its network has keys, likewise."""
        self.agents_count = 0
        """How many agents have reported so far. A new one, of the same peer or of another that took its place at the
        same socket, may know nothing of this command."""

    @property
    def borrowed(self) -> bool:
        """Whether the peer is that of another command or program, and ends with it; as far as its last `status`
        says."""
        return self._borrowed

    @property
    def lasting(self) -> bool:
        """Whether the peer goes on when this command ends; as far as its last `status` says."""
        return self._peer is None and not self._borrowed

    def now(self) -> float:
        """Monotonic seconds."""
        return self._services.clock()

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def request(self, message: ApiRequest, kind: type[R], timeout: float = REQUEST_SECONDS) -> R:
        """The reply of type ``kind``; an `ApiError` is raised as `RefusedError`, no answer as `NetworkError`."""
        if self._is_closed:
            raise UsageError("the conversation with the peer is closed")
        return expected(self._client.request(message, timeout), kind)

    def status(
        self, timeout: float = REQUEST_SECONDS, jobs: list[int] | None = None, paths: Sequence[str] = ()
    ) -> StatusReport:
        """What the peer says of ``jobs``, of what is shared at ``paths``, and of itself; None: the first page of
        everything."""
        report = self.request(ApiGetStatus(self.next_id(), jobs, paths=list(paths)), StatusReport, timeout)
        self._borrowed = report.foreground and self._peer is None
        self.trackers, self.keyed = report.tracker.split(", "), report.keyed
        agent = report.pids.get("agent", 0)
        if agent != self._agent:
            self._agent = agent
            self.agents_count += 1
        return report

    def whole_status(self, timeout: float = REQUEST_SECONDS) -> StatusReport:
        """All pages of it."""
        whole = page = self.status(timeout)
        while page.more:
            page = self.request(ApiGetStatus(self.next_id(), first=page.more), StatusReport, timeout)
            whole.jobs.extend(page.jobs)
            whole.shared.extend(page.shared)
        return msgspec.structs.replace(whole, more=0)

    def recover(self) -> bool:
        """The peer does not answer. If it was another command's, talk to the one that is there now; True when that is
        this command's own. A peer that is run for its own sake is never replaced: it may have been stopped to be
        started again. `PeerStoppedError` when that has ended."""
        if not self._borrowed or self._attach is None:
            if self._peer is None and self._services.is_free(self._data_dir):
                raise PeerStoppedError(f"the peer on {self._data_dir} has stopped")
            return False
        self._client.close()
        self._client, self._peer = self._attach()
        self._borrowed = self._peer is None
        self._agent = 0
        return self._peer is not None

    def close(self) -> None:
        self._is_closed = True
        self._client.close()

    def pause(self, seconds: float) -> None:
        """Wait before the next look at the peer. A foreground peer that ended is a `NetworkError`."""
        if self._peer is None:
            self._services.wait(seconds)
        elif (code := self._peer.poll(seconds)) is not None:
            raise ended("this command's peer ended; its messages above say why", code)


def expected(reply: ApiReply, kind: type[R]) -> R:
    """``reply`` of type ``kind``; an `ApiError` is raised as `RefusedError`."""
    if isinstance(reply, ApiError):
        raise refused(reply.code, reply.detail)
    if not isinstance(reply, kind):
        raise NetworkError(f"the peer answered with {type(reply).__name__}, not {kind.__name__}; restart it")
    return reply


def refused(code: str, detail: str) -> RefusedError:
    """The error a peer reported as words, with the exit code that goes with them."""
    error = RefusedError(code, detail)
    error.exit_code = EXIT_CODES.get(code, 1)
    return error


def ended(what: str, code: int) -> ZswarmError:
    """The error of a foreground peer that ended by itself, with the exit code it gave."""
    error = ZswarmError(what)
    error.exit_code = code or error.exit_code
    return error


@contextlib.contextmanager
def running_peer(options: Options, services: Services) -> Iterator[Session]:
    """A session with the peer that runs on the data directory; `NetworkError` when there is none."""
    data_dir = options.settings().data_path
    client = find_client(data_dir, services) or services.client(data_dir)
    with contextlib.closing(Session((client, None), services, data_dir)) as session:
        yield session


@contextlib.contextmanager
def maybe_peer(options: Options, services: Services) -> Iterator[Session | None]:
    """A session with the peer that runs on the data directory, None when there is none."""
    data_dir = options.settings().data_path
    client = find_client(data_dir, services)
    if client is None:
        yield None
        return
    with contextlib.closing(Session((client, None), services, data_dir)) as session:
        yield session


@contextlib.contextmanager
def any_peer(
    options: Options, services: Services, named: Sequence[str] = (), runs_tracker: bool = False
) -> Iterator[Session]:
    """A session with the running peer or, where none runs, with one that lives in the foreground until the end.

    ``named`` are the trackers that links name: of a foreground peer, unless one is configured. `UsageError` when it
    would have several. ``runs_tracker``: such a peer runs one where none is configured, named or found.
    """
    settings = options.settings()
    with contextlib.ExitStack() as resources:

        def attach() -> Attached:
            return _attach(settings, services, named, runs_tracker, resources)

        client, peer = attach()
        with contextlib.closing(Session((client, peer), services, settings.data_path, attach)) as session:
            if named and peer is None:
                with contextlib.suppress(NetworkError):  # of an agent that restarts; who follows the job is patient
                    session.status(jobs=[])
                    _tell_tracker(session.trackers, "the running peer uses", named, services)
            yield session


def _attach(
    settings: PeerSettings,
    services: Services,
    named: Sequence[str],
    runs_tracker: bool,
    resources: contextlib.ExitStack,
) -> Attached:
    """The peer that runs, or one of one's own, which is ended with ``resources``."""
    quieter = msgspec.structs.replace(settings, log=msgspec.structs.replace(settings.log, level=FOREGROUND_LOG_LEVEL))
    while True:
        client = find_client(settings.data_path, services)
        if client is not None:
            try:
                _check_network(settings)
            except ZswarmError:
                client.close()
                raise
            return client, None
        if named:
            used = settings.trackers or [_only(named)]
            _tell_tracker(used, "this command is configured for", named, services)
            quieter = msgspec.structs.replace(quieter, tracker=used)
        with contextlib.ExitStack() as trial:
            peer = services.foreground(quieter, runs_tracker)
            trial.enter_context(_orderly_end(peer, services.owns_process))
            try:
                peer.start()
            except DataDirInUseError:
                continue  # another command's was quicker
            client = _await_client(settings.data_path, peer, services)
            resources.push(trial.pop_all())
            return client, peer


def _check_network(settings: PeerSettings) -> None:
    if settings.invite or settings.tracker_key:
        from node.enrolment import check_network  # here, because of what it imports

        check_network(settings, settings.data_path)


def _only(named: Sequence[str]) -> str:
    if len(named) > 1:
        raise UsageError(
            f"the links name different trackers, {named[0]} and {named[1]}; get them one after another, or name the "
            "tracker of all with --tracker"
        )
    return named[0]


def _tell_tracker(used: list[str], how: str, named: Sequence[str], services: Services) -> None:
    """Say which trackers are ``used``, before they are asked, where links name some."""
    for tracker in named:
        if any(services.same_tracker(one, tracker) for one in used):
            services.tell(f"using the tracker that the link names, {tracker}")
        else:
            services.tell(f"the link names the tracker {tracker}, but {how} {', '.join(used)}; trying with that")


def find_client(data_dir: Path, services: Services) -> Client | None:
    """A client of the peer that runs on ``data_dir``, None when none runs. One that starts, ends or restarts its agent
    uses the directory but cannot be talked to: that is waited for, `NetworkError` after `START_SECONDS`."""
    started = services.clock()
    told = False
    while True:
        client = _try_client(data_dir, services)
        if client is not None or services.is_free(data_dir):
            return client
        waited = services.clock() - started
        if waited >= START_SECONDS:
            what = f"its agent has not answered for {START_SECONDS:.0f} s; its log says why"
            raise NetworkError(f"a peer uses {data_dir}, but {what}")
        if waited >= TELL_SECONDS and not told:
            told = True
            services.tell(f"waiting for the peer on {data_dir} to start or to end, up to {START_SECONDS:.0f} s")
        services.wait(POLL_SECONDS)


def _try_client(data_dir: Path, services: Services) -> Client | None:
    try:
        return services.client(data_dir)
    except NetworkError:
        return None


def _await_client(data_dir: Path, peer: Foreground, services: Services) -> Client:
    deadline = services.clock() + START_SECONDS
    while services.clock() < deadline:
        code = peer.poll(POLL_SECONDS)
        if code is not None:
            raise ended("this command's peer could not start; its messages above say why", code)
        client = _try_client(data_dir, services)
        if client is not None:
            return client
    raise NetworkError(f"this command's peer did not answer within {START_SECONDS:.0f} s")


@contextlib.contextmanager
def _orderly_end(peer: Foreground, handles_signals: bool) -> Iterator[None]:
    """However the block ends, the peer leaves the network in order, also on SIGTERM and when the terminal is closed
    (SIGHUP) if ``handles_signals``."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    ends = (signal.SIGTERM, signal.SIGHUP) if handles_signals else ()
    caught = [number for number in ends if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in caught}
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_IGN)
        try:
            peer.stop()  # a second Ctrl-C kills it
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
