"""Pieces that go together because each of them takes no time: how many, and what becomes of them."""

from __future__ import annotations

from random import Random

import pytest
from node.piece_server.effects import Reply, SendPieces
from node.piece_server.latency import (
    BATCH_BYTES_MAX,
    BATCH_LATENCY,
    BATCH_SECONDS,
    BATCHES_COUNT_MIN,
    INTERVALS_COUNT,
    Latency,
)
from node.piece_server.pace import Pace
from node.piece_server.session import Session, Swarm
from node.piece_server.slots import LATENCY_FACTOR_MAX, Slots

from node.piece_server.uploads import CHECK_SECONDS, UploadRequest
from protocol.bitfield import Bitfield
from protocol.limits import BATCH_COUNT_MAX, KIB, MIB
from protocol.messages import Accept, NotHeld, Offer, Received, Refuse, Withdrawn
from tests.node.piece_server.scene import DIGEST, PIECE_BYTES, Scene, made, sends

MANY = 4 * BATCHES_COUNT_MIN
"""Pieces of content of which up to four are a batch."""


def content(pieces: int, piece_length: int = 256 * KIB) -> Swarm:
    return Swarm(DIGEST, Bitfield.full_of(pieces), pieces * piece_length, piece_length, [0] * pieces)


def measured(swarm: Swarm, seconds: float, together: int = 1, latency: float = 100.0) -> Latency:
    """A piece is acknowledged every so many ``seconds``, so many ``together``; a message takes ``latency`` piece
    times."""
    made, session = Latency(), Session(b"r", 1, swarm, 0.0)
    swarm.sessions[session.key] = session
    made.answered(session, latency * seconds)
    for number in range(INTERVALS_COUNT + 1):
        made.received(session, 1000.0, together, number * together * seconds, more=True)
    return made


def batch(swarm: Swarm, seconds: float, together: int = 1, latency: float = 100.0) -> int:
    """How many pieces of ``swarm`` go together then."""
    return measured(swarm, seconds, together, latency).batch_of(swarm)


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize(("fit", "count"), [(0.5, 1), (1.9, 1), (2.1, 2), (3.1, 3), (1000.0, BATCH_COUNT_MAX)])
def test_what_the_uplink_moves_in_a_moment_goes_together(fit: float, count: int, together: int) -> None:
    assert batch(content(100 * BATCHES_COUNT_MIN), BATCH_SECONDS / fit, together) == count


@pytest.mark.parametrize(("latency", "count"), [(0.1, 1), (1.9, 1), (2.1, 2), (100.0, BATCH_COUNT_MAX)])
def test_where_messages_are_quicker_than_pieces_they_go_one_by_one(latency: float, count: int) -> None:
    assert batch(content(100 * BATCHES_COUNT_MIN), 1e-6, latency=latency / BATCH_LATENCY) == count


@pytest.mark.parametrize(("mib", "count"), [(0.25, 4), (0.5, 4), (1, 2), (2, 1), (16, 1)])
def test_long_pieces_are_fewer(mib: float, count: int) -> None:
    assert batch(content(100 * BATCHES_COUNT_MIN, int(mib * MIB)), 1e-6) == count
    assert count == 1 or count * mib * MIB <= BATCH_BYTES_MAX


@pytest.mark.parametrize(("pieces", "count"), [(1, 1), (127, 1), (128, 2), (256, 4), (10_000, 4)])
def test_of_little_content_fewer_go_together(pieces: int, count: int) -> None:
    assert batch(content(pieces), 1e-6) == count


def test_a_message_takes_so_many_times_as_long_as_a_batch() -> None:
    swarm = content(1000)
    latency = measured(swarm, 0.01, together=2, latency=8.0)
    latency.compare(swarm.sessions.values())
    assert latency.batch == 4
    assert latency.batches == pytest.approx(2.0)


def test_before_anything_is_known_pieces_go_one_by_one() -> None:
    latency, swarm = Latency(), content(1000)
    session = Session(b"r", 1, swarm, 0.0)
    latency.answered(session, 0.001)
    latency.compare([session])
    assert latency.batch_of(swarm) == 1


def test_content_of_long_pieces_beside_it_has_all_go_one_by_one() -> None:
    """Slots are for batches, and would be too many for it."""
    short, long = content(1000), content(1000, 4 * MIB)
    latency = measured(short, 1e-4)
    assert (latency.batch_of(short), latency.batch_of(long)) == (BATCH_COUNT_MAX, 1)
    for number in range(INTERVALS_COUNT + 1):
        swarm = (short, long)[number % 2]
        latency.received(Session(b"q", 1, swarm, 0.0), 1000.0, 1, 1.0 + number * 1e-4, more=True)
    assert latency.batch_of(short) == 1


@pytest.mark.parametrize("batch", [1, 4])
def test_slots_for_batches_have_the_same_bound_as_those_for_pieces(batch: int) -> None:
    latency = Latency()
    latency.batches, latency.batch = 100.0, batch
    slots = Slots(4, Pace(), latency)
    assert slots.count == LATENCY_FACTOR_MAX * 4 * batch
    of_complete = LATENCY_FACTOR_MAX * 5 * batch
    assert slots.any_free(of_complete - 1, 0.0)
    assert not slots.any_free(of_complete, 0.0)
    assert of_complete <= slots.count_max


# --- in a conversation -----------------------------------------------------------------------------------


def quick(slots: int = 2) -> Scene:
    """So many slots for batches of four. ``a`` and ``b`` have received a piece each, quickly."""
    scene = Scene("*" * MANY, slots=slots)
    scene.batches = True
    scene.opened("a", "b")
    for number, name in enumerate("ab"):
        scene.gets(name, MANY - 1 - number, seconds=1e-3)
    scene.tick(CHECK_SECONDS)
    scene.uploads._latency.batch = 4
    return scene


def lose(scene: Scene, *pieces: int) -> None:
    """These are not here any more."""
    scene.have = scene.have.copy()
    for piece in pieces:
        scene.have.clear(piece)
    scene.uploads.serve(DIGEST, scene.have, scene.length, PIECE_BYTES)


def test_pieces_are_offered_sent_and_acknowledged_together() -> None:
    scene = quick()
    batch, rest = made(scene.wants("a", 5, 3, 9, 7, 1))
    first = batch.offer
    assert batch.all() == [(first, 5), (first + 1, 3), (first + 2, 9), (first + 3, 7)]
    assert rest.all() == [(first + 4, 1)]
    assert batch.at_once == 8
    before = scene.uploads.sent_bytes()[DIGEST]
    effects = scene.says("a", Accept(1, first, _rest(batch)))
    assert effects == [SendPieces(b"a", 1, DIGEST, tuple(batch.all()))]
    assert scene.uploads.sent_bytes()[DIGEST] == before + 4 * PIECE_BYTES
    assert scene.uploads.queued_pieces == 4
    scene.says("a", Received(1, first, _rest(batch)))
    assert scene.uploads.queued_pieces == 0


def test_each_offer_is_answered_on_its_own() -> None:
    scene = quick()
    (offer,) = made(scene.wants("a", 5, 3, 9, 7))
    one, two, three, four = (number for number, _ in offer.all())
    scene.wants("b", 20)
    effects = scene.says("a", Accept(1, two, [four]))
    assert [e for e in effects if isinstance(e, SendPieces)] == [SendPieces(b"a", 1, DIGEST, ((two, 3), (four, 7)))]
    scene.says("a", Refuse(1, one, "claimed", [three]))
    assert set(scene.uploads._sessions[b"a", 1].promises) == {two, four}
    assert scene.says("a", Accept(1, one))[:1] == [Reply(b"a", Withdrawn(1, one))]


def test_what_is_accepted_apart_is_sent_apart() -> None:
    """Whoever does not know of batches accepts one offer at a time, and takes one piece at a time."""
    scene = quick()
    (offer,) = made(scene.wants("a", 5, 3, 9, 7))
    one, two, *_ = (number for number, _ in offer.all())
    effects = [*scene.says("a", Accept(1, one)), *scene.says("a", Accept(1, two))]
    assert [e.promised for e in effects if isinstance(e, SendPieces)] == [((one, 5),), ((two, 3),)]


def test_who_does_not_say_that_it_takes_batches_is_offered_none() -> None:
    scene = quick()
    scene.batches = False
    assert {len(one.all()) for one in made(scene.wants("a", 5, 3, 9, 7))} == {1}


def test_who_is_not_known_to_be_quick_is_offered_none() -> None:
    """Or a slow receiver would have to take full batches of everybody, for which its link takes long."""
    scene = quick()
    scene.opened("new")
    assert {len(one.all()) for one in made(scene.wants("new", 5, 3, 9, 7))} == {1}
    scene.bye("new")
    scene.opened("slow", "c")
    scene.gets("c", 20, seconds=1e-3)
    scene.gets("slow", 21, seconds=1.0)
    scene.tick(CHECK_SECONDS)
    assert {len(one.all()) for one in made(scene.wants("slow", 5, 3, 9, 7))} == {1}
    assert {len(one.all()) for one in made(scene.wants("c", 11, 13, 15, 17))} == {4}


def test_of_what_is_accepted_together_no_more_than_a_batch_is_sent_together() -> None:
    """Or whoever waits with its answers would have more sent than there are slots."""
    scene = Scene("*" * MANY, slots=4, piece_length=BATCH_BYTES_MAX // 2)
    scene.opened("a")
    offers = [number for one in made(scene.wants("a", *range(8))) for number, _ in one.all()]
    effects = scene.says("a", Accept(1, offers[0], offers[1:4]))
    assert [len(e.promised) for e in effects if isinstance(e, SendPieces)] == [2, 2]


def test_a_batch_is_not_offered_bit_by_bit_as_slots_become_free() -> None:
    scene = quick()
    first, second = made(scene.wants("a", *range(20)))
    for batch in (first, second):
        assert len(batch.all()) == 4
        scene.says("a", Accept(1, batch.offer, _rest(batch)))
    for number in _rest(first):
        assert made(scene.says("a", Received(1, number))) == []
    (third,) = made(scene.says("a", Received(1, first.offer)))
    assert len(third.all()) == 4


def _rest(offer: Offer) -> list[int]:
    return [number for number, _ in offer.all()][1:]


def test_of_a_batch_what_is_gone_is_said_and_the_others_are_sent_and_so_is_the_next_batch() -> None:
    scene = quick()
    first, second = made(scene.wants("a", 5, 3, 9, 7, 2, 4, 6, 8))[:2]
    rate = scene.uploads._bucket
    rate.rate, rate._balance = 1.0, -1.0  # nothing is sent before time has passed
    scene.says("a", Accept(1, first.offer, _rest(first)))
    scene.says("a", Accept(1, second.offer, _rest(second)))
    assert scene.uploads.queued_pieces == 8
    lose(scene, 9, 7)
    rate.rate = 0.0
    effects = scene.tick()
    assert [e.message for e in effects if isinstance(e, Reply) and isinstance(e.message, NotHeld)] == [
        NotHeld(1, 9),
        NotHeld(1, 7),
    ]
    assert sends(effects) == [("a", piece) for piece in (5, 3, 2, 4, 6, 8)]


def test_a_batch_that_was_accepted_is_sent_though_pieces_have_become_slow() -> None:
    """There are fewer slots then than it has pieces, and nothing may wait for what never comes."""
    scene = quick()
    (offer,) = made(scene.wants("a", 5, 3, 9, 7))
    scene.uploads._latency.batch = 1
    assert sends(scene.says("a", Accept(1, offer.offer, _rest(offer)))) == [("a", piece) for piece in (5, 3, 9, 7)]


def test_the_rate_limit_counts_every_piece_of_a_batch() -> None:
    scene = quick()
    offers = {name: made(scene.wants(name, *range(4)))[0] for name in "ab"}
    scene.uploads._bucket.rate = PIECE_BYTES  # a piece a second
    first, second = (scene.says(name, Accept(1, one.offer, _rest(one))) for name, one in offers.items())
    assert (len(sends(first)), len(sends(second))) == (4, 0)
    assert sends(scene.tick(3.0)) == []
    assert len(sends(scene.tick(1.1))) == 4


def test_who_has_another_slot_for_a_batch_has_others_to_send_to() -> None:
    scene = quick()
    (first,) = made(scene.wants("a", *range(4)))
    scene.says("a", Accept(1, first.offer, _rest(first)))
    (second,) = made(scene.wants("b", *range(4, 8)))
    assert (first.spare, second.spare) == (True, False)


def test_a_batch_for_which_only_some_slots_are_free_is_offered_ahead_and_to_spare() -> None:
    scene = quick()
    first, second = (made(scene.wants(name, *pieces))[0] for name, pieces in (("a", range(4)), ("b", range(4, 8))))
    scene.says("a", Accept(1, first.offer, _rest(first)))
    scene.says("b", Accept(1, second.offer, _rest(second)))
    scene.says("b", Received(1, second.offer, _rest(second)[:1]))
    scene.uploads._pace._handshake_seconds = 1.0
    (ahead,) = made(scene.wants("a", *range(8, 12)))
    assert ahead.spare


def test_an_answer_to_what_was_offered_behind_pieces_says_nothing_of_how_long_messages_take() -> None:
    scene = quick()
    session = scene.uploads._sessions[b"a", 1]
    for pieces, seconds, measured in ((range(4), 0.01, True), (range(4, 8), 0.02, False)):
        before = session.latency_seconds
        (offer,) = made(scene.wants("a", *pieces))
        scene.now += seconds
        scene.says("a", Accept(1, offer.offer, _rest(offer)))
        assert (session.latency_seconds != before) == measured


@pytest.mark.parametrize("seed", range(8))
def test_any_history_of_batches_keeps_the_books_right(seed: int) -> None:
    rng = Random(seed)
    scene = quick(slots=rng.randint(2, 3))
    scene.opened("c", "d")
    open_offers: list[tuple[str, list[int]]] = []
    for _ in range(300):
        name, effects = rng.choice("abcd"), []
        step = rng.randrange(10)
        if step < 2:
            effects = scene.test(name)
        elif step < 4:
            effects = scene.wants(name, *rng.sample(range(MANY), 30))
        elif step < 8 and open_offers:
            who, offers = rng.choice(open_offers)
            some = rng.sample(offers, rng.randint(1, len(offers)))
            answers: list[UploadRequest] = [Accept(1, some[0], some[1:]), Received(1, some[0], some[1:])]
            effects = scene.says(who, rng.choice([*answers, *answers, Refuse(1, some[0], "claimed", some[1:])]))
        elif step == 8:
            lose(scene, rng.randrange(MANY))
        else:
            scene.uploads._latency.batch = rng.randint(1, 4)
            effects = scene.tick(rng.choice([0.0, 0.1, 1.0, 5.0]))
        for effect in effects:
            if isinstance(effect, Reply) and isinstance(effect.message, Offer):
                open_offers.append((effect.route.decode(), [number for number, _ in effect.message.all()]))
            elif isinstance(effect, SendPieces):
                assert all(piece in scene.have for _, piece in effect.promised)
