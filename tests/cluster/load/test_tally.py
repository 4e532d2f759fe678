"""What many processes counted, added up."""

from __future__ import annotations

from cluster.load.messages import Phase, Progress
from cluster.load.tally import KINDS_COUNT_MAX, ErrorCounts, Tally, total
from protocol.codec import Decoder, encode
from protocol.limits import LOCAL_BYTES_MAX


def tally_of(*requests: tuple[str, float]) -> Tally:
    tally = Tally()
    for request, seconds in requests:
        tally.answered(request, seconds)
    return tally


def test_the_sum_of_two_is_that_of_all_requests() -> None:
    one, other = tally_of(("Join", 0.1), ("Update", 0.2)), tally_of(("Join", 0.3))
    one.failed("Update", "no reply", "load-00001: for 10 s")
    other.failed("Update", "no reply", "load-00007: for 11 s")
    other.failed("Join", "refused (full)", "load-00007: no room")
    both = total([one.counts(), other.counts()])
    assert (both.request_count, both.error_count) == (3, 3)
    assert both.requests["Join"].longest == 300_000
    assert both.whole().percentile(100) == 300_000
    assert both.errors() == [
        ErrorCounts("Update", "no reply", 2, "load-00001: for 10 s"),
        ErrorCounts("Join", "refused (full)", 1, "load-00007: no room"),
    ]


def test_of_very_many_kinds_the_rest_is_one_kind() -> None:
    tally = Tally()
    for number in range(KINDS_COUNT_MAX + 50):
        tally.failed("Join", f"kind {number}", "")
    assert tally.error_count == KINDS_COUNT_MAX + 50
    assert tally.errors()[0] == ErrorCounts("Join", "other", 50, "")


def test_counts_survive_the_way_to_the_run() -> None:
    tally = tally_of(("Join", 0.1), ("Join", 12.5))
    tally.failed("Join", "no reply", "x" * 1_000)
    progress = Progress(
        worker=1,
        tracker=0,
        phase=Phase.LOAD,
        over=True,
        settled=3,
        given_up=1,
        seconds=10.0,
        counts=tally.counts(),
        epoch=7,
        seq=8,
        asked_again=0,
    )
    received: Progress = Decoder[Progress](Progress, LOCAL_BYTES_MAX).decode(encode(progress, LOCAL_BYTES_MAX))
    assert received == progress
    assert total([received.counts]).counts() == tally.counts()
