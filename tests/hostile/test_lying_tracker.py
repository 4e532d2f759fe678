"""One of two trackers lies: whoever asks both gets what it wants all the same, verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from protocol.messages import Behind, Error, LookupReply, PeerList, SeederEntry, SeederList, TorrentList
from tests.hostile.lying_tracker import Lie, LyingTracker
from tests.outside.commands import PATIENCE_SECONDS, Machine

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180)]

CONTENT = b"wanted" * 500_000
INVENTED_COUNT = 60
NOBODY = "tcp://127.0.0.1:9"


def hide(reply: Any) -> LookupReply:
    """It lists nothing, and nobody."""
    match reply:
        case TorrentList():
            return replace(reply, entries=[])
        case SeederList():
            return replace(reply, total=0, seeders=[])
        case PeerList():
            return replace(reply, peers=[])
    return reply  # type: ignore[no-any-return]


def invent(reply: Any) -> LookupReply:
    """Many have it, where nobody is."""
    if not isinstance(reply, SeederList):
        return reply  # type: ignore[no-any-return]
    invented = [SeederEntry(f"{number:032x}", f"false-{number}", NOBODY, True) for number in range(INVENTED_COUNT)]
    return replace(reply, total=len(invented), seeders=invented)


def misplace(reply: Any) -> LookupReply:
    """Those who have it are elsewhere."""
    if not isinstance(reply, SeederList):
        return reply  # type: ignore[no-any-return]
    return replace(reply, seeders=[replace(seeder, endpoint=NOBODY) for seeder in reply.seeders])


def other_manifest(reply: Any) -> LookupReply:
    """The content has another manifest, and has had it for longest."""
    if not isinstance(reply, TorrentList):
        return reply  # type: ignore[no-any-return]
    false = [replace(entry, manifest=f"blake3:{6:064x}", announced=1) for entry in reply.entries]
    return replace(reply, entries=false)


def know_nothing(reply: Any) -> LookupReply:
    return Error(reply.id, "bad_message", "there is no such name")


def lag(reply: Any) -> LookupReply:
    """It is always behind."""
    return Behind(reply.id, reply.epoch, reply.seq) if hasattr(reply, "seq") else reply


class Pair(NamedTuple):
    """Peer ``s`` on ``machine`` has what ``targets`` name, and is a member of a tracker and of ``liar``."""

    machine: Machine
    liar: LyingTracker
    targets: dict[str, str]


@pytest.fixture(
    scope="module", params=[True, pytest.param(False, marks=pytest.mark.long)], ids=["named-first", "named-second"]
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    machine = Machine(tmp_path_factory.mktemp("pair"))
    try:
        with LyingTracker() as liar:
            honest = machine.start_tracker()
            machine.tracker = ",".join([liar.endpoint, honest] if request.param else [honest, liar.endpoint])
            machine.start_peer("s")
            (machine.place / "m.bin").write_bytes(CONTENT)
            shared = machine.z("--data-dir", "s", "share", "m.bin", timeout=2 * PATIENCE_SECONDS)
            assert shared.code == 0, shared.err
            link = shared.out.strip()
            digest = link.removeprefix("zswarm://").partition("/")[0]
            yield Pair(machine, liar, {"name": "m.bin", "digest": digest, "link": link})
            machine.close()
    finally:
        machine.close()


@pytest.mark.parametrize(
    ("lie", "way"),
    [
        (hide, "name"),
        (invent, "name"),
        (misplace, "name"),
        (know_nothing, "name"),
        (lag, "name"),
        (other_manifest, "digest"),
        (hide, "link"),
        (misplace, "link"),
    ],
)
def test_get_succeeds_while_one_of_two_trackers_lies(pair: Pair, lie: Lie, way: str, tmp_path: Path) -> None:
    pair.liar.lie, before = lie, pair.liar.lies
    place = tmp_path / "got"
    got = pair.machine.z(
        "--data-dir", tmp_path / "data", "get", pair.targets[way], "-o", place, timeout=2 * PATIENCE_SECONDS
    )
    assert got.code == 0, got.err
    assert (place / "m.bin").read_bytes() == CONTENT
    assert pair.liar.lies > before
