"""The figures that the slides plot, read from the tables of PERFORMANCE.md. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from protocol.errors import UsageError

NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")

Table = list[list[str]]
"""Row by row, the one with the headings first. Cells are Markdown."""


class Spread(NamedTuple):
    """The last receiver's time over the bound: the least and the most that was measured, and the target."""

    swarm: str
    least: float
    most: float
    target: float


class Contender(NamedTuple):
    """MiB/s on each day, by what was copied."""

    name: str
    verifies: str
    rates: dict[str, list[float]]


class Verdicts(NamedTuple):
    """So many targets were met, so many missed."""

    met: int
    missed: int


def slow_links(performance: str) -> list[Spread]:
    """By number of receivers. Like all of these, raises `UsageError` when the section is not there."""
    found = []
    for swarm, target, measured, *_ in tables_of(section_of(performance, "Over slow links"))[0][1:]:
        least, most = numbers_of(measured)
        uplinks = "\nmixed uplinks" if "--up-rates" in swarm else ""
        found.append(Spread(f"{numbers_of(swarm)[0]:.0f} receivers{uplinks}", least, most, numbers_of(target)[0]))
    return found


def loopback(performance: str) -> list[Contender]:
    """This system first."""
    heading, *rows = tables_of(section_of(performance, "Against others, on loopback"))[1]
    return [
        Contender(
            re.split(r" \(|,", row[0])[0],
            row[-1],
            {what: numbers_of(cell) for what, cell in zip(heading[1:-1], row[1:-1], strict=True)},
        )
        for row in rows
    ]


def targets(performance: str) -> dict[str, Verdicts]:
    """By the title of the section, where a table ends with a column that says what became of each target."""
    titles = re.findall(r"^#+ (.+)$", performance, re.MULTILINE)
    found = {title: _verdicts(tables_of(section_of(performance, title))) for title in titles}
    return {title: verdicts for title, verdicts in found.items() if verdicts.met}


def _verdicts(tables: list[Table]) -> Verdicts:
    said = [word for table in tables for row in table[1:] for word in re.findall(r"\b(?:met|missed)\b", row[-1])]
    return Verdicts(said.count("met"), said.count("missed"))


def section_of(document: str, title: str) -> str:
    """What is under the heading ``title``, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", document, re.DOTALL | re.MULTILINE)
    if found is None:
        raise UsageError(f'no section "{title}"')
    return found[1]


def tables_of(text: str) -> list[Table]:
    found = re.findall(r"^(\|.*\n)\|[-|]+\|\n((?:\|.*(?:\n|\Z))+)", text, re.MULTILINE)
    return [[_cells(line) for line in (heading + rows).splitlines()] for heading, rows in found]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def numbers_of(text: str) -> list[float]:
    """In the order in which they are written: "1.13 to 1.39, missed" gives 1.13 and 1.39."""
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]
