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


TRACKERS = ("", "tcp://10.0.0.5:5550", "tcp://lab.example:1", "tcp://127.0.0.1:65535", "tcp://blake3:5550")


@given(
    st.sampled_from(ALGORITHMS), digests, digests, names, st.integers(0, CONTENT_BYTES_MAX), st.sampled_from(TRACKERS)
)
def test_line_and_back(algorithm: str, content: bytes, manifest: bytes, name: str, length: int, tracker: str) -> None:
    link = Link(format_digest(algorithm, content), format_digest(algorithm, manifest), name, length, tracker)
    line = format_link(link)
    assert parse_link(f"  {line}\n") == link
    assert shlex.split(line) == [line]
    assert line.isascii()
    assert line.isprintable()


def test_form() -> None:
    line = format_link(Link(CONTENT, MANIFEST, "my data (1).bin", 42))
    assert line == f"zswarm://{CONTENT}/{MANIFEST}/42/my%20data%20%281%29.bin"


@pytest.mark.parametrize("tracker", ["10.0.0.5:5550", "[fd00::1]:5550", "lab.example:6000"])
def test_form_with_a_tracker(tracker: str) -> None:
    link = Link(CONTENT, MANIFEST, "a", 42, f"tcp://{tracker}")
    assert format_link(link) == f"zswarm://{tracker}/{CONTENT}/{MANIFEST}/42/a"
    assert parse_link(format_link(link)) == link


@given(
    st.text(max_size=60)
    | st.text(max_size=20).map(lambda text: f"zswarm://{CONTENT}/{MANIFEST}/42/{text}")
    | st.text(max_size=20).map(lambda text: f"zswarm://{text}/{CONTENT}/{MANIFEST}/42/a")
)
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
        (f"zswarm://{CONTENT}/{CONTENT}/{MANIFEST}/42/a", "is not HOST:PORT"),
        (f"zswarm://host/{CONTENT}/{MANIFEST}/42/a", "is not HOST:PORT"),
        (f"zswarm://host:0/{CONTENT}/{MANIFEST}/42/a", "port 0"),
        (f"zswarm://host:99999/{CONTENT}/{MANIFEST}/42/a", "is not HOST:PORT"),
        (f"zswarm://fd00::1:5550/{CONTENT}/{MANIFEST}/42/a", "in brackets"),
        (f"zswarm://a@b:5550/{CONTENT}/{MANIFEST}/42/a", "neither a name nor an IP address"),
        (f"zswarm://\x1b[31m:5550/{CONTENT}/{MANIFEST}/42/a", "is not HOST:PORT"),
        (f"zswarm://{'a' * 300}:5550/{CONTENT}/{MANIFEST}/42/a", "not a link of the form"),
        (f"zswarm://tcp://host:5550/{CONTENT}/{MANIFEST}/42/a", "not a link of the form"),
        (f"zswarm:///{CONTENT}/{MANIFEST}/42/a", "not a link of the form"),
        (f"zswarm://*:5550/{CONTENT}/{MANIFEST}/42/a", "not the address of one machine"),
        (f"zswarm://0.0.0.0:5550/{CONTENT}/{MANIFEST}/42/a", "not the address of one machine"),
        (f"zswarm://[fe80::1%eth0]:5550/{CONTENT}/{MANIFEST}/42/a", "not the address of one machine"),
        (f"zswarm://224.0.0.251:5550/{CONTENT}/{MANIFEST}/42/a", "not the address of one machine"),
    ],
)
def test_bad_link_says_what_is_wrong(line: str, why: str) -> None:
    with pytest.raises(SeedError, match=why):
        parse_link(line)
