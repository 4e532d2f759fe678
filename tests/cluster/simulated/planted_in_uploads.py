"""Planted bugs of the piece server. See `planted_bugs`."""

from __future__ import annotations

from tests.cluster.simulated.planting import Bug, Edit

SESSIONS = (
    Bug(
        "session_of_a_lost_receiver",
        "that a receiver whose connection is lost gets nothing any more",
        (Edit("node.piece_server.uploads:Uploads.unreachable", "self._drop(session)", "pass"),),
        seed=14,
    ),
    Bug(
        "silent_session_is_kept",
        "to forget a receiver that is not heard of any more",
        (
            Edit(
                "node.piece_server.uploads:Uploads._check_sessions",
                "if now - session.heard_at > SESSION_SILENT_SECONDS:",
                "if False:",
            ),
        ),
        seed=13,
    ),
    Bug(
        "credit_not_taken",
        "that an acknowledgement gives credit for more pieces",
        (Edit("node.piece_server.uploads:Uploads._received", "session.credit += message.credit", "pass"),),
        seed=1,
    ),
    Bug(
        "piece_costs_no_credit",
        "that a piece that is sent uses up credit",
        (Edit("node.piece_server.uplink:Uplink.send", "session.credit -= 1", "pass"),),
        seed=3,
    ),
    Bug(
        "unread_piece_costs_credit",
        "to give back the credit for a piece that could not be read",
        (Edit("node.piece_server.uplink:Uplink.take_back", "session.credit += 1", "pass"),),
        seed=None,
    ),
    Bug(
        "acknowledged_at_once",
        "that several pieces may be acknowledged in one message",
        (
            Edit(
                "node.piece_server.uplink:Uplink.acknowledge",
                "for _ in range(count):",
                "for _ in range(min(count, 1)):",
            ),
        ),
        seed=None,
    ),
    Bug(
        "bytes_of_a_lost_connection",
        "that what was on its way to a connection that is gone does not count any more",
        (
            Edit(
                "node.piece_server.uplink:Uplink.lost",
                "self._left_bytes -= self._left.pop(route).size",
                "self._left.pop(route)",
            ),
        ),
        seed=1,
    ),
    Bug(
        "cancel_ignored",
        "that a receiver may have got a piece from somebody else",
        (Edit("node.piece_server.uploads:Uploads.handle", "self._cancel(session, message.pieces)", "pass"),),
        seed=None,
    ),
    Bug(
        "serves_while_away",
        "that nothing is served by a peer that has left the network",
        (Edit("node.piece_server.uploads:Uploads._test", "if not self.serving:", "if False:"),),
        seed=None,
    ),
)

PUSHING = (
    Bug(
        "pushes_what_it_lost",
        "that a piece which is to be pushed may have been lost meanwhile",
        (
            Edit(
                "node.piece_server.sending:Sending._push_next",
                "continue\n            if piece in have:",
                "continue\n            if True:",
            ),
        ),
        seed=None,
    ),
    Bug(
        "sends_what_it_lost",
        "that a piece which is asked for may have been lost meanwhile",
        (
            Edit(
                "node.piece_server.sending:Sending._send_next",
                "if piece in have:\n                relay",
                "if True:\n                relay",
            ),
        ),
        seed=None,
    ),
    Bug(
        "lost_piece_is_said_to_be_had",
        "to take what is lost off the bitfield",
        (Edit("node.piece_server.swarm:Swarm.lose", "self.have.clear(piece)", "pass"),),
        seed=None,
    ),
    Bug(
        "pushes_what_is_there",
        "to push no pieces that the receiver has",
        (Edit("node.piece_server.uploads:Uploads._follow", "session.skip = skip", "pass"),),
        seed=1,
    ),
    Bug(
        "pushes_what_was_sent",
        "to push no pieces that were sent already",
        (Edit("node.piece_server.sending:Sending._send", "session.skip.set(piece)", "pass"),),
        seed=None,
    ),
    Bug(
        "pushes_nothing_of_late",
        "that followers who wait are sent what has come to be relayed",
        (
            Edit(
                "node.piece_server.uploads:Uploads.held",
                "self._sending.wake(session for session in swarm.sessions.values() if session.follows)",
                "pass",
            ),
        ),
        seed=67,
    ),
    Bug(
        "credit_wakes_nobody",
        "that who had no credit is sent something when it has some",
        (Edit("node.piece_server.uploads:Uploads._received", "self._sending.wake([session])", "pass"),),
        seed=1,
    ),
    Bug(
        "promises_what_it_does_not_push",
        "that pieces a receiver has from elsewhere are promised to it in vain",
        (
            Edit(
                "node.piece_server.sending:Sending._send",
                "if one not in session.skip and one in swarm.have",
                "if one in swarm.have",
            ),
            Edit(
                "node.piece_server.sending:Sending._send",
                "queue[told : session.promised]",
                "queue[: session.promised]",
            ),
        ),
        seed=16,
    ),
)

STOCK = (
    Bug(
        "relayed_by_two",
        "that a piece somebody relays is not in stock",
        (
            Edit(
                "node.piece_server.swarm:Swarm.take_from_stock",
                "in_stock.clear(piece)\n                break",
                "break",
            ),
        ),
        seed=1,
    ),
    Bug(
        "asked_for_and_in_stock",
        "that a piece which was asked for by number is relayed by whoever gets it",
        (Edit("node.piece_server.sending:Sending._send_next", "swarm.in_stock.clear(piece)", "pass"),),
        seed=1,
    ),
    Bug(
        "orphans_forgotten",
        "to put back into stock what a receiver was to relay that is gone",
        (
            Edit(
                "node.piece_server.uploads:Uploads._drop",
                "swarm.orphans.update((piece, at) for piece in session.assigned)",
                "pass",
            ),
        ),
        seed=1,
    ),
    Bug(
        "hoarded_for_good",
        "to put back into stock what a receiver was to relay and does not",
        (Edit("node.piece_server.swarm:Swarm.not_spread", "back += old", "pass"),),
        seed=3,
    ),
    Bug(
        "end_of_stock_untold",
        "to tell those that wait for pieces of the stock that there are none",
        (
            Edit(
                "node.piece_server.uploads:Uploads._relay",
                "return [tell(session)]",
                "return []",
            ),
            Edit("node.piece_server.uploads:Uploads._tell_stock", "swarm.had_stock = has_stock", "return []"),
        ),
        seed=7,
    ),
    Bug(
        "alone_for_good",
        "to tell a receiver that it is not the only one any more",
        (Edit("node.piece_server.uploads:Uploads._tell_company", "[tell(one) for one in told]", "[]"),),
        seed=3,
    ),
    Bug(
        "idle_untold",
        "to say that there is nothing to send",
        (
            Edit("node.piece_server.uploads:Uploads._check", "if self._sending.is_idle(now):", "if False:"),
            Edit("node.piece_server.uploads:Uploads._test", "tell(session, is_idle)", "tell(session)"),
        ),
        seed=1,
    ),
    Bug(
        "room_untold_to_a_new_downloader",
        "that a downloader which says anew what there is knows of no room",
        (
            Edit(
                "node.piece_server.uploads:Uploads.serve",
                "swarm.relayed_before, swarm.room = len(swarm.relayed), -1",
                "swarm.relayed_before = len(swarm.relayed)",
            ),
        ),
        seed=47,
    ),
    Bug(
        "room_of_the_last_downloader",
        "that a downloader which says anew what there is counts from nothing",
        (
            Edit(
                "node.piece_server.uploads:Uploads.serve",
                "swarm.relayed_before, swarm.room = len(swarm.relayed), -1",
                "swarm.room = -1",
            ),
        ),
        seed=16,
    ),
    Bug(
        "own_stock_takes_room",
        "that the downloader knows nothing of pieces that are relayed for want of others",
        (
            Edit(
                "node.piece_server.sending:Sending._relay_some",
                "swarm.relayed_before += swarm.relay([piece], own=True)",
                "swarm.relay([piece], own=True)",
            ),
        ),
        seed=None,
    ),
)

SERVING = (
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
        seed=9,
    ),
    Bug(
        "relayed_while_closed",
        "that a download may be assigned pieces while its book is closed",
        (Edit("node.piece_server.shelf:Shelf.gained", "self._relayed[digest] += relayed", "pass"),),
        seed=137,
    ),
    Bug(
        "stamps_unchecked",
        "that shared content is served only as long as it is what was hashed",
        (Edit("node.piece_server.shelf:Shelf.open", "root, item.stamps)", "root, None)"),),
        seed=35,
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
        seed=35,
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
        seed=None,
    ),
)

UPLOADS = (*SESSIONS, *PUSHING, *STOCK, *SERVING)
