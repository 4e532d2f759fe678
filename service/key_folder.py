"""The keys of a network: a folder on its tracker's host, private to the tracker's user (0700).

::

    tracker.secret       the tracker's secret key (0600)
    members/KEY.key      lets in the peer with this public key; its first line is a name for people
    invites/KEY.invite   an invite with this public key, as `InviteTerms` in JSON
    invites/KEY.used     it has let a peer in, and cannot again: the key of that peer
    revoked/KEY.key      a key that no invite can let in again

Files may be made and deleted by hand; only their names say who is let in. The tracker's processes look at the folder
once a second (`LiveKeys`), and of them only the registrar writes to it (`KeyFolder.enrol`).
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from threading import RLock

import msgspec
from msgspec import Struct

from protocol.errors import ConfigError, NotFoundError, UsageError
from protocol.keys import Invite, format_invite, is_key, parse_key
from protocol.limits import PEER_ID_BYTES_MAX, PEERS_COUNT_MAX
from service.private_files import (
    check_private_directory,
    read_private,
    sync_directory,
    write_private,
    write_private_once,
)
from service.text import as_utf8, printable, unescaped
from transport.curve import KeyPair, Keys, new_pair, pair_of
from transport.sockets import Role

SECRET_NAME = "tracker.secret"
LABEL_BYTES_MAX = 4_096
USED_SECONDS = 600.0
"""How long an invite that was used up still answers the peer that used it, whose answer may have been lost."""
INVITES_COUNT_MAX = 10_000
"""Beyond that no more are made. Files made by hand count too, and all are listed: each may let peers in."""
TOLD_COUNT_MAX = 100
START_COUNT_MIN = 8
"""Digits that may stand for a key: with fewer, some would be words."""
USED_BY_ANOTHER = "this invite was for one peer, and another has used it; ask for a new one"
REVOKED = "this peer's key was revoked; the network's owner can let it in again (keys authorize)"
LOOK_SECONDS = 1.0
_FRESH_NS = 2_000_000_000
"""A directory that changed this recently may have changed again at the same time stamp."""
_UNREADABLE = errno.ENOENT, errno.ENOTDIR, errno.EACCES
"""With these nobody is let in. Other errors are temporary, such as a lack of descriptors: what was read last holds."""

_logger = logging.getLogger(__name__)


class InviteTerms(Struct, frozen=True):
    """``expires`` in seconds since 1970. Unless it is ``reusable``, only one peer can use it."""

    expires: float
    reusable: bool = False
    name: str = ""


class Member(Struct, frozen=True):
    """``name`` is safe to show. ``invite`` is the public key of the invite it came with; empty: none."""

    name: str
    invite: str = ""


class IssuedInvite(Struct, frozen=True):
    """``used_by`` is the key of the peer that it let in, empty if it can still let one in; since ``used_at``."""

    terms: InviteTerms
    used_by: str = ""
    used_at: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Until it expires; negative afterwards."""
        return self.terms.expires - time.time()

    @property
    def answers(self) -> bool:
        """Whether a peer with it is answered now."""
        return self.seconds_left > 0 and (not self.used_by or time.time() < self.used_at + USED_SECONDS)


def plain_warning(what: str) -> str:
    """The warning about a ``what`` without keys that other machines can reach."""
    return (
        f"other machines can reach this {what}, and it has no keys: any of them can read and announce anything; "
        "to let in only machines with a key, run 'keys init' on the tracker's host"
    )


class RefusedKeyError(UsageError):
    """An invite does not let a key in. ``str(error)`` tells the peer's owner why."""

    code = "refused"


class KeyFolder:
    """The folder at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members_path, self.invites_path, self._revoked_path = (
            path / name for name in ("members", "invites", "revoked")
        )
        self._told: set[str] = set()

    def make(self) -> bool:
        """Create what is missing, and replace nothing. True: the network had no key before."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private_directory(self.path)
        for directory in (self.members_path, self.invites_path, self._revoked_path):
            directory.mkdir(mode=0o700, exist_ok=True)
        if write_private_once(self.path / SECRET_NAME, f"{new_pair().secret}\n".encode()):
            return True
        self.load()
        return False

    def load(self) -> KeyPair:
        """The tracker's keys. `ConfigError` when there are none, or others may read them."""
        secret = self.path / SECRET_NAME
        try:
            check_private_directory(self.path)
            return pair_of(parse_key(read_private(secret).decode()))
        except FileNotFoundError:
            what = "make a network's keys with 'keys init', or start the tracker with '--keys none' for one without"
            raise ConfigError(f"{secret}: does not exist; {what}") from None
        except OSError as error:
            raise ConfigError(f"{secret}: {error.strerror}; it must belong to the tracker's user") from None
        except ConfigError:
            raise
        except (UsageError, UnicodeDecodeError):
            raise ConfigError(f"{secret}: is damaged; restore a backup, or delete it and make new keys") from None

    # --- what there is -----------------------------------------------------------------------------------

    def members(self) -> dict[str, Member]:
        """By key."""
        return {key: self._member(key) for key in sorted(_keys_in(self.members_path, ".key")[0])}

    def has_member(self, key: str) -> bool:
        """Whether there is one with ``key``, as its file says now."""
        try:
            return (self.members_path / f"{key}.key").is_file()
        except OSError as error:
            self.tell(f"{self.members_path} cannot be read: {error.strerror}")
            return False

    def invites(self) -> dict[str, IssuedInvite]:
        """By key; those that can be read."""
        found: dict[str, IssuedInvite] = {}
        for key in sorted(_keys_in(self.invites_path, ".invite")[0]):
            issued = self.issued(key)
            if issued is not None:
                found[key] = issued
        return found

    def issued(self, key: str) -> IssuedInvite | None:
        """The invite with the public ``key``; None when there is none that can be read."""
        path = self.invites_path / f"{key}.invite"
        try:
            terms = msgspec.json.decode(read_private(path), type=InviteTerms)
            used = path.with_suffix(".used")
            used_by, used_at = (used.read_text().strip(), used.stat().st_mtime) if used.exists() else ("", 0.0)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ConfigError) as error:
            self.tell(f"{path} lets nobody in: {error}")
            return None
        return IssuedInvite(terms, used_by, used_at)

    def tell(self, text: str) -> None:
        """Log a line once, and at most `TOLD_COUNT_MAX` different ones."""
        if text not in self._told and len(self._told) < TOLD_COUNT_MAX:
            self._told.add(text)
            _logger.warning("%s", printable(as_utf8(text)))

    def _member(self, key: str) -> Member:
        try:
            with (self.members_path / f"{key}.key").open("rb") as file:
                lines = as_utf8(os.fsdecode(file.read(LABEL_BYTES_MAX))).splitlines()
        except OSError:
            return Member("")
        name, invite, *_ = *lines, "", ""
        return Member(printable(name.strip()), invite.strip() if is_key(invite.strip()) else "")

    # --- what a person does ------------------------------------------------------------------------------

    def authorize(self, key: str, name: str = "") -> None:
        """Let the peer with ``key`` in, even if it was revoked."""
        write_private(self.members_path / f"{key}.key", _about(name, ""))
        (self._revoked_path / f"{key}.key").unlink(missing_ok=True)

    def admit(self, key: str, name: str) -> None:
        """Let in ``key``, of a peer of the network's owner. Raises `RefusedKeyError` if it was revoked, and
        `OSError`."""
        revoked, member = self._revoked_path / f"{key}.key", self.members_path / f"{key}.key"
        if not revoked.exists():
            write_private_once(member, _about(name, ""))
        if revoked.exists():  # before, or meanwhile, by a command
            member.unlink(missing_ok=True)
            raise RefusedKeyError(REVOKED)

    def invite(self, tracker: str, seconds: float, reusable: bool = False, name: str = "") -> str:
        """A new invite to the network, whose tracker peers reach at ``tracker``, as the line to hand to them. It
        expires after ``seconds``. Those that have expired are removed; `UsageError` if too many are left."""
        own, pair, terms = self.load(), new_pair(), InviteTerms(time.time() + seconds, reusable, name)
        found = self.invites()
        expired = [key for key, issued in found.items() if issued.seconds_left < 0]
        for key in expired:
            for suffix in (".invite", ".used"):
                (self.invites_path / f"{key}{suffix}").unlink(missing_ok=True)
        if (count := len(found) - len(expired)) >= INVITES_COUNT_MAX:
            raise UsageError(f"there are {count} invites, and {INVITES_COUNT_MAX} is the most; revoke some of them")
        write_private(self.invites_path / f"{pair.public}.invite", msgspec.json.encode(terms))
        return format_invite(Invite(tracker, own.public, pair.secret))

    def revoke(self, key: str) -> None:
        """Stop letting in ``key``, of a member or an invite; no invite can let it in again."""
        invite = self.invites_path / f"{key}.invite"
        if not invite.exists():
            write_private(self._revoked_path / f"{key}.key", b"")
        for path in (self.members_path / f"{key}.key", invite, invite.with_suffix(".used")):
            path.unlink(missing_ok=True)
            sync_directory(path.parent)

    def named(self, text: str) -> str:
        """The one key, of a member or an invite, that ``text`` is, begins, or names. If an invite and a member that
        joined with it have the same name, that is the member. `NotFoundError`, or `UsageError` for several."""
        members = self.members()
        names = {key: unescaped(member.name) for key, member in members.items()}
        names |= {key: unescaped(issued.terms.name) for key, issued in self.invites().items()}
        name, start = unescaped(text), text.strip().lower()
        if not start:
            raise UsageError("the name is empty; see 'keys list'")
        if start in names:  # whatever somebody calls itself
            return start
        is_start = len(start) >= START_COUNT_MIN
        found = [key for key in names if names[key] == name or (is_start and key.startswith(start))]
        came_by = {members[key].invite for key in found if key in members}
        found = [key for key in found if key not in came_by or (is_start and key.startswith(start))]
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFoundError(f"no member or invite has the name or key {printable(text)!r}; see 'keys list'")
        raise UsageError(f"{printable(text)!r} matches {len(found)} keys: {', '.join(key[:16] for key in found[:8])}")

    # --- what the registrar does -------------------------------------------------------------------------

    def enrol(self, invite: str, key: str, name: str) -> None:
        """Let the peer with ``key`` in, by the invite with the public key ``invite``; repeating this changes
        nothing. Once it returns, the key is on disk. Raises `RefusedKeyError` and `OSError`."""
        issued = self.issued(invite)
        if issued is None or not issued.answers:
            raise RefusedKeyError("this invite is no longer valid: it has expired or was revoked; ask for a new one")
        revoked = self._revoked_path / f"{key}.key"
        if revoked.exists():
            raise RefusedKeyError(REVOKED)
        member, pending = self.members_path / f"{key}.key", self.members_path / f"{key}.pending"
        if member.exists():
            return
        if not issued.terms.reusable and issued.used_by not in ("", key):
            raise RefusedKeyError(USED_BY_ANOTHER)
        if issued.used_by and not pending.exists():
            raise RefusedKeyError("this invite was used, and its peer has been removed since; ask for a new one")
        if len(_keys_in(self.members_path, ".key")[0]) >= PEERS_COUNT_MAX:
            raise RefusedKeyError(f"the network is at its limit of {PEERS_COUNT_MAX} keys")
        # Used up first, then let in: if this process ends in between, nobody else gets in with it.
        write_private(pending, _about(name, invite))
        once = not issued.terms.reusable and not issued.used_by
        if once and not write_private_once(self.invites_path / f"{invite}.used", f"{key}\n".encode()):
            pending.unlink()
            raise RefusedKeyError(USED_BY_ANOTHER)
        pending.replace(member)
        if revoked.exists():  # meanwhile, by a command
            member.unlink(missing_ok=True)
        sync_directory(self.members_path)
        if not member.exists():
            raise RefusedKeyError(REVOKED)


def _about(name: str, invite: str) -> bytes:
    """What a member's file has in it."""
    return f"{printable(as_utf8(name))[:PEER_ID_BYTES_MAX]}\n{invite}\n".encode()


def _keys_in(directory: Path, suffix: str) -> tuple[frozenset[str], list[str]]:
    """The keys that files in ``directory`` are named after, and files with that suffix that are named otherwise.
    Raises `OSError`."""
    keys: set[str] = set()
    others: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            stem, dot, end = entry.name.rpartition(".")
            if dot + end != suffix:
                continue
            if is_key(stem) and stem == stem.lower() and entry.is_file():  # `revoke` finds it by this name
                keys.add(stem)
            else:
                others.append(entry.name)
    return frozenset(keys), others


class LiveKeys:
    """Who is let in, as the folder says. `refresh` looks at it now and then; a question about a key that was not there
    is answered by its own file, so that whoever has just been let in can connect. ``clock`` gives monotonic seconds;
    ``invites``: peers with an invite may connect too. Any thread may ask."""

    def __init__(self, folder: KeyFolder, clock: Callable[[], float], invites: bool = False) -> None:
        self.folder, self._clock, self._admits_invites = folder, clock, invites
        self.members: frozenset[str] = frozenset()
        self._gone: set[str] = set()
        """Since the last `refresh`."""
        self._stamps: dict[Path, tuple[int, int, int]] = {}
        self._looked_at = -inf
        self._lock = RLock()
        self.refresh(clock())

    def next_deadline(self) -> float:
        return self._looked_at + LOOK_SECONDS

    def refresh(self, now: float) -> set[str]:
        """Look, if it is time. Returns the keys that are no longer members."""
        with self._lock:
            if now >= self.next_deadline():
                self._look_at_all(now)
            gone, self._gone = self._gone, set()
            return gone.difference(self.members)

    def look(self) -> None:
        """Look now: a key has just been let in."""
        with self._lock:
            self._look_at_all(self._clock())

    def may_connect(self, role: Role, key: str) -> bool:
        """For `transport.curve.Keys`. An invite is only for requests to the registrar."""
        return self.is_member(key) or (self._admits_invites and role is Role.TRACKER_ROUTER and self.is_invite(key))

    def is_member(self, key: str) -> bool:
        with self._lock:
            if key not in self.members and self.folder.has_member(key):
                self.members |= {key}  # `refresh` tells when it is one no longer
            return key in self.members

    def is_invite(self, key: str) -> bool:
        """Whether ``key`` is that of an invite that can be used, or was a moment ago."""
        issued = self.folder.issued(key)
        if issued is None:
            return False
        if not issued.answers:
            why = f"was used by {issued.used_by[:16]}" if issued.used_by else "has expired"
            self.folder.tell(f"a peer was not let in: invite {key[:16]} {why}")
        return issued.answers

    def _look_at_all(self, now: float) -> None:
        self._looked_at = now
        found = self._look(self.folder.members_path, ".key")
        if found is not None:
            self._gone |= self.members - found
            self.members = found
        self._look(self.folder.invites_path, ".invite")  # for what it tells: `is_invite` asks each file

    def _look(self, path: Path, suffix: str) -> frozenset[str] | None:
        """The keys that files in the directory ``path`` are named after; None when it did not change."""
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
            if self._stamps.pop(path, None) == stamp:
                self._stamps[path] = stamp
                return None
            keys, others = _keys_in(path, suffix)
        except OSError as error:
            self.folder.tell(f"{path} cannot be read: {error.strerror}")
            return frozenset() if error.errno in _UNREADABLE else None
        for name in others:
            self.folder.tell(
                f"{path / name} lets nobody in: expected a file named after a key, 64 hexadecimal digits in lower case"
            )
        if time.time_ns() - max(stamp[1:]) > _FRESH_NS:
            self._stamps[path] = stamp
        return keys


def live_keys(folder: str, clock: Callable[[], float], invites: bool = False) -> tuple[LiveKeys | None, Keys | None]:
    """Of the key folder at ``folder``; nothing where that is empty. Raises `ConfigError`."""
    if not folder:
        return None, None
    place = KeyFolder(Path(folder))
    live = LiveKeys(place, clock, invites)
    return live, Keys(place.load(), live.may_connect)
