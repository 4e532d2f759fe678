"""What a tracker still lists, asked of one of its lookups."""

from __future__ import annotations

import time

from protocol.codec import Decoder, encode
from protocol.errors import NetworkError
from protocol.limits import REPLY_BYTES_MAX, REQUEST_TIMEOUT_SECONDS
from protocol.messages import GetPeerList, GetTorrentList, LookupReply, LookupRequest, PeerList, TorrentList
from transport.sockets import Role, connect, drain, open_context, open_socket, send_or_drop

_PAUSE_MS = 50


def leftovers(lookup: str, epoch: int, seq: int) -> tuple[int, int]:
    """How many contents and members ``lookup`` lists at ``seq`` of ``epoch`` or later, at most a page of each.
    `NetworkError` when it does not say."""
    contents, members = (
        _ask(lookup, question)
        for question in (GetTorrentList(1, epoch=epoch, min_seq=seq), GetPeerList(2, epoch=epoch, min_seq=seq))
    )
    if not isinstance(contents, TorrentList) or not isinstance(members, PeerList):
        raise NetworkError(f"lookup {lookup} was asked what is left, and said {contents} and {members}")
    return len(contents.entries), len(members.peers)


def _ask(lookup: str, question: LookupRequest) -> LookupReply:
    decoder: Decoder[LookupReply] = Decoder(LookupReply, REPLY_BYTES_MAX)
    context = open_context()
    socket = open_socket(context, Role.CONTROL_DEALER)
    deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
    try:
        connect(socket, lookup)
        sent = False
        while time.monotonic() < deadline:
            sent = sent or send_or_drop(socket, [encode(question)])  # not before there is a connection
            socket.poll(_PAUSE_MS)
            for frames in drain(socket):
                return decoder.decode(frames[0].buffer)
    finally:
        socket.close(0)
        context.term()
    raise NetworkError(f"lookup {lookup} did not say what is left within {REQUEST_TIMEOUT_SECONDS:g} s")
