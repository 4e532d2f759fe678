"""`broker.gate`: what a connection's key may say to the registrar."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from broker.gate import Gate
from protocol.keys import parse_invite, peer_id_of
from protocol.messages import Enrol, Enrolled, Error, FileList, Heartbeat, Join, Leave, MemberRequest, Transfer, Update
from service.key_folder import KeyFolder, LiveKeys
from transport.curve import pair_of
from transport.sockets import Role

ALICE, BOB, TOKEN = "a1" * 32, "b2" * 32, bytes(32)
DIGEST = "blake3:" + "0" * 64


def requests(peer: str) -> list[MemberRequest]:
    """One of each kind."""
    return [
        Join(1, peer, TOKEN, "x", "tcp://10.0.0.1:1"),
        FileList(1, peer, TOKEN, 1, 0, True, 1, []),
        Heartbeat(1, peer, TOKEN, 1, 0),
        Update(1, peer, TOKEN, 1, 2, [], []),
        Transfer(1, peer, TOKEN, DIGEST, "started"),
        Leave(1, peer, TOKEN),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    made = KeyFolder(tmp_path / "keys")
    made.make()
    return made


def gate_of(folder: KeyFolder) -> Gate:
    return Gate(LiveKeys(folder, time.monotonic, invites=True))


def test_nobody_speaks_for_another(folder: KeyFolder) -> None:
    folder.authorize(ALICE)
    folder.authorize(BOB)
    gate = gate_of(folder)
    for request in requests(peer_id_of(ALICE)):
        assert gate.refusal(request, ALICE) is None
        refusal = gate.refusal(request, BOB)
        assert refusal is not None
        assert refusal.code == "not_yours"


def test_an_invite_enrols_and_says_nothing_else(folder: KeyFolder) -> None:
    line = folder.invite("tcp://10.0.0.1:5550", 60.0)
    invite = pair_of(parse_invite(line).secret).public
    gate = gate_of(folder)
    for peer in (peer_id_of(invite), peer_id_of(ALICE)):
        codes = {getattr(gate.refusal(request, invite), "code", "") for request in requests(peer)}
        assert codes == {"invited"}
    assert gate.enrol(Enrol(7, ALICE, "alice"), invite) == Enrolled(7)
    assert gate.enrol(Enrol(8, ALICE, "alice"), invite) == Enrolled(8)
    for key, by in ((BOB, invite), (BOB, BOB), (BOB, ALICE)):
        refused = gate.enrol(Enrol(9, key, "bob"), by)
        assert isinstance(refused, Error)
        assert refused.code == "refused"
    assert list(folder.members()) == [ALICE]


def test_what_cannot_be_written_is_not_acknowledged(folder: KeyFolder) -> None:
    line = folder.invite("tcp://10.0.0.1:5550", 60.0)
    invite = pair_of(parse_invite(line).secret).public
    gate = gate_of(folder)
    folder.members_path.rmdir()
    answer = gate.enrol(Enrol(7, ALICE), invite)
    assert isinstance(answer, Error)
    assert answer.code == "disk"
    assert str(folder.path) not in answer.detail  # a stranger is not told paths


def test_without_keys_everything_passes_but_an_enrolment() -> None:
    gate = Gate(None)
    assert all(gate.refusal(request, "") is None for request in requests("any-id"))
    answer = gate.enrol(Enrol(7, ALICE), "")
    assert isinstance(answer, Error)
    assert answer.code == "no_keys"


def test_who_was_let_in_may_connect_at_once(folder: KeyFolder) -> None:
    """A peer dials again right after the answer."""
    invite = pair_of(parse_invite(folder.invite("tcp://10.0.0.1:5550", 60.0)).secret).public
    live = LiveKeys(folder, lambda: 0.0, invites=True)
    Gate(live).enrol(Enrol(7, ALICE, "alice"), invite)
    assert live.may_connect(Role.TRACKER_ROUTER, ALICE)
