"""`node.downloader.job_report`: what a person is told of a download."""

from __future__ import annotations

import pytest

from node.downloader.job_report import ranges, waiting_for
from tests.node.downloader.scene import Scene


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([], ""),
        ([4], "4"),
        ([0, 1, 2], "0-2"),
        ([3, 7, 8, 9, 12], "3, 7-9, 12"),
        ([0, 2, 3, 9], "0, 2-3, ..."),
    ],
)
def test_pieces_are_named_by_ranges(pieces: list[int], text: str) -> None:
    assert ranges(pieces, 3 if pieces[:1] == [3] else 2) == text


def test_a_download_says_which_pieces_nobody_has() -> None:
    scene = Scene("........")
    assert waiting_for(scene.download) == "no source answers; waiting for one"
    scene.ready("a", having="*..*.*..")
    assert waiting_for(scene.download) == "nobody has 5 of 8 pieces; waiting for 1-2, 4, 6-7"
    scene.ready("b")
    assert waiting_for(scene.download) == ""
