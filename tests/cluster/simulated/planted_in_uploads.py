"""Planted bugs of the piece server. See `planted_bugs`."""

from __future__ import annotations

from tests.cluster.simulated.planting import Bug, Edit

UPLOADS = (
    Bug(
        "slot_of_a_lost_receiver",
        "that a receiver whose connection is lost takes no slot any more",
        (Edit("node.piece_server.uploads:Uploads.unreachable", "self._drop(found)", "pass"),),
        found_after=5,
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
        found_after=167,
        first=166,
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
        "batch_under_one_number",
        "that each piece of a batch is an offer of its own",
        (
            Edit(
                "node.piece_server.uploads:Uploads._send_next",
                "sent = tuple((offer, promises[offer].piece) for offer in offers)",
                "sent = tuple((offers[0], promises[offer].piece) for offer in offers)",
            ),
        ),
        found_after=32,
        first=31,
    ),
    Bug(
        "gained_in_part",
        "that a download may gain several pieces at once",
        (
            Edit(
                "node.piece_server.uploads:Uploads.held",
                "for piece in pieces:\n            swarm.have.set(piece)",
                "for piece in pieces[:1]:\n            swarm.have.set(piece)",
            ),
        ),
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
        (Edit("node.piece_server.shelf:Shelf.open", "root, item.stamps)", "root, None)"),),
        found_after=35,
        first=34,
    ),
    Bug(
        "changed_content_untold",
        "to tell the agent that shared content was written to",
        (
            Edit(
                "node.piece_server.core:PieceServerCore._content_changed",
                "self._out.to_agent(ContentChanged(digest, root, detail))",
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
                "for digest in self.shelf.partials():",
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
        found_after=17,
        first=16,
    ),
)
