"""``python run_cluster.py``: a whole swarm on this machine, on real processes and real files. Only the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import click
import msgspec

from cluster.interrupts import Interrupted, interruptible
from cluster.progress import open_screen
from cluster.report import Report
from cluster.run import Plan, run_cluster
from cluster.table import print_report
from node.config import Algorithm
from protocol.digest import ALGORITHMS
from protocol.errors import UsageError, ZswarmError
from service.units import parse_bytes, parse_seconds

PEERS_COUNT_MAX = 200
DEFAULT_SIZE = "64MiB"
EXIT_NOT_VERIFIED = 5
Request = tuple[Plan, Path | None]
EXAMPLES = """\b
Examples:
  python run_cluster.py --peers 5
  python run_cluster.py --peers 20 --size 32MiB --report report.json
  python run_cluster.py --peers 5 --seeders 2 --file /usr/lib/python3

Exit code 0 only when every copy, the seeders' included, is the same as the original byte for byte.
"""


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_bytes(value)
    except UsageError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    try:
        return parse_seconds(value)
    except UsageError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--peers", type=click.IntRange(2, PEERS_COUNT_MAX), default=5, show_default=True, help="All peers.")
@click.option(
    "--seeders", type=click.IntRange(1), default=1, show_default=True, help="How many start with the content."
)
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="The content: any file or directory. It is only read.",
)
@click.option(
    "--size", callback=_size, metavar="SIZE", help=f"Without --file: so many random bytes.  [default: {DEFAULT_SIZE}]"
)
@click.option("--hash", "algorithm", type=click.Choice(ALGORITHMS), default=ALGORITHMS[0], show_default=True)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Work in DIR, and leave everything there.",
)
@click.option(
    "--timeout", callback=_seconds, default="10m", show_default=True, metavar="TIME", help="Give up getting after this."
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write the figures here as JSON.",
)
def command(
    peers: int,
    seeders: int,
    file: Path | None,
    size: int | None,
    algorithm: str,
    keep: Path | None,
    timeout: float,
    report_path: Path | None,
) -> Request:
    """Start a tracker and some peers, give one of them a file, and have all others get it at the same moment."""
    if seeders >= peers:
        raise click.UsageError(f"--seeders {seeders}: at least one of the {peers} peers has to get something")
    if file is not None and size is not None:
        raise click.UsageError("--file and --size: choose one")
    if report_path is not None and not report_path.absolute().parent.is_dir():
        raise click.UsageError(f"--report {report_path}: its directory does not exist")
    plan = Plan(
        peers=peers,
        seeders=seeders,
        file=file,
        size=parse_bytes(DEFAULT_SIZE) if size is None else size,
        algorithm=cast(Algorithm, algorithm),
        keep=keep,
        timeout=timeout,
    )
    return plan, report_path


def run(plan: Plan, report_path: Path | None) -> int:
    """Run ``plan``, print its table and write its report; the exit code."""
    with open_screen() as screen:
        report = run_cluster(plan, screen)
    print_report(report)
    if report_path is not None:
        report_path.write_bytes(_as_json(report))
    return 0 if report.ok else EXIT_NOT_VERIFIED


def _as_json(report: Report) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def main(arguments: list[str]) -> int:
    """Run with ``arguments``; the exit code."""
    try:
        request: Request | int = command.main(arguments, prog_name="run_cluster.py", standalone_mode=False)
        if isinstance(request, int):  # --help
            return request
        with interruptible():
            return run(*request)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ZswarmError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except Interrupted as error:
        click.echo(f"{error}; all processes are ended", err=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
