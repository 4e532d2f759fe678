"""Commands that ask the running peer something or tell it something: list, peers, status, remove, leave, join, stop."""

from __future__ import annotations

import contextlib
import sys

import click

from node.cli import output
from node.cli.follow import Patience
from node.cli.options import ExampleCommand, State, json_option, peer_options
from node.cli.progress import is_terminal
from node.cli.session import REQUEST_SECONDS, Session, running_peer
from node.cli.view import printable
from node.local_messages import (
    ApiDone,
    ApiJoin,
    ApiLeave,
    ApiList,
    ApiListReply,
    ApiPeers,
    ApiPeersReply,
    ApiRemove,
    ApiRequest,
    ApiStop,
    StatusReport,
)
from protocol.errors import NetworkError

LIVE_SECONDS = 0.5
PLAIN_SECONDS = 5.0
STOP_POLL_SECONDS = 0.05
STOP_SECONDS = 20.0
"""The running peer leaves the network, and gives its children time to end."""
SETTLING = "the tracker started a moment ago: peers are still joining, the list may be incomplete"


@click.command("list", cls=ExampleCommand, examples="list\nlist '*.iso'\nlist ubuntu --json")
@click.argument("pattern", default="")
@peer_options
@json_option
@click.pass_obj
def list_command(state: State, pattern: str) -> None:
    """Show what the network has.

    PATTERN is a part of the name, or with * and ? a whole name; a digest finds that content.
    """
    with running_peer(state.options, state.services) as session:
        reply = session.request(ApiList(session.next_id(), pattern), ApiListReply)
    if state.options.json:
        output.print_json({"settling": reply.settling, "entries": reply.entries})
        return
    if reply.entries:
        output.print_table(*output.torrent_rows(reply.entries))
    elif not state.options.quiet:
        output.warn(f"nothing on the network matches {pattern!r}" if pattern else "nobody shares anything yet")
    _warn_settling(state, reply.settling)


@click.command(cls=ExampleCommand, examples="peers\npeers --json")
@peer_options
@json_option
@click.pass_obj
def peers(state: State) -> None:
    """Show who is in the network."""
    with running_peer(state.options, state.services) as session:
        reply = session.request(ApiPeers(session.next_id()), ApiPeersReply)
    if state.options.json:
        output.print_json({"settling": reply.settling, "peers": reply.peers})
        return
    output.print_table(*output.peer_rows(reply.peers))
    _warn_settling(state, reply.settling)


def _warn_settling(state: State, settling: bool) -> None:
    if settling and not state.options.quiet:
        output.warn(SETTLING)


@click.command(cls=ExampleCommand, examples="status\nstatus --watch\nstatus --json")
@click.option("--watch", is_flag=True, help="Go on showing it until Ctrl-C.")
@peer_options
@json_option
@click.pass_obj
def status(state: State, watch: bool) -> None:
    """Show what the running peer is doing.

    Its place in the network, downloads, and what it shares, with links.
    """
    with running_peer(state.options, state.services) as session:
        if not watch:
            _print_report(state, session.whole_status())
            return
        with contextlib.suppress(KeyboardInterrupt):
            _watch(state, session)


def _print_report(state: State, report: StatusReport) -> None:
    if state.options.json:
        output.print_json(output.status_fields(report))
    else:
        output.print_status(report)


def _watch(state: State, session: Session) -> None:
    patience = Patience(session)
    if state.options.json or not is_terminal(sys.stdout):
        while True:
            report = patience.whole_status()
            if report is not None:
                _print_report(state, report)
            session.pause(PLAIN_SECONDS if not state.options.json else 1.0)
    from node.cli.live import status_screen

    with status_screen() as draw:
        while True:
            report = patience.status()
            if report is not None:
                draw(report)
            session.pause(LIVE_SECONDS)


@click.command(cls=ExampleCommand, examples="remove model.bin\nremove blake3:4f1c...")
@click.argument("target", metavar="NAME")
@peer_options
@click.pass_obj
def remove(state: State, target: str) -> None:
    """Stop sharing NAME (or a digest), or cancel its download.

    Shared files stay where they are; what a cancelled download had fetched is deleted.
    """
    with running_peer(state.options, state.services) as session:
        _tell(state, session, ApiRemove(session.next_id(), target), f"removed {target}; shared files stay on disk")


@click.command(cls=ExampleCommand, examples="leave")
@peer_options
@click.pass_obj
def leave(state: State) -> None:
    """Leave the network; the peer stays up.

    Nothing is announced or served any more, and the tracker has acknowledged it.
    """
    with running_peer(state.options, state.services) as session:
        _tell(state, session, ApiLeave(session.next_id()), "left the network; 'join' goes back in")


@click.command(cls=ExampleCommand, examples="join")
@peer_options
@click.pass_obj
def join(state: State) -> None:
    """Go back into the network after 'leave'."""
    with running_peer(state.options, state.services) as session:
        _tell(state, session, ApiJoin(session.next_id()), "joining the network")


@click.command(cls=ExampleCommand, examples="stop\nstop --data-dir /srv/zswarm")
@peer_options
@click.pass_obj
def stop(state: State) -> None:
    """Stop the running peer in order.

    Returns when it has ended. Downloads continue when it runs again.
    """
    with running_peer(state.options, state.services) as session:
        _tell(state, session, ApiStop(session.next_id()), "stopping", STOP_SECONDS)
    services, data_dir = state.services, state.options.settings().data_path
    deadline = services.clock() + STOP_SECONDS
    while not services.is_free(data_dir):
        if services.clock() >= deadline:
            raise NetworkError(f"the peer on {data_dir} is still ending after {STOP_SECONDS:.0f} s; its log says why")
        services.wait(STOP_POLL_SECONDS)
    if not state.options.quiet:
        output.warn("the peer has stopped")


def _tell(state: State, session: Session, message: ApiRequest, done: str, timeout: float = REQUEST_SECONDS) -> None:
    reply = session.request(message, ApiDone, timeout)
    if not state.options.quiet:
        output.warn(printable(reply.detail) or done)
