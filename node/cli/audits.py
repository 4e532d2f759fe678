"""``audit``, and ``verify`` of something shared: the running peer reads it again and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import click
from msgspec.structs import replace

from node.api_messages import ApiAccepted, ApiAudit, ApiDone, JobStatus, StatusReport
from node.cli import output
from node.cli.options import State, json_option, peer_options
from node.cli.progress import open_display
from node.client.orders import Patience
from node.client.session import Session, running_peer
from node.client.view import view_of
from protocol.digest import short
from protocol.errors import EXIT_CODES, UsageError, VerificationError
from service.command_line import ExampleCommand, complete_path, parsed_by
from service.paths import absolute_path
from service.text import check_utf8, printable, unescaped
from service.units import parse_rate

DEFAULT_RATE = "50 MiB/s"
RESTARTED = "the peer was restarted, so the result is not known; run the command again"
GOES_ON = "the audit continues in the running peer: 'status' shows it, 'audit --stop' ends it"


@click.command(cls=ExampleCommand, examples="audit\naudit --rate 200MiB/s\naudit model.bin\naudit --stop")
@click.argument("target", metavar="[NAME]", default="", shell_complete=complete_path)
@click.option(
    "--rate",
    callback=parsed_by(parse_rate),
    default=DEFAULT_RATE,
    metavar="RATE",
    help=f"Read at most this much a second; 0: no limit. [{DEFAULT_RATE}]",
)
@click.option("--stop", is_flag=True, help="Stop all running audits.")
@peer_options
@json_option
@click.pass_obj
def audit(state: State, target: str, rate: float, stop: bool) -> None:
    """Have the running peer re-read everything it shares, or only NAME.

    Every byte is read from the disk and hashed, in the background. If anything does not match its digest, it is named,
    and the exit code is 5. Wrong pieces of downloads are fetched again; 'verify NAME --repair' does that for the rest.
    Ctrl-C ends only the display.
    """
    if stop and target:
        raise UsageError("--stop stops all audits; leave out NAME")
    with running_peer(state.options, state.services) as session:
        if stop:
            reply = session.request(ApiAudit(session.next_id(), stop=True), ApiDone)
            output.print_json({"ok": True, "detail": reply.detail}) if state.options.json else output.warn(reply.detail)
            return
        try:
            job = _followed(state, session, _ask(session, target, rate, repair=False))
        except KeyboardInterrupt:
            if not state.options.quiet:
                output.warn(GOES_ON)
            raise
        _tell(state, job)


def verify_shared(state: State, target: str, repair: bool) -> None:
    """Have the running peer read ``target``, which it shares, at once, and with ``repair`` mend what is wrong."""
    with running_peer(state.options, state.services) as session:
        job = _followed(state, session, _ask(session, target, 0.0, repair))
        if job.code == VerificationError.code and repair:
            for problem in job.problems:
                output.warn(printable(problem))
            if job.digest:
                job = _mended(state, session, job)
            else:
                output.warn("they are being mended: 'status' shows it")
        _tell(state, job)


def _ask(session: Session, target: str, rate: float, repair: bool) -> int:
    path = str(absolute_path(target)) if target else ""
    check_utf8(path)
    session.status(jobs=[])  # from now on it shows if another agent answers
    return session.request(ApiAudit(session.next_id(), unescaped(target), path, rate, repair), ApiAccepted).job


def _followed(state: State, session: Session, number: int) -> JobStatus:
    """Show job ``number`` until it has ended. `VerificationError` if it is forgotten: the agent was restarted."""

    def find(report: StatusReport) -> JobStatus:
        found = [job for job in report.jobs if job.job == number]
        if not found:
            raise VerificationError(RESTARTED)
        return found[0]

    return _shown(state, session, [number], [], find)


def _mended(state: State, session: Session, found: JobStatus) -> JobStatus:
    """Show how what was ``found`` is mended, until it is right, whoever did that, or cannot be: that is the result."""
    states: list[str] = []

    def find(report: StatusReport) -> JobStatus | None:
        item = next((item for item in report.shared if item.path == found.path), None)
        if item is None:
            return replace(found, detail="it is not shared any more", problems=[])
        states.append(item.state)
        if item.digest != found.digest:
            what = f"somebody has changed it; it is now shared as {short(item.digest)}"
            return replace(found, detail=what, problems=[])
        # A mend that was under way before may be the one. Older ones have nothing to do with it.
        mends = [job for job in report.jobs if job.kind == "mend" and job.path == found.path]
        mend = next((job for job in mends[::-1] if not job.over or job.ended_monotonic >= found.ended_monotonic), None)
        if item.state == "missing" or (item.state == "changed" and not item.hashing):  # and cannot be read
            return replace(found, detail=f"{item.state}: {item.detail}", problems=[])
        if item.state or (mend is not None and mend.phase == "done"):
            return mend if mend is not None and (item.state != "changed" or not mend.over) else None
        if mend is None and not any(states):
            return replace(found, problems=[])  # some of it cannot be read, which no mend helps against
        return replace(found, phase="done", code="", detail="it is right again", problems=[])

    return _shown(state, session, [], [found.path], find)


def _shown(
    state: State,
    session: Session,
    jobs: list[int],
    paths: list[str],
    find: Callable[[StatusReport], JobStatus | None],
) -> JobStatus:
    """Show the job that ``find`` takes from reports on ``jobs`` and ``paths``, until one has ended. Raises
    `VerificationError` if the agent was restarted, which numbers its jobs anew."""
    patience, agents = Patience(session), session.agents_count
    with open_display(state.options.quiet) as display:
        while True:
            report = patience.status(jobs, paths)
            if session.agents_count != agents:
                raise VerificationError(RESTARTED)
            job = None if report is None else find(report)
            if job is not None:
                display.show([view_of(job)], session.now())
                if job.over:
                    return job
            session.pause(display.interval)


def _tell(state: State, job: JobStatus) -> None:
    """The result of ``job``, and the exit code that goes with it."""
    if state.options.json:
        facts = {"ok": job.phase == "done", "name": job.name, "path": job.path, "length": job.length}
        output.print_json(facts | {"problems": job.problems, "detail": job.detail, "code": job.code})
    else:
        for problem in job.problems:
            print(printable(problem))
        if job.phase == "done" and not state.options.quiet:
            print(printable(f"{job.name}  {job.detail}"))
    if job.phase != "done":
        output.error(printable(f"{job.name}: {job.detail}"))
        click.get_current_context().exit(EXIT_CODES.get(job.code, 1))
