"""``keys``: who is let into a network with keys. All but ``keys show`` run on its tracker's host. None of them talks to
the tracker, which notices a change within a second."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

import click

from node.cli import output
from node.cli.options import State, json_option, peer_options, quiet_option
from protocol.errors import UsageError
from service.command_line import ExampleCommand, complete_directory, parsed_by, program_of
from service.text import printable
from service.units import format_seconds, parse_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.key_folder import IssuedInvite, KeyFolder

EXPIRES = "7d"
REGISTRAR_PORT = 5550

_folder_option = click.option(
    "--keys",
    "folder",
    default="",
    metavar="DIR",
    help="The network's key folder; else $ZSWARM_KEYS, ~/.config/zswarm/keys or /etc/zswarm/keys.",
    shell_complete=complete_directory,
)
_name_option = click.option("--name", default="", metavar="NAME", help="The name that 'keys list' shows.")


def _invite_options(command: Callable[..., None]) -> Callable[..., None]:
    reusable = click.option("--reusable", is_flag=True, help="Valid for any number of peers; otherwise for one.")
    expires = click.option(
        "--expires",
        default=EXPIRES,
        show_default=True,
        callback=parsed_by(parse_seconds),
        metavar="TIME",
        help="How long it is valid.",
    )
    tracker = click.option(
        "--tracker", default="", metavar="ENDPOINT", help="Where peers reach the tracker.  [this machine, port 5550]"
    )
    return tracker(reusable(expires(_name_option(_folder_option(quiet_option(json_option(command)))))))


@click.group(subcommand_metavar="COMMAND ...")
def keys() -> None:
    """Let peers into a network with keys, and shut them out.

    On the tracker's host 'keys init' creates the network's keys and prints an invite: one line, with which a peer joins
    (--invite). Then restart the tracker once; later changes take effect within a second.
    """


@keys.command(
    cls=ExampleCommand, examples="keys init\nkeys init --reusable --expires 30d --tracker tcp://10.0.0.1:5550"
)
@_invite_options
@click.pass_obj
@click.pass_context
def init(
    ctx: click.Context, state: State, folder: str, name: str, expires: float, reusable: bool, tracker: str
) -> None:
    """Create the keys of a network, on its tracker's host, and print an invite.

    Existing keys are kept.
    """
    place = _folder(folder)
    with _at(place, "write"):
        fresh = place.make()
    if not state.options.quiet:
        program = "zswarm-tracker" if program_of(ctx) == "zswarm" else "python -m broker"
        start = f"{program} --keys {shlex.quote(str(place.path))}"
        if fresh:
            output.warn(f"created the network's keys in {place.path}; (re)start its tracker: {start}")
        else:
            output.warn(f"{place.path} already has a network's keys; they are kept")
    _invite(ctx, state, place, name, expires, reusable, tracker)


@keys.command(cls=ExampleCommand, examples="keys invite\nkeys invite --reusable --name lab --expires 1h")
@_invite_options
@click.pass_obj
@click.pass_context
def invite(
    ctx: click.Context, state: State, folder: str, name: str, expires: float, reusable: bool, tracker: str
) -> None:
    """Print an invite: a line that lets one peer in, or with --reusable many, until it expires or is revoked."""
    _invite(ctx, state, _folder(folder), name, expires, reusable, tracker)


def _invite(
    ctx: click.Context, state: State, folder: KeyFolder, name: str, expires: float, reusable: bool, tracker: str
) -> None:
    if not expires:
        raise UsageError("--expires: expected a time longer than 0 s")
    endpoint = _reached(tracker)
    with _at(folder, "write"):
        line = folder.invite(endpoint, expires, reusable, name)
    if state.options.json:
        output.print_json({"invite": line, "keys": str(folder.path), "reusable": reusable, "expires_seconds": expires})
        return
    print(line, flush=True)
    if not state.options.quiet:
        whom = "any number of peers" if reusable else "one peer"
        output.warn(
            f"it lets {whom} in, within {format_seconds(expires)}: {program_of(ctx)} --invite LINE; keep it secret"
        )


def _reached(tracker: str) -> str:
    """The endpoint for an invite; `UsageError` when ``tracker`` is not one."""
    from node.rendezvous import outward_host
    from protocol.endpoints import Address, is_wildcard, parse_endpoint
    from protocol.errors import ProtocolError

    if not tracker:
        return str(Address(outward_host() or "127.0.0.1", REGISTRAR_PORT))
    try:
        address = parse_endpoint(tracker)
    except ProtocolError as error:
        raise UsageError(f"--tracker: {error}") from None
    if is_wildcard(address.host):
        raise UsageError(f"--tracker: {tracker!r} names no host to dial")
    return str(address)


@keys.command("list", cls=ExampleCommand, examples="keys list\nkeys list --json")
@_folder_option
@quiet_option
@json_option
@click.pass_obj
def list_keys(state: State, folder: str) -> None:
    """Show the tracker's public key, who is let in, and which invites there are."""
    place = _folder(folder)
    own = place.load().public
    with _at(place, "read"):
        members, invites = place.members(), place.invites()
    if state.options.json:
        invited = [
            {"key": key, "name": printable(one.terms.name), "state": _invite_state(one), "used_by": one.used_by}
            for key, one in invites.items()
        ]
        joined = [{"key": key, "name": one.name, "invite": one.invite} for key, one in members.items()]
        output.print_json({"tracker_key": own, "members": joined, "invites": invited})
        return
    rows = [[one.name or "-", "member", key] for key, one in members.items()]
    rows += [[one.terms.name or "-", _invite_state(one), key] for key, one in invites.items()]
    output.print_table(["NAME", "=STATE", "=KEY"], [["(tracker)", "-", own], *rows])


def _invite_state(issued: IssuedInvite) -> str:
    if issued.used_by:
        return "invite, used"
    if issued.seconds_left <= 0:
        return "invite, expired"
    return f"invite, {'reusable' if issued.terms.reusable else 'for one'}, {format_seconds(issued.seconds_left)} left"


@keys.command(cls=ExampleCommand, examples="keys authorize 4f1c... --name lab-7")
@click.argument("key")
@_name_option
@_folder_option
@quiet_option
@json_option
@click.pass_obj
def authorize(state: State, key: str, name: str, folder: str) -> None:
    """Let in the peer whose public key is KEY; 'keys show' prints it there."""
    from protocol.keys import parse_key

    place = _folder(folder)
    place.load()
    public = parse_key(key)
    with _at(place, "write"):
        place.authorize(public, name)
    _done(state, f"key {public[:16]} is let in", public)


@keys.command(cls=ExampleCommand, examples="keys revoke lab-7\nkeys revoke 4f1c20e7")
@click.argument("target", metavar="NAME")
@_folder_option
@quiet_option
@json_option
@click.pass_obj
def revoke(state: State, target: str, folder: str) -> None:
    """Shut a peer out of the network, or end an invite.

    NAME can also be its key, or the key's first 8 digits. Within seconds the tracker forgets the peer, and everybody
    closes its connections.
    """

    place: KeyFolder = _folder(folder)
    place.load()
    with _at(place, "read"):
        key = place.named(target)
        member = place.members().get(key)
    with _at(place, "write"):
        place.revoke(key)
    _done(state, f"{'member' if member is not None else 'invite'} {key[:16]} is revoked", key)
    came_by = place.issued(member.invite) if member is not None and member.invite else None
    if member is not None and came_by is not None and came_by.terms.reusable and not state.options.quiet:
        again = "it joined with a reusable invite, which still lets it in with another key; to end that too"
        output.warn(f"{again}: keys revoke {member.invite[:16]}")


@keys.command(cls=ExampleCommand, examples="keys show\nkeys show --data-dir /srv/zswarm")
@peer_options
@json_option
@click.pass_obj
def show(state: State) -> None:
    """Print the public key of this peer, for 'keys authorize' on the tracker's host."""
    from node.identity import load_identity

    identity = load_identity(state.options.settings().data_path)
    if state.options.json:
        output.print_json({"key": identity.keys.public, "peer": identity.peer})
    else:
        print(identity.keys.public, flush=True)


def _folder(given: str) -> KeyFolder:
    from service.config import keys_place
    from service.key_folder import KeyFolder

    return KeyFolder(keys_place(given))


@contextlib.contextmanager
def _at(folder: KeyFolder, doing: str) -> Iterator[None]:
    """`DiskError` when the files of ``folder`` do not allow ``doing`` something, which names the one and what to do."""
    from node.disk.errors import disk_error

    try:
        yield
    except OSError as error:
        raise disk_error(error, doing, error.filename or folder.path) from error


def _done(state: State, text: str, key: str) -> None:
    if state.options.json:
        output.print_json({"ok": True, "key": key, "detail": text})
    elif not state.options.quiet:
        output.warn(text)
