"""What the commands that run real processes share: where their files go, on what machine they ran, how they end."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct

from cluster.interrupts import Interrupted, interruptible, shielded
from protocol.errors import ZswarmError

SHM = Path("/dev/shm")
work_option = click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where all files go.  [default: /dev/shm where there is one]",
)
report_option = click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The figures, as JSON."
)
plot_option = click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="A picture, as PNG."
)


class Machine(Struct, frozen=True):
    """``work``: where all files lay, and on what file system."""

    cores: int
    machine: str
    python: str
    work: str
    file_system: str


@contextmanager
def work_directory(work: Path | None, name: str) -> Iterator[Path]:
    """A directory in ``work`` that is removed in the end with all there is in it."""
    with shielded():
        directory = Path(tempfile.mkdtemp(prefix=f"zswarm-{name}-", dir=work or (SHM if SHM.is_dir() else None)))
    try:
        yield directory
    finally:
        with shielded():
            shutil.rmtree(directory)


def machine_of(directory: Path) -> Machine:
    """This machine, with its files in ``directory``."""
    return Machine(
        cores=os.cpu_count() or 1,
        machine=platform.machine(),
        python=platform.python_version(),
        work=str(directory.parent),
        file_system=_file_system(directory),
    )


def run(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """Run ``command`` as ``python -m name`` with ``arguments``; the exit code."""
    try:
        with interruptible():
            command.main(list(arguments), prog_name=f"python -m {name}", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ZswarmError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.Abort as error:  # what click makes of an interrupt
        interrupted = error.__cause__
        click.echo(f"{interrupted}; all processes are ended", err=True)
        return interrupted.exit_code if isinstance(interrupted, Interrupted) else 1
    return 0


def _file_system(path: Path) -> str:
    """Its type, by the longest mount point above ``path``."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(len(mount), kind) for _, mount, kind, *_ in mounts if path.is_relative_to(mount)]
    return max(above)[1] if above else "unknown"
