"""The documents, kept true: examples decode to what they say, tables agree with the code, references lead somewhere."""

from __future__ import annotations

import json
import re
import textwrap
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgpack
import pytest
from msgspec import Struct, inspect

from broker import events, link_messages
from node.cli.app import commands
from protocol import errors, limits, messages
from protocol.bitfield import Bitfield
from protocol.codec import Decoder, encode
from protocol.digest import format_digest, raw_digest
from protocol.errors import SeedError, ZswarmError
from protocol.limits import LINK_BYTES_MAX
from protocol.link import Link, parse_link
from protocol.manifest import Manifest, decode_manifest, encode_manifest, manifest_digest, piece_length_for
from protocol.messages import Message, Roster
from protocol.seed_formats import Seed, format_seed, parse_seed
from protocol.signature import moment_of, sign, statement
from service.units import parse_bytes

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "docs" / "PROTOCOL.md"
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
PERFORMANCE = ROOT / "docs" / "PERFORMANCE.md"
README = ROOT / "README.md"
BENCHMARKS = ROOT / "benchmarks" / "README.md"
HACKING = ROOT / "docs" / "HACKING.md"
OPERATING = ROOT / "docs" / "OPERATING.md"
DEPLOY = ROOT / "deploy" / "README.md"
DOCUMENTS = (
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    HACKING,
    *(ROOT / "docs").glob("[AOPR]*.md"),
    BENCHMARKS,
    DEPLOY,
    ROOT / "docs" / "slides" / "README.md",
)
PACKAGES = ("protocol", "transport", "service", "broker", "node", "cluster", "benchmarks")

SAMPLE = b"hello, swarm\n"
"""The content of the examples."""
ROUTER_ERRORS = {"bad_message", "bad_version"}


class Example(NamedTuple):
    """A fenced block: what follows the fence, and its two parts."""

    kind: str
    meaning: str
    data: bytes


class Row(NamedTuple):
    """A row of a field table."""

    field: str
    type: str


def kinds_of(module: ModuleType) -> dict[str, type[Struct]]:
    """The messages that ``module`` itself defines."""
    found = {name: kind for name, kind in vars(module).items() if isinstance(kind, type) and issubclass(kind, Message)}
    return {name: kind for name, kind in found.items() if kind.__module__ == module.__name__ and kind is not Message}


MESSAGES: dict[str, type[Struct]] = {**kinds_of(messages), **kinds_of(link_messages), "Roster": Roster}
RECORDS: dict[str, type[Struct]] = {
    "Entry": messages.Entry,
    "TorrentEntry": messages.TorrentEntry,
    "SeederEntry": messages.SeederEntry,
    "PeerEntry": messages.PeerEntry,
    "StandingEntry": messages.StandingEntry,
    "DownloadState": messages.DownloadState,
    "Order": messages.Order,
    "OrderEntry": messages.OrderEntry,
}


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """The fenced blocks of PROTOCOL.md whose fence says ``kind`` (a regular expression), without their fences."""
    return re.findall(rf"^```{kind}\n(.*?)\n```$", text_of(PROTOCOL), flags=re.DOTALL | re.MULTILINE)


@cache
def examples() -> list[Example]:
    found = re.findall(
        r"^```((?:example|manifest) \w+)\n(.*?)\n\n(.*?)\n```$", text_of(PROTOCOL), re.DOTALL | re.MULTILINE
    )
    return [Example(kind, meaning, bytes.fromhex(data)) for kind, meaning, data in found]


def read_meaning(text: str) -> Any:
    """JSON with byte strings as ``h'...'``."""
    plain = re.sub(r"h'([0-9a-f]*)'", r'{"bytes in hex": "\1"}', text)
    return json.loads(plain, object_hook=lambda o: bytes.fromhex(o["bytes in hex"]) if "bytes in hex" in o else o)


def as_hex(data: bytes) -> str:
    return "\n".join(data[start : start + 36].hex(" ") for start in range(0, len(data), 36))


def message_examples() -> list[tuple[str, Example]]:
    """With the name of the message; of a roster message, that of its event."""
    named = []
    for example in examples():
        section, _, name = example.kind.partition(" ")
        if section == "example":
            named.append((name, example))
    return named


def section_of(name: str) -> str:
    """The text under the heading of message ``name``."""
    found = re.search(rf"^#### `{name}`\n(.*?)(?=^#{{2,4}} |\Z)", text_of(PROTOCOL), re.DOTALL | re.MULTILINE)
    assert found is not None, f"PROTOCOL.md has no section about {name}"
    return found[1]


def field_tables(text: str) -> list[list[Row]]:
    """Every table of ``text`` with the columns field, type and meaning."""
    tables = re.findall(r"^\| field \| type \| meaning \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[Row(*(c.strip(" `") for c in line.split("|")[1:3])) for line in table.splitlines()] for table in tables]


def allowed_types(kind: inspect.Type) -> set[str]:
    """What the type column of a table may say about a field of type ``kind``."""
    match kind:
        case inspect.IntType():
            special: dict[tuple[str, int | None], str] = {
                ("le", limits.CONTENT_BYTES_MAX): "length",
                ("lt", limits.PIECES_COUNT_MAX): "piece",
            }
            return {special.get(("le", kind.le), special.get(("lt", kind.lt), "count"))}
        case inspect.BytesType():
            return {"token" if kind.min_length else f"bytes {kind.max_length}"}
        case inspect.StrType():
            return _text_types(kind)
        case inspect.ListType() | inspect.VarTupleType():
            return {f"list of {of}, {kind.max_length}" for of in allowed_types(kind.item_type)}
        case inspect.TupleType():
            return {"pair of " + " and ".join(pair) for pair in product(*map(allowed_types, kind.item_types))}
        case inspect.StructType():
            return {kind.cls.__name__}
        case inspect.UnionType(types=(one, inspect.NoneType())):
            return allowed_types(one)
    return {
        inspect.BoolType: {"flag"},
        inspect.FloatType: {"seconds"},
        inspect.LiteralType: {"text"},
        inspect.UnionType: {"event", "record"},
    }[type(kind)]


def _text_types(kind: inspect.StrType) -> set[str]:
    if kind.pattern is not None:
        if "{64}" in kind.pattern:
            return {"digest" if "blake3" in kind.pattern else "key"}
        return {"peer id"}
    if kind.min_length:
        return {"name"}
    special = {limits.PEER_ID_BYTES_MAX: "label", limits.ENDPOINT_BYTES_MAX: "endpoint"}
    return {f"text {kind.max_length}", special.get(kind.max_length or 0, "text")}


def check_table(rows: list[Row], kind: type[Struct]) -> None:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    assert [row.field for row in rows] == [field.name for field in info.fields]
    for row, field in zip(rows, info.fields, strict=True):
        assert row.type in allowed_types(field.type), f"{kind.__name__}.{row.field} is {allowed_types(field.type)}"


# --- PROTOCOL.md: messages -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "example"), message_examples(), ids=lambda part: str(part)[:20])
def test_examples_are_what_they_say(name: str, example: Example) -> None:
    meaning = read_meaning(example.meaning)
    assert msgpack.unpackb(example.data) == meaning, f"the bytes should be\n{as_hex(msgpack.packb(meaning))}"
    kind = MESSAGES[name]
    message: Struct = Decoder[Struct](kind, LINK_BYTES_MAX).decode(example.data)
    assert encode(message, LINK_BYTES_MAX) == example.data
    assert meaning.get("t") == (None if kind is Roster else name)


def test_the_signature_is_that_of_the_statement() -> None:
    (said,), (data,), link = blocks("statement"), blocks("signature"), parse_link(blocks("link")[0])
    signature = bytes.fromhex(data)
    assert statement(link, moment_of(signature)).decode() == said
    assert signature == sign(b"s" * 32, link, moment_of(signature))


def test_every_message_has_an_example() -> None:
    shown = {name for name, _ in message_examples()}
    shown |= {read_meaning(example.meaning)["event"]["t"] for name, example in message_examples() if name == "Roster"}
    assert MESSAGES.keys() - shown == set()


def test_every_registry_event_has_an_example() -> None:
    shown = [read_meaning(example.meaning)["events"] for name, example in message_examples() if name == "Changes"]
    assert {event["t"] for group in shown for event in group} == kinds_of(events).keys()


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_has_its_fields_in_a_table(name: str) -> None:
    tables = field_tables(section_of(name))
    if MESSAGES[name].__struct_fields__:
        check_table(tables[0], MESSAGES[name])
    else:
        assert tables == []


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_has_its_fields_in_a_table(name: str) -> None:
    _, found, rest = text_of(PROTOCOL).partition(f"\nRecord {name}")
    assert found
    check_table(field_tables(rest)[0], RECORDS[name])


@pytest.mark.parametrize("name", kinds_of(events))
def test_registry_events_have_their_fields(name: str) -> None:
    row = re.search(rf"^\| `{name}` \| (.*?) \|", text_of(PROTOCOL), re.MULTILINE)
    assert row is not None
    assert re.findall(r"`(\w+)`", row[1]) == list(kinds_of(events)[name].__struct_fields__)


@pytest.mark.parametrize("kind", [*MESSAGES.values(), *RECORDS.values()], ids=lambda kind: kind.__name__)
def test_words_a_field_may_have_are_named(kind: type[Struct]) -> None:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        if isinstance(field.type, inspect.LiteralType):
            for word in field.type.values:
                assert f"`{word}`" in text_of(PROTOCOL), f"{kind.__name__}.{field.name} may be {word}"


def test_fields_with_a_default_say_so() -> None:
    for name, kind in MESSAGES.items():
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        lines = section_of(name).splitlines()
        said = {line.split("|")[1].strip(" `") for line in lines if re.match(r"\| `\w+` \|.*\| default ", line)}
        assert said == {field.name for field in info.fields if not field.required}, name


def test_error_codes_are_those_of_the_code() -> None:
    section = text_of(PROTOCOL).partition("\n## 9. ")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    sources = [text_of(path) for path in (ROOT / "broker").glob("*.py")]
    used = {code for source in sources for code in re.findall(r'\bError\(message\.id, "(\w+)"', source)}
    assert documented == used | ROUTER_ERRORS


# --- PROTOCOL.md: numbers --------------------------------------------------------------------------------


def test_limits_have_the_values_of_the_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([0-9.,]+) \|", text_of(PROTOCOL), re.MULTILINE)
    assert rows
    for name, value in rows:
        assert float(value.replace(",", "")) == getattr(limits, name), name
    for name, value in re.findall(r"`([A-Z]+_[A-Z_]+)` \(([0-9][0-9.,]*)\)", text_of(PROTOCOL)):
        assert float(value.replace(",", "")) == getattr(limits, name), name


def test_limits_that_are_named_are_in_the_table() -> None:
    listed = set(re.findall(r"^\| `([A-Z_]+)` \| [0-9.,]+ \|", text_of(PROTOCOL), re.MULTILINE))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", text_of(PROTOCOL)))
    assert {name for name in named if not name.startswith("ZMQ_")} == listed


def test_piece_lengths_are_those_of_the_code() -> None:
    table = text_of(PROTOCOL).partition("| length | piece length | pieces |\n")[2].partition("\n\n")[0]
    rows = [[parse_bytes(cell.replace(",", "")) for cell in line.split("|")[1:4]] for line in table.splitlines()[1:]]
    assert rows
    for length, piece_length, pieces in rows:
        assert (piece_length_for(length), -(-length // piece_length)) == (piece_length, pieces)


# --- PROTOCOL.md: content --------------------------------------------------------------------------------


def sample_manifests() -> dict[str, Manifest]:
    found = {}
    for example in examples():
        section, _, which = example.kind.partition(" ")
        if section == "manifest":
            meaning = read_meaning(example.meaning)
            assert msgpack.packb(meaning) == example.data, f"the bytes should be\n{as_hex(msgpack.packb(meaning))}"
            found[which] = decode_manifest(example.data)
    return found


def test_manifests_decode_and_describe_the_sample() -> None:
    digest = raw_digest("blake3", SAMPLE)
    assert sample_manifests().keys() == {"file", "tree"}
    for manifest in sample_manifests().values():
        assert manifest.digest == format_digest("blake3", digest)
        assert manifest.pieces == digest
        assert f"manifest digest is `{manifest_digest(encode_manifest(manifest), 'blake3')}`" in text_of(PROTOCOL)


def test_text_seed_is_that_of_the_sample() -> None:
    (seed,) = blocks("seed-text")
    described = Seed("hello.txt", sample_manifests()["file"])
    assert parse_seed(seed.encode()) == described
    assert format_seed(described, "text") == seed.encode()


def test_link_is_that_of_the_sample() -> None:
    (link,) = blocks("link")
    manifest = sample_manifests()["file"]
    digest = manifest_digest(encode_manifest(manifest), "blake3")
    assert parse_link(link) == Link(manifest.digest, digest, "hello.txt", manifest.length)


def test_bitfield_has_the_pieces_it_says() -> None:
    ((count, pieces, data),) = re.findall(r"^```bitfield (\d+): ([\d ]+)\n(.*)\n```$", text_of(PROTOCOL), re.MULTILINE)
    bits = Bitfield.from_bytes(bytes.fromhex(data), int(count))
    assert list(bits.indices()) == [int(piece) for piece in pieces.split()]


REFUSED_NAMES = ("", ".", "..", "a/b", "a\\b", "a\0", "a\u2028", "a.", "a ", "CON", "lpt1.txt", "n" * 256)


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_names_that_the_document_refuses_are_refused(name: str) -> None:
    seed = f"{name}\n0\n{format_digest('blake3', raw_digest('blake3', b''))}"
    with pytest.raises(SeedError):
        parse_seed(format_seed(Seed(name, sample_manifests()["tree"]), "msgpack"))
    if name == name.strip():
        with pytest.raises(SeedError):
            parse_seed(seed.encode())


# --- references ------------------------------------------------------------------------------------------


def python_files() -> list[Path]:
    found = [path for package in (*PACKAGES, "tests") for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in found if path != Path(__file__)]


def test_cited_sections_of_the_protocol_exist() -> None:
    headings = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", text_of(PROTOCOL), re.MULTILINE))
    wrong = []
    for path in python_files():
        for cited in re.findall(r"PROTOCOL\.md(?:``)?(.{0,20})", text_of(path)):
            section = re.match(r", section (\d+(?:\.\d+)?)", cited)
            if section is None and not cited.startswith(" gives them"):
                wrong.append(f"{path.name}: no section after PROTOCOL.md{cited}")
            elif section is not None and section[1] not in headings:
                wrong.append(f"{path.name}: there is no section {section[1]}")
    assert wrong == [], "\n".join(wrong)


def test_cited_sections_of_the_architecture_exist() -> None:
    headings = set(re.findall(r"^#{2,3} (.+)$", text_of(ARCHITECTURE), re.MULTILINE))
    cited = [name for path in python_files() for name in re.findall(r'ARCHITECTURE\.md, "(.+?)"', text_of(path))]
    assert set(cited) - headings == set()


def test_sections_are_numbered_in_order_and_listed() -> None:
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", text_of(PROTOCOL), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    contents = re.findall(r"^(\d+)\. \[(.+)\]\(#", text_of(PROTOCOL), re.MULTILINE)
    assert contents == re.findall(r"^## (\d+)\. (.+)$", text_of(PROTOCOL), re.MULTILINE)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#{1,6} (.+)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(document)):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        path = document if not name else document.parent / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(document: Path) -> None:
    folders = "|".join((*PACKAGES, "tests", "configs", "deploy", "docs"))
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", text_of(document))
    assert [path for path in named if not (ROOT / path).exists()] == []


def folders() -> dict[str, set[str]]:
    """By folder of ours, the names of the modules right in it, all of which ARCHITECTURE.md names."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem != "__init__":
                found.setdefault(path.parent.relative_to(ROOT).as_posix(), set()).add(path.name)
    return found


@pytest.mark.parametrize("folder", folders())
def test_every_module_has_its_place_in_the_architecture(folder: str) -> None:
    pattern = rf"^### `{folder}`.*?\n(.*?)(?=^#{{2,3}} |\Z)"
    section = re.search(pattern, text_of(ARCHITECTURE), re.DOTALL | re.MULTILINE)
    assert section is not None, f"ARCHITECTURE.md has no section about {folder}"
    assert set(re.findall(r"`(\w+\.py)`", section[1])) == folders()[folder]


# --- README.md -------------------------------------------------------------------------------------------


def test_readme_lists_the_commands() -> None:
    listed = re.findall(r"^\| `([a-z-]+)\b[^|]*` \|", text_of(README), re.MULTILINE)
    assert listed == list(commands.commands)


def test_readme_lists_the_exit_codes() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", text_of(README), re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ZswarmError)]
    assert listed == {0, 130} | {kind.exit_code for kind in kinds}


def test_configuration_in_the_readme_is_read() -> None:
    found = re.findall(r"^```yaml\n# (\w+)\.yaml\n(.*?)^```", text_of(README), re.DOTALL | re.MULTILINE)
    assert {name for name, _ in found} == {"peer", "tracker"}
    for name, text in found:
        sample = text_of(ROOT / "configs" / f"{name}.yaml")
        keys = re.findall(r"^(\w+):", text, re.MULTILINE)
        assert [key for key in keys if not re.search(rf"^{key}:", sample, re.MULTILINE)] == []


def test_license_is_apache() -> None:
    license_text = text_of(ROOT / "LICENSE")
    assert "Apache License" in license_text
    assert "Version 2.0, January 2004" in license_text
    assert textwrap.dedent(license_text).rstrip().endswith("limitations under the License.")
