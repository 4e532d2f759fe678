"""The link: one line that names a content and pins its manifest (PROTOCOL.md, section 3.6).

``zswarm://<content digest>/<manifest digest>/<length>/<name>``, the name percent-encoded: nothing in it means
anything to a shell, a terminal or a mail program.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from msgspec import Struct

from protocol import limits as lim
from protocol.digest import split_digest
from protocol.errors import SeedError
from protocol.names import check_name

SCHEME = "zswarm://"
_LINK = re.compile(SCHEME + r"([^/]{1,80})/([^/]{1,80})/([0-9]{1,16})/([^/]{1,%d})" % (3 * lim.NAME_BYTES_MAX))  # noqa: UP031
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class Link(Struct, frozen=True):
    """Both digests are written ``algorithm:hex``; ``length`` in bytes. ``name`` is what a person calls it."""

    digest: str
    manifest: str
    name: str
    length: int


def format_link(link: Link) -> str:
    """The one line that stands for ``link``."""
    return f"{SCHEME}{link.digest}/{link.manifest}/{link.length}/{quote(link.name, safe='')}"


def parse_link(text: str) -> Link:
    """The link in ``text``, spaces around it aside; `SeedError` that says what is wrong with it."""
    match = _LINK.fullmatch(text.strip())
    if match is None:
        raise SeedError(f"not a link of the form {SCHEME}<digest>/<manifest digest>/<length>/<name>: {text!a:.200}")
    digest, manifest, length, quoted = match.groups()
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
    return Link(digest, manifest, check_name(name), int(length))
