"""What arrives at the tracker's sockets and is no message."""

from __future__ import annotations

from broker.intake import NOTE_SECONDS, Intake
from protocol.errors import ProtocolError
from protocol.messages import Error


def test_bad_messages_are_counted_and_told_sparingly() -> None:
    intake = Intake("requests")
    assert intake.next_deadline() is None
    for _ in range(5):
        assert intake.refuse(b"nonsense", ProtocolError("not a message"), 1.0) == Error(
            0, "bad_message", "not a message"
        )
    assert intake.next_deadline() == 1.0
    (note,) = intake.note(1.0)
    assert note.text == "refused 5 bad requests (5 in all), the last one: not a message"
    intake.refuse(b"x", ProtocolError("two frames"), 2.0)
    assert intake.note(2.0) == []
    (note,) = intake.note(1.0 + NOTE_SECONDS)
    assert note.text == "refused 1 bad requests (6 in all), the last one: two frames"
    assert intake.note(1.0 + 2 * NOTE_SECONDS) == []
    intake.refuse(b"", ProtocolError("empty"), 100.0)
    assert len(intake.note(100.0)) == 1
