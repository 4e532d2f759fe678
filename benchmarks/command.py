"""A benchmark as a command: what goes wrong is one sentence and an exit code, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from cluster.interrupts import Interrupted, interruptible
from protocol.errors import ZswarmError
from service.command_line import parsed_by
from service.units import parse_bytes

SHM = Path("/dev/shm")
work_option = click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    default=lambda: SHM if SHM.is_dir() else None,
    help="Where all files go.  [default: /dev/shm where there is one]",
)
report_option = click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The figures, as JSON."
)
plot_option = click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="A picture, as PNG."
)


def run_command(command: click.Command, module: str, arguments: Sequence[str]) -> int:
    """Run ``command``, that of ``python -m module``, with ``arguments``; the exit code."""
    try:
        # Not by ``main``, which makes an `Abort` of any Ctrl-C.
        with interruptible(), command.make_context(f"python -m {module}", list(arguments)) as context:
            command.invoke(context)
    except click.exceptions.Exit as done:  # --help
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ZswarmError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except Interrupted as error:
        click.echo(f"{error}; all processes are ended", err=True)
        return error.exit_code
    return 0


def size_option(name: str, default: str, help: str) -> Callable[[Any], Any]:
    """An option that takes a size as people write it, such as 256MiB, and gives bytes."""
    return click.option(
        name, callback=parsed_by(parse_bytes), default=default, show_default=True, metavar="SIZE", help=help
    )
