"""`transport.unread`: whose bytes are too many. What the kernel says is set by hand."""

from __future__ import annotations

import pytest

from protocol.limits import CONTROL_BYTES_MAX, KIB, MIB
from transport import unread
from transport.kernel import TcpInfo
from transport.unread import FRAME_BYTES, SLOW_SECONDS, UNREAD_ALL_BYTES_MAX, Unread, too_much


class Came(dict[int, int]):
    """Bytes that came over each connection, by descriptor."""

    def info(self, fd: int) -> TcpInfo:
        return TcpInfo(0.0, self[fd])


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch) -> Came:
    came = Came()
    monkeypatch.setattr(unread, "tcp_info", came.info)
    return came


def looked_at(came: Came, *counts: int) -> list[Unread]:
    """A connection for each of ``counts``, over which so many bytes came."""
    connections = [Unread(fd, 0.0) for fd in range(len(counts))]
    for connection, count in zip(connections, counts, strict=True):
        came[connection.fd] = count
        connection.look(0.0, emptied=False)
    return connections


def test_a_request_that_waits_is_not_too_much_and_a_flood_is(came: Came) -> None:
    honest, flood = looked_at(came, CONTROL_BYTES_MAX, 2 * MIB)
    assert too_much([honest, flood], 0, 0.0) == [flood]


def test_what_was_read_does_not_count_whatever_frames_take(came: Came) -> None:
    (honest,) = looked_at(came, 0)
    for total in range(100 * KIB, 10 * MIB, 100 * KIB):
        came[0] = total
        honest.read += 100 * KIB + FRAME_BYTES
        honest.look(0.0, emptied=True)
        assert honest.waiting < 101 * KIB


def test_a_message_longer_than_any_is_too_much_once_all_others_were_read(came: Came) -> None:
    (endless,) = looked_at(came, 100 * KIB)
    endless.look(0.1, emptied=False)
    assert not too_much([endless], 0, 0.1)
    endless.look(0.2, emptied=True)
    assert too_much([endless], 0, 0.2) == [endless]


def test_whoever_was_read_meanwhile_has_not_begun_that_message_long_ago(came: Came) -> None:
    (busy,) = looked_at(came, 100 * KIB)
    came[0] += 100 * KIB
    busy.read += 100 * KIB
    busy.look(0.1, emptied=True)
    assert busy.begun == 0


def test_many_who_begin_a_message_and_do_not_end_it_are_hung_up_on_until_little_is_left(came: Came) -> None:
    slow = looked_at(came, *(2_000 * [60 * KIB]))
    for at in (1.0, SLOW_SECONDS + 1.0):
        for one in slow:
            one.look(at, emptied=True)
        found = too_much(slow, 0, at)
        assert bool(found) == (at > SLOW_SECONDS)
    assert sum(one.waiting for one in slow) - sum(one.waiting for one in found) <= UNREAD_ALL_BYTES_MAX
    assert len(found) < len(slow)
