"""Signatures for shared content: the secret key stays with the command, the peer gets only the signature."""

from __future__ import annotations

from collections.abc import Callable

from node.api_messages import ApiList, ApiListReply
from node.client.session import Session
from node.trust import Verifier, parse_keys
from protocol.errors import RefusedError, SignatureError
from protocol.link import Link
from protocol.messages import TorrentEntry
from protocol.signature import moment_of, sign
from service.signing_keys import SigningKey, moment_now


def signature_of(session: Session, key: SigningKey, link: Link, tell: Callable[[str], None]) -> bytes:
    """The signature by ``key`` of the content of ``link`` under its name, with a timestamp later than all that the
    network lists for this key and name. If the latest of those is of this content, it is returned. ``tell`` is called
    if the list is not available."""
    known: list[TorrentEntry] = []
    try:
        reply = session.request(ApiList(session.next_id(), link.name, exact=True), ApiListReply)
        known = Verifier().newest(parse_keys([key.public]), [one for one in reply.entries if one.name == link.name])
    except (RefusedError, SignatureError) as error:
        tell(f"what was signed before under this name cannot be seen, so this machine's clock counts: {error}")
    if known and (known[0].digest, known[0].manifest) == (link.digest, link.manifest):
        return known[0].signature
    last = moment_of(known[0].signature) if known else 0
    return sign(key.secret, link, max(moment_now(), last + 1))
