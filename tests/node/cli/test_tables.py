"""Tables: what is aligned, what is shortened, and that no name makes the rest unreadable."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from node.cli.tables import Rows, table_blocks, wrapped

HEADERS = ["NAME", ">SIZE", "DIGEST"]


def table_lines(headers: Sequence[str], rows: Rows, width: int | None) -> list[str]:
    return [line for block in table_blocks(headers, rows, width) for line in block]


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


def test_of_a_path_the_end_is_kept() -> None:
    rows = [["a.bin", "/data/models/模型/a.bin", "served"]]
    assert table_lines(["NAME", "<PATH", "=STATE"], rows, 25)[1] == "a.bin  …型/a.bin   served"


def test_spare_columns_go_before_others_are_cut_to_nothing() -> None:
    headers = ["NAME", ">SIZE", ">HAVE", ">PARTLY", ">WANTED", "=DIGEST"]
    rows = [["a-long-name.bin", "100.0 MiB", "1", "2", "3", "blake3:0123456789ab"]]
    assert table_lines(headers, rows, 40)[1] == "a-long-name.bin  blake3:0123456789ab"
    assert table_lines(headers, rows, 80)[0].split() == ["NAME", "SIZE", "HAVE", "PARTLY", "WANTED", "DIGEST"]


def test_a_detail_that_does_not_fit_has_lines_of_its_own() -> None:
    headers = ["=JOB", "WHAT", ">SIZE", "~DETAIL"]
    rows = [["get", "m.bin", "1 B", "nobody in the network has pieces 4 and 5"], ["get", "n.bin", "1 B", "short"]]
    assert table_lines(headers, rows, None)[1] == "get  m.bin   1 B  nobody in the network has pieces 4 and 5"
    assert table_lines(headers, rows, 58)[1] == "get  m.bin   1 B  nobody in the network has pieces 4 and 5"
    assert table_lines(headers, rows, 30) == [
        "JOB  WHAT   SIZE",
        "get  m.bin   1 B",
        "  nobody in the network has",
        "  pieces 4 and 5",
        "get  n.bin   1 B  short",
    ]


@given(st.text("ab 模型", max_size=60), st.integers(2, 20))
def test_nothing_is_lost_when_a_text_is_wrapped(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(0 < cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.tuples(st.text(max_size=40), st.text("0123456789", max_size=9), st.text(max_size=40))), st.data())
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, str]], data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 90))
    lines = table_lines(HEADERS, rows, width)
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= width for line in lines)
