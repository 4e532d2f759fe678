"""``python run_cluster.py``: a whole swarm on this machine, on real processes and real files, or simulated; or a load
test of a tracker. Only the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from cluster.chaos.run import ChaosReport, ChaosRun, run_chaos, verdict
from cluster.interrupts import Interrupted, interruptible
from cluster.links import Links, check_real_rate, parse_link_rate
from cluster.load.content import CLIENTS_COUNT_MAX
from cluster.load.plan import LoadPlan
from cluster.load.report import LoadReport
from cluster.load.run import run_load
from cluster.load.table import render_load
from cluster.progress import PlainScreen, open_screen
from cluster.report import Report
from cluster.report_file import check_report_path, write_report
from cluster.run import Plan, run_cluster
from cluster.simulated.rollout import RolloutPlan, run_rollout
from cluster.table import print_report, render
from protocol.digest import ALGORITHMS
from protocol.errors import UsageError
from protocol.limits import TRACKERS_COUNT_MAX
from service.command_line import parsed_by, run_command
from service.streams import prepare_streams, warn
from service.units import parse_bytes, parse_rate, parse_seconds

PEERS_COUNT_MAX, SIMULATED_PEERS_COUNT_MAX = 200, 2_000
DEFAULT_SIZE = "64MiB"
DEFAULT_CHAOS_SIZE = "16MiB"
DEFAULT_LINK_RATE = "1gbit"
DEFAULT_LOAD_SECONDS = "10s"
DEFAULT_FILES_COUNT = 10
EXIT_LOAD_FAILED, EXIT_NOT_VERIFIED = 1, 5
AnyPlan = Plan | RolloutPlan | LoadPlan | ChaosRun
EXAMPLES = """\b
Examples:
  python run_cluster.py --peers 5
  python run_cluster.py --peers 20 --size 32MiB --report report.json
  python run_cluster.py --peers 5 --seeders 2 --file /usr/lib/python3
  sudo python run_cluster.py --peers 17 --link-rate 40mbit
  python run_cluster.py --simulate --peers 1000 --size 10GiB --link-rate 10gbit
  python run_cluster.py --simulate --peers 50 --size 2GiB --seeder-dies-at 1
  python run_cluster.py --trackers 2 --kill-tracker --size 1GiB
  python run_cluster.py --load 1000 --seconds 30s
  python run_cluster.py --load 5000 --trackers 2 --files 100 --idle
  sudo python run_cluster.py --chaos 7 --minutes 0.5

Exit code 0 only when every copy, the seeders' included, is the same as the original byte for byte; with --load only
without any error; with --chaos also when a download says which pieces nobody has any more.
"""
_SWARM, _SIMULATE, _LOAD, _CHAOS = "a swarm", "--simulate", "--load", "--chaos"
_MODES = {
    "peers": (_SWARM, _SIMULATE, _CHAOS),
    "seeders": (_SWARM, _SIMULATE),
    "size": (_SWARM, _SIMULATE, _CHAOS),
    "timeout": (_SWARM, _SIMULATE, _CHAOS),
    "file": (_SWARM,),
    "keep": (_SWARM, _CHAOS),
    "secure": (_SWARM,),
    "trackers": (_SWARM, _LOAD),
    "kill_tracker": (_SWARM,),
    "web": (_SWARM,),
    "algorithm": (_SWARM,),
    "link_rate": (_SWARM, _SIMULATE, _CHAOS),
    "up_rates": (_SWARM, _SIMULATE),
    "delay": (_SIMULATE,),
    "seed": (_SIMULATE, _LOAD),
    "faults": (_SIMULATE,),
    "seeder_dies_at": (_SIMULATE,),
    "seconds": (_LOAD,),
    "idle": (_LOAD,),
    "files": (_LOAD,),
    "minutes": (_CHAOS,),
}
"""What each option means something for."""


def _positive_seconds(text: str) -> float:
    seconds = parse_seconds(text)
    if not seconds:
        raise UsageError("expected more than no time at all")
    return seconds


def _link_rates(text: str) -> tuple[float, ...]:
    return tuple(map(parse_link_rate, text.split(",")))


def _part(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1:  # so is nan
        raise click.BadParameter("expected a part of one copy, more than 0 and at most 1", ctx, param)
    return value


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--peers",
    type=click.IntRange(2, SIMULATED_PEERS_COUNT_MAX),
    default=5,
    show_default=True,
    help=f"All peers; at most {PEERS_COUNT_MAX} real ones.",
)
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
    "--size",
    callback=parsed_by(parse_bytes),
    metavar="SIZE",
    help=f"Without --file: so many random bytes.  [default: {DEFAULT_SIZE}]",
)
@click.option("--hash", "algorithm", type=click.Choice(ALGORITHMS), default=ALGORITHMS[0], show_default=True)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Work in DIR, and leave everything there.",
)
@click.option("--secure", is_flag=True, help="In a network with keys, made for this run.")
@click.option("--web", is_flag=True, help="The tracker serves its page; where is said at the start.")
@click.option(
    "--trackers",
    type=click.IntRange(1, TRACKERS_COUNT_MAX),
    default=1,
    show_default=True,
    help="Every peer is a member of each.",
)
@click.option(
    "--kill-tracker",
    is_flag=True,
    help="With several trackers: kill one in the middle, start it again later, and compare with a run without that.",
)
@click.option(
    "--timeout",
    callback=parsed_by(parse_seconds),
    metavar="TIME",
    help="Give up getting after this.  [default: 10m, or what suits the links]",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the figures here as JSON.",
)
@click.option(
    "--link-rate",
    callback=parsed_by(parse_link_rate),
    metavar="RATE",
    help="What each peer's link can do, up and down each: 40mbit, 10gbit, 100MiB/s. Takes root if not simulated.  "
    f"[default: as fast as it goes; simulated: {DEFAULT_LINK_RATE}]",
)
@click.option(
    "--up-rates",
    callback=parsed_by(_link_rates),
    metavar="RATE,...",
    help="The uplinks of those who get, in turn: 10mbit,20mbit. All other links have --link-rate.",
)
@click.option(
    "--simulate",
    is_flag=True,
    help="Start nothing: predict the run in virtual time, also with the options that follow.",
)
@click.option(
    "--delay",
    callback=parsed_by(parse_seconds),
    default="0.2ms",
    show_default=True,
    metavar="TIME",
    help="From one machine to another and back.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="What chance does follows from this number; with --load too.",
)
@click.option(
    "--faults",
    type=click.Choice(["none", "light", "heavy"]),
    default="none",
    show_default=True,
    help="Processes are killed, links break, machines lose power (not the seeders'), ...",
)
@click.option(
    "--seeder-dies-at",
    callback=_part,
    type=float,
    metavar="PART",
    help="The seeders lose their power for good once this part of one copy is out; 1: all of it.",
)
@click.option(
    "--load",
    "clients",
    type=click.IntRange(1, CLIENTS_COUNT_MAX),
    metavar="CLIENTS",
    help=f"No swarm: a tracker and so many light clients ({CLIENTS_COUNT_MAX} at most) that ask as fast as it answers.",
)
@click.option(
    "--idle",
    is_flag=True,
    help="With --load: they ask nothing, only show every 5 s that they are still there, and follow the roster.",
)
@click.option(
    "--seconds",
    callback=parsed_by(_positive_seconds),
    default=DEFAULT_LOAD_SECONDS,
    show_default=True,
    metavar="TIME",
    help="With --load: how long they ask, once all have joined.",
)
@click.option(
    "--files",
    type=click.IntRange(1),
    default=DEFAULT_FILES_COUNT,
    show_default=True,
    help="With --load: how many each of them announces.",
)
@click.option(
    "--chaos",
    type=click.IntRange(0),
    metavar="SEED",
    help="Real processes are killed, stopped and started again, disks are full, files are damaged, seeders are lost, "
    "links are cut (with --link-rate), as this seed decides. Then everything is healed and verified.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, 24 * 60, min_open=True),
    default=0.5,
    show_default=True,
    help="With --chaos: how long faults occur before everything is healed.",
)
@click.pass_context
def command(ctx: click.Context, /, report_path: Path | None, **given: Any) -> int:
    """Start a tracker and some peers, give one of them a file, and have all others get it at the same moment. Or
    simulate that, to know before a rollout how long it takes. Or see how much a tracker can do."""
    mode = _mode_of(given)
    _check(ctx, mode, given)
    if report_path is not None:
        check_report_path(report_path)
    return run(_plan_of(mode, given), report_path)


def _mode_of(given: Mapping[str, Any]) -> str:
    wanted = {_SIMULATE: given["simulate"], _LOAD: given["clients"] is not None, _CHAOS: given["chaos"] is not None}
    chosen = [mode for mode, is_wanted in wanted.items() if is_wanted]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)}: choose one")
    return chosen[0] if chosen else _SWARM


def _check(ctx: click.Context, mode: str, given: Mapping[str, Any]) -> None:
    """Options that mean nothing in this ``mode``, or contradict each other, are refused."""
    for param in ctx.command.params:
        modes = _MODES.get(param.name or "", (mode,))
        if mode not in modes and ctx.get_parameter_source(param.name or "") is not ParameterSource.DEFAULT:
            where = f"not with {mode}" if mode != _SWARM else f"only with {' or '.join(modes)}"
            raise click.UsageError(f"{param.opts[0]}: {where}")
    peers, seeders = given["peers"], given["seeders"]
    if mode in (_SWARM, _CHAOS) and peers > PEERS_COUNT_MAX:
        raise click.UsageError(f"--peers {peers}: at most {PEERS_COUNT_MAX} run on one machine; more with --simulate")
    if seeders >= peers:
        raise click.UsageError(f"--seeders {seeders}: at least one of the {peers} peers has to get something")
    if given["file"] is not None and given["size"] is not None:
        raise click.UsageError("--file and --size: choose one")
    if given["kill_tracker"] and given["trackers"] == 1:
        raise click.UsageError("--kill-tracker: with --trackers 2, or more")
    if given["web"] and given["link_rate"] is not None:
        raise click.UsageError(
            "--web: not with --link-rate: the trackers are then in a network that no browser reaches"
        )


def _plan_of(mode: str, given: dict[str, Any]) -> AnyPlan:
    """What the options mean. Those that are not converted here have the names and types of the plan's fields."""
    rate, up_rates = given["link_rate"], given["up_rates"] or ()
    if given["size"] is None:
        given["size"] = parse_bytes(DEFAULT_CHAOS_SIZE if mode == _CHAOS else DEFAULT_SIZE)
    if mode == _LOAD:
        return msgspec.convert(given, LoadPlan)
    if mode == _SIMULATE:
        links = Links(parse_rate(DEFAULT_LINK_RATE) if rate is None else rate, up_rates)
        return msgspec.convert(given | {"links": links}, RolloutPlan)
    given["links"] = _real_links(rate, up_rates)
    if mode == _CHAOS:
        return msgspec.convert(given | {"seed": given["chaos"], "seconds": 60 * given["minutes"]}, ChaosRun)
    return msgspec.convert(given, Plan)


def _real_links(rate: float | None, up_rates: tuple[float, ...]) -> Links | None:
    """None: as fast as it goes."""
    if rate is None:
        if up_rates:
            raise click.UsageError("--up-rates: only with --link-rate or --simulate")
        return None
    check_real_rate(min([rate, *up_rates]))
    return Links(rate, up_rates)


def run(plan: AnyPlan, report_path: Path | None) -> int:
    """Run ``plan``, print its table and write its report; the exit code."""
    report: Report | LoadReport | ChaosReport
    try:
        with interruptible():
            with PlainScreen() if isinstance(plan, ChaosRun) else open_screen() as screen:
                match plan:
                    case LoadPlan():
                        report = run_load(plan, screen)
                    case ChaosRun():
                        report = run_chaos(plan, screen)
                    case RolloutPlan():
                        report = run_rollout(plan, screen)
                    case Plan():
                        report = run_cluster(plan, screen)
            _print(report)
            if report_path is not None:
                write_report(report_path, report)
    except Interrupted as stop:
        warn(f"{stop}; nothing was started" if isinstance(plan, RolloutPlan) else f"{stop}; all processes are ended")
        return stop.exit_code
    if report.ok:
        return 0
    return EXIT_LOAD_FAILED if isinstance(report, LoadReport) else EXIT_NOT_VERIFIED


def _print(report: Report | LoadReport | ChaosReport) -> None:
    if isinstance(report, ChaosReport):
        for line in verdict(report):
            print(line)
    else:
        print_report(render_load(report) if isinstance(report, LoadReport) else render(report))


def main(arguments: list[str]) -> int:
    """Run with ``arguments``; the exit code."""
    return run_command(command, "run_cluster.py", arguments)


if __name__ == "__main__":
    prepare_streams()
    sys.exit(main(sys.argv[1:]))
