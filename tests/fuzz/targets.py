"""What is fuzzed: every decoder of bytes from elsewhere, what it may raise, and what must hold of what it returns.

Of what comes over the wire or from other people here; of a peer's and a tracker's own files in `files`.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from msgspec import inspect

from broker.link_messages import FromLookup, FromRegistrar
from node import local_messages as local
from node.api_messages import ApiReply, ApiRequest
from protocol.bitfield import Bitfield
from protocol.codec import Decoder, encode, request_id
from protocol.endpoints import host_of_ip, is_loopback, is_wildcard, member_endpoint, parse_endpoint, reachable_here
from protocol.errors import ProtocolError, SeedError, UsageError
from protocol.keys import Invite, format_invite, parse_invite, parse_key, peer_id_of
from protocol.limits import LINK_BYTES_MAX, LOCAL_BYTES_MAX, NAME_BYTES_MAX
from protocol.link import Link, format_link, parse_link
from protocol.manifest import FileEntry, Manifest, decode_manifest, encode_manifest, piece_length_for
from protocol.messages import (
    LookupReply,
    LookupRequest,
    PieceServerReply,
    PieceServerRequest,
    RegistrarReply,
    RegistrarRequest,
    Roster,
)
from protocol.orders import check_directory, is_for
from protocol.seed_formats import Seed, format_seed, parse_seed, seed_link
from protocol.signature import format_key, format_secret, is_signed, parse_secret, sign, split_signatures
from protocol.signature import parse_key as parse_signer
from service.text import printable
from service.units import parse_bytes, parse_rate, parse_seconds
from tests.fuzz import files
from tests.fuzz.samples import DIGEST, KEY, text_of, value_of

INPUT_BYTES_MAX = 64 * 1024
SECONDS_MAX = 0.05
"""Of processor time, for an input of at most `INPUT_BYTES_MAX`."""
YAML_SECONDS_MAX = 5.0
"""PyYAML is slow, and a configuration is written by whoever reads it."""
TRIALS_COUNT = 3
"""What takes longer is tried again: a busy machine makes everything slow now and then."""
CORPUS = Path(__file__).parent / "corpus"

UNIONS: tuple[Any, ...] = (
    *(RegistrarRequest, RegistrarReply, LookupRequest, LookupReply, PieceServerRequest, PieceServerReply, Roster),
    *(FromLookup, FromRegistrar),
    *(local.AgentToPieceServer, local.PieceServerToAgent, local.AgentToDownloader, local.DownloaderToAgent),
    *(local.DownloaderToPieceServer, local.PieceServerToDownloader, ApiRequest, ApiReply),
)
_LIMIT = max(LINK_BYTES_MAX, LOCAL_BYTES_MAX)
_DECODERS: list[Decoder[Any]] = [Decoder(kinds, _LIMIT) for kinds in UNIONS]


class TooSlowError(Exception):
    """An input took longer than any may."""


class Target(NamedTuple):
    """``run`` takes any bytes, and raises what is wrong with the decoder; it may return what it made of them, or how
    they were refused: what a decoder written in C does is seen by that alone. ``samples`` are bytes it accepts.
    ``seconds`` is what it may take. ``form``: where in them MessagePack begins, or that they are JSON."""

    run: Callable[[bytes], str | None]
    samples: Callable[[], Iterator[bytes]]
    seconds: float = SECONDS_MAX
    form: int | Literal["json"] | None = None


def check(target: Target, data: bytes) -> str:
    """Run ``target`` on ``data``, and return what that does. Raises what it does, or `TooSlowError`."""
    took = float("inf")
    for _ in range(TRIALS_COUNT):
        began = time.thread_time()
        made = target.run(data)
        took = min(took, time.thread_time() - began)
        if took <= target.seconds:
            return made or ""
    raise TooSlowError(f"{took * 1_000:.0f} ms for {len(data)} bytes")


def corpus_of(name: str) -> list[bytes]:
    """What is kept of ``name``: inputs that reached something new, or were a bug once."""
    path = CORPUS / f"{name}.txt"
    return [base64.b64decode(line) for line in path.read_text().splitlines()] if path.exists() else []


def _messages(data: bytes) -> str:
    """The first byte says which socket they came from."""
    if not data:
        return ""
    number, frame = data[0] % len(_DECODERS), data[1:]
    decoder = _DECODERS[number]
    assert 0 <= request_id(frame) <= 2**53
    try:
        message = decoder.decode(memoryview(frame))
    except ProtocolError as error:
        return f"{number} {error}"
    encoded = encode(message, _LIMIT)
    assert encode(decoder.decode(encoded), _LIMIT) == encoded
    return f"{number} {type(message).__name__}"


def _message_samples() -> Iterator[bytes]:
    for number, kinds in enumerate(UNIONS):
        for kind in get_args(kinds) or (kinds,):
            yield bytes([number]) + encode(value_of(inspect.type_info(kind)), _LIMIT)


def _link(data: bytes) -> None:
    with suppress(SeedError):
        link = parse_link(text_of(data))
        assert parse_link(format_link(link)) == link


def _link_samples() -> Iterator[bytes]:
    for tracker in ("", "tcp://10.0.0.5:5550", "tcp://[fd00::1]:5550"):
        yield format_link(Link(DIGEST, DIGEST, "wie schön", 300, tracker)).encode()


_SIGNED = Link(DIGEST, DIGEST, "wie schön", 300)


def _signature(data: bytes) -> None:
    """Nothing but the one that there is fits; and keys as text."""
    assert is_signed(data, _SIGNED) == (data == sign(b"s" * 32, _SIGNED, 7))
    split_signatures(data)
    for parse, write in ((parse_signer, format_key), (parse_secret, format_secret)):
        with suppress(UsageError):
            assert parse(write(parse(text_of(data)))) == parse(text_of(data))


def _signature_samples() -> Iterator[bytes]:
    yield sign(b"s" * 32, _SIGNED, 7)
    yield format_key(DIGEST.encode()[:32]).encode()
    yield format_secret(DIGEST.encode()[:32]).encode()


def _invite(data: bytes) -> None:
    text = text_of(data)
    with suppress(UsageError):
        peer_id_of(parse_key(text))
    with suppress(UsageError):
        invite = parse_invite(text)
        assert parse_invite(format_invite(invite)) == invite


def _invite_samples() -> Iterator[bytes]:
    yield KEY.encode()
    for tracker in ("tcp://10.0.0.5:5550", "tcp://[fd00::1]:5550"):
        yield format_invite(Invite(tracker, KEY, KEY)).encode()


def _orders(data: bytes) -> None:
    """A pattern and a name, both as long as they may be, or a directory."""
    pattern, _, name = text_of(data).partition("\0")
    is_for(pattern[:NAME_BYTES_MAX], name[:NAME_BYTES_MAX])
    with suppress(SeedError):
        check_directory(pattern)


def _order_samples() -> Iterator[bytes]:
    yield from (b"lab-[0-9]*\0lab-17", b"models/2026\0", b"*a*a*a*a*b\0" + b"a" * 200)


def _manifest(data: bytes) -> str:
    try:
        manifest = decode_manifest(data)
    except SeedError as error:
        return str(error)
    assert encode_manifest(manifest) == data
    return ""


def _manifests() -> Iterator[Manifest]:
    length = 200_000
    pieces = bytes(32 * -(-length // piece_length_for(length)))
    yield Manifest(length, piece_length_for(length), DIGEST, pieces, None, ())
    some = (FileEntry("a/b", length - 1, True), FileEntry("c", 1, False))
    yield Manifest(length, piece_length_for(length), DIGEST, pieces, some, ("empty",))


def _seed(data: bytes) -> str:
    try:
        seed = parse_seed(data)
    except SeedError as error:
        return str(error)
    assert parse_seed(format_seed(seed, "msgpack")) == seed
    return ""


def _seed_samples() -> Iterator[bytes]:
    file, tree = _manifests()
    yield format_seed(Seed("name.bin", file), "text")
    yield format_seed(Seed("name.bin", file), "msgpack")
    yield format_seed(Seed("tree", tree), "msgpack")
    signed = Seed("name.bin", file)
    yield format_seed(Seed("name.bin", file, sign(b"s" * 32, seed_link(signed), 7)), "msgpack")


def _bitfield(data: bytes) -> None:
    """The first two bytes are how many pieces there are."""
    count, bits = int.from_bytes(data[:2], "big"), data[2:]
    with suppress(ProtocolError):
        field = Bitfield.from_bytes(bits, count)
        assert field.to_bytes() == bits
        found = list(field.indices())
        assert len(found) == field.count_set == count - len(list(field.missing()))
        assert all(0 <= index < count for index in found)


def _endpoint(data: bytes) -> None:
    text, _, seen = text_of(data).partition("\0")
    with suppress(ProtocolError):
        address = parse_endpoint(text)
        assert parse_endpoint(str(address)) == address
        is_wildcard(address.host), is_loopback(address.host)
        parse_endpoint(reachable_here(text))
        told = member_endpoint(text, seen if _is_ip(seen) else "")
        assert parse_endpoint(told)


def _is_ip(text: str) -> bool:
    try:
        host_of_ip(text)
    except ProtocolError:
        return False
    return True


def _endpoint_samples() -> Iterator[bytes]:
    yield from (b"tcp://10.0.0.5:5550", b"tcp://*:7000\x00192.168.0.1", b"tcp://[fe80::1%eth0]:1\0::1", b"tcp://a.b:1")


def _text(data: bytes) -> None:
    """Shown to a person, and read as an amount of something."""
    text = data.decode("utf-8", "surrogateescape")
    assert printable(text).isprintable()
    for parse in (parse_bytes, parse_rate, parse_seconds):
        with suppress(UsageError):
            assert parse(text) >= 0


def _text_samples() -> Iterator[bytes]:
    yield from (b"1.5 GiB", b"40mbit/s", b"1h 30m", "wie schön\x1b[31m".encode(), b"\xff")


TARGETS: dict[str, Target] = {
    "messages": Target(_messages, _message_samples, form=1),
    "link": Target(_link, _link_samples),
    "signature": Target(_signature, _signature_samples),
    "invite": Target(_invite, _invite_samples),
    "orders": Target(_orders, _order_samples),
    "manifest": Target(_manifest, lambda: map(encode_manifest, _manifests()), form=0),
    "seed": Target(_seed, _seed_samples, form=0),
    "bitfield": Target(_bitfield, lambda: iter((b"\0\x0b\xff\xe0", b"\0\0"))),
    "endpoint": Target(_endpoint, _endpoint_samples),
    "text": Target(_text, _text_samples),
    "configuration": Target(files.configuration, files.configuration_samples, YAML_SECONDS_MAX),
    "journal": Target(files.journal, files.journal_samples),
    "library": Target(files.library, files.library_samples),
    "library_rows": Target(files.library_rows, files.library_row_samples),
    "agent_files": Target(files.agent_files, files.agent_file_samples, form="json"),
    "identity": Target(files.identity, files.identity_samples, form="json"),
    "key_folder": Target(files.key_folder, files.key_folder_samples, form="json"),
}
