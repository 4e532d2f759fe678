"""Which names may reach a file system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import SeedError
from protocol.names import check_distinct, check_name, check_name_pattern, check_path, path_problems

WRONG_NAMES = {
    "": "is empty",
    ".": "points elsewhere",
    "..": "points elsewhere",
    "a/b": "separator",
    "a\\b": "Windows cannot store",
    "a:b": "Windows cannot store",
    "<x>": "Windows cannot store",
    "q?": "Windows cannot store",
    'a"*|': "Windows cannot store",
    "/etc": "separator",
    "a\0b": "NUL",
    "a\nb": "control character",
    "a\x1b[2J": "control character",
    "a\x7f": "control character",
    "a\x85b": "control character",
    "a\u2028b": "control character",
    "a\udc80": "not valid Unicode",
    "a.": "ends in a dot or a space",
    "a ": "ends in a dot or a space",
    "...": "ends in a dot or a space",
    "nul": "reserved",
    "Con.txt": "reserved",
    "COM1": "reserved",
    "lpt\u00b2.tar.gz": "reserved",
    "AUX .c": "reserved",
    "x" * 256: "over 255 bytes",
    "ä" * 128: "over 255 bytes",
    "x" * 10_000_000: "over 255 bytes",
}
RIGHT_NAMES = [
    "a",
    "x" * 255,
    "ä" * 127,
    ".hidden",
    "..a",
    "a..b",
    " a",
    "auxiliary",
    "COM0",
    "com10",
    "日本語.txt",
    "🙂",
]


@pytest.mark.parametrize(("name", "why"), WRONG_NAMES.items(), ids=[ascii(name[:12]) for name in WRONG_NAMES])
def test_wrong_name_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(SeedError, match=why) as caught:
        check_name(name)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1_000


@pytest.mark.parametrize("name", RIGHT_NAMES)
def test_right_name_is_returned(name: str) -> None:
    assert check_name(name) is name
    assert check_path(f"in/{name}") == f"in/{name}"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/etc/passwd", "is absolute"),
        ("//server/share", "is absolute"),
        ("", "is empty"),
        ("a//b", "is empty"),
        ("a/", "is empty"),
        ("../a", "points elsewhere"),
        ("a/../../b", "points elsewhere"),
        ("./a", "points elsewhere"),
        ("C:\\a", "Windows cannot store"),
        ("a/nul/b", "reserved"),
        ("a/b\0", "NUL"),
        ("a./b", "ends in a dot"),
        ("a/" + "x" * 256, "over 255 bytes"),
        ("/".join(["x" * 200] * 16), "over 3072 bytes"),
        ("/".join(["ä" * 100] * 16), "over 3072 bytes"),
    ],
)
def test_wrong_path_is_refused_with_the_reason(path: str, why: str) -> None:
    with pytest.raises(SeedError, match=why):
        check_path(path)


NEVER = ["", ".", "..", "a\0b", "a\udc80", "x" * 256]
POSIX_ALONE = ["a\\b", "a\nb", "a\x1b[2J", "a.", "a ", "...", "nul", "Con.txt", "a:b", "<x>", "q?", "a\u2028b"]


@pytest.mark.parametrize("name", POSIX_ALONE)
def test_what_only_posix_systems_can_store_is_a_path_where_that_is_said(name: str) -> None:
    assert check_path(f"in/{name}", posix_names=True) == f"in/{name}"
    with pytest.raises(SeedError):
        check_path(f"in/{name}")


@pytest.mark.parametrize("path", [*(f"in/{name}" for name in NEVER), "/etc", "a//b", "x/" * 1_600 + "x"])
def test_what_no_system_can_store_is_never_a_path(path: str) -> None:
    with pytest.raises(SeedError):
        check_path(path, posix_names=True)


def test_paths_that_differ_in_case_stand_side_by_side_where_that_is_said() -> None:
    check_distinct(["a", "A", "\u00e9", "e\u0301"], posix_names=True)
    for paths in (["a", "a"], ["a", "a/b"]):
        with pytest.raises(SeedError):
            check_distinct(paths, posix_names=True)


def test_all_problems_of_a_tree_are_found() -> None:
    paths = ["fine", "a:b", "Fine", "sub/q?", "nul", "x", "X/y"]
    found = list(path_problems(paths))
    assert [problem.split()[1].strip(":") for problem in found] == ["'a:b'", "'sub/q?'", "'nul'", "'fine'", "'X/y'"]
    assert list(path_problems(paths, posix_names=True)) == []


def assert_posix_path_stays_inside(text: str) -> None:
    try:
        check_path(text, posix_names=True)
    except SeedError:
        return
    pure = PurePosixPath(text)
    assert not pure.is_absolute()
    assert ".." not in pure.parts
    assert str(pure) == text


@given(st.text(st.sampled_from("./\\aC: \0~"), max_size=12) | st.text(max_size=12))
def test_a_path_that_passes_stays_inside_its_destination(text: str) -> None:
    try:
        check_path(text)
    except SeedError:
        assert_posix_path_stays_inside(text)
        return
    for pure in (PurePosixPath(text), PureWindowsPath(f"x/{text}")):
        assert not pure.is_absolute()
        assert ".." not in pure.parts
    assert len(PurePosixPath(text).parts) == text.count("/") + 1


PARTS = [name for name in (*WRONG_NAMES, *RIGHT_NAMES) if len(name) < 300]
PARTS += ["con-", "a_1", "prn.x", "-", "com1a", "x" * 254]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4))
def test_a_path_is_right_when_all_its_names_are(parts: list[str]) -> None:
    """Whatever way that is found out for plain ones."""

    def is_right(check: Callable[[str], str], text: str) -> bool:
        try:
            return check(text) == text
        except SeedError:
            return False

    names = "/".join(parts).split("/")
    assert is_right(check_path, "/".join(parts)) == all(is_right(check_name, name) for name in names)


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (["a", "b", "a"], "is there twice"),
        (["a", "A"], "in two spellings"),
        (["Dir/file", "dir/FILE"], "in two spellings"),
        (["\u00e9", "e\u0301"], "in two spellings"),
        (["straße", "STRASSE"], "in two spellings"),
        (["a", "a/b"], "lies inside 'a'"),
        (["a/b/c", "a.x", "a", "a-b"], "lies inside 'a'"),
        (["A", "a/b"], "lies inside 'A'"),
    ],
)
def test_paths_that_cannot_stand_side_by_side(paths: list[str], why: str) -> None:
    with pytest.raises(SeedError, match=why):
        check_distinct(paths)


def test_paths_that_can() -> None:
    check_distinct([])
    check_distinct(["a/b", "a/c", "A/d", "ab", "a-b", "a.b/c", "a\u0301", "b"])


@given(st.lists(st.text(st.sampled_from("ab/-A"), min_size=1, max_size=6), max_size=6))
def test_distinct_is_what_comparing_each_pair_says(paths: list[str]) -> None:
    keys = [tuple(path.lower().split("/")) for path in paths]
    pairs = [(one, other) for i, one in enumerate(keys) for j, other in enumerate(keys) if i != j]
    if any(other[: len(one)] == one for one, other in pairs):
        with pytest.raises(SeedError):
            check_distinct(paths)
    else:
        check_distinct(paths)


@pytest.mark.parametrize("name", [".model.bin.part", ".x.part", ".x.PART", ".model-0123.part", "..part.part"])
def test_content_cannot_be_called_like_a_download_under_way_but_a_part_of_it_can(name: str) -> None:
    with pytest.raises(SeedError, match="downloads in progress"):
        check_name(name)
    assert check_path(f"tree/{name}") == f"tree/{name}"


@pytest.mark.parametrize("name", [".part", "x.part", ".x.parts", ".x"])
def test_names_that_only_resemble_one_are_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("pattern", ["m.bin", "*", "?", "**", "[a-c]*.b[!x]n", "index-????", "x[*", "COM?x"])
def test_a_pattern_that_some_name_matches(pattern: str) -> None:
    assert check_name_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a/b", "contains a path separator"),
        ("a/*", "contains a path separator"),
        ("", "is empty"),
        ("..", "points elsewhere"),
        ("*.", "ends in a dot"),
        ("a\\*", "Windows cannot store"),
        (".*.part", "reserved for downloads"),
        ("NUL.*", "reserved by Windows"),
        ("con", "reserved by Windows"),
    ],
)
def test_a_pattern_that_no_name_matches_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(SeedError, match=why):
        check_name_pattern(pattern)
