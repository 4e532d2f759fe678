"""Getting: from what a person names to a download, and from its end to an item of the library. Pure.

Owns the ``get`` jobs and the downloads that survive a restart. The downloader decides which pieces come from which
source; a lookup knows the sources.

A download begins only once the library has it, and its partial content is deleted only when a person removes it. A
download left by an earlier run of the peer is resumed by a request for the same content and destination, or by a peer
run on its own, then without the original ``force``. Until then it is interrupted, and so is one that failed with
something on disk. The same content goes to one place at a time; a get to another place waits.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable
from math import inf
from pathlib import PurePosixPath

import msgspec

from node.agent.catalogue import Catalogue, entry_of, link_of
from node.agent.effects import (
    Announce,
    CheckItem,
    FindTorrents,
    ForgetDownload,
    Note,
    ReportTransfer,
    SaveDownload,
    StoreSeed,
    ToDownloader,
    ToPieceServer,
    UnwantSources,
    WantSources,
    Wish,
    Withdraw,
)
from node.agent.jobs import JobBook
from node.agent.library import LibraryItem
from node.agent.manifest_choice import ManifestChoice
from node.agent.meant import NEWER_MAY_COME, SETTLED_SECONDS, Asked, link_to, may_be_old, meant_by
from node.api_messages import CONTENTS_SHOWN_COUNT, ApiGet, JobStatus
from node.local_messages import (
    OVERTAKEN,
    Copies,
    DeleteFetch,
    DownloadFailed,
    DownloadFinished,
    DownloadReport,
    DownloadStarted,
    Fetch,
    StopFetch,
    Unserve,
)
from node.trust import Trust, refusal, signers_of
from protocol.digest import begins_digest, is_digest_start, short
from protocol.errors import DiskError, NotFoundError, SeedError, SignatureError, UsageError, VerificationError
from protocol.link import SCHEME, Link, format_link, parse_link
from protocol.messages import Entry, Moment, TorrentEntry
from protocol.names import check_name

RESOLVE_SECONDS = 0.5
"""A name that nobody lists yet is queried again after this time while the tracker's answers may be incomplete."""
UNSURE = "nobody lists it yet, but the tracker or this peer has only just started; asking again"
MAKING_ROOM = "making room for it within the quota"


class Gets:
    def __init__(
        self, catalogue: Catalogue, jobs: JobBook, has_room: Callable[[JobStatus, int], bool], trust: Trust
    ) -> None:
        """``has_room``: may a job for so many bytes begin? If not, `room_made` follows."""
        self._catalogue = catalogue
        self._jobs = jobs
        self._trust = trust
        self._has_room = has_room
        self._asked: dict[int, Asked] = {}
        self._ask_at: dict[int, float] = {}
        self._downloads: dict[str, Fetch] = {}
        self._unsaved: dict[str, None] = {}
        """Digests of downloads that are being stored in the library."""
        self._begun: dict[str, None] = {}
        """Digests of downloads that may have left something on disk."""
        self._interrupted: dict[str, Fetch] = {}
        self._choice = ManifestChoice()

    @property
    def digests(self) -> dict[str, Fetch]:
        """Downloads under way, by digest."""
        return self._downloads

    @property
    def interrupted(self) -> dict[str, Fetch]:
        """Downloads that continue only when they are requested again, by destination."""
        return self._interrupted

    @property
    def resolving(self) -> bool:
        """Whether a get has not been resolved to a content yet."""
        return any(asked.link is None for asked in self._asked.values())

    def manifests(self) -> list[str]:
        """Manifest digests of all downloads, including requested and interrupted ones."""
        downloads = [*self._downloads.values(), *self._interrupted.values()]
        links = [asked.link for asked in self._asked.values() if asked.link is not None]
        return [*(download.manifest for download in downloads), *(link.manifest for link in links)]

    # --- what is asked for -------------------------------------------------------------------------------

    def resume(
        self, downloads: Iterable[Fetch], asked: Collection[str], goes_on: Callable[[Fetch], bool], now: float
    ) -> list[Wish]:
        """The downloads in the library at the start of the agent. Those to a destination in ``asked`` belong to this
        run of the peer, and continue; downloads of earlier runs continue if ``goes_on`` says so. Downloads that the
        configuration no longer allows do not continue."""
        wishes: list[Wish] = []
        keys = self._trust.keys_for()
        for stored in downloads:
            of_this_run = stored.dest in asked
            download = stored if of_this_run else msgspec.structs.replace(stored, force=False)
            allowed = (of_this_run or goes_on(stored)) and self._trust.is_by(keys, stored.signatures, stored)
            if stored.superseded or not allowed or stored.digest in self._downloads:
                self._interrupted[stored.dest] = download
                continue
            job = self._jobs.new("get", download.name, download.dest, "waiting", now)
            job.digest, job.length = download.digest, download.length
            self._downloads[download.digest] = download
            self._begun[download.digest] = None
            wishes += self._want(download)
        return wishes

    def request(self, request: ApiGet, now: float, command: bytes) -> tuple[JobStatus, list[Wish]]:
        """A person wants ``request.target``; ``command`` tells commands apart."""
        asked = Asked(request)
        job = self._jobs.new("get", request.target, request.directory, "resolving", now, command)
        self._asked[job.job] = asked
        try:
            asked.keys = self._trust.keys_for(request.signed_by)
            if request.seed:
                return job, [StoreSeed(job.job, request.seed, request.name)]
            if request.target.startswith(SCHEME):
                link = msgspec.structs.replace(parse_link(request.target), tracker="")  # the command chose one
                return job, self._resolved(job, link, now)
        except UsageError as error:
            self._end(job)
            self._jobs.fail(job, error.code, str(error), now)
            return job, []
        self._ask_at[job.job] = now
        return job, self.tick(now)

    def seed_stored(self, number: int, link: Link, seed_path: str, now: float) -> list[Wish]:
        """The seed of job ``number`` is valid, and stored at ``seed_path``."""
        job = self._jobs.get(number)
        if job is None or number not in self._asked:
            return []
        self._asked[number].seed_path = seed_path
        return self._resolved(job, link, now)

    def failed(self, number: int, code: str, detail: str, now: float) -> None:
        """Job ``number`` cannot become a download."""
        job = self._jobs.get(number)
        if job is not None and self._asked.pop(number, None) is not None:
            self._ask_at.pop(number, None)
            self._jobs.fail(job, code, detail, now)

    def cancel(self, name: str, now: float, dest: str = "") -> list[Wish] | None:
        """Cancel the download that is called ``name`` or has that digest, and goes to ``dest`` unless that is empty;
        None when there is none."""
        wishes: list[Wish] = []
        digests: dict[str, None] = {}
        found = False
        for job in self._jobs.active("get"):
            if (name != job.name and not begins_digest(name, job.digest)) or dest not in ("", job.path):
                continue
            found = True
            digests[job.digest] = None
            self._end(job)
            self._jobs.fail(job, "cancelled", "removed before it was complete", now)
            download = self._downloads.get(job.digest)
            if download is not None and download.dest == job.path:
                wishes += [_delete(download), *self._drop(job.digest)]
        for download in list(self._interrupted.values()):
            if (name == download.name or begins_digest(name, download.digest)) and dest in ("", download.dest):
                found = True
                del self._interrupted[download.dest]
                wishes += [_delete(download), ForgetDownload(download.dest)]
        for digest in digests:
            wishes += self._next(digest, now)
        return wishes if found else None

    def give_up(self, path: str, digest: str, why: str, now: float) -> list[Wish]:
        """Stop what is being downloaded to ``path``, unless it is ``digest``, and delete what was fetched of it."""
        wishes: list[Wish] = []
        for download in [one for one in self._downloads.values() if one.dest == path and one.digest != digest]:
            for job in self._following(download.digest):
                self._jobs.fail(job, OVERTAKEN, why, now)
            wishes += [_delete(download), *self._drop(download.digest), *self._next(download.digest, now)]
        return wishes

    def entry(self, digest: str) -> Entry | None:
        """This peer's list entry for ``digest``, because it is being downloaded."""
        download = self._downloads.get(digest)
        if download is None:
            return None
        return entry_of(download, "requesting")

    def fetches(self) -> list[Wish]:
        """The messages for a new downloader."""
        return [wish for download in self._downloads.values() for wish in self._order(download)]

    # --- the library -------------------------------------------------------------------------------------

    def saved(self, download: Fetch) -> list[Wish]:
        """``download`` is in the library: it may begin. A download of the same content to elsewhere does not continue
        by itself."""
        if download.digest not in self._unsaved:
            return []
        del self._unsaved[download.digest]
        self._interrupted.pop(download.dest, None)
        wishes = self._order(download)
        for other in list(self._interrupted.values()):
            if other.digest == download.digest and not other.superseded:
                superseded = self._interrupted[other.dest] = msgspec.structs.replace(other, superseded=True)
                wishes.append(SaveDownload(superseded))
        if self._catalogue.with_digest(download.digest) is None:
            wishes += self._catalogue.wake(download.digest, download.dest)
        return [*wishes, *self._want(download)]

    def not_saved(self, download: Fetch, code: str, detail: str, now: float) -> list[Wish]:
        """The library cannot store ``download``: so it is not begun."""
        if download.digest not in self._unsaved:
            return [Note("error", detail)]
        del self._unsaved[download.digest]
        for job in self._following(download.digest):
            self._jobs.fail(job, code, f"the download cannot be recorded, so it was not started: {detail}", now)
        del self._downloads[download.digest]
        self._begun.pop(download.digest, None)
        return self._next(download.digest, now)

    # --- answers -----------------------------------------------------------------------------------------

    def torrents_found(
        self, number: int, entries: list[TorrentEntry], sure: bool, now: float, since: Moment = 0, unheard: str = ""
    ) -> list[Wish]:
        """What a lookup lists for the target of job ``number``. ``sure``: the answer is complete; otherwise what was
        announced before ``since`` may be missing. ``unheard``: the trackers of which nobody knows, in words."""
        job, asked = self._jobs.get(number), self._asked.get(number)
        if job is None or asked is None:
            return []
        name = asked.target
        try:
            if asked.pinned is not None:
                name, entries = asked.pinned.name, [entry for entry in entries if link_to(entry) == asked.pinned]
                if not entries and sure:
                    raise refusal(asked.keys, name, entries)
            contents = meant_by(name, entries, asked.keys, self._trust, sure)
        except (NotFoundError, UsageError, SignatureError) as error:
            self.failed(number, error.code, "; ".join(filter(None, (str(error), unheard))), now)
            return []
        if asked.pinned is None and may_be_old(name, contents, since, asked.keys):
            job.detail = NEWER_MAY_COME
            asked.until = min(asked.until, now + SETTLED_SECONDS)
        else:
            job.detail = UNSURE
            asked.until = now if contents else inf
        if now < asked.until:
            self._ask_at[number] = now + RESOLVE_SECONDS
            return []
        chosen = contents[0]
        if is_digest_start(asked.target) and not asked.keys:
            self._choice.among(contents, now)
        elif len(contents) > 1 and asked.pinned is None:
            job.contents = contents[:CONTENTS_SHOWN_COUNT]
        link = link_to(chosen)
        asked.signatures = b"".join(entry.signature for entry in entries if link_to(entry) == link)
        if asked.keys:
            asked.signatures = chosen.signature
        return self._resolved(job, link, now)

    def ask_failed(self, number: int, now: float) -> None:
        self._ask_at[number] = now + RESOLVE_SECONDS

    def room_made(self, number: int, refusal: str, now: float) -> list[Wish]:
        """Job ``number`` fits into the quota; or it does not, for the reason ``refusal``."""
        job, asked = self._jobs.get(number), self._asked.get(number)
        if job is None or asked is None or asked.link is None:
            return []
        if refusal:
            self.failed(number, DiskError.code, refusal, now)
            return []
        return self._begin(job, asked, asked.link, now)

    def item_checked(self, item: LibraryItem, intact: bool, now: float) -> list[Wish]:
        """Whether the destination of a get holds what the library says."""
        wishes: list[Wish] = []
        for job in self._jobs.active("get"):
            asked = self._asked.get(job.job)
            if asked is None or asked.link is None or job.path != item.path or job.digest != item.digest:
                continue
            if intact:
                self._end(job)
                job.link = link_of(item)
                self._jobs.done(job, now)
                if self._catalogue.at(item.path) is None:
                    wishes += self._catalogue.add(item)
                wishes += self._catalogue.sign(item.path, self._trust.kept(item.signatures + asked.signatures, item))
            else:
                wishes += self._begin(job, asked, asked.link, now)
        return wishes

    # --- what the downloader says ------------------------------------------------------------------------

    def report(self, report: DownloadReport) -> list[Wish]:
        """Progress of a download. One that is unknown here was ordered just as an earlier one ended; its files stay,
        since nobody asked to delete them."""
        over = report.phase in ("done", "failed")
        if report.digest not in self._downloads and not over:
            return [ToDownloader(StopFetch(report.digest))]
        if report.done_bytes:
            self._choice.began(report.digest)
        for job in self._following(report.digest):
            job.download = report
            job.done_bytes = report.done_bytes
            job.length = report.length or job.length
            if not over and job.phase != report.phase:
                job.phase = report.phase
                self._jobs.changes_count += 1
        return []

    def started(self, message: DownloadStarted) -> list[Wish]:
        """Its first pieces can be served."""
        download = self._downloads.get(message.digest)
        if download is None:
            return [ToDownloader(StopFetch(message.digest))]
        self._begun[message.digest] = None
        for job in self._following(message.digest):
            job.length = message.length
        wishes: list[Wish] = []
        if download.seed_path != message.seed_path:  # whoever takes it up needs nobody for the manifest
            download = msgspec.structs.replace(download, seed_path=message.seed_path)
            self._downloads[message.digest] = download
            wishes.append(SaveDownload(download))
        if self._catalogue.with_digest(message.digest) is not None:
            return wishes
        known = msgspec.structs.replace(download, manifest=message.manifest, length=message.length)
        return [*wishes, Announce(entry_of(known, "partial")), ReportTransfer(message.digest, "started")]

    def finished(self, message: DownloadFinished, now: float) -> list[Wish]:
        """It has its final name: an item like any other, unless it was removed at that moment."""
        download = self._downloads.get(message.digest)
        if download is None or PurePosixPath(download.dest) != PurePosixPath(message.path):
            return self._not_wanted(message)
        if download.signatures and message.manifest != download.manifest:
            return self._not_wanted(message)  # of a manifest that was given up for the signed one
        item = _item(message, download.name, download.signatures)
        for job in self._following(message.digest):
            job.length, job.path, job.link = message.length, message.path, link_of(item)
            self._jobs.done(job, message.finished_at)
            job.detail = message.left_behind and f"not all of the old directory could be deleted: {message.left_behind}"
        del self._downloads[message.digest]
        self._choice.over(message.digest)
        self._begun.pop(message.digest, None)
        shared = self._catalogue.add(item)
        ended: list[Wish] = [UnwantSources(message.digest), ForgetDownload(download.dest)]
        note = Note("info", f"got {item.name} ({short(message.digest)})")
        over = [note, *shared, ReportTransfer(message.digest, "finished"), *ended]
        return [*over, *self._next(message.digest, now)]

    def _not_wanted(self, message: DownloadFinished) -> list[Wish]:
        """Complete, but nobody waits for it: already known, or removed a moment ago. Then it stays where it is,
        complete and verified, and is not shared, as was asked for."""
        known = self._catalogue.at(message.path)
        if known is not None and known.digest == message.digest:
            return []
        successor = next((one for one in self._downloads.values() if one.dest == message.path), None)
        if successor is not None:  # given up a moment too late
            return self._catalogue.add(_item(message, successor.name))
        what = f"{message.path} was complete when it was removed: it stays there, and is not shared"
        wishes: list[Wish] = [Note("info", what)]
        if message.digest not in self._downloads and self._catalogue.with_digest(message.digest) is None:
            wishes.append(ToPieceServer(Unserve(message.digest)))
        return wishes

    def download_failed(self, message: DownloadFailed, now: float) -> list[Wish]:
        """What is on disk of it stays there, unless its content is wrong, so it is remembered."""
        download = self._downloads.get(message.digest)
        if download is None:
            return []
        if message.code == VerificationError.code and self._choice.failed(message.digest):
            return self._try_next_manifest(message.digest, now)
        for job in self._following(message.digest):
            self._jobs.fail(job, message.code, message.detail, now)
        kept = message.digest in self._begun and message.code != VerificationError.code
        note = Note("warning", f"cannot get {download.name} ({short(message.digest)}): {message.detail}")
        wishes: list[Wish] = [note, *self._drop(message.digest)]
        if kept:
            wishes.remove(ForgetDownload(download.dest))
            self._interrupted[download.dest] = download = msgspec.structs.replace(download, force=False)
            wishes.append(SaveDownload(download))
        return [*wishes, *self._next(message.digest, now)]

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Wish]:
        wishes: list[Wish] = []
        for number in [number for number, moment in self._ask_at.items() if now >= moment]:
            del self._ask_at[number]
            asked = self._asked.get(number)
            if asked is not None:
                target = asked.target if asked.pinned is None else asked.pinned.digest
                wishes.append(FindTorrents(("get", number), target, exact=not is_digest_start(target)))
        for digest in self._choice.due(now):
            wishes += self._try_next_manifest(digest, now)
        return wishes

    def next_deadline(self) -> float | None:
        deadlines = [*self._ask_at.values(), self._choice.next_deadline()]
        return min((at for at in deadlines if at is not None), default=None)

    # --- steps -------------------------------------------------------------------------------------------

    def _resolved(self, job: JobStatus, link: Link, now: float) -> list[Wish]:
        """The content is known: use what is there already, join a download, or begin one."""
        asked = self._asked[job.job]
        try:
            name = check_name(link.name)
        except SeedError as error:
            self.failed(job.job, error.code, str(error), now)
            return []
        job.name, job.digest, job.length = name, link.digest, link.length
        if not self._trust.is_by(asked.keys, asked.signatures, link):
            asked.signatures = self._catalogue.signatures_of(link)
            if not self._trust.is_by(asked.keys, asked.signatures, link):
                asked.pinned, self._ask_at[job.job] = link, now
                return self.tick(now)
        asked.link, job.detail = link, ""
        asked.signatures = self._trust.kept(asked.signatures, link)
        job.signed_by = signers_of(asked.signatures)
        job.path = posixpath.join(asked.directory, name)
        job.link = format_link(link)
        item = self._catalogue.known(job.path)
        is_it = item is not None and item.digest == link.digest and (not asked.keys or item.manifest == link.manifest)
        if item is not None and is_it and not item.state and not asked.force:
            job.phase = "checking"
            return [CheckItem(item)]
        return self._begin(job, asked, link, now)

    def _begin(self, job: JobStatus, asked: Asked, link: Link, now: float) -> list[Wish]:
        rival = self._rival(job, link)
        if rival:
            what = f"{job.path} would be both {short(link.digest)} and {short(rival)}, which is being downloaded there"
            self.failed(job.job, "usage", f"{what}; get one of them to another directory with -o", now)
            return []
        running = self._downloads.get(link.digest)
        other = running is not None and asked.keys and running.manifest != link.manifest
        if running is not None and (running.dest != job.path or other):
            job.phase, job.detail = "waiting", f"the same content is being downloaded to {running.dest} first"
            return []
        if running is None and not self._has_room(job, link.length):
            job.phase, job.detail = "waiting", MAKING_ROOM
            return []
        self._end(job)
        job.phase, job.detail = "waiting", ""
        if running is not None:
            self._catch_up(link.digest)
            return self._sign(running, asked, link)
        stored = self._interrupted.get(job.path)
        known_seed = stored.seed_path if stored is not None and stored.digest == link.digest else ""
        download = Fetch(
            digest=link.digest,
            manifest=link.manifest,
            name=job.name,
            length=link.length,
            dest=job.path,
            seed_path=asked.seed_path or known_seed,
            force=asked.force,
            sequential=asked.sequential,
            keep=asked.keep,
            signatures=asked.signatures,
        )
        self._downloads[link.digest] = download
        self._unsaved[link.digest] = None
        if stored is not None and stored.digest == link.digest:
            self._begun[link.digest] = None
        return [SaveDownload(download)]

    def _sign(self, running: Fetch, asked: Asked, link: Link) -> list[Wish]:
        """The download that is ``running`` has the signatures of ``asked`` too; with keys it stays at its manifest."""
        if asked.keys:
            self._choice.over(running.digest)
        if running.manifest != link.manifest or running.name != link.name:
            return []
        signatures = self._trust.kept(running.signatures + asked.signatures, link)
        if signatures == running.signatures:
            return []
        signed = self._downloads[running.digest] = msgspec.structs.replace(running, signatures=signatures)
        return [SaveDownload(signed)]

    def _try_next_manifest(self, digest: str, now: float) -> list[Wish]:
        """Begin the download of ``digest`` anew, with another manifest that lists have."""
        download = self._downloads.get(digest)
        if download is None:
            self._choice.over(digest)
            return []
        manifest = self._choice.next(digest, now)
        self._downloads[digest] = other = msgspec.structs.replace(
            download, manifest=manifest, seed_path="", signatures=b""
        )
        self._unsaved[digest] = None
        self._begun.pop(digest, None)
        what = f"{download.name}: manifest {short(download.manifest)} brought nothing; trying {short(manifest)}"
        return [Note("info", what), _delete(download), SaveDownload(other)]

    def _next(self, digest: str, now: float) -> list[Wish]:
        """A download of ``digest`` is over: begin the next one that waited for it, unless another is running."""
        wishes: list[Wish] = []
        for job in self._jobs.active("get"):
            asked = self._asked.get(job.job)
            if asked is not None and asked.link is not None and job.digest == digest and job.phase == "waiting":
                wishes += self._begin(job, asked, asked.link, now)
        return wishes

    def _rival(self, job: JobStatus, link: Link) -> str:
        """The digest of other content that is being downloaded to the path of ``job``, or that the same command
        downloads or has downloaded there, which its ``force`` must not replace. Empty when there is none."""
        rivals = [download.digest for download in self._downloads.values() if download.dest == job.path]
        beside = self._jobs.of_same_command(job)
        rivals += [other.digest for other in beside if other.path == job.path and other.phase != "failed"]
        return next((digest for digest in rivals if digest != link.digest), "")

    def _catch_up(self, digest: str) -> None:
        """Give all jobs of a download its last report: while it makes no progress no other comes."""
        reports = [job.download for job in self._following(digest) if job.download is not None]
        if reports:
            self.report(reports[0])

    def _order(self, download: Fetch) -> list[Wish]:
        """Order it from the downloader, and say where pieces of it may be on this machine."""
        copies = self._catalogue.copies_for(download)
        said = [ToDownloader(Copies(download.digest, copies))] if copies else []
        return [*said, ToDownloader(download)]

    def _want(self, download: Fetch) -> list[Wish]:
        """Say that ``download`` is wanted. Content this peer has elsewhere may come from its own piece server."""
        if self._catalogue.with_digest(download.digest) is not None:
            return [WantSources(download.digest, own_too=True)]
        entry = self.entry(download.digest)
        assert entry is not None
        report = ReportTransfer(download.digest, "requesting")
        return [Announce(entry), report, WantSources(download.digest, own_too=False)]

    def _drop(self, digest: str) -> list[Wish]:
        dest = self._downloads.pop(digest).dest
        self._choice.over(digest)
        self._begun.pop(digest, None)
        wishes: list[Wish] = [UnwantSources(digest), ForgetDownload(dest), ReportTransfer(digest, "failed")]
        entry = self._catalogue.entry(digest)
        return [*wishes, Withdraw(digest) if entry is None else Announce(entry)]

    def _following(self, digest: str) -> list[JobStatus]:
        return [job for job in self._jobs.active("get") if job.digest == digest and job.job not in self._asked]

    def _end(self, job: JobStatus) -> None:
        """Its query is over."""
        self._asked.pop(job.job, None)
        self._ask_at.pop(job.job, None)


def _item(message: DownloadFinished, name: str, signatures: bytes = b"") -> LibraryItem:
    return LibraryItem(
        path=message.path,
        origin="downloaded",
        digest=message.digest,
        manifest=message.manifest,
        name=name,
        length=message.length,
        seed_path=message.seed_path,
        stamps=message.stamps,
        signatures=signatures,
    )


def _delete(download: Fetch) -> Wish:
    return ToDownloader(DeleteFetch(download.digest, download.dest, download.seed_path))
