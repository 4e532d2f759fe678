"""Shared folders: pictures of what is seen from scan to scan."""

from __future__ import annotations

import pytest

from node.agent.folders import AWAY, Back, Change, FolderWatch, Found, Gone, Listing, Missing, Unreadable

HERE, ELSEWHERE = (1, 2), (1, 3)
"""What tells one folder at a path from another."""


def scan(
    watch: FolderWatch, picture: str, unknown: dict[str, str] | None = None, folder: tuple[int, int] | None = HERE
) -> list[Change]:
    """One scan. ``a1 b7`` are the entries /f/a and /f/b, which look like 1 and 7; 0 is an empty directory. ``folder``
    is what /f is, None when it is not there."""
    entries = {f"/f/{word[0]}": word[1:].encode() for word in picture.split()}
    hollow = tuple(path for path, mark in entries.items() if mark == b"0")
    folders = {"/f": folder} if folder is not None else {}
    return watch.compare(Listing(entries, unknown or {}, (), folders, hollow), 0.0, 0.0)


def in_short(changes: list[Change]) -> str:
    """``+a1`` found, ``-a`` gone, ``?a`` missing, ``!a`` back."""
    words = []
    for change in changes:
        assert not isinstance(change, Unreadable)
        name = change.path.removeprefix("/f/")
        if isinstance(change, Found):
            words.append(f"+{name}{change.fingerprint.decode()}")
        else:
            words.append(f"{ {Gone: '-', Missing: '?', Back: '!'}[type(change)] }{name}")
    return " ".join(words)


def story(*scans: str) -> list[str]:
    """What is said after each scan."""
    watch = FolderWatch(1)
    return [in_short(scan(watch, picture)) for picture in scans]


@pytest.mark.parametrize(
    ("scans", "said"),
    [
        (["a1", "a1", "a1"], ["", "+a1", ""]),
        (["a1", "a2", "a3", "a3", "a3"], ["", "", "", "+a3", ""]),
        (["a1 b1", "a1 b1", "a1"], ["", "+a1 +b1", "-b"]),
        (["a1", "a1", "a2", "a2", "a2"], ["", "+a1", "", "+a2", ""]),
        (["a1", "a1", "a2", "a3", "a3"], ["", "+a1", "", "", "+a3"]),
        (["a1", "a1", "a2", ""], ["", "+a1", "", "-a"]),
        (["a1", "a1", "", "a1", "a1"], ["", "+a1", "-a", "", "+a1"]),
        (["a1", "", "a1", "a1"], ["", "", "", "+a1"]),
        (["", "b1 a1", "a1 b1"], ["", "", "+a1 +b1"]),
        (["a1", "a1", "a2", "a1", "a1"], ["", "+a1", "", "", "+a1"]),
        (["a1", "a1", "b1", "b1"], ["", "+a1", "-a", "+b1"]),
        (["a1", "a1", "a0", "a0", "a1"], ["", "+a1", "?a", "", "!a"]),
        (["a0", "a0", "a0"], ["", "+a0", ""]),
    ],
)
def test_shared_when_at_rest_and_again_on_change(scans: list[str], said: list[str]) -> None:
    assert story(*scans) == said


def test_what_the_library_has_is_not_found_again() -> None:
    watch = FolderWatch(1)
    for name in "abc":
        watch.adopt(f"/f/{name}", b"1")
    assert in_short(scan(watch, "a1 b2")) == "-c", "deleted while nobody looked"
    assert in_short(scan(watch, "a1 b2")) == "+b2"


@pytest.mark.parametrize("away", [None, ELSEWHERE], ids=["no folder", "another folder in its place"])
def test_what_is_on_a_disk_that_is_away_is_missing_and_comes_back(away: tuple[int, int] | None) -> None:
    watch = FolderWatch(1)
    scan(watch, "a1 b1")
    scan(watch, "a1 b1")
    assert in_short(scan(watch, "", folder=away)) == "?a ?b"
    assert scan(watch, "", folder=away) == []
    assert in_short(scan(watch, "a1 b2", folder=ELSEWHERE)) == "!a"
    assert in_short(scan(watch, "a1 b2", folder=ELSEWHERE)) == "+b2"
    assert in_short(scan(watch, "a1", folder=ELSEWHERE)) == "-b"


def test_a_folder_that_holds_nothing_of_it_at_the_start_may_be_a_mount_point() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/a", b"1")
    assert in_short(scan(watch, "")) == "?a"
    assert in_short(scan(watch, "a1", folder=ELSEWHERE)) == "!a"


def test_what_lies_in_no_shared_folder_is_never_taken_for_deleted() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/a", b"1")
    assert scan(watch, "a1", folder=None) == []
    assert in_short(scan(watch, "", folder=None)) == "?a"
    assert in_short(scan(watch, "a1", folder=None)) == "!a"


def test_what_was_missing_at_the_start_is_looked_for() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/a", b"1", missing=True)
    assert scan(watch, "", folder=None) == []
    assert in_short(scan(watch, "a1", folder=None)) == "!a"


def test_what_is_not_known_as_anything_is_found_once_at_rest() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/a", b"")
    assert scan(watch, "a1") == []
    assert in_short(scan(watch, "a1")) == "+a1"


def test_finished_download_is_adopted_between_two_scans() -> None:
    watch = FolderWatch(1)
    scan(watch, "a1")
    watch.adopt("/f/a", b"1")
    assert scan(watch, "a1") == []


def test_forgotten_is_nobodys_concern() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/a", b"1")
    watch.forget("/f/a")
    assert scan(watch, "", folder=None) == []
    assert watch.paths == []


def test_what_cannot_be_shared_is_tried_again_when_it_changed_and_otherwise_ever_less_often() -> None:
    watch = FolderWatch(1)

    def tries(picture: str, *moments: float) -> list[float]:
        """At which of ``moments`` it is found; each time it fails."""
        found = []
        for now in moments:
            for change in watch.compare(Listing({"/f/a": picture.encode()}), now, now):
                assert change == Found("/f/a", picture.encode())
                watch.failed("/f/a", now)
                found.append(now)
        return found

    assert tries("1", *range(60)) == [1, 11, 31]
    assert tries("2", *range(60, 80)) == [61, 71]
    watch.compare(Listing({}), 80, 80)
    assert tries("2", 81, 82) == [82]


def test_a_share_that_is_not_there_is_said_once() -> None:
    watch = FolderWatch(1)
    scan(watch, "a1")
    scan(watch, "a1")
    away = Listing({}, missing=("/f",))
    missing = Unreadable("/f", "there is no such file or directory")
    assert watch.compare(away, 0.0, 0.0) == [missing, Missing("/f/a", AWAY)]
    assert watch.compare(away, 0.0, 0.0) == []
    scan(watch, "")
    assert watch.compare(away, 0.0, 0.0) == [missing]


def test_what_could_not_be_seen_stays_as_it_was() -> None:
    watch = FolderWatch(1)
    scan(watch, "a1 b1")
    scan(watch, "a1 b1")
    assert scan(watch, "", {"/f": "no"}) == [Unreadable("/f", "no")]
    assert scan(watch, "b1", {"/f/a": ""}) == []
    assert in_short(scan(watch, "b1")) == "-a"


def test_prefix_of_a_name_is_no_folder() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/ab", b"1")
    watch.adopt("/f/b", b"1")
    assert scan(watch, "b1", {"/f/a": ""}) == [Gone("/f/ab")]


def test_unreadable_is_said_once_for_each_reason() -> None:
    watch = FolderWatch(1)
    said = [scan(watch, "", unknown) for unknown in ({"/g": "x"}, {"/g": "x"}, {"/g": "y"}, {}, {"/g": "y"})]
    assert said == [[Unreadable("/g", "x")], [], [Unreadable("/g", "y")], [], [Unreadable("/g", "y")]]


def test_schedule() -> None:
    watch = FolderWatch(2)
    assert watch.next_deadline() <= 0
    watch.compare(Listing({}), 100.0, 100.1)
    assert watch.next_deadline() == 102.0
    watch.compare(Listing({}), 102.0, 103.0)
    assert watch.next_deadline() == 113.0
