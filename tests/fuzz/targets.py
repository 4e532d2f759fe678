"""What is fuzzed: every decoder of bytes from elsewhere, what it may raise, and what must hold of what it returns."""

from __future__ import annotations

import base64
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
from msgspec import inspect

from broker.config import TrackerConfig
from broker.link_messages import FromLookup, FromRegistrar
from node import local_messages as local
from node.agent.disk_work import DOWNLOADED_NAME, LIMITS_NAME, AgentFiles
from node.agent.effects import Downloaded
from node.agent.library import LIBRARY_NAME, Library, LibraryItem
from node.api_messages import ApiReply, ApiRequest
from node.config import AgentSettings, PeerSettings
from node.disk.journal import JOURNAL_NAME, Journal
from node.schedule import Override
from protocol.bitfield import Bitfield
from protocol.codec import Decoder, encode, request_id
from protocol.endpoints import host_of_ip, is_loopback, is_wildcard, member_endpoint, parse_endpoint, reachable_here
from protocol.errors import ConfigError, DiskError, ProtocolError, SeedError, UsageError
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
from protocol.signature import (
    format_key,
    format_secret,
    is_signed,
    parse_key,
    parse_secret,
    sign,
    split_signatures,
)
from service.config import load_settings

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
DIGEST = "sha256:" + "5a" * 32
_TEXTS = ("a", "5a" * 16, "5a" * 32, DIGEST, "tcp://10.0.0.5:5550", "/data/a")
"""One of them fits whatever pattern the text of a message has."""


class TooSlowError(Exception):
    """An input took longer than any may."""


class Target(NamedTuple):
    """``run`` takes any bytes, and raises what is wrong with the decoder; ``samples`` are bytes it accepts.
    ``seconds`` is what it may take. ``packed``: where in them MessagePack begins, None: nowhere."""

    run: Callable[[bytes], None]
    samples: Callable[[], Iterator[bytes]]
    seconds: float = SECONDS_MAX
    packed: int | None = None


def check(target: Target, data: bytes, slower: float = 1.0) -> None:
    """Run ``target`` on ``data``. Raises what it does, or `TooSlowError` when that took ``slower`` times what it may
    take."""
    took = float("inf")
    for _ in range(TRIALS_COUNT):
        began = time.thread_time()
        target.run(data)
        took = min(took, time.thread_time() - began)
        if took <= slower * target.seconds:
            return
    raise TooSlowError(f"{took * 1_000:.0f} ms for {len(data)} bytes")


def corpus_of(name: str) -> list[bytes]:
    """What is kept of ``name``: inputs that reached something new, or were a bug once."""
    path = CORPUS / f"{name}.txt"
    return [base64.b64decode(line) for line in path.read_text().splitlines()] if path.exists() else []


def _messages(data: bytes) -> None:
    """The first byte says which socket they came from."""
    if not data:
        return
    decoder, frame = _DECODERS[data[0] % len(_DECODERS)], data[1:]
    assert 0 <= request_id(frame) <= 2**53
    try:
        message = decoder.decode(memoryview(frame))
    except ProtocolError:
        return
    encoded = encode(message, _LIMIT)
    assert encode(decoder.decode(encoded), _LIMIT) == encoded


def _message_samples() -> Iterator[bytes]:
    for number, kinds in enumerate(UNIONS):
        for kind in get_args(kinds) or (kinds,):
            yield bytes([number]) + encode(_value(inspect.type_info(kind)), _LIMIT)


def _value(info: inspect.Type) -> Any:
    """Something of a type, with one entry in each list that may have some."""
    match info:
        case inspect.StructType():
            return info.cls(**{field.name: _value(field.type) for field in info.fields})
        case inspect.StrType(pattern=str(pattern)):
            return next(text for text in _TEXTS if re.search(pattern, text))
        case inspect.StrType():
            return "a"
        case inspect.BytesType():
            return bytes(info.min_length or 0)
        case inspect.IntType() | inspect.FloatType():
            return max(info.ge or 0, (info.gt or 0) + 1)
        case inspect.LiteralType():
            return info.values[0]
        case inspect.ListType() | inspect.VarTupleType():
            return [_value(info.item_type)] * (info.max_length != 0)
        case inspect.TupleType():
            return tuple(map(_value, info.item_types))
        case inspect.DictType():
            return {_value(info.key_type): _value(info.value_type)}
        case inspect.UnionType():
            return _value(info.types[0])
        case inspect.BoolType() | inspect.NoneType():
            return None if isinstance(info, inspect.NoneType) else True
    raise NotImplementedError(f"a field of type {info}")


def _link(data: bytes) -> None:
    with suppress(SeedError):
        link = parse_link(_text(data))
        assert parse_link(format_link(link)) == link


def _link_samples() -> Iterator[bytes]:
    for tracker in ("", "tcp://10.0.0.5:5550", "tcp://[fd00::1]:5550"):
        yield format_link(Link(DIGEST, DIGEST, "wie schön", 300, tracker)).encode()


_SIGNED = Link(DIGEST, DIGEST, "wie schön", 300)


def _signature(data: bytes) -> None:
    """Nothing but the one that there is fits; and keys as text."""
    assert is_signed(data, _SIGNED) == (data == sign(b"s" * 32, _SIGNED, 7))
    split_signatures(data)
    for parse, write in ((parse_key, format_key), (parse_secret, format_secret)):
        with suppress(UsageError):
            assert parse(write(parse(_text(data)))) == parse(_text(data))


def _signature_samples() -> Iterator[bytes]:
    yield sign(b"s" * 32, _SIGNED, 7)
    yield format_key(DIGEST.encode()[:32]).encode()
    yield format_secret(DIGEST.encode()[:32]).encode()


def _orders(data: bytes) -> None:
    """A pattern and a name, both as long as they may be, or a directory."""
    pattern, _, name = _text(data).partition("\0")
    is_for(pattern[:NAME_BYTES_MAX], name[:NAME_BYTES_MAX])
    with suppress(SeedError):
        check_directory(pattern)


def _order_samples() -> Iterator[bytes]:
    yield from (b"lab-[0-9]*\0lab-17", b"models/2026\0", b"*a*a*a*a*b\0" + b"a" * 200)


def _manifest(data: bytes) -> None:
    with suppress(SeedError):
        manifest = decode_manifest(data)
        assert encode_manifest(manifest) == data


def _manifests() -> Iterator[Manifest]:
    length = 200_000
    pieces = bytes(32 * -(-length // piece_length_for(length)))
    yield Manifest(length, piece_length_for(length), DIGEST, pieces, None, ())
    files = (FileEntry("a/b", length - 1, True), FileEntry("c", 1, False))
    yield Manifest(length, piece_length_for(length), DIGEST, pieces, files, ("empty",))


def _seed(data: bytes) -> None:
    with suppress(SeedError):
        seed = parse_seed(data)
        assert parse_seed(format_seed(seed, "msgpack")) == seed


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
    text, _, seen = _text(data).partition("\0")
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


def _configuration(data: bytes) -> None:
    """A tracker's and a peer's."""
    with tempfile.NamedTemporaryFile(dir=_memory(), suffix=".yaml") as file:
        file.write(data)
        file.flush()
        for kind in (TrackerConfig, PeerSettings):
            with suppress(ConfigError):
                load_settings(Path(file.name), kind)


def _configuration_samples() -> Iterator[bytes]:
    root = Path(__file__).parents[2]
    yield (root / "configs" / "peer.yaml").read_bytes()
    yield (root / "configs" / "tracker.yaml").read_bytes()
    yield b"follow: [{pattern: 'a*', to: /data, keep: 2}]\nschedule: [{from: '08:00', to: '18:00', days: mon-fri}]\n"


def _journal(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        (Path(place) / JOURNAL_NAME).write_bytes(data)
        with suppress(DiskError):
            journal = Journal(Path(place))
            try:
                for entry in journal.entries():
                    with suppress(ProtocolError):
                        Bitfield.from_bytes(entry.bits, 8)
            finally:
                journal.close()


def _journal_samples() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        journal = Journal(Path(place))
        journal.start(DIGEST, "seeds/a", "/data/a", b"\xf0")
        journal.close()
        yield (Path(place) / JOURNAL_NAME).read_bytes()


def _library(data: bytes) -> None:
    """A whole database."""
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        (Path(place) / LIBRARY_NAME).write_bytes(data)
        _read_library(Path(place))


def _read_library(place: Path) -> None:
    with suppress(DiskError), Library(place) as library:
        for read in (library.items, library.downloads, library.orders, library.asked):
            with suppress(DiskError):
                read()


def _library_samples() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        with Library(Path(place)) as library:
            library.put_item(LibraryItem("/data/a", "shared", DIGEST, DIGEST, "a", 5, f"{place}/seeds/a", b"stamps"))
            library.put_download(local.Fetch(DIGEST, DIGEST, "a", 5, "/data/b", "", False, False))
            library.keep_orders(library.orders())
        yield (Path(place) / LIBRARY_NAME).read_bytes()


_LIBRARY_BYTES: list[bytes] = []


def _library_rows(data: bytes) -> None:
    """Values of rows in a database that is whole: the orders, the options of an item, its stamps."""
    if not _LIBRARY_BYTES:
        _LIBRARY_BYTES.extend(_library_samples())
    orders, _, rest = _text(data).partition("\0")
    options, _, stamps = rest.partition("\0")
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        path = Path(place) / LIBRARY_NAME
        path.write_bytes(_LIBRARY_BYTES[0])
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("UPDATE kept SET value = CAST(? AS TEXT)", (orders.encode(),))
            connection.execute(
                "UPDATE items SET options = CAST(? AS TEXT), state = ?, stamps = ?",
                (options.encode(), stamps[:10], stamps.encode()),
            )
        connection.close()
        _read_library(Path(place))


def _library_row_samples() -> Iterator[bytes]:
    orders = msgspec.json.encode({"given": [], "taken": [{"order": "x", "digest": DIGEST, "dest": "/data/a"}]})
    yield orders + b'\0{"follow_links":true}\0missing'


def _agent_files(data: bytes) -> None:
    """Rate limits that a person set, or what was downloaded."""
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        settings = msgspec.structs.replace(_value(inspect.type_info(AgentSettings)), data_dir=place, runtime_dir=place)
        for name in (LIMITS_NAME, DOWNLOADED_NAME):
            (Path(place) / name).write_bytes(data)
        with closing(AgentFiles(settings)) as files:
            files.override, files.downloaded  # noqa: B018 - they are read here


def _agent_file_samples() -> Iterator[bytes]:
    for kind in (Override, list[Downloaded]):
        yield msgspec.json.encode(_value(inspect.type_info(kind)))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _memory() -> str | None:
    """A directory that costs no disk, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


TARGETS: dict[str, Target] = {
    "messages": Target(_messages, _message_samples, packed=1),
    "link": Target(_link, _link_samples),
    "signature": Target(_signature, _signature_samples),
    "orders": Target(_orders, _order_samples),
    "manifest": Target(_manifest, lambda: map(encode_manifest, _manifests()), packed=0),
    "seed": Target(_seed, _seed_samples, packed=0),
    "bitfield": Target(_bitfield, lambda: iter((b"\0\x0b\xff\xe0", b"\0\0"))),
    "endpoint": Target(_endpoint, _endpoint_samples),
    "configuration": Target(_configuration, _configuration_samples, YAML_SECONDS_MAX),
    "journal": Target(_journal, _journal_samples),
    "library": Target(_library, _library_samples),
    "library_rows": Target(_library_rows, _library_row_samples),
    "agent_files": Target(_agent_files, _agent_file_samples),
}
