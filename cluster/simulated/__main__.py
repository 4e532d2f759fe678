"""``python -m cluster.simulated``: worlds with faults, one seed each, many at once. Only the command line."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cluster.simulated.faults import Level
from cluster.simulated.scenario import Outcome
from cluster.simulated.soak import outcomes, run_quietly

LEVELS = ("none", "light", "heavy")
SHOWN_FAILURES = 5
"""Of many failures these are shown in full: the others are probably the same."""
SEEDS_COUNT_MAX = 10_000_000
EPILOG = """\b
Examples:
  python -m cluster.simulated --seeds 0..1000
  python -m cluster.simulated --seed 1234 --faults heavy

Exit code 0 only when nothing broke in any world.
"""


class _Range(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """``A..B``: A up to, and without, B."""

    name = "A..B"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> range:
        found = re.fullmatch(r"(\d+)\.\.(\d+)", str(value))
        if found is None or int(found[1]) >= int(found[2]):
            self.fail(f"{value!r} is no range of seeds; expected something like 0..1000", param, ctx)
        if int(found[2]) - int(found[1]) > SEEDS_COUNT_MAX:
            self.fail(f"{value}: at most {SEEDS_COUNT_MAX:,} at a time", param, ctx)
        return range(int(found[1]), int(found[2]))


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--seeds", type=_Range(), help="Run these, in worker processes.")
@click.option("--seed", type=click.IntRange(0), help="Run this one, and say what happened.")
@click.option("--faults", type=click.Choice(LEVELS), default="heavy", show_default=True, help="How much goes wrong.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, help="Worker processes.")
def command(seeds: range | None, seed: int | None, faults: str, jobs: int) -> int:
    """Simulated swarms in which everything goes wrong that can: nothing wrong may ever be served or published, and
    everybody must get what it wants once all is healed."""
    if (seeds is None) == (seed is None):
        raise click.UsageError("either --seeds A..B or --seed K")
    level = cast(Level, faults)
    if seed is not None:
        outcome = run_quietly(seed, level)
        _show(outcome)
        return 1 if outcome.error else 0
    assert seeds is not None
    return _run_many(seeds, level, jobs)


def _run_many(seeds: range, level: Level, jobs: int) -> int:
    began = time.monotonic()
    broken: list[Outcome] = []
    events = 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        bar = progress.add_task(f"{level} faults", total=len(seeds))
        for outcome in outcomes(seeds, level, jobs):
            progress.advance(bar)
            events += outcome.events
            if outcome.error:
                broken.append(outcome)
                progress.update(bar, description=f"{level} faults, {len(broken)} broken")
                if len(broken) <= SHOWN_FAILURES:
                    progress.stop()
                    _show(outcome)
                    progress.start()
                else:
                    click.echo(f"seed {outcome.seed}: {outcome.error}; {_replay(outcome)}")
    seconds = time.monotonic() - began
    rate = f"{events:,} events in {seconds:.0f} s by {jobs} processes"
    click.echo(f"{len(seeds) - len(broken)} of {len(seeds)} worlds held with {level} faults: {rate}")
    return 1 if broken else 0


def _show(outcome: Outcome) -> None:
    click.echo(f"seed {outcome.seed}: {outcome.setting}")
    click.echo(f"  faults a second: {outcome.plan}")
    if not outcome.error:
        click.echo(f"  held for {outcome.seconds:.1f} s, {outcome.events:,} events, digest {outcome.digest}")
        return
    for line in outcome.last:
        click.echo(f"  {line}")
    click.echo(f"  BROKEN after {outcome.seconds:.3f} s: {outcome.error}")
    click.echo(f"  to see it again: {_replay(outcome)}")


def _replay(outcome: Outcome) -> str:
    return f"python -m cluster.simulated --seed {outcome.seed} --faults {outcome.level}"


def main(arguments: list[str]) -> int:
    """Run with ``arguments``; the exit code."""
    try:
        return int(command.main(arguments, prog_name="python -m cluster.simulated", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
