"""What arrives at the tracker's sockets and is no message."""

from __future__ import annotations

from broker.intake import NOTE_SECONDS, Intake
from protocol.codec import Decoder, encode
from protocol.messages import Error, Leave


def test_bad_messages_are_counted_and_told_sparingly() -> None:
    intake: Intake[Leave] = Intake("requests", Decoder(Leave))
    assert intake.read(encode(Leave(3, "p", b"x" * 16)), 1, 0.0) == Leave(3, "p", b"x" * 16)
    assert intake.next_deadline() is None
    for _ in range(5):
        assert isinstance(intake.read(b"nonsense", 1, 1.0), Error)
    assert intake.next_deadline() == 1.0
    (note,) = intake.note(1.0)
    assert note.text.startswith("refused 5 bad requests (5 in all), the last one: not a msgpack")
    intake.read(b"x", 2, 2.0)
    assert intake.note(2.0) == []
    (note,) = intake.note(1.0 + NOTE_SECONDS)
    assert note.text == "refused 1 bad requests (6 in all), the last one: a message is one frame, not 2"
    assert intake.note(1.0 + 2 * NOTE_SECONDS) == []
    intake.read(b"", 1, 100.0)
    assert len(intake.note(100.0)) == 1
