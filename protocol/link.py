"""The link: one line that names a content and pins its manifest (PROTOCOL.md, section 3.6).

``zswarm://[<host>:<port>/]<content digest>/<manifest digest>/<length>/<name>``, the name percent-encoded: nothing in
it means anything to a terminal or a mail program, nor to a shell, but for the brackets of an IPv6 address.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from msgspec import Struct

from protocol import limits as lim
from protocol.digest import split_digest
from protocol.endpoints import TCP_SCHEME, ip_of, is_wildcard, parse_endpoint
from protocol.errors import ProtocolError, SeedError
from protocol.names import check_name

SCHEME = "zswarm://"
_LINK = re.compile(
    SCHEME
    + r"(?:([^/]{1,%d})/)?([^/]{1,80})/([^/]{1,80})/([0-9]{1,16})/([^/]{1,%d})"  # noqa: UP031
    % (lim.ENDPOINT_BYTES_MAX, 3 * lim.NAME_BYTES_MAX)
)
"""No part has a slash, so their number says whether the first is a tracker."""
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class Link(Struct, frozen=True):
    """Both digests are written ``algorithm:hex``; ``length`` in bytes. ``name`` is what a person calls it.
    ``tracker`` is the endpoint of one that knows who has it, empty when the link names none."""

    digest: str
    manifest: str
    name: str
    length: int
    tracker: str = ""


def format_link(link: Link) -> str:
    """The one line that stands for ``link``."""
    tracker = f"{link.tracker.removeprefix(TCP_SCHEME)}/" if link.tracker else ""
    return f"{SCHEME}{tracker}{link.digest}/{link.manifest}/{link.length}/{quote(link.name, safe='')}"


def parse_link(text: str) -> Link:
    """The link in ``text``, spaces around it aside; `SeedError` that says what is wrong with it."""
    match = _LINK.fullmatch(text.strip())
    if match is None:
        form = f"{SCHEME}[<tracker>:<port>/]<digest>/<manifest digest>/<length>/<name>"
        raise SeedError(f"not a link of the form {form}: {text!a:.200}")
    tracker, digest, manifest, length, quoted = match.groups()
    if split_digest(digest)[0] != split_digest(manifest)[0]:
        raise SeedError("the two digests of the link are of different algorithms")
    if int(length) > lim.CONTENT_BYTES_MAX:
        raise SeedError(f"link to {length} bytes; at most {lim.CONTENT_BYTES_MAX} are possible")
    if _BROKEN_ESCAPE.search(quoted):
        raise SeedError(f"the name in the link has a broken %-escape: {quoted!a:.90}")
    try:
        name = unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        raise SeedError(f"the name in the link is not UTF-8: {quoted!a:.90}") from None
    return Link(digest, manifest, check_name(name), int(length), _checked_tracker(tracker) if tracker else "")


def _checked_tracker(text: str) -> str:
    """``host:port`` as an endpoint of one machine, whichever machine looks at it."""
    try:
        address = parse_endpoint(TCP_SCHEME + text)
    except ProtocolError as error:
        raise SeedError(f"the tracker in the link is not HOST:PORT: {error}") from None
    ip = ip_of(address.host)
    if is_wildcard(address.host) or "%" in address.host or (ip is not None and ip.is_multicast):
        raise SeedError(f"the tracker in the link, {text!a:.80}, is not the address of one machine")
    return str(address)
