"""``rollout``: has every peer that accepts orders fetch something, shows all of them, and ends with a verdict."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import click

from node.agent.meant import SETTLED_SECONDS
from node.api_messages import (
    ApiCancelRollout,
    ApiDone,
    ApiOrders,
    ApiOrdersReply,
    ApiRollout,
    ApiRolloutReply,
    ApiStandings,
    ApiStandingsReply,
)
from node.cli import output
from node.cli.live import table_screen
from node.cli.options import State, chosen_options, json_option, peer_options
from node.cli.progress import follow, is_terminal, open_display
from node.cli.rollout_watch import HEADERS, Expected, Peer, Watch, expectation
from node.cli.standings import find_content
from node.client.orders import LOST_SECONDS, JobTracker, share_order
from node.client.session import Session, refused, running_peer
from node.client.targets import LINK_SCHEME, existing_path
from protocol.digest import advice_on, begins_digest, short
from protocol.errors import DiskError, NetworkError, NotFoundError, RefusedError, UsageError, VerificationError
from protocol.limits import ORDER_PATTERN_BYTES_MAX
from protocol.link import Link, format_link, parse_link
from protocol.messages import Order, OrderEntry
from protocol.orders import check_directory, is_for
from service.command_line import EXIT_INTERRUPTED, ExampleCommand, complete_path, parsed_by, program_of
from service.output_file import check_whole, write_whole
from service.paths import absolute_path, expanded
from service.text import check_utf8, printable, unescaped
from service.units import format_seconds, parse_seconds

LOOK_SECONDS = 0.5
ORDERS_SECONDS = 2.0
"""How often it checks whether somebody has cancelled the rollout."""
PLAIN_SECONDS = 10.0
"""Without a terminal, a line of overall progress is written this often."""
Verdict = Literal["complete", "incomplete", "cancelled", "interrupted"]
Show = Callable[[Watch, list[Peer], str], None]


@click.command(
    cls=ExampleCommand,
    examples=(
        "rollout model.bin --timeout 10m --receipt model.json\nrollout model.bin --to 'lab*' --to-dir models\n"
        "rollout --watch model.bin\nrollout --cancel model.bin"
    ),
)
@click.argument("target", metavar="PATH|NAME", default="", shell_complete=complete_path)
@click.option("--expect", type=click.IntRange(min=1), metavar="N", help="Done when N peers have it.")
@click.option("--hosts", metavar="FILE", help="Done when the peers named in FILE, one a line, have it.")
@click.option("--to", "pattern", default="", metavar="PATTERN", help="Only peers whose name matches, e.g. 'lab*'.")
@click.option("--to-dir", "directory", default="", metavar="DIR", help="Put it into DIR, below a peer's 'rollouts'.")
@click.option("--force", is_flag=True, help="Replace other content of the same name.")
@click.option(
    "--timeout",
    callback=parsed_by(parse_seconds),
    default="0",
    metavar="TIME",
    help="Give the verdict after at most this long, e.g. 10m.",
)
@click.option("--receipt", metavar="FILE", help="Write the verdict to FILE, as JSON.", shell_complete=complete_path)
@click.option(
    "--watch", callback=parsed_by(unescaped), metavar="NAME", help="Watch a running rollout, by name, digest or id."
)
@click.option(
    "--cancel",
    callback=parsed_by(unescaped),
    metavar="NAME",
    help="Cancel a rollout that this peer started, by name, digest or id.",
)
@peer_options
@json_option
@click.pass_obj
def rollout(
    state: State,
    target: str,
    expect: int | None,
    hosts: str | None,
    pattern: str,
    directory: str,
    force: bool,
    timeout: float,
    receipt: str | None,
    watch: str | None,
    cancel: str | None,
) -> None:
    """Have every peer fetch PATH, or the content called NAME.

    Peers with 'rollouts' in their configuration carry it out, including those that join later, until it is cancelled.
    Exit code 0: all expected peers have it, verified; 5: some do not, with the reason for each. Expected are all peers
    but this one, those that match --to, those in --hosts, or any N (--expect). Needs a running peer here.
    """
    if sum(map(bool, (target, watch, cancel))) != 1:
        raise UsageError("give one of PATH, NAME, --watch NAME and --cancel NAME")
    if expect is not None and hosts is not None:
        raise UsageError("give --expect or --hosts, not both")
    if len(pattern) > ORDER_PATTERN_BYTES_MAX:
        raise UsageError(f"--to is too long: at most {ORDER_PATTERN_BYTES_MAX} characters")
    check_directory(directory)
    wanted = Expected(expect, _read_hosts(hosts) if hosts is not None else (), timeout)
    options = {"expect": expect, "hosts": list(wanted.hosts), "to": pattern, "to_dir": directory, "force": force}
    with running_peer(state.options, state.services) as session:
        if cancel:
            detail = session.request(ApiCancelRollout(session.next_id(), cancel), ApiDone).detail
            output.print_json({"ok": True, "detail": detail}) if state.options.json else output.warn(detail)
            return
        if session.status().foreground:
            raise UsageError("the peer here ends with the command that runs it; a rollout needs one that stays")
        place = None if receipt is None else absolute_path(receipt)
        if place is not None:
            _check_receipt(place)
        if watch:
            watched = Watch(_find_order(session, watch), wanted, session.now(), from_start=False)
        else:
            link = _link(state, session, target)
            watched = _start(state, session, link, wanted, (directory, pattern, force))
        code = _follow(state, session, watched, place, options | {"timeout": timeout})
    if code:
        click.get_current_context().exit(code)


def _read_hosts(path: str) -> tuple[str, ...]:
    try:
        lines = expanded(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the names in {path}: {error}") from None
    names = [line.partition("#")[0].strip() for line in lines]
    found = tuple(dict.fromkeys(name for name in names if name))
    if not found:
        raise UsageError(f"{path} names no peer; write one name per line")
    return found


def _check_receipt(place: Path) -> None:
    """`DiskError` when the receipt could not be written to ``place``."""
    try:
        check_whole(place)
    except OSError as error:
        raise DiskError(f"cannot write the receipt {place}: {error.strerror}") from None


def _write_receipt(place: Path, fields: dict[str, Any]) -> None:
    try:
        write_whole(place, f"{json.dumps(fields, indent=2)}\n".encode())
    except OSError as error:
        raise DiskError(f"cannot write the receipt {place}: {error.strerror}") from error


def _link(state: State, session: Session, target: str) -> Link:
    """The link of the target, which is shared first if it is a path."""
    if target.startswith(LINK_SCHEME):
        return parse_link(target)
    if "/" not in target and not os.path.lexists(expanded(target)):
        keys = state.options.settings().signed_by
        entry = find_content(session, unescaped(target), state.services.tell, keys, SETTLED_SECONDS)
        return Link(entry.digest, entry.manifest, entry.name, entry.length)
    place = existing_path(target)
    check_utf8(str(place))
    settings = state.options.settings()
    order = share_order(place, settings.hash, chosen_options(place, False, (), settings.posix_names))
    tracker = JobTracker([order])
    with open_display(state.options.quiet) as display:
        follow(session, tracker, display)
    (outcome,) = tracker.outcomes("")
    if not outcome.ok:
        raise refused(outcome.code, f"{target} cannot be shared: {outcome.detail}")
    if outcome.skipped and not state.options.quiet:
        output.left_out(outcome.skipped, followed=False)
    return parse_link(outcome.link)


def _find_order(session: Session, name: str) -> OrderEntry:
    reply = session.request(ApiOrders(session.next_id()), ApiOrdersReply)
    found = [
        entry
        for entry in reply.entries
        if name in (entry.order.name, entry.order.order) or begins_digest(name, entry.order.digest)
    ]
    going = [entry for entry in found if not entry.order.cancelled]
    if not going:
        if found:
            raise NotFoundError(f"the rollout of {name} was cancelled")
        unsure = "; the tracker has only just started, ask again in a few seconds" if reply.settling else ""
        raise NotFoundError(f"there is no rollout of {name}{advice_on(name)}{unsure}")
    if len(going) > 1:
        shown = "; ".join(f"--watch {one.order.order} ({_described(one)})" for one in going)
        raise UsageError(f"{len(going)} rollouts of {name} are running; watch one of them with {shown}")
    return going[0]


def _described(entry: OrderEntry) -> str:
    """What tells an order from others of the same name."""
    order = entry.order
    to = f"to peers {order.peers}" if order.peers else "to all peers"
    place = f", in {order.directory}" if order.directory else ""
    return printable(f"from {entry.name or entry.peer}, {to}{place}, {short(order.digest)}")


def _start(state: State, session: Session, link: Link, wanted: Expected, how: tuple[str, str, bool]) -> Watch:
    """Say what to expect, and give the order."""
    directory, pattern, force = how
    status = session.status()
    reply = session.request(ApiStandings(session.next_id(), link.digest), ApiStandingsReply)
    content = (link.digest, link.manifest, link.name, link.length)
    planned = Order("planned", *content, directory=directory, peers=pattern, force=force)
    before = Watch(OrderEntry(status.peer, status.name, planned), wanted, session.now())
    before.update(reply.peers, reply.settling, session.now())
    if not before.peers() and wanted.count is None:
        whose = f"whose name matches {pattern}" if pattern else "besides this one"
        if pattern and is_for(pattern, status.name):
            has = any(entry.peer == status.peer and entry.holding == "whole" for entry in reply.peers)
            itself = "has it already" if has else "does not have it, and carries out no orders of its own: use 'get'"
            whose = f"{whose} but this one, which {itself}"
        raise NotFoundError(f"there is no peer {whose}; --expect N waits for N peers")
    if not state.options.quiet:
        alone = [entry.peer for entry in reply.peers if entry.holding == "whole"] == [status.peer]
        for line in expectation(before, status.limits.upload_rate if alone else 0.0):
            output.warn(line)
    request = ApiRollout(session.next_id(), format_link(link), directory, pattern, force)
    order = session.request(request, ApiRolloutReply).order
    return Watch(OrderEntry(status.peer, status.name, order), wanted, session.now())


def _follow(state: State, session: Session, watch: Watch, receipt: Path | None, options: dict[str, Any]) -> int:
    """Show it until it is over; the exit code."""
    began, name = time.time(), printable(watch.order.name)
    verdict: Verdict = "interrupted"
    try:
        with _display(state.options.quiet) as show:
            verdict = _watch(session, watch, show)
    except KeyboardInterrupt:
        program, quoted = program_of(click.get_current_context()), shlex.quote(watch.order.name)
        again = f"'{program} rollout --watch {quoted}' shows it, '--cancel {quoted}' ends it"
        output.warn(f"interrupted; the rollout of {name} goes on: {again}")
    now = session.now()
    fields = watch.receipt(verdict, options, began, now)
    if receipt is not None:
        _write_receipt(receipt, fields)
    if state.options.json:
        output.print_json(fields)
    if verdict == "interrupted":
        return EXIT_INTERRUPTED
    if not state.options.json:
        for line in watch.verdict(verdict == "complete", now):
            print(line, flush=True)
    if verdict == "cancelled":
        output.error(f"the rollout of {name} was cancelled")
    return 0 if verdict == "complete" else VerificationError.exit_code


def _watch(session: Session, watch: Watch, show: Show) -> Verdict:
    """Poll until it is over."""
    answered = orders_at = session.now()
    while True:
        problem = ""
        try:
            reply = session.request(ApiStandings(session.next_id(), watch.order.digest), ApiStandingsReply)
            answered = now = session.now()
            show(watch, watch.update(reply.peers, reply.settling, now), printable(reply.silent))
            if now - orders_at >= ORDERS_SECONDS:
                orders_at = now
                if _is_cancelled(session, watch):
                    return "cancelled"
        except RefusedError as error:
            if error.code != NetworkError.code:
                raise
            answered, problem = session.now(), str(error)
        except NetworkError as error:
            if session.now() - answered > LOST_SECONDS:
                raise
            problem = str(error)
        if problem:
            show(watch, [], problem)
        outcome = watch.outcome(session.now())
        if outcome is not None:
            return "complete" if outcome else "incomplete"
        session.pause(LOOK_SECONDS)


def _is_cancelled(session: Session, watch: Watch) -> bool:
    reply = session.request(ApiOrders(session.next_id()), ApiOrdersReply)
    return any(entry.order.order == watch.order.order and entry.order.cancelled for entry in reply.entries)


@contextlib.contextmanager
def _display(quiet: bool) -> Iterator[Show]:
    """A function that shows a watch, the peers that have changed since the last call, and any problem."""
    if quiet:
        yield lambda _watch, _changed, _problem: None
        return
    if is_terminal(sys.stderr):
        with table_screen() as draw:
            yield lambda watch, _changed, problem: draw(
                HEADERS, [peer.cells() for peer in watch.peers()], problem or watch.progress()
            )
        return
    said_at, said_problem = time.monotonic(), ""
    said: dict[str, str] = {}

    def lines(watch: Watch, changed: list[Peer], problem: str) -> None:
        nonlocal said_at, said_problem
        if problem != said_problem:
            said_problem = problem
            output.warn(problem or "the answers are back")
        for peer in changed:
            line = _change(peer)
            if line and line != said.get(peer.peer):
                said[peer.peer] = line
                output.warn(line)
        if time.monotonic() - said_at >= PLAIN_SECONDS:
            said_at = time.monotonic()
            output.warn(watch.progress())

    yield lines


def _change(peer: Peer) -> str:
    """The line for the state of ``peer``; empty as long as there is nothing to report."""
    if peer.state == "has not" or (peer.state == "waits" and not peer.detail):
        return ""
    words = f"{printable(peer.name or peer.peer)}: {peer.state}"
    if peer.has_it:
        return words + (f", {format_seconds(peer.has_at)}" if peer.has_at else " already")
    return f"{words}: {printable(peer.detail)}" if peer.detail else words
