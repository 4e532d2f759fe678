"""Links: one line, there and back."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.digest import ALGORITHMS, format_digest
from protocol.errors import SeedError
from protocol.limits import CONTENT_BYTES_MAX, DIGEST_BYTES
from protocol.link import Link, format_link, parse_link
from tests.protocol.strategies import names

CONTENT = "blake3:" + "12" * 32
MANIFEST = "blake3:" + "34" * 32
digests = st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)


@given(st.sampled_from(ALGORITHMS), digests, digests, names, st.integers(0, CONTENT_BYTES_MAX))
def test_line_and_back(algorithm: str, content: bytes, manifest: bytes, name: str, length: int) -> None:
    link = Link(format_digest(algorithm, content), format_digest(algorithm, manifest), name, length)
    line = format_link(link)
    assert parse_link(f"  {line}\n") == link
    assert shlex.split(line) == [line]
    assert line.isascii()
    assert line.isprintable()


def test_form() -> None:
    line = format_link(Link(CONTENT, MANIFEST, "my data (1).bin", 42))
    assert line == f"zswarm://{CONTENT}/{MANIFEST}/42/my%20data%20%281%29.bin"


@given(st.text(max_size=60) | st.text(max_size=20).map(lambda text: f"zswarm://{CONTENT}/{MANIFEST}/42/{text}"))
def test_any_text_is_a_link_or_a_seed_error(text: str) -> None:
    try:
        link = parse_link(text)
    except SeedError:
        return
    assert parse_link(format_link(link)) == link


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "not a link of the form"),
        ("magnet:?xt=urn:btih:00", "not a link of the form"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42", "not a link of the form"),
        (f"zswarm://{CONTENT}/{MANIFEST}/-1/a", "not a link of the form"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/a/b", "not a link of the form"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/{'a' * 1000}", "not a link of the form"),
        (f"zswarm://{CONTENT[:-1]}/{MANIFEST}/42/a", "is not a digest"),
        (f"zswarm://md5:{'12' * 32}/{MANIFEST}/42/a", "unknown hash algorithm"),
        (f"zswarm://sha256:{'12' * 32}/{MANIFEST}/42/a", "different algorithms"),
        (f"zswarm://{CONTENT}/{MANIFEST}/{'9' * 16}/a", "at most"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/%2e%2e", "points elsewhere"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/a%2fb", "separator"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/a%00b", "NUL"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/a%2", "broken %-escape"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/%ff", "not UTF-8"),
        (f"zswarm://{CONTENT}/{MANIFEST}/42/{'a' * 256}", "over 255 bytes"),
    ],
)
def test_bad_link_says_what_is_wrong(line: str, why: str) -> None:
    with pytest.raises(SeedError, match=why):
        parse_link(line)
