"""``python -m benchmarks.slides``: the slides of `docs/slides` as one HTML file, which needs nothing else.

Owns the command line, and what pandoc is given. The plots are `slide_plots`'s.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.command import run_command
from benchmarks.output import tell
from benchmarks.slide_plots import draw_all
from protocol.errors import DiskError, UsageError, ZswarmError

DOCS = Path(__file__).parents[1] / "docs"
SLIDES = DOCS / "slides"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("build/slides.html"),
    show_default=True,
    help="The slides, as HTML.",
)
def command(output: Path) -> None:
    """Make the slides: plots from docs/PERFORMANCE.md, then docs/slides/deck.md with its pictures into one file."""
    missing = [name for name in ("matplotlib", "pypandoc") if not importlib.util.find_spec(name)]
    if missing:
        raise UsageError(f"needs {' and '.join(missing)}: python -m pip install -r requirements-slides.txt")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="zswarm-slides-") as plots:
            draw_all((DOCS / "PERFORMANCE.md").read_text(encoding="utf-8"), Path(plots))
            make_html(output, Path(plots))
    except OSError as error:
        raise DiskError(f"{error.filename or output}: {error.strerror or error}") from error
    tell(f"{output}: open it in a browser; arrow keys, f for full screen, o for all slides")


def make_html(output: Path, plots: Path) -> None:
    """Raises `ZswarmError` with pandoc's words, also for a picture that is not there."""
    pandoc = importlib.import_module("pypandoc")
    options = [
        "--standalone",
        "--embed-resources",
        "--fail-if-warnings",
        f"--css={SLIDES / 'deck.css'}",
        f"--resource-path={SLIDES}:{plots}",
    ]
    try:
        pandoc.convert_file(str(SLIDES / "deck.md"), "dzslides", "markdown", options, outputfile=str(output))
    except RuntimeError as error:
        raise ZswarmError(str(error)) from error


if __name__ == "__main__":
    sys.exit(run_command(command, "benchmarks.slides", sys.argv[1:]))
