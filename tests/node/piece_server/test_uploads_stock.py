"""node.piece_server.uploads: what receivers that would relay are told of the stock."""

from __future__ import annotations

from random import Random

from node.piece_server.uploads import Reply, Uploads
from protocol import messages
from protocol.bitfield import Bitfield
from protocol.messages import Follow, Relay, Status

DIGEST = "blake3:" + "0" * 64


def test_who_asks_for_stock_that_is_gone_is_told_so() -> None:
    """It would wait for it, and ask no other source meanwhile."""
    uploads = Uploads(0.0, 0.0, Random(1))
    uploads.serve(DIGEST, Bitfield.full_of(8), 8 * 65_536, 65_536)
    for route in (b"a", b"b"):
        uploads.handle(route, messages.Test(1, DIGEST), 0.0)
        uploads.handle(route, Follow(1, bytes(1), 8), 0.0)
    uploads.handle(b"a", Relay(1, 8), 0.0)
    uploads.tick(0.0)
    assert uploads.handle(b"b", Relay(1, 1), 0.0) == [Reply(b"b", Status(1, "complete"))]
