"""Planted bugs of the disk, the jobs and the sources of downloads. See `planted_bugs`."""

from __future__ import annotations

from tests.cluster.simulated.planting import Bug, Edit

DISK = (
    Bug(
        "unverified_piece",
        "to look at the digest of a piece before it is written",
        (
            Edit(
                "node.disk.piece_work:verify_and_write",
                "if not good:",
                "if False:",
            ),
        ),
        seed=15,
    ),
    Bug(
        "unchecked_whole",
        "to check the digest of the whole before it gets its final name",
        (Edit("node.downloader.job_work:finish", "if not whole:", "if False and not whole:"),),
        seed=92,
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
        seed=1,
    ),
    Bug(
        "prepared_unsynced",
        "that what was found on disk after a crash may be in the page cache alone",
        (Edit("node.downloader.job_work:prepare", "partial.sync()", "pass"),),
        seed=33,
    ),
    Bug(
        "believes_the_journal",
        "to hash again what the journal names",
        (
            Edit(
                "node.downloader.job_work:prepare",
                "check_pieces(partial, manifest, noted, progress, cancelled)",
                "noted",
            ),
        ),
        seed=5,
    ),
    Bug(
        "manifest_of_other_content",
        "to compare the content a manifest describes with the content that was asked for",
        (Edit("node.downloader.job_work:keep_seed", "if manifest.digest != digest:", "if False:"),),
        seed=316,
    ),
    Bug(
        "never_synced",
        "that a sync is due when it is old enough, not only when there is much to sync",
        (Edit("node.downloader.job_disk:JobDisk.sync_when_due", "not (full or old)", "not full"),),
        seed=3,
    ),
    Bug(
        "cancelled_is_not_deleted",
        "to hand on that what was cancelled is deleted",
        (Edit("node.downloader.job_disk:JobDisk.let_go", "self._discard or discard", "self._discard"),),
        seed=None,
    ),
)

JOBS = (
    Bug(
        "full_disk_for_good",
        "to try again when the disk was full",
        (Edit("node.downloader.job:FetchJob.tick", "if self._retry_at is not None and", "if False and"),),
        seed=21,
    ),
    Bug(
        "budget_kept_by_bad_writes",
        "that a piece which could not be written is not under way any more",
        (Edit("node.downloader.job:FetchJob.on_unwritten", "self.download.write_failed(piece)", "pass"),),
        seed=21,
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
        seed=1,
    ),
    Bug(
        "gained_untold",
        "to tell the piece server which pieces have come",
        (
            Edit(
                "node.downloader.job:FetchJob._tell_gained",
                "self._context.tell_pieces(Held(self.fetch.digest, pieces, relayed, handed_on))",
                "pass",
            ),
        ),
        seed=3,
    ),
    Bug(
        "served_after_the_end",
        "to tell the piece server that a download ended without the whole",
        (Edit("node.downloader.job:FetchJob._end", "self._context.tell_pieces(Unserve(self.fetch.digest))", "pass"),),
        seed=20,
    ),
    Bug(
        "serve_not_said_again",
        "to tell a new piece server what there is of the downloads under way",
        (Edit("node.downloader.core:DownloaderCore.pieces_say", "job.serve()", "pass"),),
        seed=14,
    ),
    Bug(
        "fetch_lost_after_cancel",
        "that an order may come while the last one for the same content is being cleared away",
        (Edit("node.downloader.core:DownloaderCore._fetch", "self._next[message.digest] = message", "pass"),),
        seed=17,
    ),
    Bug(
        "back_and_still_paused",
        "to go on with downloads once the peer is back in the network",
        (Edit("node.downloader.download:Download.resume", "self._paused = False", "pass"),),
        seed=32,
    ),
)

PIECES = (
    Bug(
        "promised_by_a_dead_source",
        "that what a source has promised that is gone is open again",
        (
            Edit(
                "node.downloader.pieces:Pieces.release",
                "del self.promised[piece]\n            self.open.set(piece)",
                "del self.promised[piece]",
            ),
        ),
        seed=3,
    ),
    Bug(
        "asked_of_a_dead_source",
        "that what a source was asked for that is gone is open again",
        (
            Edit(
                "node.downloader.pieces:Pieces.release",
                "del self.asked[piece]\n            self.open.set(piece)",
                "del self.asked[piece]",
            ),
        ),
        seed=3,
    ),
    Bug(
        "unwritten_piece_is_closed",
        "that a piece which could not be written is open again",
        (Edit("node.downloader.pieces:Pieces.written", "self.open.set(piece)", "pass"),),
        seed=15,
    ),
    Bug(
        "owed_after_it_came",
        "that nobody owes a piece any more that has come from somebody else",
        (Edit("node.downloader.pieces:Pieces.arrive", "self.expect_no_more(piece, sender)", "pass"),),
        seed=1,
    ),
    Bug(
        "out_of_order",
        "that a sequential download takes the first open piece and not the rarest",
        (
            Edit(
                "node.downloader.piece_requests:PieceRequests._choose",
                "self._pieces.first(bits) if self._sequential else ",
                "",
            ),
        ),
        seed=32,
    ),
    Bug(
        "assigned_out_of_order",
        "that a sequential download is assigned nothing",
        (
            Edit(
                "node.downloader.download:Download.tick",
                "if not self._sequential:",
                "if True:",
            ),
        ),
        seed=32,
    ),
    Bug(
        "wrong_pieces_said",
        "one of the pieces that nobody has, where a person is told of them",
        (
            Edit(
                "node.downloader.download:Download.nobody_has",
                "list(left.indices())",
                "list(left.indices())[1:]",
            ),
        ),
        seed=35,
    ),
)

CREDIT = (
    Bug(
        "credit_kept_by_a_dead_session",
        "that credit for what does not come takes no part of the budget",
        (Edit("node.downloader.credit:Credit.end", "self._share.release(", "abs("),),
        seed=1,
    ),
    Bug(
        "credit_of_the_last_session",
        "that a session begins without credit",
        (
            Edit(
                "node.downloader.credit:Credit.end",
                "source.credit = source.arrived",
                "source.arrived",
            ),
        ),
        seed=12,
    ),
    Bug(
        "acknowledged_twice",
        "that what was acknowledged once is not acknowledged again",
        (Edit("node.downloader.credit:Credit.say", "source.arrived = 0", "pass"),),
        seed=3,
    ),
    Bug(
        "acknowledged_with_credit_alone",
        "to acknowledge pieces when there is no room for more",
        (Edit("node.downloader.credit:Credit.say", "if source.arrived or given:", "if given:"),),
        seed=None,
    ),
    Bug(
        "credit_unsaid",
        "to say that a source has more credit",
        (
            Edit(
                "node.downloader.credit:Credit.say",
                "Received(session, source.arrived, given, source.receipt)",
                "Received(session, source.arrived, min(given, 1), source.receipt)",
            ),
        ),
        seed=3,
    ),
    Bug(
        "budget_kept_by_duplicates",
        "that a piece which is there already takes no part of the budget",
        (Edit("node.downloader.download:Download.piece", "self._credit.written()", "pass"),),
        seed=1,
    ),
    Bug(
        "budget_kept_by_written",
        "that a piece which is on disk is not under way any more",
        (
            Edit(
                "node.downloader.download:Download._no_more_written",
                "self._credit.written()",
                "pass",
            ),
        ),
        seed=1,
    ),
)

CONVERSATION = (
    Bug(
        "relayed_before_it_is_written",
        "that a piece is passed on only once it is verified",
        (
            Edit(
                "node.downloader.download:Download.piece",
                "effects.append(Write(piece))",
                "effects += [Write(piece), Gained(piece, message.relay)]",
            ),
        ),
        seed=3,
    ),
    Bug(
        "no_session_ignored",
        "that a source which started over knows nothing of what it owed",
        (
            Edit(
                "node.downloader.download:Download.handle",
                "self._end_session(source)\n            source.since",
                "return []\n            source.since",
            ),
        ),
        seed=14,
    ),
    Bug(
        "not_held_ignored",
        "that a source may lose a piece it said it had",
        (Edit("node.downloader.download:Download._not_held", "self.pieces.expect_no_more(piece, source)", "pass"),),
        seed=None,
    ),
    Bug(
        "nothing_is_overdue",
        "to have others send what slow sources owe",
        (
            Edit("node.downloader.download:Download.tick", "self._give_up_overdue(now)", "pass"),
            Edit("node.downloader.download:Download.tick", "effects += self._sessions.part_with_silent(now)", "pass"),
        ),
        seed=9,
    ),
    Bug(
        "snubbed_again",
        "that a source which let a piece wait is not asked for it again",
        (Edit("node.downloader.download:Download._give_up_overdue", "source.snubs = True", "pass"),),
        seed=189,
    ),
    Bug(
        "waits_for_stock_that_is_gone",
        "that a source whose stock is gone assigns nothing any more",
        (
            Edit(
                "node.downloader.assignments:Assignments.give_up",
                "source.asked = 0\n        self._stocked.pop(source, None)",
                "self._stocked.pop(source, None)",
            ),
        ),
        seed=3,
    ),
    Bug(
        "relays_for_a_dead_piece_server",
        "that a new piece server has room for pieces again",
        (Edit("node.downloader.job:FetchJob._serve", "download.restart_relaying()", "pass"),),
        seed=14,
    ),
    Bug(
        "room_ignored",
        "to have as many pieces assigned as there is room for",
        (Edit("node.downloader.download:Download.set_room", "self._assignments.room = count", "pass"),),
        seed=3,
    ),
    Bug(
        "ban_not_kept",
        "to remember who is banned",
        (
            Edit(
                "node.downloader.source:SourcePool.ban",
                'self._candidates[entry.peer].trouble = Trouble("banned", reason)',
                "pass",
            ),
            Edit("node.downloader.source:SourcePool.ban", "self._closed[address_of(entry)] = inf", "pass"),
        ),
        seed=35,
    ),
    Bug(
        "banned_dialled_again",
        "that one does not dial who is banned",
        (
            Edit("node.downloader.source:SourcePool._may_dial", "candidate.usable", "candidate.named"),
            Edit("node.downloader.source:SourcePool.ban", "self._closed[address_of(entry)] = inf", "pass"),
        ),
        seed=9,
    ),
    Bug(
        "budget_not_asked",
        "to ask the budget of all downloads before a piece is accepted",
        (Edit("node.rate_limit:Budget.has_room", "return self.under_way == 0 or", "return True or"),),
        seed=18,
    ),
    Bug(
        "manifest_unchecked",
        "to check the digest of a manifest that a source hands out",
        (
            Edit(
                "node.downloader.manifest_fetch:ManifestFetch._page",
                "if manifest_digest(data, split_digest(self._manifest)[0]) != self._manifest:",
                "if False:",
            ),
        ),
        seed=None,
    ),
    Bug(
        "one_source_for_the_manifest",
        "to ask somebody else for the manifest when a source does not answer",
        (
            Edit(
                "node.downloader.manifest_fetch:ManifestFetch.tick",
                "effects += self._next(source, now, NO_ANSWER)",
                "pass",
            ),
            Edit(
                "node.downloader.manifest_fetch:ManifestFetch.tick",
                "self._pool.limit = min(SOURCES_PER_DOWNLOAD_COUNT_MAX, 2 * self._pool.limit)",
                "pass",
            ),
        ),
        seed=22,
    ),
)
