"""``share`` and ``get``: start jobs in the running peer, or in one that lives as long as the command; follow them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import click
import msgspec
from msgspec import Struct

from node.cli import output
from node.cli.live import upload_display
from node.cli.options import (
    State,
    chosen_options,
    foreground_options,
    hash_option,
    share_options,
    sign_option,
    signed_by_option,
)
from node.cli.progress import follow, is_terminal, open_display
from node.cli.trace import check_trace_path, request_trace, save_trace
from node.client.orders import JobTracker, Order, Patience, get_order, share_order
from node.client.session import PeerStoppedError, Session, any_peer
from node.client.targets import (
    LINK_SCHEME,
    check_places,
    existing_path,
    prepare_directory,
    read_target,
)
from node.client.timeline import timeline
from node.client.view import Outcome, got_line, not_served, outcome_fields, serving_trouble
from node.reasons import silence
from protocol.endpoints import is_loopback, parse_endpoint
from protocol.errors import EXIT_CODES, NetworkError, NotFoundError, RefusedError, UsageError
from protocol.link import format_link, parse_link
from service.command_line import (
    EXIT_INTERRUPTED,
    ExampleCommand,
    complete_directory,
    complete_path,
    parsed_by,
    program_of,
)
from service.paths import absolute_path
from service.text import check_utf8, printable
from service.units import format_bytes, format_seconds, parse_seconds

Kind = Literal["share", "get"]

SHARE_GOES_ON = "the running peer continues: 'status' shows it, 'remove PATH' cancels it"
STOPPED: Mapping[Kind, str] = {
    "share": "it continues when a peer runs there again; the same command runs one until Ctrl-C",
    "get": "the download continues when a peer runs there again; the same command continues it too",
}
GOES_ON = "the download continues in the running peer: 'status' shows it, 'remove NAME' cancels it"
SERVE_SECONDS = 0.5


class Plan(Struct, frozen=True):
    """A whole command. ``serve``: a foreground peer continues to serve when the orders are done; ``timeout`` is in
    seconds, 0 for none. ``follows_links``: the share follows links. ``trackers``: those named in the links to get.
    ``signed``: makes the order of a share again, with a signature. ``trace``: the file for the timeline of a download;
    empty: none."""

    kind: Kind
    orders: list[Order]
    serve: bool
    timeout: float = 0.0
    follows_links: bool = False
    trackers: Sequence[str] = ()
    signed: Callable[[Session, Order, Outcome], Order] | None = None
    trace: str = ""


@click.command(
    cls=ExampleCommand,
    examples="share model.bin\nshare /data/set1 /data/set2 --json\nshare models/snapshots/main --link-root models\n"
    "share model.bin --sign release",
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, shell_complete=complete_path)
@share_options
@hash_option
@sign_option
@foreground_options
@click.pass_obj
def share(
    state: State,
    paths: tuple[str, ...],
    follow_links: bool,
    link_roots: tuple[str, ...],
    posix_names: bool,
    algorithm: str | None,
    sign_with: str | None,
) -> None:
    """Share files or directories, and print a link for each.

    The link is printed once the tracker lists the content. Without a running peer, this command runs one and shares
    until Ctrl-C; where no tracker is configured or found, it runs one too, and the link names it.
    """
    chosen = algorithm or state.options.settings().hash
    places = dict.fromkeys(existing_path(path) for path in paths)
    chosen_by_path = {str(place): chosen_options(place, follow_links, link_roots, posix_names) for place in places}
    orders = [share_order(Path(place), chosen, options) for place, options in chosen_by_path.items()]
    signed = None
    if sign_with is not None:
        from service.signing_keys import load_signing_key

        key = load_signing_key(sign_with)

        def signed(session: Session, order: Order, outcome: Outcome) -> Order:
            from node.client.signing import signature_of

            signature = signature_of(session, key, parse_link(outcome.link), state.services.tell)
            return share_order(Path(order.target), chosen, chosen_by_path[order.target], signature)

    _carry_out(state, Plan("share", orders, True, follows_links=follow_links or bool(link_roots), signed=signed))


@click.command(
    cls=ExampleCommand,
    examples="get model.bin\nget model.bin -o /data --timeout 10m\nget zswarm://blake3:4f1c.../model.bin other.seed",
)
@click.argument("targets", metavar="NAME|LINK|SEEDFILE...", nargs=-1, required=True, shell_complete=complete_path)
@click.option(
    "-o",
    "--output",
    "directory",
    metavar="DIR",
    help="Directory to download to; created if missing.",
    shell_complete=complete_directory,
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace other content of the same name; of a directory, files that the new one does not have are deleted.",
)
@click.option("--sequential", is_flag=True, help="Fetch pieces in order rather than rarest first.")
@click.option("--keep-serving", is_flag=True, help="Keep serving what was fetched until Ctrl-C.")
@click.option(
    "--timeout",
    callback=parsed_by(parse_seconds),
    default="0",
    metavar="TIME",
    help="Give up after this long, e.g. 10m.",
)
@click.option(
    "--trace",
    "trace_path",
    metavar="FILE",
    default="",
    help="Write what it did when to FILE, as 'trace --json FILE' does.",
    shell_complete=complete_path,
)
@signed_by_option
@foreground_options
@click.pass_obj
def get(
    state: State,
    targets: tuple[str, ...],
    directory: str | None,
    force: bool,
    sequential: bool,
    keep_serving: bool,
    timeout: float,
    trace_path: str,
    signed_by: tuple[str, ...],
) -> None:
    """Download and verify content.

    By name, digest or its beginning as 'list' shows it, link (zswarm://...) or seed file. Several are fetched at once.
    Without a running peer, this command runs one until it is done, with the tracker that the link names if none is
    configured. A download that was stopped continues from what is verified on disk. With --signed-by, a name means what
    that key signed last under it; the exit code is 7 if nothing with that name is signed by it.
    """
    found = [read_target(target) for target in dict.fromkeys(targets)]
    check_places(found)
    if trace_path and len(found) > 1:
        raise UsageError("--trace is for one download; get them one after another")
    if trace_path:
        check_trace_path("--trace", trace_path)
    settings = state.options.settings()
    place = absolute_path(directory) if directory is not None else settings.download_path
    check_utf8(str(place))
    place = prepare_directory(place)
    in_order = sequential or settings.sequential
    orders = [get_order(target, place, force, in_order, signed_by) for target in found]
    trackers = tuple(dict.fromkeys(target.tracker for target in found if target.tracker))
    plan = Plan("get", orders, serve=keep_serving, timeout=timeout, trackers=trackers, trace=trace_path)
    _carry_out(state, plan)


def _carry_out(state: State, plan: Plan) -> None:
    """Run ``plan`` and end the command with its exit code."""
    session: Session | None = None
    tracker = JobTracker(plan.orders)
    code = EXIT_INTERRUPTED
    try:
        with any_peer(state.options, state.services, plan.trackers, runs_tracker=plan.kind == "share") as session:
            try:
                outcomes = _run(session, plan, tracker, state.options.quiet)
            except KeyboardInterrupt:
                _trace(session, plan, tracker)
                raise
            if plan.signed is not None:
                plan, outcomes = _sign(state, session, plan, outcomes)
            if plan.kind == "share":
                outcomes = _for_others(state, session, outcomes)
            code = _report(state, plan, outcomes, complete=True, lasting=session.lasting)
            _trace(session, plan, tracker)
            done = [order for order, outcome in zip(plan.orders, outcomes, strict=True) if outcome.ok]
            if plan.serve and done and not session.lasting:
                paths = [outcome.path for outcome in outcomes if outcome.ok]
                code = _go_on_serving(state, msgspec.structs.replace(plan, orders=done), session, paths) or code
    except KeyboardInterrupt:
        if code == EXIT_INTERRUPTED and plan.kind == "get":
            _report(state, plan, tracker.ended(), complete=False, lasting=False)
        output.warn(_interrupted(plan, session) if code == EXIT_INTERRUPTED else "interrupted")
    if code:
        click.get_current_context().exit(code)


def _trace(session: Session, plan: Plan, tracker: JobTracker) -> None:
    """Write the timeline of the download, as far as it is, where the ``plan`` says."""
    if not plan.trace:
        return
    (job,) = tracker.statuses()
    if job is None or not job.digest:
        output.warn("there is no trace: the download has not begun")
        return
    try:
        save_trace("--trace", plan.trace, timeline(request_trace(session, job.digest)))
    except (RefusedError, NetworkError) as error:
        output.warn(str(error))


def _sign(state: State, session: Session, plan: Plan, outcomes: list[Outcome]) -> tuple[Plan, list[Outcome]]:
    """Announce shared content with its signature. Returns the plan with the signed orders, and the outcomes."""
    assert plan.signed is not None
    orders, again = list(plan.orders), [place for place, outcome in enumerate(outcomes) if outcome.ok]
    for place in again:
        orders[place] = plan.signed(session, orders[place], outcomes[place])
    plan = msgspec.structs.replace(plan, orders=orders)
    second = msgspec.structs.replace(plan, orders=[orders[place] for place in again])
    ended = _run(session, second, JobTracker(second.orders), state.options.quiet)
    for place, outcome in zip(again, ended, strict=True):
        seconds = outcomes[place].seconds + outcome.seconds
        outcomes[place] = msgspec.structs.replace(outcome, seconds=seconds, skipped=outcomes[place].skipped)
    return plan, outcomes


def _for_others(state: State, session: Session, outcomes: list[Outcome]) -> list[Outcome]:
    """``outcomes`` of a share. If the command's peer uses a tracker that nobody configured, their links name it as
    others reach it."""
    if session.lasting or state.options.settings().trackers or not any(outcome.ok for outcome in outcomes):
        return outcomes
    tracker = state.services.for_others(session.trackers[0])
    if tracker and is_loopback(parse_endpoint(tracker).host) and not state.options.quiet:
        output.warn("this machine has only loopback addresses: the link works only on this machine")

    if tracker and session.keyed and not state.options.quiet:
        program = program_of(click.get_current_context())
        how = f"run '{program} keys invite --tracker {tracker}' on the tracker's host to make one"
        output.warn(f"this network has keys: each other machine needs an invite once (--invite LINE); {how}")

    def naming_it(outcome: Outcome) -> Outcome:
        link = msgspec.structs.replace(parse_link(outcome.link), tracker=tracker)
        return msgspec.structs.replace(outcome, link=format_link(link))

    return [naming_it(outcome) if outcome.ok else outcome for outcome in outcomes]


def _interrupted(plan: Plan, session: Session | None) -> str:
    lasting = session is not None and session.lasting  # without a session there is no peer yet
    if plan.kind == "share":
        return "interrupted" + (f"; {SHARE_GOES_ON}" if lasting else "")
    if lasting:
        return f"interrupted; {GOES_ON}"
    return "interrupted; the same command continues from what is verified on disk"


def _run(session: Session, plan: Plan, tracker: JobTracker, quiet: bool) -> list[Outcome]:
    """Follow every order until it ends; one outcome per order, in order."""
    try:
        with open_display(quiet) as display:
            follow(session, tracker, display, plan.timeout)
    except PeerStoppedError as error:
        return tracker.cut_off(f"{error}; {STOPPED[plan.kind]}")
    late = f"not finished after {format_seconds(plan.timeout)}"
    return tracker.outcomes(late, GOES_ON if session.lasting else "")


def _report(state: State, plan: Plan, outcomes: list[Outcome], complete: bool, lasting: bool) -> int:
    """Print the outcomes of the orders, or if they are not ``complete`` (the command was interrupted), of those that
    have ended; returns the exit code of the first that failed, 0 if none did."""
    options = state.options
    if options.json:
        rows = [outcome_fields(outcome, plan.kind) for outcome in outcomes]
        output.print_json({"ok": complete and all(outcome.ok for outcome in outcomes), "results": rows})
    for outcome in outcomes:
        if outcome.ok and plan.kind == "share":
            _print_shared(outcome, options.json, options.quiet, plan.follows_links)
        elif outcome.ok and not options.json:
            if options.quiet:
                output.print_path(outcome.path)
            else:
                print(got_line(outcome), flush=True)
        if outcome.ok and outcome.detail and plan.kind == "get" and not options.quiet:
            output.warn(f"{printable(outcome.path)} is complete, but {printable(outcome.detail)}; delete that by hand")
    if plan.serve and lasting and plan.kind == "get" and not options.quiet:
        output.warn("the running peer keeps serving it")
    return _report_failures(plan, outcomes)


def _report_failures(plan: Plan, outcomes: list[Outcome]) -> int:
    """Say which orders failed; the exit code of the first, 0 if none did."""
    hints = {order.target: order.hint for order in plan.orders}
    code = 0
    for outcome in outcomes:
        if not outcome.ok:
            code = code or EXIT_CODES.get(outcome.code, 1)
            hint = hints[outcome.target] if outcome.code == "not_found" else ""
            called = outcome.name if outcome.target.startswith(LINK_SCHEME) and outcome.name else outcome.target
            detail = outcome.detail or outcome.code
            output.error(f"{detail if detail.startswith(called) else f'{called}: {detail}'}{hint}")
    return code


def _print_shared(outcome: Outcome, as_json: bool, quiet: bool, follows_links: bool) -> None:
    if not quiet:
        size, seconds = format_bytes(outcome.length), format_seconds(outcome.seconds)
        signed = f", signed by {outcome.signed_by[-1]}" if outcome.signed_by else ""
        output.warn(f"sharing {outcome.name}, {size}, ready in {seconds}{signed}")
        if outcome.skipped:
            output.left_out(outcome.skipped, follows_links)
        if outcome.detail:
            output.warn(f"note: {outcome.detail}")
    if as_json:
        return
    link = printable(outcome.link)
    if not quiet and parse_link(outcome.link).tracker:
        get = f"{program_of(click.get_current_context())} get '{link}'"  # brackets of IPv6 are a shell's
        if is_terminal(sys.stdout):
            output.warn("get it on another machine with:")
            link = get
        else:
            output.warn(f"get it on another machine with: {get}")
    print(link, flush=True)


def _go_on_serving(state: State, plan: Plan, session: Session, paths: list[str]) -> int:
    """With a foreground peer: serve what is at ``paths`` until Ctrl-C, the expected end with exit code 0, or until
    nothing of it can be served any more. A different agent, as when the peer was another command's and has ended, gets
    the orders again."""
    quiet = state.options.quiet
    if not quiet:
        output.warn("serving until Ctrl-C")
    patience, agents = Patience(session), session.agents_count
    reasons: dict[str, str] = {}
    trouble = ""
    with contextlib.suppress(KeyboardInterrupt), upload_display(quiet) as display:
        while True:
            report = patience.status([], paths)
            before = trouble
            if report is not None:
                display.show(report, session.now())
                trouble = serving_trouble(report, trouble)
            else:
                trouble = silence(patience.silent_seconds, "agent") or trouble
            if trouble != before and not quiet:
                display.say(trouble or "others can fetch from this peer again")
            if session.agents_count != agents:
                agents = session.agents_count
                code = _report_failures(plan, _run(session, plan, JobTracker(plan.orders), quiet=True))
                if code:
                    return code
            elif report is not None:
                served, reasons = reasons, not_served(report, paths)
                _tell_changes(served, reasons, quiet, display.say)
                if len(reasons) == len(paths):
                    output.error("nothing is left to serve")
                    return NotFoundError.exit_code
            session.pause(SERVE_SECONDS)
    if not quiet:
        output.warn("leaving the network")
    return 0


def _tell_changes(before: dict[str, str], reasons: dict[str, str], quiet: bool, say: Callable[[str], None]) -> None:
    """Say which paths are not served any more, with the ``reasons``, and which are served again."""
    for path, why in reasons.items():
        if before.get(path) != why:
            say(f"not serving {printable(path)} any more: {why}")
    for path in before:
        if path not in reasons and not quiet:
            say(f"serving {printable(path)} again")
