"""What is fuzzed of a peer's and a tracker's own files, which a disk may have damaged, or a person changed."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
from msgspec import inspect

from broker.config import TrackerConfig
from node import local_messages as local
from node.agent.disk_work import DOWNLOADED_NAME, LIMITS_NAME, AgentFiles
from node.agent.effects import Downloaded
from node.agent.library import LIBRARY_NAME, Library, LibraryItem
from node.config import AgentSettings, PeerSettings
from node.disk.journal import JOURNAL_NAME, Journal
from node.disk.mend_notes import MendNote, Note
from node.enrolment import NETWORK_NAME, Network, load_network
from node.identity import IDENTITY_NAME, Identity, load_identity
from node.schedule import HeldLimits, Override, limits_text
from protocol.errors import ConfigError, DiskError
from protocol.manifest import Manifest, piece_length_for
from service.config import load_settings
from service.key_folder import SECRET_NAME, InviteTerms, KeyFolder
from tests.fuzz.samples import DIGEST, KEY, text_of, value_of


def configuration(data: bytes) -> str:
    """A tracker's and a peer's, and what its schedule says."""
    told = ""
    with tempfile.NamedTemporaryFile(dir=_memory(), suffix=".yaml") as file:
        file.write(data)
        file.flush()
        for kind in (TrackerConfig, PeerSettings):
            try:
                settings = load_settings(Path(file.name), kind)
            except ConfigError as error:
                told += str(error).removeprefix(file.name)
            else:
                if isinstance(settings, PeerSettings):
                    HeldLimits(settings.limits, tuple(settings.schedule_entries)).tell_time(0, 0.0)
    return told


def configuration_samples() -> Iterator[bytes]:
    root = Path(__file__).parents[2]
    yield (root / "configs" / "peer.yaml").read_bytes()
    yield (root / "configs" / "tracker.yaml").read_bytes()
    yield b"follow: [{pattern: 'a*', to: /data, keep: 2}]\nschedule: [{from: '08:00', to: '18:00', days: mon-fri}]\n"


def journal(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        (Path(place) / JOURNAL_NAME).write_bytes(data)
        with suppress(DiskError):
            journal = Journal(Path(place))
            try:
                for entry in journal.entries():
                    assert isinstance(entry.bits, bytes)
            finally:
                journal.close()


def journal_samples() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        journal = Journal(Path(place))
        journal.start(DIGEST, "seeds/a", "/data/a", b"\xf0")
        journal.close()
        yield (Path(place) / JOURNAL_NAME).read_bytes()


def library(data: bytes) -> None:
    """A whole database."""
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        (Path(place) / LIBRARY_NAME).write_bytes(data)
        _read_library(Path(place))


def _read_library(place: Path) -> str:
    told = ""
    try:
        with Library(place) as library:
            for read in (library.items, library.downloads, library.orders, library.asked):
                try:
                    read()
                except DiskError as error:
                    told += str(error)
    except DiskError as error:
        told += str(error)
    return told.replace(str(place), "")


def library_samples() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        with Library(Path(place)) as library:
            library.put_item(LibraryItem("/data/a", "shared", DIGEST, DIGEST, "a", 5, f"{place}/seeds/a", b"stamps"))
            library.put_download(local.Fetch(DIGEST, DIGEST, "a", 5, "/data/b", "", False, False))
            library.keep_orders(library.orders())
        yield (Path(place) / LIBRARY_NAME).read_bytes()


_LIBRARY_BYTES: list[bytes] = []


def library_rows(data: bytes) -> str:
    """Values of rows in a database that is whole: the orders, the options of an item, its stamps."""
    if not _LIBRARY_BYTES:
        _LIBRARY_BYTES.extend(library_samples())
    orders, _, rest = text_of(data).partition("\0")
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
        return _read_library(Path(place))


def library_row_samples() -> Iterator[bytes]:
    orders = msgspec.json.encode({"given": [], "taken": [{"order": "x", "digest": DIGEST, "dest": "/data/a"}]})
    yield orders + b'\0{"follow_links":true}\0missing'


def agent_files(data: bytes) -> str:
    """Rate limits that a person set, what was downloaded, or which pieces of rotten content are written over."""
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        settings = msgspec.structs.replace(
            value_of(inspect.type_info(AgentSettings)), data_dir=place, runtime_dir=place
        )
        for name in (LIMITS_NAME, DOWNLOADED_NAME):
            (Path(place) / name).write_bytes(data)
        note = MendNote(Path(place), DIGEST)
        note.draft("/data/a", b"")
        note.hold()
        next((Path(place) / "mends").iterdir()).write_bytes(data)
        empty = Manifest(0, piece_length_for(0), DIGEST, b"", None, ())
        assert not note.put_back("/data/a", empty, empty, b"", b"")
        with closing(AgentFiles(settings)) as files:
            override, downloaded = files.override, files.downloaded
    if override is not None:
        held = HeldLimits(override=override)
        limits_text(held.now, held.why)
    return f"{override is None} {len(downloaded)}"


def agent_file_samples() -> Iterator[bytes]:
    for kind in (Override, list[Downloaded], Note):
        yield msgspec.json.encode(value_of(inspect.type_info(kind)))


def identity(data: bytes) -> str:
    """Who the peer is, and the network that has let it in."""
    told = ""
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        for name in (IDENTITY_NAME, NETWORK_NAME):
            path = Path(place) / name
            path.write_bytes(data)
            path.chmod(0o600)
        for load in (load_identity, load_network):
            try:
                load(Path(place))
            except DiskError as error:
                told += str(error).replace(place, "")
    return told


def identity_samples() -> Iterator[bytes]:
    yield msgspec.json.encode(Identity(bytes(32), KEY))
    yield msgspec.json.encode(Network("tcp://10.0.0.5:5550", KEY))


def key_folder(data: bytes) -> None:
    """The tracker's secret, a member, an invite, or that one was used."""
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        folder = KeyFolder(Path(place))
        for directory in (folder.members_path, folder.invites_path):
            directory.mkdir(mode=0o700)
        for path in (
            *(folder.path / SECRET_NAME, folder.members_path / f"{KEY}.key"),
            *(folder.invites_path / f"{KEY}.invite", folder.invites_path / f"{KEY}.used"),
        ):
            path.write_bytes(data)
            path.chmod(0o600)
        with suppress(ConfigError):
            folder.load()
        folder.members()
        issued = folder.issued(KEY)
        if issued is not None:
            assert issued.answers in (True, False)


def key_folder_samples() -> Iterator[bytes]:
    yield f"{KEY}\n".encode()
    yield f"lab-17\n{KEY}\n".encode()
    yield msgspec.json.encode(InviteTerms(4e9, False, "lab-17"))


def _memory() -> str | None:
    """A directory that costs no disk, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
