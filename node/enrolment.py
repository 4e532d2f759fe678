"""How a peer learns its tracker's key: by an invite, once, or from its configuration.

The key is kept in the data directory: from then on its peer never speaks to a tracker without it. This waits for the
tracker, so it runs before the peer's processes start.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import zmq
from msgspec import Struct

from node.config import PeerSettings
from node.disk.errors import disk_error
from node.identity import check_identity_private, load_identity
from protocol.codec import Decoder, encode
from protocol.endpoints import is_wildcard, parse_endpoint
from protocol.errors import DiskError, NetworkError, ProtocolError, UsageError
from protocol.keys import Invite, parse_invite
from protocol.limits import REPLY_BYTES_MAX
from protocol.messages import Endpoint, Enrol, Enrolled, Error, KeyText, RegistrarReply
from service.private_files import read_private, write_private
from service.text import printable
from transport.addresses import has_keys, look_up, why_unreached
from transport.curve import dial_as, pair_of
from transport.monitor import ConnectionEvent, ConnectionMonitor
from transport.sockets import Role, connect, open_context, open_socket, send_or_drop

_logger = logging.getLogger(__name__)

NETWORK_NAME = "network.json"
ENROL_SECONDS = 10.0
"""How long the tracker may take to come up and answer."""
PAUSE_SECONDS = 0.3
_REPLIES: Decoder[RegistrarReply] = Decoder(RegistrarReply, REPLY_BYTES_MAX)


class Network(Struct, frozen=True):
    """The ``tracker`` and its ``key``; ``invite`` is the public key of the invite that was used."""

    tracker: Endpoint
    key: KeyText
    invite: str = ""


def network_of(settings: PeerSettings, data_dir: Path) -> tuple[list[str], str]:
    """The endpoints of the trackers, none if one is to be looked for, and their key, empty in a network without keys.
    An invite that was not used yet is used, at each tracker that answers. `UsageError` when it is not valid,
    `NetworkError` when no tracker answers, `ConfigError` when others may read this peer's key."""
    known = load_network(data_dir)
    if settings.invite:
        invite = parse_invite(settings.invite)
        trackers, used = settings.trackers or [invite.tracker], pair_of(invite.secret).public
        if known is None or (known.key, known.invite) != (invite.key, used):
            check_identity_private(data_dir)
            try:
                tracker = _enrol_at_all(trackers, invite, load_identity(data_dir).keys.public, settings.peer_name)
            except (UsageError, NetworkError) as error:
                if known is None or known.key != invite.key:
                    raise
                _logger.warning("%s; continuing, because this network has let this peer in before", error)
            else:
                known = Network(tracker, invite.key, used)
                _keep(data_dir, known)
                _logger.info("the network of %s has let this peer in; the invite is no longer needed", tracker)
    elif settings.tracker_key:
        if not settings.trackers:
            raise UsageError("there is a tracker_key, but no tracker; name it in the configuration or with --tracker")
        key = settings.tracker_key.lower()
        if known is None or known.key != key:
            known = Network(settings.trackers[0], key)
            _keep(data_dir, known)
    if known is None:
        return settings.trackers, ""
    check_identity_private(data_dir)
    return settings.trackers or [known.tracker], known.key


def check_network(settings: PeerSettings, data_dir: Path) -> None:
    """`UsageError` when ``settings`` name a network with keys to which the peer that runs on ``data_dir`` does not
    belong."""
    key = parse_invite(settings.invite).key if settings.invite else settings.tracker_key.lower()
    if not key:
        return
    known = load_network(data_dir)
    if known is None or known.key != key:
        what = f"the peer that runs on {data_dir} does not belong to the network of the invite or tracker_key"
        raise UsageError(f"{what}; stop it ('stop'), and run this again")


def load_network(data_dir: Path) -> Network | None:
    """The network that has let the peer of ``data_dir`` in, if any. `DiskError` when that cannot be read."""
    path = data_dir / NETWORK_NAME
    try:
        known = msgspec.json.decode(read_private(path), type=Network)
        if is_wildcard(parse_endpoint(known.tracker).host):
            raise ProtocolError(f"{known.tracker} names no host to dial")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, "read", path) from error
    except (msgspec.MsgspecError, RecursionError, ProtocolError) as error:
        raise DiskError(f"{path} is damaged ({error}); delete it, and join again with an invite") from None
    return known


def _keep(data_dir: Path, network: Network) -> None:
    path = data_dir / NETWORK_NAME
    try:
        write_private(path, msgspec.json.encode(network))
    except OSError as error:
        raise disk_error(error, "write", path) from error


def _enrol_at_all(trackers: Sequence[str], invite: Invite, key: str, name: str) -> str:
    """Have each of ``trackers`` let ``key`` in; those that do not answer get it with a copy of the key folder. Returns
    the first that did. Raises what `_enrol` raises if none does."""
    problems: list[UsageError | NetworkError] = []
    done: list[str] = []
    for tracker in trackers:
        try:
            _enrol(tracker, invite, key, name)
        except (UsageError, NetworkError) as error:
            problems.append(error)
        else:
            done.append(tracker)
    if not done:
        raise problems[0]
    for problem in problems:
        _logger.warning("%s; %s has let this peer in", problem, done[0])
    return done[0]


def _enrol(tracker: str, invite: Invite, key: str, name: str) -> None:
    """Have the network let ``key`` in. A request may be repeated, so a tracker that does not answer is asked again."""
    deadline = time.monotonic() + ENROL_SECONDS
    while True:
        problem = _ask(tracker, invite, Enrol(1, key, name), deadline)
        if not problem:
            return
        if time.monotonic() + PAUSE_SECONDS >= deadline:
            raise NetworkError(f"cannot use the invite: tracker {tracker}: {problem}")
        time.sleep(PAUSE_SECONDS)


def _ask(tracker: str, invite: Invite, question: Enrol, deadline: float) -> str:
    """Why there is no answer, if there is none. `UsageError` for one that says no."""
    address = parse_endpoint(tracker)
    hosts = look_up(address.host)
    problem = ""
    for host in hosts:
        with contextlib.ExitStack() as resources:
            context = open_context()
            resources.callback(context.term)
            dealer = open_socket(context, Role.CONTROL_DEALER)
            resources.callback(dealer.close, 0)
            monitor = ConnectionMonitor(dealer)
            resources.callback(monitor.close)
            dial_as(dealer, pair_of(invite.secret), invite.key)
            connect(dealer, str(address._replace(host=host)))
            event = _await(dealer, monitor, encode(question), deadline)
            if isinstance(event, bytes):
                _take(event)
                return ""
        problem = _why(event, host, address.port)
    return problem


def _await(dealer: zmq.Socket[bytes], monitor: ConnectionMonitor, question: bytes, deadline: float) -> bytes | str:
    """The answer to ``question``, or what became of the connection."""
    poller = zmq.Poller()
    poller.register(monitor.socket, zmq.POLLIN)
    poller.register(dealer, zmq.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        for ready, _ in poller.poll(int(left * 1_000) + 1):
            if ready is dealer:
                answer: bytes = dealer.recv()
                return answer
            for event in monitor.events():
                if event is not ConnectionEvent.CONNECTED:
                    return event
                send_or_drop(dealer, [question])
    return ConnectionEvent.SILENT


def _take(answer: bytes) -> None:
    try:
        reply = _REPLIES.decode(answer)
    except ProtocolError as error:
        raise NetworkError(f"the tracker's answer to the invite cannot be understood: {error}") from None
    if not isinstance(reply, Enrolled):
        why = reply.detail if isinstance(reply, Error) else type(reply).__name__
        raise UsageError(f"the tracker does not let this peer in: {printable(why)}")


def _why(event: str, host: str, port: int) -> str:
    """Why nobody answers at ``host``, in words. `UsageError` if trying again cannot help."""
    if event is ConnectionEvent.DENIED:
        raise UsageError("this invite is not valid: it was used, has expired, or was revoked; ask for another")
    if event is ConnectionEvent.UNREACHED:
        return why_unreached(host, port, ENROL_SECONDS)
    if event in (ConnectionEvent.OTHER_SECURITY, ConnectionEvent.HUNG_UP):
        keyed = has_keys(host, port, ENROL_SECONDS)
        if keyed is False:
            return "it has no keys; restart it after 'keys init'"
        if keyed:
            return "its key is not the one in the invite; ask for a new invite"
    return str(event)
