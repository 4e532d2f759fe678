"""`broker.member_notes`."""

from __future__ import annotations

from broker.member_notes import NOTE_SECONDS, NOTES_COUNT_MAX, MemberNotes


def test_a_stranger_that_joins_and_leaves_all_the_time_fills_no_log() -> None:
    notes, lines = MemberNotes(0.0), []
    for number in range(10_000):
        now = number / 1_000
        lines += notes.joined("a", "", "tcp://10.0.0.9:7000", 0, again=False, now=now) if number % 2 else []
        lines += notes.left("a", "", "left", 0, now)
    assert len(lines) == NOTES_COUNT_MAX
    assert notes.next_deadline() == NOTE_SECONDS
    assert [note.text for note in notes.tick(NOTE_SECONDS)] == ["14800 more joined, left or were forgotten"]
    assert notes.next_deadline() is None
    assert len(notes.left("b", "", "left", 0, NOTE_SECONDS + 1)) == 1
