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

PLAIN_COLUMNS = 200
"""Width when the output is no terminal: nothing is cut or wrapped."""


def new_table(*headers: str) -> Table:
    """A borderless table; a header that starts with ``>`` is right-aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", no_wrap=True)
    return table


def targets_table(rows: Iterable[Row]) -> Table:
    """What was asked, and what was measured."""
    table = new_table("TARGET", ">LIMIT", ">MEASURED", "")
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
