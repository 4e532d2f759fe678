"""Which hosts say too much."""

from __future__ import annotations

from node.piece_server.talk import (
    GARBAGE_COST,
    HOSTS_COUNT_MAX,
    MESSAGES_COUNT_MAX,
    MESSAGES_PER_PIECE,
    MESSAGES_RATE_MAX,
    REFUSED_SECONDS,
    Talk,
)


class Scene:
    """A route is a host and a letter."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.talk = Talk(lambda route: route[:-1].decode(), lambda route, _: self.refused.append(route.decode()))

    def says(self, route: str, count: int, now: float) -> int:
        """How many of ``count`` messages are ignored."""
        return sum(self.talk.is_too_much(route.encode(), now) for _ in range(count))


def test_a_host_that_says_too_much_over_any_connections_is_refused_for_a_while() -> None:
    scene = Scene()
    half = int(MESSAGES_COUNT_MAX) // 2
    assert scene.says("host a", half, 1.0) + scene.says("host b", half, 1.0) == 0
    assert scene.says("host b", 9, 1.0) == 9
    assert scene.refused == ["host b"]
    assert scene.says("other a", 1, 1.0) == 0
    assert scene.says("host a", 9, 1.0 + REFUSED_SECONDS - 0.1) == 9
    assert scene.says("host c", 9, 1.0 + REFUSED_SECONDS) == 0
    assert scene.refused == ["host b"]


def test_what_was_said_slowly_is_not_too_much() -> None:
    scene = Scene()
    for second in range(100):
        assert scene.says("host a", int(MESSAGES_RATE_MAX), second) == 0


def test_whoever_is_sent_pieces_may_say_more() -> None:
    scene = Scene()
    scene.says("host a", int(MESSAGES_COUNT_MAX), 1.0)
    scene.talk.sent_piece(b"host a")
    assert scene.says("host b", MESSAGES_PER_PIECE + 1, 1.0) == 1


def test_little_garbage_is_too_much() -> None:
    scene = Scene()
    garbage = [scene.talk.is_too_much(b"host a", 1.0, GARBAGE_COST) for _ in range(51)]
    assert garbage == [False] * 50 + [True]
    assert scene.refused == ["host a"]


def test_not_too_many_are_remembered() -> None:
    scene = Scene()
    for number in range(2 * HOSTS_COUNT_MAX + 1):
        scene.says(f"{number} a", 1, 1.0)
    assert len(scene.talk._hosts) == len(scene.talk._by_route) == 1
