"""`protocol.limits` against messages as they are encoded."""

from __future__ import annotations

import pytest

from protocol import limits as lim
from protocol.codec import encode
from protocol.messages import Entry, FileList, Update

COUNT = 2**64 - 1
DIGEST = "blake3:" + "f" * 64
LONGEST = Entry(DIGEST, DIGEST, "n" * lim.NAME_BYTES_MAX, lim.CONTENT_BYTES_MAX, "requesting")
PEER, TOKEN = "p" * lim.PEER_ID_BYTES_MAX, b"t" * lim.TOKEN_BYTES_MAX


@pytest.mark.parametrize(
    "message",
    [
        FileList(COUNT, PEER, TOKEN, COUNT, COUNT, False, COUNT, [LONGEST] * lim.ENTRIES_PAGE_COUNT, COUNT),
        Update(COUNT, PEER, TOKEN, COUNT, COUNT, [LONGEST] * lim.ENTRIES_PAGE_COUNT, [], COUNT),
        Update(COUNT, PEER, TOKEN, COUNT, COUNT, [], [DIGEST] * lim.ENTRIES_PAGE_COUNT, COUNT),
    ],
)
def test_a_page_of_the_longest_entries_fits_a_control_message(message: FileList | Update) -> None:
    assert len(encode(message, lim.CONTROL_BYTES_MAX)) <= lim.CONTROL_BYTES_MAX


def test_an_entry_is_no_longer_than_it_is_counted_for() -> None:
    empty, one = (len(encode(FileList(0, "p", TOKEN, 0, 0, True, 0, entries))) for entries in ([], [LONGEST]))
    assert one - empty <= lim.ENTRY_BYTES + lim.NAME_BYTES_MAX
