"""Bugs of the product's cores that somebody might have made, planted on purpose: does the simulated world find them?

Each is what a programmer forgot, in a line or two of the source, and says how soon the simulator finds it. None is in
the simulator itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

from cluster.simulated.faults import Level
from tests.cluster.simulated.planting import Edit, edited

SEARCHED_COUNT = 200
"""Seeds that were run before a bug was taken for one that is not found."""


class Bug(NamedTuple):
    """``forgot`` is what the programmer forgot. It was found with seed ``found_after``, the first of those from 0 on
    (faults of ``level``); None: with none of the first `SEARCHED_COUNT`. From seed ``first`` on, it has to be found
    within ``within`` seeds."""

    name: str
    forgot: str
    edits: tuple[Edit, ...]
    found_after: int | None
    first: int = 0
    within: int = 60
    level: Level = "heavy"

    def planted(self) -> AbstractContextManager[None]:
        """While in it, the product has the bug."""
        return edited(self.edits)


DISK = (
    Bug(
        "unverified_piece",
        "to look at the digest of a piece before it is written",
        (
            Edit(
                "node.disk.piece_work:verify_and_write",
                "if raw_digest(manifest.algorithm, view) != manifest.piece_digest(piece):",
                "if False:",
            ),
        ),
        found_after=9,
        first=8,
    ),
    Bug(
        "unchecked_whole",
        "to check the digest of the whole before it gets its final name",
        (Edit("node.downloader.job_work:finish", "if not whole_digest(", "if False and not whole_digest("),),
        found_after=9,
        first=8,
    ),
    Bug(
        "noted_before_synced",
        "that the journal is for what is durable already",
        (
            Edit(
                "node.downloader.job_work:sync",
                "    for piece in ready.partial.sync():\n",
                "    store.journal.record(place.digest, ready.have.to_bytes())\n"
                "    for piece in ready.partial.sync():\n",
            ),
        ),
        found_after=1,
    ),
    Bug(
        "prepared_unsynced",
        "that what was found on disk after a crash may be in the page cache alone",
        (Edit("node.downloader.job_work:prepare", "partial.sync()", "pass"),),
        found_after=14,
        first=13,
    ),
    Bug(
        "believes_the_journal",
        "to hash again what the journal names",
        (
            Edit(
                "node.downloader.job_work:prepare",
                "check_pieces(partial, manifest, _noted(place, manifest, store), progress, cancelled)",
                "_noted(place, manifest, store)",
            ),
        ),
        found_after=5,
        first=4,
    ),
    Bug(
        "manifest_of_other_content",
        "to compare the content a manifest describes with the content that was asked for",
        (Edit("node.downloader.job_work:keep_seed", "if manifest.digest != digest:", "if False:"),),
        found_after=None,
    ),
    Bug(
        "never_synced",
        "that a sync is due when it is old enough, not only when there is much to sync",
        (Edit("node.downloader.job_disk:JobDisk.sync_when_due", "not (full or old)", "not full"),),
        found_after=3,
        first=2,
    ),
    Bug(
        "cancelled_is_not_deleted",
        "to hand on that what was cancelled is deleted",
        (Edit("node.downloader.job_disk:JobDisk.let_go", "self._discard or discard", "self._discard"),),
        found_after=None,
    ),
)

JOBS = (
    Bug(
        "full_disk_for_good",
        "to try again when the disk was full",
        (Edit("node.downloader.job:FetchJob.tick", "if self._retry_at is not None and", "if False and"),),
        found_after=28,
        first=27,
    ),
    Bug(
        "budget_kept_by_bad_writes",
        "that a piece which could not be written is not under way any more",
        (Edit("node.downloader.job:FetchJob.on_unwritten", "self._download.write_failed(piece)", "pass"),),
        found_after=21,
        first=20,
    ),
    Bug(
        "finished_untold",
        "to tell the agent that a download is complete",
        (
            Edit(
                "node.downloader.job:FetchJob._published",
                "self._context.tell_agent(\n            DownloadFinished(",
                "str(\n            DownloadFinished(",
            ),
        ),
        found_after=1,
    ),
    Bug(
        "gained_untold",
        "to tell the piece server which pieces have come",
        (
            Edit(
                "node.downloader.job:FetchJob._perform",
                "self._context.tell_pieces(Held(self.fetch.digest, [effect.piece]))",
                "pass",
            ),
        ),
        found_after=3,
        first=2,
    ),
    Bug(
        "served_after_the_end",
        "to tell the piece server that a download ended without the whole",
        (Edit("node.downloader.job:FetchJob._end", "self._context.tell_pieces(Unserve(self.fetch.digest))", "pass"),),
        found_after=17,
        first=16,
    ),
    Bug(
        "serve_not_said_again",
        "to tell a new piece server what there is of the downloads under way",
        (Edit("node.downloader.core:DownloaderCore.pieces_say", "job.serve()", "pass"),),
        found_after=13,
        first=12,
    ),
    Bug(
        "fetch_lost_after_cancel",
        "that an order may come while the last one for the same content is being cleared away",
        (Edit("node.downloader.core:DownloaderCore._fetch", "self._next[message.digest] = message", "pass"),),
        found_after=20,
        first=19,
    ),
    Bug(
        "back_and_still_paused",
        "to go on with downloads once the peer is back in the network",
        (Edit("node.downloader.download:Download.resume", "self._paused = False", "pass"),),
        found_after=17,
        first=16,
    ),
)

CONVERSATION = (
    Bug(
        "claim_left_in_flight",
        "to note that a piece which does not come is missing again",
        (Edit("node.downloader.claims:Claims.release", "self._table.release(claim.piece)", "pass"),),
        found_after=3,
        first=2,
    ),
    Bug(
        "late_piece_counted_twice",
        "that somebody else owes the piece by now which arrives after all",
        (Edit("node.downloader.claims:Claims._take_over", "for other in self._pool:", "for other in ():"),),
        found_after=5,
        first=4,
    ),
    Bug(
        "late_piece_unexpected",
        "that a piece which was given up may still arrive",
        (Edit("node.downloader.claims:Claims.give_up_overdue", "source.late[offer] = claim", "pass"),),
        found_after=3,
        first=2,
    ),
    Bug(
        "nothing_is_overdue",
        "to give pieces of slow sources to others",
        (
            Edit(
                "node.downloader.download:Download.tick",
                "self._claims.give_up_overdue(now)",
                "pass",
            ),
            Edit("node.downloader.download:Download.tick", "effects += self._give_up_silent(now)", "pass"),
        ),
        found_after=31,
        first=30,
    ),
    Bug(
        "withdrawn_ignored",
        "that a source may take back an offer that was accepted",
        (Edit("node.downloader.download:Download.handle", "self._claims.release(source, message.offer)", "pass"),),
        found_after=9,
        first=8,
    ),
    Bug(
        "no_session_ignored",
        "that a source which started over knows nothing of what it owed",
        (
            Edit(
                "node.downloader.download:Download.handle",
                "self._claims.release_all(source)\n            return [self._test(source, now)]",
                "return []",
            ),
        ),
        found_after=None,
    ),
    Bug(
        "not_held_ignored",
        "that a source may lose a piece it said it had",
        (
            Edit(
                "node.downloader.download:Download._not_held",
                "self._claims.release_piece(source, message.piece)",
                "pass",
            ),
        ),
        found_after=None,
    ),
    Bug(
        "ban_not_kept",
        "to remember who is banned",
        (Edit("node.downloader.source:SourcePool.ban", "self._banned[peer] = reason", "pass"),),
        found_after=16,
        first=15,
    ),
    Bug(
        "banned_dialled_again",
        "that one does not dial who is banned",
        (Edit("node.downloader.source:SourcePool._waiting", "and peer not in self._banned ", ""),),
        found_after=9,
        first=8,
    ),
    Bug(
        "budget_kept_by_released",
        "that a piece which is missing again takes no part of the budget",
        (Edit("node.downloader.piece_table:PieceTable.release", "self._share.release(self.size(piece))", "pass"),),
        found_after=3,
        first=2,
    ),
    Bug(
        "manifest_unchecked",
        "to check the digest of a manifest that a source hands out",
        (
            Edit(
                "node.downloader.manifest_fetch:ManifestFetch.handle",
                "if manifest_digest(data, split_digest(self._manifest)[0]) != self._manifest:",
                "if False:",
            ),
        ),
        found_after=14,
        first=13,
    ),
    Bug(
        "one_source_for_the_manifest",
        "to ask somebody else for the manifest when a source does not answer",
        (
            Edit(
                "node.downloader.manifest_fetch:ManifestFetch.tick",
                "effects += self._next(source, now)",
                "pass",
            ),
            Edit(
                "node.downloader.manifest_fetch:ManifestFetch.tick",
                "self._pool.limit = min(ASKED_COUNT_MAX, self._pool.limit + 1)",
                "pass",
            ),
        ),
        found_after=31,
        first=30,
    ),
)

UPLOADS = (
    Bug(
        "slot_of_a_lost_receiver",
        "that a receiver whose connection is lost takes no slot any more",
        (Edit("node.piece_server.uploads:Uploads.unreachable", "self._drop(found)", "pass"),),
        found_after=14,
        first=13,
    ),
    Bug(
        "promises_outlive_a_session",
        "to give back the slots of a session that is dropped",
        (
            Edit(
                "node.piece_server.uploads:Uploads._drop",
                "self._take_back(session, offer)",
                "pass",
            ),
        ),
        found_after=0,
    ),
    Bug(
        "stalled_keeps_its_slot",
        "to take the slots from a receiver that never says it has received anything",
        (
            Edit(
                "node.piece_server.uploads:Uploads._check_session",
                "effects += self._stall(session, now)",
                "pass",
            ),
        ),
        found_after=54,
        first=53,
    ),
    Bug(
        "stalled_for_good",
        "that an acknowledgement may be lost, and a session stalled for ever",
        (
            Edit(
                "node.piece_server.uploads:Uploads._check_session",
                "if silent or (session.stalled and now - session.stalled_at > STALLED_SECONDS_MAX):",
                "if silent:",
            ),
        ),
        found_after=162,
        first=161,
    ),
    Bug(
        "expired_offer_is_kept",
        "to take back an offer that nobody answered in time",
        (
            Edit(
                "node.piece_server.uploads:Uploads._check_session",
                "self._take_back(session, offer)",
                "pass",
            ),
        ),
        found_after=9,
        first=8,
    ),
    Bug(
        "silent_session_is_kept",
        "to forget a receiver that is not heard of any more",
        (
            Edit(
                "node.piece_server.uploads:Uploads._check_session",
                "silent = now - session.heard_at > SESSION_SILENT_SECONDS",
                "silent = False",
            ),
        ),
        found_after=13,
        first=12,
    ),
    Bug(
        "last_news_dropped",
        "the last piece of a batch of news",
        (Edit("node.piece_server.uploads:Uploads._tell_news", "start + HAVE_COUNT_MAX]", "len(session.news) - 1]"),),
        found_after=9,
        first=8,
    ),
    Bug(
        "old_want_wins",
        "that a Want may come twice, and that the later one counts",
        (
            Edit(
                "node.piece_server.uploads:Uploads._want", "session.wanted = {", "session.wanted = session.wanted or {"
            ),
        ),
        found_after=None,
    ),
    Bug(
        "stamps_unchecked",
        "that shared content is served only as long as it is what was hashed",
        (Edit("node.piece_server.shelf:Shelf.open", "item.root, item.stamps)", "item.root, None)"),),
        found_after=35,
        first=34,
    ),
    Bug(
        "changed_content_untold",
        "to tell the agent that shared content was written to",
        (
            Edit(
                "node.piece_server.core:PieceServerCore._content_changed",
                "self._out.to_agent(ContentChanged(digest, detail))",
                "pass",
            ),
        ),
        found_after=35,
        first=34,
    ),
    Bug(
        "serves_for_a_dead_downloader",
        "to stop serving downloads that a new downloader knows nothing of",
        (
            Edit(
                "node.piece_server.core:PieceServerCore._downloader_hello",
                "for digest in self._shelf.partials():",
                "for digest in ():",
            ),
        ),
        found_after=70,
        first=69,
    ),
    Bug(
        "serves_while_away",
        "that nothing is served by a peer that has left the network",
        (Edit("node.piece_server.uploads:Uploads._test", "if not self.serving:", "if False:"),),
        found_after=21,
        first=20,
    ),
)

AGENT = (
    Bug(
        "fetches_not_said_again",
        "to tell a new downloader what there is to download",
        (Edit("node.agent.core:AgentCore._hello", ", *self.gets.fetches()]", "]"),),
        found_after=1,
    ),
    Bug(
        "shares_not_said_again",
        "to tell a new piece server what is shared",
        (
            Edit(
                "node.agent.core:AgentCore._hello",
                "wishes += self.catalogue.share_state(self.who.instance, self.serving)",
                "pass",
            ),
        ),
        found_after=0,
    ),
    Bug(
        "download_not_saved",
        "to write down in the library what is to be downloaded",
        (Edit("node.agent.gets:Gets._begin", "[SaveDownload(download), ToDownloader", "[ToDownloader"),),
        found_after=1,
    ),
    Bug(
        "finished_is_kept",
        "that a download that is complete is none any more",
        (Edit("node.agent.gets:Gets.finished", ", ForgetDownload(message.digest)]", "]"),),
        found_after=1,
    ),
    Bug(
        "rejoin_ignored",
        "to join again when the registrar does not know this peer any more",
        (
            Edit(
                "node.agent.membership:Membership._on_rejoin", "return [note, *self._begin_join(now)]", "return [note]"
            ),
        ),
        found_after=1,
    ),
    Bug(
        "news_while_listing_lost",
        "that a list may change while it is being sent",
        (
            Edit(
                "node.agent.announced:AnnouncedList.snapshot",
                "self._snapshot = list(self._entries.values())",
                "self._snapshot = self._snapshot or list(self._entries.values())",
            ),
        ),
        found_after=7,
        first=6,
    ),
    Bug(
        "seeders_asked_for_once",
        "to ask again who has the content",
        (Edit("node.agent.lookups:Lookups._release", "wanted.question = 0", "pass"),),
        found_after=38,
        first=37,
    ),
    Bug(
        "silent_lookup_is_kept",
        "to turn to another lookup when one does not answer",
        (Edit("node.agent.lookups:Lookups._switch", "return [*note, *self._dial(following, now)]", "return note"),),
        found_after=None,
    ),
    Bug(
        "roster_of_another_epoch",
        "that a registrar which was restarted counts from the start again",
        (
            Edit("node.agent.roster:RosterFollower.handle", "roster.epoch != self.epoch or ", ""),
            Edit("node.agent.roster:RosterFollower.start", "if epoch != self.epoch:", "if seq > self.seq:"),
        ),
        found_after=0,
    ),
)

TRACKER = (
    Bug(
        "leases_do_not_end",
        "to forget who is silent for a lease",
        (Edit("broker.registrar_core:Registrar.tick", "self._sessions.expired(now)", "()"),),
        found_after=1,
    ),
    Bug(
        "lease_too_long",
        "that the lease counts from when the peer was heard of, not from when it ended last",
        (Edit("broker.sessions:Sessions.renew", "now + self._lease_seconds", "now + 2 * self._lease_seconds"),),
        found_after=1,
    ),
    Bug(
        "gone_peer_keeps_its_entries",
        "to take the entries of a peer with it when it goes",
        (Edit("broker.registry:Registry._drop_peer", "self._drop_entry(peer, digest)", "pass"),),
        found_after=0,
    ),
    Bug(
        "goodbye_unsaid_to_lookups",
        "to tell the lookups that a peer is gone",
        (
            Edit(
                "broker.link_feed:_Link.add",
                "wanted = [event for event in events if event.peer not in self.unread]",
                "wanted = [event for event in events if event.peer not in self.unread and type(event) is not PeerGone]",
            ),
        ),
        found_after=0,
    ),
    Bug(
        "token_unchecked",
        "to compare the token of a request with the one the member joined with",
        (Edit("broker.registrar_core:Registrar.handle", "if not session.accepts(message.token):", "if False:"),),
        found_after=60,
        first=59,
    ),
    Bug(
        "replaced_run_accepted",
        "that a run after which another one joined is a member no more",
        (Edit("broker.registrar_core:Registrar.handle", "if message.run in session.replaced:", "if False:"),),
        found_after=19,
        first=18,
    ),
    Bug(
        "link_loss_unnoticed",
        "that a link may lose messages: at the registrar when a queue is full, at the lookup when a number is missing",
        (
            Edit("broker.link_feed:LinkFeed.lost", "link is None", "True"),
            Edit("broker.replica:Replica._at", "if number == self._received:", "if True:"),
        ),
        found_after=94,
        first=93,
    ),
    Bug(
        "half_a_change_set",
        "that a change set shows only when all of it is there",
        (Edit("broker.replica:Replica._take", "if not message.more:", "if True:"),),
        found_after=24,
        first=23,
    ),
    Bug(
        "state_page_before_changes",
        "that changes which wait are older than the state that is read now",
        (
            Edit(
                "broker.link_feed:LinkFeed._pump",
                "if link.queue:",
                "if link.queue and not link.loading:",
            ),
        ),
        found_after=61,
        first=60,
    ),
    Bug(
        "lookup_ignores_the_epoch",
        "that a number means nothing without the registrar's epoch",
        (
            Edit(
                "broker.lookup_core:Lookup._ready_for",
                "if request.epoch in (0, replica.epoch):",
                "if True:",
            ),
        ),
        found_after=116,
        first=115,
    ),
    Bug(
        "partial_sources_unlisted",
        "that who has part of the content is a source too",
        (
            Edit(
                "broker.queries:Answers._seeder_list",
                "peers = list(swarm.sources)",
                "peers = [peer for peer in swarm.sources if swarm.sources[peer]]",
            ),
        ),
        found_after=0,
    ),
    Bug(
        "page_taken_twice",
        "that a page of a list may come twice",
        (
            Edit(
                "broker.registrar_core:Registrar._file_list",
                "if message.page < transfer.next_page:",
                "if False:",
            ),
        ),
        found_after=None,
    ),
)

BUGS: tuple[Bug, ...] = (*DISK, *JOBS, *CONVERSATION, *UPLOADS, *AGENT, *TRACKER)
FOUND = tuple(bug for bug in BUGS if bug.found_after is not None)
