"""Shared folders: pictures of what is seen from scan to scan."""

from __future__ import annotations

import pytest

from node.agent.folders import Change, FolderWatch, Found, Gone, LeftOut, Listing, Unreadable
from node.disk.share_options import Skipped


def scan(watch: FolderWatch, picture: str, unknown: dict[str, str] | None = None) -> list[Change]:
    """One scan. ``a1 b7`` are the entries /f/a and /f/b, which look like 1 and 7."""
    entries = {f"/f/{word[0]}": word[1:].encode() for word in picture.split()}
    return watch.compare(Listing(entries, unknown or {}), 0.0, 0.0)


def story(*scans: str) -> list[str]:
    """What is said after each scan: ``+a1`` found, ``-a`` gone."""
    watch = FolderWatch(1)
    said = []
    for picture in scans:
        words = []
        for change in scan(watch, picture):
            assert not isinstance(change, Unreadable | LeftOut)
            name = change.path.removeprefix("/f/")
            words.append(f"+{name}{change.fingerprint.decode()}" if isinstance(change, Found) else f"-{name}")
        said.append(" ".join(words))
    return said


@pytest.mark.parametrize(
    ("scans", "said"),
    [
        (["a1", "a1", "a1"], ["", "+a1", ""]),
        (["a1", "a2", "a3", "a3", "a3"], ["", "", "", "+a3", ""]),
        (["a1 b1", "a1 b1", "a1"], ["", "+a1 +b1", "-b"]),
        (["a1", "a1", "a2", "a2"], ["", "+a1", "-a", "+a2"]),
        (["a1", "a1", "a2", "a3", "a3"], ["", "+a1", "-a", "", "+a3"]),
        (["a1", "a1", "", "a1", "a1"], ["", "+a1", "-a", "", "+a1"]),
        (["a1", "", "a1", "a1"], ["", "", "", "+a1"]),
        (["", "b1 a1", "a1 b1"], ["", "", "+a1 +b1"]),
        (["a1", "a1", "a2", "a1", "a1"], ["", "+a1", "-a", "", "+a1"]),
        (["a1", "a1", "b1", "b1"], ["", "+a1", "-a", "+b1"]),
    ],
)
def test_shared_when_at_rest_and_withdrawn_on_change(scans: list[str], said: list[str]) -> None:
    assert story(*scans) == said


def test_what_the_library_has_is_not_found_again() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/a", b"1")
    watch.adopt("/f/b", b"1")
    watch.adopt("/f/c", b"1")
    assert scan(watch, "a1 b2") == [Gone("/f/b"), Gone("/f/c")]
    assert scan(watch, "a1 b2") == [Found("/f/b", b"2")]


def test_finished_download_is_adopted_between_two_scans() -> None:
    watch = FolderWatch(1)
    scan(watch, "a1")
    watch.adopt("/f/a", b"1")
    assert scan(watch, "a1") == []


def test_forgotten_is_found_again_once_at_rest() -> None:
    watch = FolderWatch(1)
    scan(watch, "a1")
    scan(watch, "a1")
    watch.forget("/f/a")
    assert scan(watch, "a1") == []
    assert scan(watch, "a1") == [Found("/f/a", b"1")]


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


def test_a_share_that_is_not_there_is_said_once_and_nothing_below_it_is_kept() -> None:
    watch = FolderWatch(1)
    scan(watch, "a1")
    scan(watch, "a1")
    gone = Listing({}, missing=("/f",))
    missing = Unreadable("/f", "there is no such file or directory")
    assert watch.compare(gone, 0.0, 0.0) == [missing, Gone("/f/a")]
    assert watch.compare(gone, 0.0, 0.0) == []
    scan(watch, "")
    assert watch.compare(gone, 0.0, 0.0) == [missing]


def test_what_could_not_be_seen_stays_as_it_was() -> None:
    watch = FolderWatch(1)
    scan(watch, "a1 b1")
    scan(watch, "a1 b1")
    assert scan(watch, "", {"/f": "no"}) == [Unreadable("/f", "no")]
    assert scan(watch, "b1", {"/f/a": ""}) == []
    assert scan(watch, "a2 b1") == [Gone("/f/a")]


def test_prefix_of_a_name_is_no_folder() -> None:
    watch = FolderWatch(1)
    watch.adopt("/f/ab", b"1")
    assert scan(watch, "", {"/f/a": ""}) == [Gone("/f/ab")]


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


def test_what_a_folder_leaves_out_is_said_when_it_changes() -> None:
    watch = FolderWatch(1)
    said = []
    for links in (2, 2, 3, 0, 3):
        skipped = {"/f": Skipped(links)} if links else {}
        said.append(list(watch.compare(Listing({}, skipped=skipped), 0.0, 0.0)))
    two, three = LeftOut("/f", Skipped(2)), LeftOut("/f", Skipped(3))
    assert said == [[two], [], [three], [], [three]]
