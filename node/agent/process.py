"""The agent process: member of the network, keeper of the library, and whom the command line talks to.

Shell around `node.agent.core`: sockets, threads for the disk, the library's database. It decides nothing. Binds
``agent.sock`` for the peer's other two processes and ``api.sock`` for the command line; dials the tracker.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from node.agent import disk_work as disk
from node.agent import effects as fx
from node.agent import lookups as lk
from node.agent import membership as mb
from node.agent.api_server import ApiServer
from node.agent.child_links import ChildLinks
from node.agent.core import AgentCore
from node.agent.dialled import Dialled, Told
from node.agent.library import Library
from node.agent.share_scan import look
from node.agent.state import AgentTerms
from node.config import AgentSettings
from node.disk.errors import disk_error
from node.identity import load_identity
from node.local_messages import ApiDone, ApiError, ApiRequest, ChildToAgent
from node.workers import END_SECONDS, Workers
from protocol.codec import ROSTER_DECODER, Decoder
from protocol.errors import DiskError, NetworkError, ZswarmError
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import LookupReply, RegistrarReply, Roster
from service.logs import LEVELS
from service.text import as_utf8
from transport.loop import Loop
from transport.sockets import Role

LEAVE_SECONDS = 0.5
"""How long the end of the process waits for the tracker to acknowledge that the peer left."""

log = logging.getLogger(__name__)

AWAY_NAME = "away"
"""In the runtime directory while the peer is out of the network by request: a restarted agent stays out too."""


class Agent:
    """Sockets, threads and effects of the agent."""

    def __init__(self, settings: AgentSettings, loop: Loop, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._settings = settings
        self._loop = loop
        self._context = context
        self._data_dir = Path(settings.data_dir)
        self._library = Library(self._data_dir, settings.run)
        self._away = Path(settings.runtime_dir) / AWAY_NAME
        self._core = self._make_core()
        # A thread each: what a person waits for is not behind what was found or looked at, nor a check behind hashing.
        self._disk = [Workers[fx.Outer, Any](1) for _ in range(4)]
        self._hashers, self._background_hashers, self._checks, self._looks = self._disk
        self._cancelled: dict[str, threading.Event] = {}
        self._progress: dict[str, tuple[int, int]] = {}
        runtime_dir = Path(settings.runtime_dir)
        self._children = ChildLinks(context, runtime_dir, self._on_child)
        self._api = ApiServer(context, runtime_dir, self._on_api)
        self._names: Workers[Told, Any] = Workers(1)
        self._registrar_decoder: Decoder[RegistrarReply] = Decoder(RegistrarReply, REPLY_BYTES_MAX)
        self._lookup_decoder: Decoder[LookupReply] = Decoder(LookupReply, REPLY_BYTES_MAX)
        self._registrar: Dialled[RegistrarReply] = Dialled(
            context,
            self._names,
            Role.CONTROL_DEALER,
            settings.tracker,
            self._registrar_decoder.decode,
            self._on_registrar,
            self._on_registrar_connected,
            self._on_registrar_lost,
        )
        self._lookup: Dialled[LookupReply] | None = None
        self._roster: Dialled[Roster] | None = None
        self._roster_problem = ""
        loop.add(self._children.socket, self._children.receive)
        loop.add(self._api.socket, self._api.receive)
        for workers in self._disk:
            loop.add(workers.fd, partial(self._on_disk, workers))
        loop.add(self._names.fd, self._on_names)
        self._registrar.attach(loop)
        self._perform(self._core.start(self._library.downloads(), loop.now()))

    def _make_core(self) -> AgentCore:
        identity = load_identity(self._data_dir)
        settings = self._settings
        terms = AgentTerms(
            peer=identity.peer,
            token=identity.token,
            name=settings.name,
            tracker=settings.tracker,
            advertise=settings.advertise,
            algorithm=settings.algorithm,
            share=tuple(settings.share),
            scan_seconds=settings.scan_seconds,
            instance=secrets.randbits(48),
            pid=os.getpid(),
            foreground=settings.foreground,
            asked=self._library.asked(),
            options=settings.options,
        )
        wall_offset = time.time() - self._loop.now()
        return AgentCore(terms, self._library.items(), wall_offset, random.Random(), self._away.exists())

    def tick(self, now: float) -> float | None:
        """Called by the loop in every turn; returns when to be called at the latest."""
        self._perform(self._core.tick(now))
        for dialled in self._dialled():
            dialled.tick(now)
        moments = [self._core.next_deadline(), *(dialled.next_deadline() for dialled in self._dialled())]
        return min((moment for moment in moments if moment is not None), default=None)

    def leave(self) -> None:
        """Leave the network, for the end of the process. The acknowledgement is not waited for long: what was sent
        goes out, and a tracker that heard nothing forgets the peer when its lease ends."""
        if self._core.departed or self._core.membership.network == "unreachable":
            return
        loop = Loop()
        self._registrar.attach(loop)
        loop.add(self._api.socket, self._api.receive)
        loop.add(self._names.fd, self._on_names)
        give_up_at = loop.now() + LEAVE_SECONDS
        self._perform(self._core.leave(loop.now()))

        def tick(now: float) -> float | None:
            self._perform(self._core.settle(self._core.membership.tick(now), now))
            if self._core.departed or now >= give_up_at:
                loop.stop()
            self._registrar.tick(now)
            moments = (give_up_at, self._core.membership.next_deadline(), self._registrar.next_deadline())
            return min(moment for moment in moments if moment is not None)

        loop.run(tick)

    def close(self) -> None:
        for cancelled in self._cancelled.values():
            cancelled.set()
        for workers in self._disk:
            workers.close(END_SECONDS)
        for dialled in self._dialled():
            dialled.close()
        self._names.close(0.0)
        self._children.close()
        self._api.close()
        self._library.close()

    def _dialled(self) -> list[Dialled[Any]]:
        """The connections to the tracker."""
        return [one for one in (self._registrar, self._lookup, self._roster) if one is not None]

    # --- what arrives ------------------------------------------------------------------------------------

    def _on_registrar(self, reply: RegistrarReply) -> None:
        self._perform(self._core.registrar_says(reply, self._loop.now()))

    def _on_registrar_connected(self, host: str) -> None:
        self._perform(self._core.registrar_connected(host, self._loop.now()))

    def _on_registrar_lost(self, why: str) -> None:
        self._perform(self._core.registrar_lost(why, self._loop.now()))

    def _on_lookup(self, reply: LookupReply) -> None:
        self._perform(self._core.lookup_says(reply, self._loop.now()))

    def _on_lookup_connected(self, _host: str) -> None:
        self._perform(self._core.lookup_connected(self._loop.now()))

    def _on_lookup_lost(self, why: str) -> None:
        self._perform(self._core.lookup_lost(why, self._loop.now()))

    def _on_roster(self, event: Roster) -> None:
        self._perform(self._core.roster_says(event, self._loop.now()))

    def _on_roster_connected(self, _host: str) -> None:
        if self._roster_problem:
            log.info("roster %s is back", self._roster.endpoint if self._roster is not None else "")
        self._roster_problem = ""

    def _on_roster_lost(self, why: str) -> None:
        assert self._roster is not None
        if why != self._roster_problem:
            log.warning("roster %s: %s", self._roster.endpoint, why)
        self._roster_problem = why

    def _on_names(self) -> None:
        for told, result in self._names.results():
            told(result)

    def _on_child(self, message: ChildToAgent) -> None:
        self._perform(self._core.child_says(message, self._loop.now()))

    def _on_api(self, route: bytes, request: ApiRequest) -> None:
        for path, (done, total) in list(self._progress.items()):
            self._core.hash_progress(path, done, total)
        self._perform(self._core.api_says(route, request, self._loop.now()))

    def _on_disk(self, workers: Workers[fx.Outer, Any]) -> None:
        for request, result in workers.results():
            now = self._loop.now()
            if isinstance(request, fx.HashPath):
                del self._cancelled[request.path]
                self._progress.pop(request.path, None)
            if isinstance(result, ZswarmError) and isinstance(request, fx.HashPath):
                self._perform(self._core.hash_failed(request.path, result.code, as_utf8(str(result)), now))
            elif isinstance(result, ZswarmError) and isinstance(request, fx.StoreSeed):
                self._core.seed_refused(request.job, result.code, as_utf8(str(result)), now)
            elif isinstance(result, BaseException):
                raise result
            elif isinstance(request, fx.HashPath):
                item, skipped = result
                self._perform(self._core.hashed(request.path, item, now, skipped))
            elif isinstance(request, fx.StoreSeed):
                self._perform(self._core.seed_stored(request.job, result.link, result.path, now))
            elif isinstance(request, fx.CheckItem):
                self._perform(self._core.item_checked(request.item, result, now))
            else:
                self._perform(self._core.scanned(result.listing, result.began, now))

    # --- what is to be done ------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Any]) -> None:
        refusal: DiskError | None = None
        for effect in effects:
            try:
                if refusal is not None and isinstance(effect, fx.ReplyApi) and isinstance(effect.reply, ApiDone):
                    # It was done, and a restart would not know.
                    self._api.reply(effect.route, ApiError(effect.reply.id, refusal.code, as_utf8(str(refusal))))
                else:
                    _PERFORM[type(effect)](self, effect)
            except DiskError as error:
                refusal = error
                log.error("%s", error)
            except NetworkError as error:
                # An address from the tracker that is none: what works goes on.
                log.error("%s", error)

    def _note(self, note: fx.Note) -> None:
        log.log(LEVELS[note.level], "%s", note.text)

    def _send(self, effect: mb.Send) -> None:
        self._registrar.send(effect.message)

    def _dial(self, effect: lk.Dial) -> None:
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None
        self._lookup = Dialled(
            self._context,
            self._names,
            Role.CONTROL_DEALER,
            effect.endpoint,
            self._lookup_decoder.decode,
            self._on_lookup,
            self._on_lookup_connected,
            self._on_lookup_lost,
        )
        self._lookup.attach(self._loop)

    def _ask(self, effect: lk.Ask) -> None:
        assert self._lookup is not None
        self._lookup.send(effect.message)

    def _subscribe(self, effect: fx.Subscribe) -> None:
        if self._roster is not None:
            if self._roster.endpoint == effect.endpoint:
                return
            self._roster.close()
            self._roster = None
        self._roster = Dialled(
            self._context,
            self._names,
            Role.ROSTER_SUB,
            effect.endpoint,
            ROSTER_DECODER.decode,
            self._on_roster,
            self._on_roster_connected,
            self._on_roster_lost,
        )
        self._roster.attach(self._loop)

    def _to_piece_server(self, effect: fx.ToPieceServer) -> None:
        self._children.send("piece_server", effect.message)

    def _to_downloader(self, effect: fx.ToDownloader) -> None:
        self._children.send("downloader", effect.message)

    def _keep_away(self, effect: fx.KeepAway) -> None:
        try:
            if effect.away:
                self._away.touch()
            else:
                self._away.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, "write", self._away) from error

    def _save_item(self, effect: fx.SaveItem) -> None:
        try:
            self._library.put_item(effect.item)
        except DiskError as error:
            detail = as_utf8(str(error))
            self._perform(self._core.item_not_saved(effect.item, error.code, detail, self._loop.now()))

    def _save_download(self, effect: fx.SaveDownload) -> None:
        try:
            self._library.put_download(effect.download)
        except DiskError as error:
            detail = as_utf8(str(error))
            self._perform(self._core.download_not_saved(effect.download, error.code, detail, self._loop.now()))
        else:
            self._perform(self._core.download_saved(effect.download, self._loop.now()))

    def _hash(self, request: fx.HashPath) -> None:
        cancelled = self._cancelled[request.path] = threading.Event()

        def progress(done: int, total: int) -> None:
            self._progress[request.path] = (done, total)

        hashers = self._background_hashers if request.background else self._hashers
        hashers.submit(request, lambda: disk.hash_item(request, self._data_dir, progress, cancelled.is_set))

    def _cancel_hash(self, effect: fx.CancelHash) -> None:
        self._cancelled[effect.path].set()

    def _store_seed(self, request: fx.StoreSeed) -> None:
        self._checks.submit(request, lambda: disk.keep_seed(request, self._data_dir))

    def _check(self, request: fx.CheckItem) -> None:
        self._checks.submit(request, lambda: disk.item_problem(request.item))

    def _scan(self, request: fx.ScanShares) -> None:
        share = [Path(path) for path in self._settings.share]

        def link_roots(path: str) -> Sequence[str]:
            return request.options.get(path, self._settings.options).link_roots

        self._looks.submit(request, lambda: look(share, request.paths, self._loop.now, link_roots))


_PERFORM: dict[type, Callable[[Agent, Any], None]] = {
    fx.Note: Agent._note,
    mb.Send: Agent._send,
    lk.Dial: Agent._dial,
    lk.Ask: Agent._ask,
    fx.Subscribe: Agent._subscribe,
    fx.ToPieceServer: Agent._to_piece_server,
    fx.ToDownloader: Agent._to_downloader,
    fx.SaveItem: Agent._save_item,
    fx.ForgetItem: lambda agent, effect: agent._library.remove_item(effect.path),
    fx.SaveDownload: Agent._save_download,
    fx.ForgetDownload: lambda agent, effect: agent._library.remove_download(effect.dest),
    fx.StoreSeed: Agent._store_seed,
    fx.HashPath: Agent._hash,
    fx.CancelHash: Agent._cancel_hash,
    fx.CheckItem: Agent._check,
    fx.ScanShares: Agent._scan,
    fx.KeepAway: Agent._keep_away,
    fx.ReplyApi: lambda agent, effect: agent._api.reply(effect.route, effect.reply),
    fx.Stop: lambda agent, _: agent._loop.stop(),
}
