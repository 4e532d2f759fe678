"""`service.key_folder`: who is let in, as files say."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.errors import ConfigError, NotFoundError, UsageError
from protocol.keys import parse_invite
from service.key_folder import LOOK_SECONDS, SECRET_NAME, KeyFolder, LiveKeys, RefusedKeyError
from service.private_files import write_private_once
from transport.curve import new_pair, pair_of
from transport.sockets import Role

ALICE, BOB = "a1" * 32, "b2" * 32


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    made = KeyFolder(tmp_path / "keys")
    assert made.make()
    return made


def invite_of(folder: KeyFolder, *, reusable: bool = False, seconds: float = 60.0, name: str = "") -> str:
    """The public key of a new invite."""
    line = folder.invite("tcp://10.0.0.1:5550", seconds, reusable, name)
    return pair_of(parse_invite(line).secret).public


def test_it_is_made_once_and_private(folder: KeyFolder) -> None:
    own = folder.load()
    assert not folder.make()
    assert folder.load() == own
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder.path / SECRET_NAME).stat().st_mode) == 0o600


def test_a_secret_that_others_may_read_is_refused(folder: KeyFolder) -> None:
    (folder.path / SECRET_NAME).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        folder.load()
    (folder.path / SECRET_NAME).chmod(0o600)
    folder.path.chmod(0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        folder.load()
    with pytest.raises(ConfigError, match="chmod 700"):
        folder.make()


@pytest.mark.parametrize("content", [b"", b"x" * 64, b"\xff" * 64, b"a1" * 31])
def test_a_damaged_secret_is_not_replaced(folder: KeyFolder, content: bytes) -> None:
    (folder.path / SECRET_NAME).write_bytes(content)
    for use in (folder.load, folder.make):
        with pytest.raises(ConfigError, match="damaged"):
            use()
    assert (folder.path / SECRET_NAME).read_bytes() == content


def test_without_keys_the_error_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keys init"):
        KeyFolder(tmp_path / "nothing").load()


def test_an_invite_for_one_peer_lets_one_in(folder: KeyFolder) -> None:
    invite = invite_of(folder)
    folder.enrol(invite, ALICE, "alice\x1b[2J")
    folder.enrol(invite, ALICE, "alice")  # its answer was lost
    with pytest.raises(RefusedKeyError, match="another has used it"):
        folder.enrol(invite, BOB, "bob")
    assert {key: one.name for key, one in folder.members().items()} == {ALICE: "alice\\x1b[2J"}
    assert folder.members()[ALICE].invite == invite


def test_one_that_is_revoked_or_removed_does_not_come_back_by_an_invite(folder: KeyFolder) -> None:
    once, often = invite_of(folder), invite_of(folder, reusable=True)
    folder.enrol(once, ALICE, "alice")
    folder.enrol(often, BOB, "bob")
    folder.revoke(BOB)
    (folder.members_path / f"{ALICE}.key").unlink()
    for invite, key in ((once, ALICE), (often, BOB)):
        with pytest.raises(RefusedKeyError):
            folder.enrol(invite, key, "again")
    assert not folder.members()
    folder.authorize(BOB)
    folder.enrol(often, BOB, "bob")
    assert list(folder.members()) == [BOB]


def test_the_peer_of_the_same_owner_is_let_in_unless_it_was_revoked(folder: KeyFolder) -> None:
    folder.authorize(ALICE, "alice")
    folder.admit(ALICE, "another name")
    folder.admit(BOB, "bob")
    assert {key: one.name for key, one in folder.members().items()} == {ALICE: "alice", BOB: "bob"}
    folder.revoke(BOB)
    with pytest.raises(RefusedKeyError, match="revoked"):
        folder.admit(BOB, "bob")
    assert list(folder.members()) == [ALICE]


def test_a_process_that_ends_in_between_lets_nobody_else_in(folder: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    invite = invite_of(folder)

    def end(_self: Path, _target: Path) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        real = Path.replace
        patch.setattr(Path, "replace", lambda one, to: end(one, to) if one.suffix == ".pending" else real(one, to))
        with pytest.raises(OSError, match="killed"):
            folder.enrol(invite, ALICE, "alice")
    with pytest.raises(RefusedKeyError):
        folder.enrol(invite, BOB, "bob")
    folder.enrol(invite, ALICE, "alice")
    assert list(folder.members()) == [ALICE]


def test_an_expired_or_unknown_invite_lets_nobody_in(folder: KeyFolder) -> None:
    expired = invite_of(folder, seconds=-1.0)
    for invite in (expired, BOB):
        with pytest.raises(RefusedKeyError, match="expired or was revoked"):
            folder.enrol(invite, ALICE, "alice")
    invite_of(folder)
    assert expired not in folder.invites()  # it was removed when the next one was made


def test_every_invite_that_lets_peers_in_is_listed_and_can_be_revoked_and_there_are_not_too_many(
    folder: KeyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = [invite_of(folder, reusable=True, name=f"lab-{number}") for number in range(4)]
    monkeypatch.setattr("service.key_folder.INVITES_COUNT_MAX", 3)
    assert [list(folder.invites()), live_of(folder).is_invite(max(often))] == [sorted(often), True]
    with pytest.raises(UsageError, match="4 invites, and 3 is the most; revoke some"):
        invite_of(folder)
    for number, key in enumerate(often):
        assert folder.named(f"lab-{number}") == folder.named(key[:8]) == key
        folder.revoke(key)
    assert [folder.invites(), any(map(live_of(folder).is_invite, often))] == [{}, False]
    expired = [invite_of(folder, seconds=-1.0 - number) for number in range(3)]
    invite_of(folder)
    assert not folder.invites().keys() & set(expired), "those that have expired do not count, and are removed"


@pytest.mark.parametrize("damaged", [b"", b"\xff", b'{"expires":1e400}', b'{"other":' + b"[" * 4_000])
def test_a_damaged_invite_lets_nobody_in(folder: KeyFolder, caplog: pytest.LogCaptureFixture, damaged: bytes) -> None:
    key = invite_of(folder)
    (folder.invites_path / f"{key}.invite").write_bytes(damaged)
    assert folder.issued(key) is None
    assert folder.invites() == {}
    assert "lets nobody in" in caplog.text


def test_keys_are_found_by_name_and_beginning(folder: KeyFolder) -> None:
    folder.authorize(ALICE, "alice")
    folder.authorize(BOB, "alice")
    invite = invite_of(folder, name="lab")
    assert folder.named("a1a1a1a1") == folder.named(ALICE.upper()) == ALICE
    assert folder.named("lab") == invite
    with pytest.raises(UsageError, match="2 keys"):
        folder.named("alice")
    for text in ("carol", "\x1b", "a1a1a1a", "a1" * 31 + "a2"):
        with pytest.raises(NotFoundError):
            folder.named(text)
    folder.authorize("c3" * 32)  # without a name
    with pytest.raises(UsageError, match="empty"):
        folder.named(" ")
    folder.authorize("d4" * 32, ALICE)
    assert folder.named(ALICE) == ALICE
    folder.enrol(invite, "e5" * 32, "")
    folder.revoke(invite)
    assert not list(folder.invites_path.iterdir())
    with pytest.raises(NotFoundError):
        folder.named("lab")


def test_a_key_is_found_by_its_name_as_it_was_shown(folder: KeyFolder) -> None:
    folder.authorize(ALICE, "l\u0430b")
    folder.authorize(BOB, "lab")
    assert [folder.named(name) for name in ("l\u0430b", r"l\u0430b", "lab")] == [ALICE, ALICE, BOB]


def test_a_peer_that_is_called_as_its_invite_was_is_found(folder: KeyFolder) -> None:
    """As one expects: an invite for lab-7, with which the machine lab-7 came."""
    for reusable in (False, True):
        invite = invite_of(folder, name="lab-7", reusable=reusable)
        assert folder.named("lab-7") == invite
        folder.enrol(invite, ALICE, "lab-7")
        assert folder.named("lab-7") == ALICE
        folder.revoke(ALICE)
        assert folder.named("lab-7") == invite
        folder.revoke(invite)
        folder.authorize(ALICE)
        folder.revoke(invite)
        (folder.members_path / f"{ALICE}.key").unlink()


def test_a_revocation_during_an_enrolment_holds(folder: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a command's, in another process."""
    for reusable in (False, True):
        invite = invite_of(folder, reusable=reusable)
        with monkeypatch.context() as patch:
            patch.setattr("service.key_folder.PEERS_COUNT_MAX", RevokesBefore(folder, ALICE))
            with pytest.raises(RefusedKeyError, match="revoked"):
                folder.enrol(invite, ALICE, "alice")
        assert not folder.members()
        with pytest.raises(RefusedKeyError, match="revoked"):
            folder.enrol(invite, ALICE, "alice")
        folder.authorize(ALICE)
        (folder.members_path / f"{ALICE}.key").unlink()


def test_a_revocation_holds_while_a_peer_of_the_owner_is_let_in(
    folder: KeyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked_first(path: Path, data: bytes) -> bool:
        folder.revoke(ALICE)
        return write_private_once(path, data)

    monkeypatch.setattr("service.key_folder.write_private_once", revoked_first)
    with pytest.raises(RefusedKeyError, match="revoked"):
        folder.admit(ALICE, "alice")
    assert not folder.members()


class RevokesBefore(int):
    """A limit; once it is looked at, ``key`` is revoked."""

    def __new__(cls, folder: KeyFolder, key: str) -> RevokesBefore:
        made = super().__new__(cls, 100)
        made.revoke = lambda: folder.revoke(key)
        return made

    revoke: Callable[[], None]

    def __le__(self, other: int) -> bool:  # count >= limit
        self.revoke()
        return super().__le__(other)


# --- live ------------------------------------------------------------------------------------------------


def looks(live: LiveKeys) -> set[str]:
    """What a look says that is due."""
    return live.refresh(live.next_deadline())


def live_of(folder: KeyFolder) -> LiveKeys:
    """Whose clock stands still, so that it looks when it is told to."""
    return LiveKeys(folder, lambda: 0.0, invites=True)


def test_what_is_changed_by_hand_is_seen_at_the_next_look(folder: KeyFolder) -> None:
    live = live_of(folder)
    (folder.members_path / f"{ALICE}.key").touch()
    assert live.refresh(live.next_deadline() - LOOK_SECONDS / 2) == set()
    assert not live.members
    assert looks(live) == set()
    assert live.members == {ALICE}
    (folder.members_path / f"{ALICE}.key").unlink()
    assert looks(live) == {ALICE}
    assert not live.members


def test_whoever_is_let_in_between_two_looks_can_connect_at_once(folder: KeyFolder) -> None:
    live = live_of(folder)
    invite = invite_of(folder)
    assert live.may_connect(Role.TRACKER_ROUTER, invite)
    assert not live.may_connect(Role.TRACKER_ROUTER, BOB)
    folder.authorize(BOB)
    assert live.may_connect(Role.TRACKER_ROUTER, BOB)
    folder.revoke(BOB)
    assert looks(live) == {BOB}
    assert not live.may_connect(Role.TRACKER_ROUTER, BOB)


def test_the_log_says_why_an_invite_that_exists_lets_nobody_in(
    folder: KeyFolder, caplog: pytest.LogCaptureFixture
) -> None:
    live = live_of(folder)
    used, expired = invite_of(folder), invite_of(folder, seconds=-1.0)
    folder.enrol(used, ALICE, "")
    past = time.time() - 3_600.0
    os.utime(folder.invites_path / f"{used}.used", (past, past))
    for _ in range(3):
        assert not any(map(live.is_invite, (expired, used, BOB)))
    assert [record.getMessage() for record in caplog.records] == [
        f"a peer was not let in: invite {expired[:16]} has expired",
        f"a peer was not let in: invite {used[:16]} was used by {ALICE[:16]}",
    ]


def test_so_it_is_after_a_time_without_changes(folder: KeyFolder) -> None:
    folder.authorize(ALICE)
    past = time.time() - 60.0
    os.utime(folder.members_path, (past, past))
    live = live_of(folder)
    assert looks(live) == set()
    folder.authorize(BOB)
    looks(live)
    assert live.members == {ALICE, BOB}
    folder.revoke(ALICE)
    assert looks(live) == {ALICE}


def test_what_is_named_otherwise_lets_nobody_in_and_is_told_once(
    folder: KeyFolder, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("alice.key", f"{ALICE.upper()}.key", f"{ALICE[:-1]}.key", "\x1b.key", f"{ALICE}.key.new", "notes"):
        (folder.members_path / name).write_text(ALICE)
    (folder.members_path / f"{BOB}.key").mkdir()
    (folder.invites_path / f"{ALICE}.invite").write_text("{}")
    with caplog.at_level(logging.WARNING):
        live = live_of(folder)
        for _ in range(3):
            looks(live)
    assert not live.members
    assert not live.is_invite(ALICE)
    told = [record.getMessage() for record in caplog.records if "named after a key" in record.getMessage()]
    assert len(told) == len(set(told)) == 5
    assert all(text.isprintable() for text in told)


def test_without_the_folder_nobody_is_let_in(folder: KeyFolder) -> None:
    folder.authorize(ALICE)
    live = live_of(folder)
    folder.members_path.rename(folder.path / "elsewhere")
    assert looks(live) == {ALICE}
    (folder.path / "elsewhere").rename(folder.members_path)
    looks(live)
    assert live.members == {ALICE}


def test_an_invite_is_listened_to_until_it_expires(folder: KeyFolder) -> None:
    live = live_of(folder)
    invite, expired = invite_of(folder), invite_of(folder, seconds=-1.0)
    looks(live)
    assert live.is_invite(invite)
    assert not live.is_invite(expired)
    folder.enrol(invite, ALICE, "")
    looks(live)
    assert live.is_invite(invite)  # for a repetition
    past = time.time() - 3_600.0
    os.utime(folder.invites_path / f"{invite}.used", (past, past))
    assert not live_of(folder).is_invite(invite)
    folder.revoke(invite)
    looks(live)
    assert not live.is_invite(invite)


@pytest.mark.parametrize("invites", [False, True])
def test_an_invite_is_for_requests_of_the_registrar_alone(folder: KeyFolder, invites: bool) -> None:
    folder.authorize(ALICE)
    invite = invite_of(folder)
    live = LiveKeys(folder, lambda: 0.0, invites)
    roles = Role.TRACKER_ROUTER, Role.TRACKER_PUB
    assert [live.may_connect(role, ALICE) for role in roles] == [True, True]
    assert [live.may_connect(role, invite) for role in roles] == [invites, False]
    assert not any(live.may_connect(role, BOB) for role in Role)


def test_pairs_differ_and_follow_from_the_secret() -> None:
    first, second = new_pair(), new_pair()
    assert len({first.public, first.secret, second.public, second.secret}) == 4
    assert pair_of(first.secret) == first
