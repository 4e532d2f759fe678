"""How long messages take beside a piece, and how many more are sent at a time because of that."""

from __future__ import annotations

import pytest
from node.piece_server.effects import Reply
from node.piece_server.latency import INTERVALS_COUNT, Latency
from node.piece_server.pace import Pace
from node.piece_server.session import Promise, Session, Swarm
from node.piece_server.slots import LATENCY_BYTES_MAX, Slots

from protocol.bitfield import Bitfield
from protocol.limits import MIB
from protocol.messages import Offer
from tests.node.piece_server.scene import DIGEST, Scene, sends


def swarm(piece_length: int = 100) -> Swarm:
    return Swarm(DIGEST, Bitfield(99), 99 * piece_length, piece_length, [0] * 99)


def receiver(number: int = 1, of: Swarm | None = None) -> Session:
    return Session(b"r%d" % number, number, of or swarm(), 0.0)


def measured(seconds: float, interval: float) -> Latency:
    """Answers take ``seconds``, and a piece is acknowledged each ``interval``."""
    latency, session = Latency(), receiver()
    latency.answered(session, seconds)
    for number in range(INTERVALS_COUNT + 1):
        latency.received(session, 1000.0, 1, number * interval, more=True)
    latency.compare([session])
    return latency


def test_it_is_the_round_trip_in_piece_times() -> None:
    assert measured(0.5, 2.0).batches == 0.25


def test_nothing_is_known_before_both_are() -> None:
    latency, session = Latency(), receiver()
    latency.answered(session, 0.5)
    latency.compare([session])
    assert latency.batches == 0


def test_pieces_that_arrive_together_do_not_make_the_uplink_look_fast() -> None:
    latency, session = Latency(), receiver()
    latency.answered(session, 1.0)
    for number in range(4 * INTERVALS_COUNT):
        latency.received(session, 1000.0, 1, 4.0 * (number // 4), more=True)
        latency.compare([session])
        assert latency.batches <= 1.5


def test_time_without_anything_to_send_says_nothing() -> None:
    latency, session = Latency(), receiver()
    latency.answered(session, 1.0)
    for number in range(4 * INTERVALS_COUNT):
        latency.received(session, 1000.0, 1, 1000.0 * number, more=False)
    latency.compare([session])
    assert latency.batches == 0


def test_one_answer_that_had_to_wait_counts_in_part_and_a_quick_one_at_once() -> None:
    latency, session = Latency(), receiver()
    for seconds, expected in [(0.1, 0.1), (1.1, 0.5), (0.05, 0.05)]:
        latency.answered(session, seconds)
        assert session.latency_seconds == pytest.approx(expected)


def test_no_message_takes_longer_than_a_piece_and_its_acknowledgement() -> None:
    latency, session = Latency(), receiver()
    latency.answered(session, 1.9)
    latency.received(session, 0.2, 1, 5.0, more=True)
    assert session.latency_seconds == 0.2


def test_one_that_dawdles_does_not_make_all_others_wait() -> None:
    latency, sessions = Latency(), [receiver(number) for number in range(5)]
    for session in sessions:
        latency.answered(session, 0.01 if session.number else 1.9)
    for number in range(INTERVALS_COUNT + 1):
        latency.received(sessions[1], 1000.0, 1, float(number), more=True)
    latency.compare(sessions)
    assert latency.batches == pytest.approx(0.01)


# --- slots -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pieces", "count"), [(0.14, 4), (0.16, 8), (0.6, 8), (0.7, 9), (2.0, 11), (100.0, 24)])
def test_where_messages_take_long_more_are_sent_at_a_time(pieces: float, count: int) -> None:
    assert Slots(4, Pace(), measured(pieces, 1.0)).count == count


@pytest.mark.parametrize(("pieces", "count"), [(0.14, 5), (0.16, 10), (0.7, 11), (100.0, 30)])
def test_a_seeder_of_many_sends_a_quarter_more_of_that_too(pieces: float, count: int) -> None:
    slots, complete = Slots(4, Pace(), measured(pieces, 1.0)), swarm()
    complete.have = Bitfield.full_of(99)
    for number in range(5):
        session = receiver(number, complete)
        complete.sessions[session.key] = session
    assert slots.is_free(session, count - 1, 0.0)
    assert not slots.is_free(session, count, 0.0)
    assert slots.any_free(count - 1, 0.0)
    assert not slots.any_free(count, 0.0)
    assert count <= slots.count_max


@pytest.mark.parametrize(("mib", "count"), [(1, 24), (4, 16), (8, 8), (16, 4), (64, 4)])
def test_of_long_pieces_offers_tell_as_many_as_are_sent(mib: int, count: int) -> None:
    slots = Slots(4, Pace(), measured(100.0, 1.0))
    assert slots.at_once(swarm(mib * MIB)) == count
    assert slots.more_at_once(swarm(mib * MIB)) == (count if count > 4 else 0)


def filled(piece_length: int, count: int = 4) -> int:
    """How many pieces are sent at a time where messages take long."""
    slots, session = Slots(count, Pace(), measured(100.0, 1.0)), receiver(of=swarm(piece_length))
    while slots.is_free(session, 0, 0.0):
        session.promises[len(slots)] = Promise(len(slots), piece_length, 0.0, sent_at=0.0)
        slots.take(session, len(slots))
        slots.check_invariants(list(session.promises))
    return len(slots)


@pytest.mark.parametrize(("mib", "count"), [(1, 24), (4, 16), (16, 4), (64, 4)])
def test_of_long_pieces_no_more_are_sent_than_memory_is_meant_for(mib: int, count: int) -> None:
    assert filled(mib * MIB) == count
    assert filled(mib * MIB) * mib * MIB <= max(LATENCY_BYTES_MAX, 4 * mib * MIB)


def test_pieces_of_all_contents_count_against_the_same_memory() -> None:
    slots = Slots(2, Pace(), measured(100.0, 1.0))
    short, long = receiver(1, swarm(1 * MIB)), receiver(2, swarm(16 * MIB))
    for offer in range(4):
        long.promises[offer] = Promise(offer, 16 * MIB, 0.0, sent_at=0.0)
        slots.take(long, offer)
    assert not slots.is_free(short, 0, 0.0)
    slots.give_back(3)
    assert slots.is_free(short, 0, 0.0)
    assert slots.is_free(long, 0, 0.0)
    assert not slots.is_free(long, 1, 0.0)


# --- in a conversation -----------------------------------------------------------------------------------


def offers(scene: Scene, name: str, *pieces: int) -> list[Offer]:
    effects = scene.wants(name, *pieces)
    return [e.message for e in effects if isinstance(e, Reply) and isinstance(e.message, Offer)]


def far_away() -> Scene:
    """Two slots, four receivers whose answers take as long as a piece. Two of them have taken turns for a while."""
    scene = Scene("*" * 80 + " ", slots=2)
    scene.opened("a", "b")
    taken: dict[str, int] = {}

    def accepts(name: str, piece: int) -> None:
        scene.wants(name, piece)
        scene.now += 1.0
        scene.accepts(name, piece)
        taken[name] = piece

    accepts("a", 0)
    for piece in range(1, 20):
        name, other = "ab"[piece % 2], "ba"[piece % 2]
        accepts(name, piece)
        scene.received(other, taken[other])
        scene.tick()
    scene.received(name, taken[name])
    scene.opened("c", "d")
    return scene


def test_more_are_sent_at_a_time_and_each_offer_tells_how_many() -> None:
    scene = far_away()
    asked = [offer for number, name in enumerate("abcd") for offer in offers(scene, name, 20 + number)]
    assert [(offer.piece, offer.at_once) for offer in asked] == [(piece, 5) for piece in range(20, 24)]
    sent = [send for number, name in enumerate("abcd") for send in sends(scene.accepts(name, 20 + number))]
    assert sent == [("a", 20), ("b", 21), ("c", 22), ("d", 23)]


def test_where_messages_take_no_time_nothing_is_told() -> None:
    scene = Scene("****** ", slots=6)
    scene.opened("a")
    assert [offer.at_once for offer in offers(scene, "a", 0)] == [0]
