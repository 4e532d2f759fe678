"""The slides: their figures are those of the documents, their pictures exist, and all of it fits."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from benchmarks import slide_figures
from benchmarks.slide_figures import NUMBER, Verdicts, numbers_of, section_of, tables_of
from benchmarks.slide_plots import PLOTS
from benchmarks.slides import SLIDES, command
from protocol.errors import UsageError
from tests.web.browser import browser

ROOT = Path(__file__).parents[2]
DECK = (SLIDES / "deck.md").read_text(encoding="utf-8")
BLOCK = re.DOTALL | re.MULTILINE
FENCED = r"^```\n(.*?)^```$"
SOURCE = r"^::: source\n(.*?)^:::$"
NAMES = {"README.md": ROOT / "README.md", **{path.name: path for path in (ROOT / "docs").glob("*.md")}}


class Slide(NamedTuple):
    title: str
    text: str

    def numbers(self) -> set[str]:
        """Those that the audience reads, but for code, pictures and sources."""
        text = re.sub(FENCED + "|" + SOURCE, "", self.text, flags=BLOCK)
        return set(NUMBER.findall(self.title + re.sub(r"!\[.*|\{.*?\}", "", text)))

    def sources(self) -> list[tuple[str, str]]:
        """The documents and sections it names."""
        return re.findall(r'(\w+\.md), "(.+?)"', "".join(re.findall(SOURCE, self.text, BLOCK)))


def slides() -> list[Slide]:
    body = DECK.partition("\n---\n")[2]
    # A comment in a code block would pass for a slide.
    body = re.sub(FENCED, lambda block: block[0].replace("\n# ", "\n # "), body, flags=BLOCK)
    return [Slide(*found) for found in re.findall(r"^# ([^\n{]*[^\n{ ])[^\n]*\n(.*?)(?=^# |\Z)", body, BLOCK)]


@pytest.mark.parametrize("slide", slides(), ids=lambda slide: slide.title)
def test_figures_are_in_the_sections_that_a_slide_names(slide: Slide) -> None:
    sections = [section_of(NAMES[name].read_text(encoding="utf-8"), title) for name, title in slide.sources()]
    written = {number for section in sections for number in NUMBER.findall(section)}
    assert slide.numbers() - written == set()


def test_code_is_that_of_the_documents() -> None:
    documents = "\n".join(path.read_text(encoding="utf-8") for path in NAMES.values())
    lines = [line for block in re.findall(FENCED, DECK, BLOCK) for line in block.splitlines()]
    assert lines
    assert [line for line in lines if line not in documents] == []


def test_pictures_exist_or_are_plots() -> None:
    named = re.findall(r"!\[[^]]+\]\(([^)]+)\)", DECK)
    assert len(named) == DECK.count("![")
    assert [name for name in named if name not in PLOTS and not (SLIDES / name).exists()] == []
    drawn = {path.name for path in SLIDES.glob("*.svg")}
    assert drawn | PLOTS.keys() <= set(named)


def test_figures_are_read_from_tables() -> None:
    document = (
        "# One\n\n| a | b |\n|---|---|\n| 1,024 | met / missed |\n| 1.13 to 1.39, missed | met |\n\n## Two\n\nx\n"
    )
    tables = tables_of(section_of(document, "One"))
    assert tables == [[["a", "b"], ["1,024", "met / missed"], ["1.13 to 1.39, missed", "met"]]]
    assert [numbers_of(row[0]) for row in tables[0]] == [[], [1024.0], [1.13, 1.39]]
    assert slide_figures.targets(document) == {"One": Verdicts(met=2, missed=1)}
    assert section_of(document, "Two").strip() == "x"
    with pytest.raises(UsageError, match='no section "Three"'):
        section_of(document, "Three")


def test_performance_has_the_tables_of_the_plots() -> None:
    performance = NAMES["PERFORMANCE.md"].read_text(encoding="utf-8")
    spreads = slide_figures.slow_links(performance)
    assert len({spread.swarm for spread in spreads}) == len(spreads) > 1
    assert all(spread.target > 1 and 1 < spread.least <= spread.most for spread in spreads)
    contenders = slide_figures.loopback(performance)
    assert contenders[0].name == "zswarm"
    assert {(len(one.rates), all(one.rates.values()), bool(one.verifies)) for one in contenders} == {(2, True, True)}
    assert sum(verdicts.missed for verdicts in slide_figures.targets(performance).values()) > 0


def test_slides_are_one_file_in_which_everything_fits(tmp_path: Path) -> None:
    for name in ("matplotlib", "pypandoc"):
        if not importlib.util.find_spec(name):
            pytest.skip(f"needs requirements-slides.txt: there is no {name}")
    output = tmp_path / "new" / "slides.html"
    done = CliRunner().invoke(command, ["--output", str(output)], catch_exceptions=False)
    assert done.exit_code == 0
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"|url\(["\']?http', output.read_text(encoding="utf-8")) == []
    with browser(tmp_path, 1600, 900) as page:
        page.open(output.as_uri())
        assert page.run("return document.querySelectorAll('section').length") == len(slides())
        assert page.run(TOO_LARGE) == []


TOO_LARGE = """
const parts = 'h1, p, li, td, pre, code, img';
return [...document.querySelectorAll('section')].flatMap(slide => {
  const whole = slide.getBoundingClientRect(), source = slide.querySelector('.source');
  const right = whole.right - 79, bottom = source ? source.getBoundingClientRect().top : whole.bottom - 26;
  const sticksOut = part => {
    const box = part.getBoundingClientRect();
    return box.right > right || box.bottom > bottom || (part.clientWidth && part.scrollWidth > part.clientWidth + 1);
  };
  const found = [...slide.querySelectorAll(parts)].filter(part => !source?.contains(part) && sticksOut(part));
  return found.map(part => `${slide.id}: ${part.tagName} ${part.textContent.slice(0, 40)}`);
});
"""
"""What sticks out of a slide, or reaches down to its sources."""
