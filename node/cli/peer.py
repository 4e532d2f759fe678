"""Commands that query or control the running peer.

They are list, peers, status, remove, limit, leave, join and stop.
"""

from __future__ import annotations

import contextlib
import sys

import click

from node.api_messages import (
    ApiDone,
    ApiJoin,
    ApiLeave,
    ApiLimit,
    ApiLimits,
    ApiList,
    ApiListReply,
    ApiPeers,
    ApiPeersReply,
    ApiRemove,
    ApiStandings,
    ApiStandingsReply,
    ApiStop,
    StatusReport,
)
from node.cli import output
from node.cli.options import State, json_option, peer_options
from node.cli.progress import is_terminal
from node.cli.standings import find_content, standing_fields, standing_rows, summary
from node.client.orders import Patience
from node.client.session import Session, expected, maybe_peer, running_peer
from node.client.source_words import aged
from node.client.targets import check_pattern
from node.client.view import trouble
from node.config import no_peer
from node.schedule import limits_text
from node.trust import Verifier
from protocol.digest import advice_on, is_digest
from protocol.errors import NetworkError, UsageError
from service.command_line import ExampleCommand, complete_path, parsed_by, program_of
from service.paths import absolute_path
from service.text import check_utf8, printable, unescaped
from service.units import parse_rate

LIVE_SECONDS = 0.5
PLAIN_SECONDS = 5.0
JOIN_SECONDS = 10.0
POLL_SECONDS = 0.05
STOP_SECONDS = 20.0
"""The running peer leaves the network, and gives its children time to exit."""
FLOODED = "the list is full of false signatures: who has signed the rest is not shown"
UNTIL_STOP = "these limits apply until the peer stops or its schedule changes them, then those of its configuration"
SETTLING = "the tracker started a moment ago: peers are still joining, the list may be incomplete"


@click.command("list", cls=ExampleCommand, examples="list\nlist '*.iso'\nlist ubuntu --json\nlist model.bin --peers")
@click.argument("pattern", default="", callback=parsed_by(unescaped))
@click.option("--peers", is_flag=True, help="Show the state of the one content that PATTERN names at each peer.")
@peer_options
@json_option
@click.pass_obj
def list_command(state: State, pattern: str, peers: bool) -> None:
    """Show what the network has.

    PATTERN is part of a name, or with * or ? a pattern for whole names; a digest, or the part of it that is shown here,
    finds that content. Of several contents with one name the newest comes first. AGE is the time since announcement.
    SIGNED BY are keys, shortened, whose signatures of that name and content were verified here.
    With --peers, PATTERN is a whole name, a digest, or the beginning of one, and each peer is shown: it has the
    content, fetches it, failed or waits and why, or does not have it.
    """
    check_pattern(pattern)
    if peers:
        _list_peers(state, pattern)
        return
    with running_peer(state.options, state.services) as session:
        reply = session.request(ApiList(session.next_id(), pattern), ApiListReply)
    signers, flooded = Verifier().signers(reply.entries)
    entries = output.newest_first(reply.entries)
    if flooded and not state.options.quiet:
        output.warn(FLOODED)
    if state.options.json:
        fields = [output.torrent_fields(entry, signers) for entry in entries]
        output.print_json({**_partly(reply), "entries": fields})
        return
    if entries:
        output.print_table(*output.torrent_rows(entries, signers, reply.now))
    elif not state.options.quiet:
        output.warn(
            f"nothing on the network matches {pattern!r}{advice_on(pattern)}"
            if pattern
            else "nobody shares anything yet"
        )
    _warn_partly(state, reply)


def _list_peers(state: State, name: str) -> None:
    if not name:
        raise UsageError("--peers needs the name or the digest of a content")
    with running_peer(state.options, state.services) as session:
        keys = state.options.settings().signed_by
        digest = name if is_digest(name) else find_content(session, name, state.services.tell, keys).digest
        reply = session.request(ApiStandings(session.next_id(), digest), ApiStandingsReply)
    entries = output.by_name(reply.peers)
    if state.options.json:
        rows = [standing_fields(entry) for entry in entries]
        output.print_json({**_partly(reply), "digest": digest, "peers": rows})
        return
    output.print_table(*standing_rows(entries))
    if not state.options.quiet:
        output.warn(summary(entries))
    _warn_partly(state, reply)


@click.command(cls=ExampleCommand, examples="peers\npeers --json")
@peer_options
@json_option
@click.pass_obj
def peers(state: State) -> None:
    """Show who is in the network; with several trackers, whom only some of them see."""
    with running_peer(state.options, state.services) as session:
        reply = session.request(ApiPeers(session.next_id()), ApiPeersReply)
    if state.options.json:
        seen_by = {"seen_by": reply.seen_by} if reply.seen_by else {}
        output.print_json({**_partly(reply), "peers": output.by_name(reply.peers), **seen_by})
        return
    output.print_table(*output.peer_rows(reply.peers, reply.seen_by))
    _warn_partly(state, reply)


def _partly(reply: ApiListReply | ApiStandingsReply | ApiPeersReply) -> dict[str, object]:
    """Why an answer may be incomplete, as JSON."""
    silent = {"silent": reply.silent} if reply.silent else {}
    return {"settling": reply.settling, **silent}


def _warn_partly(state: State, reply: ApiListReply | ApiStandingsReply | ApiPeersReply) -> None:
    """The same for people."""
    if state.options.quiet:
        return
    if reply.settling:
        output.warn(SETTLING)
    if reply.silent:
        output.warn(printable(reply.silent))


@click.command(cls=ExampleCommand, examples="status\nstatus --watch\nstatus --json")
@click.option("--watch", is_flag=True, help="Keep showing it until Ctrl-C.")
@peer_options
@json_option
@click.pass_obj
def status(state: State, watch: bool) -> None:
    """Show what the running peer is doing.

    Network, downloads and shared items, with links. Without a running peer: what one would resume and share, and exit
    code 4.
    """
    with maybe_peer(state.options, state.services) as session:
        if session is None:
            _tell_stored(state)
        elif not watch:
            _print_report(state, session.whole_status())
        else:
            with contextlib.suppress(KeyboardInterrupt):
                _watch(state, session)


def _tell_stored(state: State) -> None:
    data_dir = state.options.settings().data_path
    stored = state.services.stored(data_dir)
    context = click.get_current_context()
    error = no_peer(data_dir, program_of(context))
    if state.options.json:
        output.print_json(output.error_fields(error) | {"jobs": stored.jobs, "shared": stored.shared})
    else:
        output.print_stored(stored.jobs, stored.shared)
    output.error(str(error))
    context.exit(error.exit_code)


def _print_report(state: State, report: StatusReport) -> None:
    if state.options.json:
        output.print_json(output.status_fields(report))
    else:
        output.print_status(report)
    sys.stdout.flush()


def _watch(state: State, session: Session) -> None:
    patience = Patience(session)
    if state.options.json or not is_terminal(sys.stdout):
        while True:
            report = patience.whole_status()
            if report is not None:
                _print_report(state, report)
            session.pause(PLAIN_SECONDS if not state.options.json else 1.0)
    from node.cli.live import status_screen

    last: StatusReport | None = None
    with status_screen() as draw:
        while True:
            report = patience.status()
            if report is not None:
                last = report
                draw(report)
            elif last is not None:
                draw(aged(last, patience.silent_seconds))
            session.pause(LIVE_SECONDS)


@click.command(cls=ExampleCommand, examples="remove model.bin\nremove /data/set1\nremove blake3:4f1c...")
@click.argument("target", metavar="NAME", shell_complete=complete_path)
@peer_options
@json_option
@click.pass_obj
def remove(state: State, target: str) -> None:
    """Stop sharing NAME, or cancel its hashing or its download.

    NAME may also be a digest, its beginning, or a path. Shared files stay where they are; what a cancelled download had
    fetched is deleted. Works without a running peer too.
    """
    done = f"removed {target}; shared files stay on disk"
    path, name = str(absolute_path(target)), unescaped(target)
    check_utf8(path)
    with maybe_peer(state.options, state.services) as session:
        if session is not None:
            reply = session.request(ApiRemove(session.next_id(), name, path), ApiDone)
        else:
            data_dir = state.options.settings().data_path
            reply = expected(state.services.remove_stored(data_dir, name, path), ApiDone)
    _tell(state, reply.detail or done)


@click.command(cls=ExampleCommand, examples="limit\nlimit --up 10MiB/s --down 0\nlimit --up 40mbit")
@click.option("--up", callback=parsed_by(parse_rate), metavar="RATE", help="Limit of all uploads; 0: unlimited.")
@click.option("--down", callback=parsed_by(parse_rate), metavar="RATE", help="Limit of all downloads; 0: unlimited.")
@peer_options
@json_option
@click.pass_obj
def limit(state: State, up: float | None, down: float | None) -> None:
    """Show or change the rate limits of the running peer.

    A change applies at once, without a restart, until the peer stops, or until the schedule in its configuration next
    changes the limits: then the configuration applies again. A limit that is not given stays as it is. Pieces already
    in flight still arrive.
    """
    with running_peer(state.options, state.services) as session:
        reply = session.request(ApiLimit(session.next_id(), up, down), ApiLimits)
    limits = reply.limits
    if state.options.json:
        rates = {"upload_rate": limits.upload_rate, "download_rate": limits.download_rate}
        output.print_json(rates | {"why": reply.why})
        return
    print(limits_text(limits, printable(reply.why)), flush=True)
    if (up, down) != (None, None) and not state.options.quiet:
        output.warn(UNTIL_STOP)


@click.command(cls=ExampleCommand, examples="leave")
@peer_options
@json_option
@click.pass_obj
def leave(state: State) -> None:
    """Leave the network; the peer keeps running.

    Returns when the tracker has acknowledged it. Nothing is announced or served any more.
    """
    with running_peer(state.options, state.services) as session:
        reply = session.request(ApiLeave(session.next_id()), ApiDone)
    _tell(state, reply.detail or "left the network; 'join' rejoins it")


@click.command(cls=ExampleCommand, examples="join")
@peer_options
@json_option
@click.pass_obj
def join(state: State) -> None:
    """Rejoin the network after 'leave'.

    Returns when the peer is a member again.
    """
    with running_peer(state.options, state.services) as session:
        session.request(ApiJoin(session.next_id()), ApiDone)
        report = _await_member(session)
    _tell(state, f"joined the network of {report.tracker}")


def _await_member(session: Session) -> StatusReport:
    """The status of the peer once it is a member. `NetworkError` with what it waits for when it is refused, or that
    takes long."""
    deadline = session.now() + JOIN_SECONDS
    while True:
        report = session.status()
        if report.network == "joined":
            return report
        if report.network in ("refused", "left") or session.now() >= deadline:
            why = trouble(report) or f"the tracker {printable(report.tracker)} has not admitted it yet; still trying"
            raise NetworkError(f"the peer has not joined: {why}")
        session.pause(POLL_SECONDS)


@click.command(cls=ExampleCommand, examples="stop\nstop --data-dir /srv/zswarm")
@peer_options
@json_option
@click.pass_obj
def stop(state: State) -> None:
    """Shut down the running peer cleanly.

    Returns when it has ended. Downloads continue when it runs again.
    """
    with running_peer(state.options, state.services) as session:
        session.request(ApiStop(session.next_id()), ApiDone, STOP_SECONDS)
    services, data_dir = state.services, state.options.settings().data_path
    deadline = services.clock() + STOP_SECONDS
    while not services.is_free(data_dir):
        if services.clock() >= deadline:
            raise NetworkError(
                f"the peer on {data_dir} is still shutting down after {STOP_SECONDS:.0f} s; its log says why"
            )
        services.wait(POLL_SECONDS)
    _tell(state, "the peer has stopped")


def _tell(state: State, done: str) -> None:
    """What a command has done that has no other result."""
    if state.options.json:
        output.print_json({"ok": True, "detail": done})
    elif not state.options.quiet:
        output.warn(done)
