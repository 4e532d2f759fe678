"""How benchmarks talk: results as tables on standard output, what they are doing on standard error."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable

import click
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import Row
from cluster.table import plain_table

PLAIN_COLUMNS = 200
"""Width when the output is no terminal: nothing is cut or wrapped."""


def targets_table(rows: Iterable[Row]) -> Table:
    """What was asked, and what was measured."""
    table = plain_table("TARGET", ">LIMIT", ">MEASURED", "")
    for row in rows:
        limit = f"{'>=' if row.at_least else '<='} {row.limit:.2f}"
        table.add_row(row.text, limit, f"{row.value:.2f}", "met" if row.met else "MISSED")
    return table


def as_text(table: Table, columns: int | None) -> str:
    """As it is printed; ``columns`` None: as wide as the terminal."""
    console = Console(highlight=False, markup=False, emoji=False, width=columns)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def show(table: Table) -> None:
    """Print it, if there is anything in it."""
    if table.row_count:
        click.echo(as_text(table, None if sys.stdout.isatty() else PLAIN_COLUMNS) + "\n")


def say(line: str) -> None:
    """A line of the results, wrapped where the terminal is narrower."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else PLAIN_COLUMNS
    click.echo(textwrap.fill(line, columns, subsequent_indent="  "))


def tell(line: str) -> None:
    """What is done now, or was."""
    click.echo(line, err=True)
