"""Tables: what is aligned, what is shortened, and that no name makes the rest unreadable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from node.cli.tables import table_lines

HEADERS = ["NAME", ">SIZE", "DIGEST"]


def test_columns_are_aligned_and_nothing_is_cut_without_a_width() -> None:
    rows = [["a", "1 B", "blake3:0123456789ab"], ["x" * 30, "100.0 MiB", ""]]
    assert table_lines(HEADERS, rows, None) == [
        "NAME                                 SIZE  DIGEST",
        "a                                     1 B  blake3:0123456789ab",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  100.0 MiB",
    ]


def test_a_long_name_gives_way_to_numbers_and_digests() -> None:
    rows = [["x" * 255, "100.0 MiB", "blake3:0123456789ab"], ["日本" * 60, "1 B", "blake3:0123456789ab"]]
    assert table_lines(HEADERS, rows, 50) == [
        "NAME                     SIZE  DIGEST",
        "xxxxxxxxxxxxxxxxx…  100.0 MiB  blake3:0123456789ab",
        "日本日本日本日本…         1 B  blake3:0123456789ab",
    ]


def test_two_long_texts_are_shortened_alike() -> None:
    (_, row) = table_lines(["NAME", ">N", "PATH"], [["n" * 90, "1", "p" * 70]], 45)
    assert row == f"{'n' * 19}…  1  {'p' * 19}…"


@given(st.lists(st.tuples(st.text(max_size=40), st.text("0123456789", max_size=9), st.text(max_size=40))), st.data())
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, str]], data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 90))
    lines = table_lines(HEADERS, rows, width)
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= width for line in lines)
