"""What pieces are measured by: those of late, averages, round trips."""

from __future__ import annotations

from node.pace import ROUND_TRIP_SECONDS_MAX, TRIPS_COUNT, Average, Recent, RoundTrips


def test_what_came_of_late() -> None:
    recent = Recent()
    assert recent.since(0.0) == recent.up_to_the_last(1.0) == 0
    for moment in (1.0, 2.0, 2.5, 3.0):
        recent.note(moment)
    assert recent.since(1.0) == 4
    assert recent.up_to_the_last(1.0) == 3
    assert recent.since(2.1) == 2
    assert recent.since(0.0) == 2, "earlier ones are forgotten"
    assert recent.since(9.0) == recent.up_to_the_last(9.0) == 0


def test_an_average_moves_to_what_is_new() -> None:
    average = Average(0.5)
    assert (average.value, average.or_else(7.0)) == (None, 7.0)
    average.add(2.0)
    average.add(4.0)
    assert average.value == average.or_else(7.0) == 3.0


def test_the_quickest_answer_tells_the_round_trip() -> None:
    trips = RoundTrips()
    assert trips.seconds == TRIPS_COUNT * ROUND_TRIP_SECONDS_MAX
    for seconds in (0.2, 0.1, 0.3):
        trips.measured(seconds)
    assert trips.seconds == TRIPS_COUNT * 0.1
