"""A peer of this machine, and its jobs. See `zswarm`."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Self, TypeVar

from msgspec import Struct

from node.api_messages import (
    ApiDone,
    ApiList,
    ApiListReply,
    ApiPeers,
    ApiPeersReply,
    ApiRemove,
    ApiRequest,
    JobStatus,
    StatusReport,
)
from node.client.orders import Follower, JobTracker, Order, get_order, share_order
from node.client.services import real_services
from node.client.session import Options, Session, any_peer
from node.client.signing import signature_of
from node.client.targets import check_pattern, existing_path, prepare_directory, read_target
from node.client.view import Outcome
from node.disk.share_options import ShareOptions
from node.local_messages import Phase
from protocol.errors import RefusedError, UsageError, error_of
from protocol.link import parse_link
from protocol.messages import PeerEntry, TorrentEntry
from protocol.signature import format_key, parse_key
from service.paths import absolute_path
from service.signing_keys import load_signing_key
from service.text import check_utf8
from service.units import format_seconds

LOOK_SECONDS = 0.1
"""How often to query a job that is being waited for."""

_logger = logging.getLogger("zswarm")

R = TypeVar("R")
StrPath = str | os.PathLike[str]


class Progress(Struct, frozen=True):
    """How far a `Job` is: ``done_bytes`` of ``length``, which is 0 until it is known. The phases of a share are
    ``checking`` (hashing) and ``waiting`` (for the tracker to list it), those of a get ``resolving``, ``downloading``
    and ``verifying``; ``detail`` says what it waits for. ``rate`` is the current one; ``sources`` counts the connected
    ones."""

    phase: Phase
    done_bytes: int
    length: int
    rate: float
    sources: int
    detail: str


class Job:
    """A share or a get that the peer works on, whether or not anybody waits for it. Iterating yields a `Progress`
    several times a second, the last one when it is done, and raises what `wait` raises if it failed."""

    def __init__(
        self,
        session: Session,
        order: Order,
        progress: Callable[[Progress], None] | None = None,
        signed: Callable[[Outcome], Order] | None = None,
    ) -> None:
        """``signed`` makes of the outcome of a share the order that shares it again, with its signature."""
        self._session = session
        self._target = order.target
        self._progress = progress
        self._signed = signed
        self._begin(order)

    def __iter__(self) -> Iterator[Progress]:
        while True:
            yield self._look()
            if self._tracker.finished():
                self._outcome()
                return
            self._session.pause(LOOK_SECONDS)

    def wait(self, timeout: float | None = None) -> Outcome:
        """Wait until it is done, and return the outcome. Raises an `Error` if it failed, `TimeoutError` if it is not
        done within ``timeout`` seconds: then it goes on, and may be waited for again."""
        deadline = None if timeout is None else self._session.now() + timeout
        for _ in self:
            if not self._tracker.finished() and deadline is not None and self._session.now() >= deadline:
                (late,) = self._tracker.outcomes(f"not finished after {format_seconds(timeout or 0.0)}")
                raise TimeoutError(f"{self._target}: {late.detail}")
        return self._outcome()

    def _begin(self, order: Order) -> None:
        self._tracker = JobTracker([order])
        self._follower = Follower(self._session, self._tracker)
        self._follower.look()

    def _outcome(self) -> Outcome:
        (outcome,) = self._tracker.ended()
        if not outcome.ok:
            raise error_of(outcome.code, outcome.detail or outcome.code)
        return outcome

    def _look(self) -> Progress:
        self._follower.look()
        if self._signed is not None and self._tracker.finished() and self._tracker.ended()[0].ok:
            order, self._signed = self._signed(self._tracker.ended()[0]), None
            self._begin(order)
        (status,) = self._tracker.statuses()
        (view,) = self._tracker.views() or (None,)
        progress = _progress_of(status, "" if view is None else view.note)
        if self._progress is not None:
            self._progress(progress)
        return progress


def _progress_of(job: JobStatus | None, detail: str) -> Progress:
    if job is None:
        return Progress("resolving", 0, 0, 0.0, 0, detail)
    report = job.download
    if report is None:
        return Progress(job.phase, job.done_bytes, job.length, 0.0, 0, detail)
    sources = sum(source.state == "connected" for source in report.sources)
    done = job.length if job.phase == "done" else report.done_bytes
    return Progress(job.phase, done, job.length, report.rate, sources, detail)


class Peer:
    """The peer that runs on ``data_dir``, or one of the program's own until `close`. What is not given comes from the
    environment and the configuration (``config``: its file), as on the command line. ``tracker`` and ``listen`` are
    endpoints (``tcp://HOST:PORT``), ``name`` is what others see, ``invite`` the line that lets this peer into a network
    with keys.

    A context manager, for use by one thread. Raises `NetworkError` if a peer is running but does not answer, and
    `UsageError` if it belongs to another program and would end with it."""

    def __init__(
        self,
        data_dir: StrPath = "",
        *,
        tracker: str = "",
        config: StrPath = "",
        listen: str = "",
        name: str = "",
        invite: str = "",
    ) -> None:
        self._options = Options(os.fspath(config), os.fspath(data_dir), tracker, listen, name, invite)
        services = real_services(_logger.info, owns_process=False)
        with contextlib.ExitStack() as resources:
            self._session = resources.enter_context(any_peer(self._options, services))
            self._session.status(jobs=[])
            if self._session.borrowed:
                place = self._options.settings().data_path
                what = f"the peer on {place} is another program's own, and ends with it"
                raise UsageError(f"{what}; give this one another data_dir, or run a peer for both: zswarm")
            self._resources = resources.pop_all()

    def share(
        self,
        path: StrPath,
        *,
        algorithm: Literal["", "blake3", "sha256"] = "",
        link_roots: Sequence[StrPath] = (),
        posix_names: bool = False,
        sign: str = "",
    ) -> Job:
        """Share the file or directory ``path``; the outcome has its ``link``. ``algorithm`` is that of its digests, by
        default the configured one. Symbolic links in a directory are shared as what they point to if that is below one
        of ``link_roots``. ``posix_names`` allows names that Windows cannot store. ``sign`` is a signing key, as for
        ``zswarm share --sign``."""
        place = existing_path(os.fspath(path))
        roots = tuple(str(existing_path(os.fspath(root))) for root in link_roots)
        chosen = algorithm or self._options.settings().hash
        options = ShareOptions(roots, posix_names)
        key = load_signing_key(sign) if sign else None

        def signed(outcome: Outcome) -> Order:
            assert key is not None
            signature = signature_of(self._session, key, parse_link(outcome.link), _logger.warning)
            return share_order(place, chosen, options, signature)

        order = share_order(place, chosen, options)
        return Job(self._session, order, signed=signed if key is not None else None)

    def get(
        self,
        target: str,
        to: StrPath = "",
        *,
        force: bool = False,
        sequential: bool | None = None,
        signed_by: str | Sequence[str] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> Job:
        """Fetch and verify ``target``: a name, digest, link or seed file. ``to`` is the directory to put it in, created
        if missing; by default the configured ``download_dir``. ``force`` replaces other content of that name there.
        ``sequential`` fetches pieces in order. With a key (``ed25519:...``) or several in ``signed_by`` only what one
        of them has signed is taken; otherwise it is a `SignatureError`. ``progress`` is called several times a second
        while the job is waited for."""
        found = read_target(target)
        settings = self._options.settings()
        place = absolute_path(os.fspath(to)) if to else settings.download_path
        check_utf8(str(place))
        in_order = settings.sequential if sequential is None else sequential
        texts = [signed_by] if isinstance(signed_by, str) else signed_by  # an empty text is no key, and an error
        keys = tuple(format_key(parse_key(text)) for text in texts)
        return Job(self._session, get_order(found, prepare_directory(place), force, in_order, keys), progress)

    def peers(self) -> list[PeerEntry]:
        """Who is in the network."""
        return self._request(ApiPeers(self._session.next_id()), ApiPeersReply).peers

    def list(self, pattern: str = "") -> list[TorrentEntry]:
        """What the network has under names that match ``pattern``, which is as for ``zswarm list``. What several keys
        have signed is there once for each."""
        check_pattern(pattern)
        return self._request(ApiList(self._session.next_id(), pattern), ApiListReply).entries

    def status(self) -> StatusReport:
        """What the peer is doing: all its jobs, and all that it shares."""
        return self._session.whole_status()

    def remove(self, target: StrPath) -> None:
        """Stop sharing ``target`` (a name, digest or path), or cancel its hashing or download. Shared files stay."""
        name = os.fspath(target)
        path = str(absolute_path(name))
        check_utf8(path)
        self._request(ApiRemove(self._session.next_id(), name, path), ApiDone)

    def _request(self, message: ApiRequest, kind: type[R]) -> R:
        try:
            return self._session.request(message, kind)
        except RefusedError as error:
            raise error_of(error.code, str(error)) from None

    def close(self) -> None:
        """End the program's own peer; a peer that ran before goes on. May be called twice."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
