"""Following: fetches what is announced under a name, and replaces older content of a name with the newest. Pure.

Owns what is followed, which content each name should have, and when to ask a lookup for that. Hints of the roster say
at once that there may be something newer. The downloads belong to `node.agent.gets`: one that is running when newer
content is announced is given up for that.

The library knows which content is at a path, and when it was announced; so nothing else has to be stored, and nothing
newer is replaced by something older. Only what was fetched, and has not changed since, is replaced; what others put
there is not, except with ``force``. A killed peer may not have recorded what it had just put in place: the download is
still stored then, and is resumed first, which finds it complete.
"""

from __future__ import annotations

import math
import posixpath
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from random import Random

from node.agent.catalogue import Catalogue, link_of
from node.agent.effects import DELETED, CheckItem, FindTorrents, Note, Wish
from node.agent.gets import Gets
from node.agent.jobs import JobBook
from node.agent.library import LibraryItem
from node.agent.meant import link_to, preference
from node.api_messages import ApiGet, Following
from node.local_messages import OVERTAKEN, Fetch
from node.trust import Trust
from protocol.errors import DiskError, SignatureError, UsageError
from protocol.link import format_link
from protocol.messages import ANEW, TorrentEntry
from protocol.signature import moment_of

REFRESH_SECONDS = 60.0
"""Hints announce new content. Content that none announced (a peer with a long list joined) is found after this time."""
SETTLING_SECONDS = 5.0
"""The same while the tracker may not know all of its peers."""
LEASE_SECONDS = 10.0
"""A command that follows renews its request; one that has not for this long has ended."""
RETRY_SECONDS, RETRY_SECONDS_MAX = 2.0, 300.0
"""Content that cannot be fetched is tried again after this time, which doubles each time..."""
LOOK_SECONDS = 2.0
"""...or as soon as what was in its way is gone, which is checked this often."""
FETCHES_COUNT_MAX = 16
"""Downloads at a time, for everything followed: a pattern may match very many names."""
QUESTIONS_COUNT_MAX = 64
"""Queries about single contents at a time; when more are announced, everything is queried again."""
SEEN_COUNT_MAX = 10_000
"""Contents whose timestamps are remembered, so that each new source does not cause another query."""
JOBS_COUNT = 200
"""Downloads of one following that are reported to its command, which asks several times a second."""
NEWER = "newer content of this name was announced"
CHANGED = "what it was to replace has since been changed"
_OTHERS = 0
"""The number in queries about single contents."""


def matches(following: Following, name: str) -> bool:
    """Whether ``name`` is followed: by a shell pattern for all of it if there is ``*`` or ``?`` in that, in which case
    matters, or as it is."""
    return fnmatchcase(name, following.pattern) if following.is_glob else name == following.pattern


class _Target:
    """A followed name: ``entry`` is the content that should be at ``path``. ``job`` fetches it, 0: none; ``replaces``
    is the digest of the content it may replace. ``checking``: the present content is being checked. After a failure it
    is tried again at ``retry_at``, and at ``look_at`` it is checked whether something is still ``in_the_way``. ``own``:
    a person put there what is there, and it is the newest."""

    def __init__(self, path: str, entry: TorrentEntry) -> None:
        self.path = path
        self.entry = entry
        self.job = 0
        self.replaces = ""
        self.checking = self.own = False
        self.retry_at = self.look_at = math.inf
        self.in_the_way = False
        self.retry_seconds = RETRY_SECONDS


class _Follow:
    """``until``: the command has to renew its request before this time; None: for ever."""

    def __init__(self, number: int, what: Following, now: float, until: float | None) -> None:
        self.number = number
        self.what = what
        self.until = until
        self.ask_at = now
        self.asking = False
        self.problem = ""
        """Why what was found says nothing, as it was told last."""
        self.targets: dict[str, _Target] = {}
        self.jobs: deque[int] = deque(maxlen=JOBS_COUNT)


class Follows:
    """``configured`` is followed as long as the peer runs. ``rng`` spreads queries over time."""

    def __init__(
        self,
        configured: Iterable[Following],
        catalogue: Catalogue,
        jobs: JobBook,
        gets: Gets,
        rng: Random,
        trust: Trust,
    ) -> None:
        self._trust = trust
        self._catalogue = catalogue
        self._jobs = jobs
        self._gets = gets
        self._rng = rng
        self._last = _OTHERS
        self._follows: dict[Following, _Follow] = {}
        self._questions: dict[str, None] = {}
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._commands = 0
        self._working: dict[_Target, _Follow] = {}
        """What is being checked or fetched; at most `FETCHES_COUNT_MAX`."""
        self._queued: dict[_Target, _Follow] = {}
        """What is to be fetched when there is room, in order."""
        self._failed: dict[_Target, _Follow] = {}
        """What is to be tried again, or looked at; the first at `_retry_at`."""
        self._retry_at = math.inf
        for what in configured:
            self._add(what, 0.0, None)

    # --- what is asked for -------------------------------------------------------------------------------

    @property
    def all(self) -> list[Following]:
        """What is followed."""
        return list(self._follows)

    def request(self, what: Following, now: float) -> tuple[list[int], list[Wish]]:
        """A command follows ``what``, from now on or still; the jobs that have fetched, or fetch, for it."""
        follow = self._follows.get(what) or self._add(what, now, now + LEASE_SECONDS)
        if follow.until is not None:
            follow.until = now + LEASE_SECONDS
        return list(follow.jobs), self.tick(now)

    def covers(self, path: str) -> bool:
        """Whether something is followed to ``path``, which decides what becomes of what is there."""
        directory, name = posixpath.split(path)
        return any(what.directory == directory and matches(what, name) for what in self._follows)

    # --- what there is -----------------------------------------------------------------------------------

    def hinted(self, digest: str, announced: int, now: float) -> list[Wish]:
        """A peer has ``digest``, announced at that time under one of its names: according to the roster, or because it
        is this peer."""
        if not self._follows or announced <= self._seen.get(digest, 0):
            return []
        self._seen[digest] = announced
        self._seen.move_to_end(digest)
        if len(self._seen) > SEEN_COUNT_MAX:
            self._seen.popitem(last=False)
        if len(self._questions) >= QUESTIONS_COUNT_MAX:
            return self.refresh(now, SETTLING_SECONDS)
        self._questions[digest] = None
        return [FindTorrents(("follow", _OTHERS, digest), digest)]

    def withdrawn(self, digests: Collection[str], now: float) -> None:
        """This peer has ``digests`` no longer."""
        targets = [target for follow in self._follows.values() for target in follow.targets.values()]
        if any(target.own and target.entry.digest in digests for target in targets):
            self.refresh(now, 0.0)

    def refresh(self, now: float, within: float) -> list[Wish]:
        """Hints may have been lost: ask for everything, within ``within`` seconds."""
        for follow in self._follows.values():
            follow.ask_at = min(follow.ask_at, now + self._rng.uniform(0, within))
        return []

    def found(self, number: int, digest: str, entries: list[TorrentEntry], sure: bool, now: float) -> list[Wish]:
        """What a lookup lists for following ``number`` (everything, if it is ``sure``), or for a single content."""
        wishes: list[Wish] = []
        self._questions.pop(digest, None)
        for follow in list(self._follows.values()):
            if number not in (_OTHERS, follow.number):
                continue
            if number != _OTHERS:
                follow.asking = False
                follow.ask_at = now + (REFRESH_SECONDS if sure else SETTLING_SECONDS) * self._rng.uniform(0.8, 1.2)
            try:
                newest, follow.problem = self._newest(follow, entries), ""
            except (SignatureError, UsageError) as error:
                newest = {}
                if follow.problem != str(error):
                    follow.problem = str(error)
                    wishes.append(Note("warning", f"following {follow.what.pattern}: {error}"))
            for name, entry in newest.items():
                wishes += self._offer(follow, name, entry, now)
        return wishes

    def _newest(self, follow: _Follow, entries: list[TorrentEntry]) -> dict[str, TorrentEntry]:
        """By name, the content of ``entries`` that should be there. With keys, what one of them signed last, whoever
        has it. Raises `SignatureError` and `UsageError`."""
        named = [entry for entry in entries if matches(follow.what, entry.name)]
        keys = self._trust.keys_for(follow.what.signed_by)
        if keys:
            return {entry.name: entry for entry in reversed(self._trust.newest(keys, named))}
        found = [entry for entry in named if entry.have + entry.partial]
        return {entry.name: entry for entry in sorted(found, key=preference)}

    def _may_go_on(self, follow: _Follow, stored: Fetch) -> bool:
        """Whether keys, if there are any, allow what an earlier run left."""
        keys = self._trust.keys_for(follow.what.signed_by)
        return self._trust.is_by(keys, stored.signatures, stored)

    def _age(self, follow: _Follow, entry: TorrentEntry | LibraryItem) -> int:
        """When ``entry`` was announced, or with keys, when one of them signed it: the greater, the newer."""
        keys = self._trust.keys_for(follow.what.signed_by)
        if not keys:
            return max(entry.announced, ANEW)
        if isinstance(entry, TorrentEntry):
            return moment_of(entry.signature)
        return self._trust.moment(keys, entry.signatures, entry)

    def ask_failed(self, number: int, digest: str, now: float) -> None:
        """There is no answer."""
        self._questions.pop(digest, None)
        for follow in self._follows.values():
            if number == follow.number:
                follow.asking = False
            follow.ask_at = now + SETTLING_SECONDS

    def item_checked(self, item: LibraryItem, problem: str, now: float) -> list[Wish]:
        """The result of checking the content at a followed path: ``problem`` is empty if it is unchanged."""
        if not item.seed_path:
            return self._looked_at(item.path, problem != DELETED, now)
        wishes: list[Wish] = []
        for target, follow in list(self._working.items()):
            if not target.checking or target.path != item.path:
                continue
            target.checking = False
            stored = self._gets.interrupted.get(target.path)
            if stored is not None and not self._may_go_on(follow, stored):
                stored = None
            if not problem and item.digest != target.entry.digest:
                wishes += self._fetch(follow, target, now, force=True, replaces=item.digest)
            elif problem != DELETED and stored is not None and stored.digest != target.entry.digest:
                wishes += self._fetch(follow, target, now, instead=stored)
            else:
                wishes += self._fetch(follow, target, now)
        return wishes

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Wish]:
        wishes: list[Wish] = []
        for what, follow in list(self._follows.items()):
            if follow.until is not None and now >= follow.until:
                del self._follows[what]
                for targets in (self._working, self._queued, self._failed):
                    for target in [target for target, one in targets.items() if one is follow]:
                        del targets[target]
            elif not follow.asking and now >= follow.ask_at:
                follow.asking = True
                wishes.append(FindTorrents(("follow", follow.number, ""), what.pattern, not what.is_glob))
        for target, follow in list(self._working.items()):
            if target.job:
                wishes += self._look_at_job(follow, target, now)
        if now >= self._retry_at:
            wishes += self._try_again(now)
        while self._queued and len(self._working) < FETCHES_COUNT_MAX:
            target, follow = next(iter(self._queued.items()))
            wishes += self._pursue(follow, target, now)
        return wishes

    def next_deadline(self) -> float | None:
        moments = [follow.ask_at for follow in self._follows.values() if not follow.asking]
        moments += [follow.until for follow in self._follows.values() if follow.until is not None]
        moments += [self._retry_at] if self._failed else []
        return min(moments, default=None)

    # --- steps -------------------------------------------------------------------------------------------

    def _add(self, what: Following, now: float, until: float | None) -> _Follow:
        self._last += 1
        follow = self._follows[what] = _Follow(self._last, what, now, until)
        return follow

    def _offer(self, follow: _Follow, name: str, entry: TorrentEntry, now: float) -> list[Wish]:
        """``entry`` is the newest content called ``name`` in an answer."""
        target = follow.targets.get(name)
        if target is None:
            path = posixpath.join(follow.what.directory, name)
            here = self._catalogue.known(path)
            if here is not None and self._age(follow, here) > self._age(follow, entry) and not _is_away(here):
                return []
            target = follow.targets[name] = _Target(path, entry)
        elif self._age(follow, entry) <= self._age(follow, target.entry) and not (
            target.own and _is_away(self._catalogue.known(target.path))
        ):
            return []
        else:
            same = (entry.digest, entry.manifest) == (target.entry.digest, target.entry.manifest)
            target.entry = entry
            if same and target.job:
                return []
        target.retry_seconds = RETRY_SECONDS
        return [] if target.checking else self._pursue(follow, target, now)

    def _pursue(self, follow: _Follow, target: _Target, now: float) -> list[Wish]:
        """Get the content of ``target`` to its path, after checking what is there."""
        for targets in (self._working, self._queued, self._failed):
            targets.pop(target, None)
        here, wanted = self._catalogue.at(target.path), (target.entry.digest, target.entry.manifest)
        target.own = here is not None and here.origin != "downloaded"
        if here is not None and (here.digest, here.manifest) == wanted and here.state in ("", "changed"):
            signatures = self._trust.kept(here.signatures + target.entry.signature, here)
            return self._catalogue.sign(target.path, signatures)  # so nothing signed in between replaces it
        given_up = self._gets.give_up(target.path, target.entry.digest, NEWER, now)
        target.job = 0
        if len(self._working) >= FETCHES_COUNT_MAX:
            self._queued[target] = follow
            return given_up
        self._working[target] = follow
        probe = self._probe(target.path)
        if probe is None:
            return [*given_up, *self._fetch(follow, target, now)]
        target.checking = True
        return [*given_up, CheckItem(probe)]

    def _probe(self, path: str) -> LibraryItem | None:
        """What was fetched to ``path``, or may have been before a run of the peer was killed."""
        item, stored = self._catalogue.known(path), self._gets.interrupted.get(path)
        if item is not None and item.origin == "downloaded":
            return item
        if item is not None or stored is None or not stored.seed_path:
            return None
        named = (stored.digest, stored.manifest, stored.name, stored.length)
        return LibraryItem(path, "downloaded", *named, stored.seed_path, stamps=b"")

    def _fetch(
        self,
        follow: _Follow,
        target: _Target,
        now: float,
        force: bool = False,
        replaces: str = "",
        instead: Fetch | None = None,
    ) -> list[Wish]:
        link = format_link(link_to(target.entry)) if instead is None else link_of(instead)
        force = follow.what.force or (force and instead is None)
        self._commands += 1
        # Each is a command of its own: of those of one command none replaces what another has fetched.
        command = b"follow %d" % self._commands
        signatures = target.entry.signature if instead is None else instead.signatures
        request = ApiGet(
            0,
            link,
            follow.what.directory,
            b"",
            force,
            sequential=False,
            keep=follow.what.keep,
            signed_by=follow.what.signed_by,
            signatures=signatures,
        )
        job, wishes = self._gets.request(request, now, command)
        target.job, target.replaces = job.job, replaces
        follow.jobs.append(job.job)
        return wishes

    def _look_at_job(self, follow: _Follow, target: _Target, now: float) -> list[Wish]:
        job = self._jobs.get(target.job)
        if job is None or job.over:
            target.job = 0
            if job is None or job.phase == "done":
                target.retry_seconds = RETRY_SECONDS
                return self._pursue(follow, target, now)  # which is over if it is there
            del self._working[target]
            if job.code not in (OVERTAKEN, "cancelled"):
                self._failed[target] = follow
                target.in_the_way = False
                self._retry(target, now + target.retry_seconds, now if job.code == DiskError.code else math.inf)
                target.retry_seconds = min(2 * target.retry_seconds, RETRY_SECONDS_MAX)
            return []
        here, known = self._catalogue.known(target.path), (target.replaces, target.entry.digest)
        as_it_was = here is not None and here.origin == "downloaded" and here.digest in known
        if as_it_was or not target.replaces or follow.what.force:
            return []
        return [*self._gets.give_up(target.path, "", CHANGED, now), *self._pursue(follow, target, now)]

    def _try_again(self, now: float) -> list[Wish]:
        """Do what it is time for, of all that failed."""
        wishes: list[Wish] = []
        for target, follow in list(self._failed.items()):
            if now >= target.retry_at:
                wishes += self._pursue(follow, target, now)
            elif now >= target.look_at:
                target.look_at = math.inf
                wishes.append(
                    CheckItem(LibraryItem(target.path, "downloaded", "", "", "", 0, seed_path="", stamps=b""))
                )
        self._retry_at = min((min(target.retry_at, target.look_at) for target in self._failed), default=math.inf)
        return wishes

    def _looked_at(self, path: str, is_there: bool, now: float) -> list[Wish]:
        """Whether there is anything at ``path``, where something could not be put."""
        wishes: list[Wish] = []
        for target, follow in [one for one in self._failed.items() if one[0].path == path]:
            if is_there:
                target.in_the_way = True
                self._retry(target, target.retry_at, now + LOOK_SECONDS)
            elif target.in_the_way:
                wishes += self._pursue(follow, target, now)
        return wishes

    def _retry(self, target: _Target, at: float, look_at: float) -> None:
        target.retry_at, target.look_at = at, look_at
        self._retry_at = min(self._retry_at, at, look_at)


def _is_away(here: LibraryItem | None) -> bool:
    """Whether what somebody here made is not at its place any more: then it keeps nothing away from there."""
    return here is None or (here.origin != "downloaded" and here.state == "missing")
