"""``follow``: fetch what is announced under a name, and replace it with anything newer, until Ctrl-C."""

from __future__ import annotations

import click

from node.api_messages import ApiFollow, ApiFollowed, Following, JobStatus, StatusReport
from node.cli import output
from node.cli.options import State, foreground_options, signed_by_option
from node.cli.progress import Display, open_display
from node.client.orders import Patience
from node.client.session import Session, any_peer
from node.client.targets import check_pattern, prepare_directory
from node.client.view import got_line, outcome_fields, outcome_of, trouble, view_of
from node.config import KEEP_COUNT_MAX
from node.local_messages import OVERTAKEN
from node.reasons import silence
from protocol.errors import UsageError
from protocol.names import check_name_pattern
from service.command_line import ExampleCommand, complete_directory, parsed_by
from service.paths import absolute_path
from service.text import check_utf8, printable, unescaped

IDLE_SECONDS = 0.5
"""Between two requests for news while nothing is being fetched."""


@click.command(
    cls=ExampleCommand, examples="follow model.bin --to /data\nfollow 'model-*.bin' --to /data/models --keep 2 --json"
)
@click.argument("pattern", callback=parsed_by(unescaped))
@click.option(
    "--to",
    "directory",
    required=True,
    metavar="DIR",
    help="Directory to fetch to; created if missing.",
    shell_complete=complete_directory,
)
@click.option(
    "--keep",
    type=click.IntRange(0, KEEP_COUNT_MAX),
    default=0,
    metavar="N",
    help="Keep this many older versions, as NAME.TIME.",
)
@click.option("--force", is_flag=True, help="Also replace files that others put there.")
@signed_by_option
@foreground_options
@click.pass_obj
def follow(state: State, pattern: str, directory: str, keep: int, force: bool, signed_by: tuple[str, ...]) -> None:
    """Fetch what is called PATTERN now, and anything newer as soon as it is announced.

    PATTERN is a name, or with * or ? a shell pattern for names. The newer content replaces the older in one step: a
    program that opens it finds either one, complete. Follows until Ctrl-C; without a running peer, this command runs
    one. With --signed-by only content signed by that key counts, and the newest is what it signed last. The key
    'follow' in a peer's configuration does the same for as long as the peer runs.
    """
    if not pattern.strip():
        raise UsageError("the name to follow is empty")
    check_pattern(pattern)
    check_utf8(pattern)
    check_name_pattern(pattern)
    place = absolute_path(directory)
    check_utf8(str(place))
    what = Following(pattern, str(prepare_directory(place, "--to")), keep, force, signed_by)
    try:
        with any_peer(state.options, state.services) as session:
            if not state.options.quiet:
                output.warn(f"following {printable(pattern)} to {printable(what.directory)} until Ctrl-C")
            _Follower(state, session, what).run()
    except KeyboardInterrupt:
        if not state.options.quiet:
            output.warn("interrupted; the same command continues from what is there")


class _Follower:
    """Reports each fetched content once, and what goes wrong."""

    def __init__(self, state: State, session: Session, what: Following) -> None:
        self._state = state
        self._session = session
        self._what = what
        self._patience = Patience(session)
        self._agents = 0
        self._told: dict[int, None] = {}
        """Jobs of the present agent that are over."""
        self._failures: dict[str, str] = {}
        """By path, what was told last."""
        self._trouble = ""

    def run(self) -> None:
        """Until Ctrl-C. `NetworkError` when the peer is gone."""
        while True:
            report = self._look()
            if report is not None and any(not job.over for job in report.jobs):
                with open_display(self._state.options.quiet) as display:
                    report = self._show(display, report)
            self._tell(report)
            self._session.pause(IDLE_SECONDS)

    def _show(self, display: Display, report: StatusReport | None) -> StatusReport | None:
        """Draw what is under way until something of it is over."""
        while report is None or not self._over(report):
            if report is not None:
                active = [job for job in report.jobs if not job.over]
                if not active:
                    break
                display.show([view_of(job, self._what.pattern, trouble(report)) for job in active], self._session.now())
            self._session.pause(display.interval)
            report = self._look()
        return report

    def _look(self) -> StatusReport | None:
        """What the peer says of the downloads for this command, which it is reminded of; None while it is silent."""

        def ask(timeout: float) -> StatusReport:
            message = ApiFollow(self._session.next_id(), self._what)
            jobs = self._session.request(message, ApiFollowed, timeout).jobs
            return self._session.status(timeout, jobs)

        report = self._patience.ask(ask)
        if self._session.agents_count != self._agents:
            self._agents = self._session.agents_count
            self._told.clear()
        return report

    def _over(self, report: StatusReport) -> list[JobStatus]:
        """Those that are over and were not told yet."""
        return [job for job in report.jobs if job.over and job.job not in self._told]

    def _tell(self, report: StatusReport | None) -> None:
        problem = silence(self._patience.silent_seconds, "agent") if report is None else trouble(report)
        if problem != self._trouble and not self._state.options.quiet:
            output.warn(problem or "the tracker answers again")
        self._trouble = problem
        for job in self._over(report) if report is not None else ():
            self._told[job.job] = None
            self._tell_job(job)

    def _tell_job(self, job: JobStatus) -> None:
        options, outcome = self._state.options, outcome_of(job, self._what.pattern)
        if outcome.ok:
            self._failures.pop(job.path, None)
            if not outcome.verified:
                return  # it was there
            if options.json:
                output.print_json(outcome_fields(outcome, "get"))
            elif options.quiet:
                output.print_path(outcome.path)
            else:
                print(got_line(outcome), flush=True)
        elif job.code == OVERTAKEN:
            if not options.quiet:
                output.warn(f"{printable(job.name)}: given up: {job.detail}")
        elif self._failures.get(job.path) != job.detail:
            self._failures[job.path] = job.detail
            if options.json:
                output.print_json(outcome_fields(outcome, "get"))
            output.error(f"{printable(job.name)}: {job.detail}")
