"""What a piece server does about receivers that go, stall, or do anything at all."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.piece_server.sending import Reply, SendPiece
from node.piece_server.uplink import LATE_SECONDS_FIRST, LEFT_SECONDS, ON_WAY_BYTES_MAX
from node.piece_server.uploads import CHECK_SECONDS, EVICTION_SECONDS
from protocol.limits import (
    MIB,
    ROUTE_SESSIONS_COUNT_MAX,
    SESSION_SILENT_SECONDS,
    STALLED_BYTES_MAX,
)
from protocol.messages import Cancel, Follow, Get, Have, NoSession, Received, Relay
from protocol.messages import Test as AskTest
from tests.node.piece_server.scene import DIGEST, OTHER, PATIENT_SECONDS, Scene, sent
from tests.node.scene_pictures import bits, picture

LONG = 16 * MIB
FULL_COUNT = ON_WAY_BYTES_MAX // LONG
"""Long pieces that may be on their way in all..."""
STALLED_COUNT = STALLED_BYTES_MAX // LONG
"""...and to those that stalled."""


def spread(have: str, piece_length: int = 100) -> Scene:
    """Content of which others relay every piece, and pieces that arrive at once."""
    scene = Scene(have, "*" * len(have), piece_length=piece_length)
    scene.follows("x", 1)
    scene.gets("x", 0)
    scene.received("x")
    scene.bye("x")
    return scene


# --- receivers that are slow or have stalled --------------------------------------------------------------


def test_no_more_bytes_are_on_their_way_than_allowed() -> None:
    scene = spread("*" * 20, LONG)
    scene.follows("a", 20)
    assert len(sent(scene.gets("a", *range(20))).split()) == FULL_COUNT
    assert len(sent(scene.received("a")).split()) == 1


def test_what_is_late_does_not_hold_up_others() -> None:
    scene = spread("*" * 20, LONG)
    scene.follows("a", FULL_COUNT)
    scene.gets("a", *range(FULL_COUNT))
    scene.follows("b", 1)
    assert scene.gets("b", 0) == []
    assert sent(scene.wait(PATIENT_SECONDS, "b")) == "b0"


def test_while_it_is_not_known_how_long_pieces_take_nothing_is_late_so_soon() -> None:
    scene = Scene("*" * 20, "*" * 20, piece_length=LONG)
    scene.follows("a", FULL_COUNT)
    scene.gets("a", *range(FULL_COUNT))
    scene.follows("b", 1)
    scene.gets("b", 0)
    assert sent(scene.wait(LATE_SECONDS_FIRST - 0.5, "a", "b")) == ""
    assert sent(scene.wait(1.0, "a", "b")) == "b0"


def test_where_pieces_take_long_they_are_not_late_so_soon() -> None:
    scene = Scene("*" * 20, "*" * 20, piece_length=LONG)
    scene.follows("a", FULL_COUNT)
    scene.gets("a", 0)
    scene.wait(4.0, "a")
    scene.received("a")
    scene.gets("a", *range(FULL_COUNT))
    scene.follows("b", 1)
    scene.gets("b", 0)
    assert sent(scene.wait(11.0, "a", "b")) == ""
    assert sent(scene.wait(2.0, "a", "b")) == "b0"


def test_what_is_late_does_not_make_the_source_look_busy() -> None:
    scene = spread("***")
    scene.follows("a", 1)
    scene.follows("b", 1)
    scene.gets("a", 0)
    assert scene.tick(0.05) == []
    assert "b: complete idle" in scene.wait(2 * PATIENT_SECONDS)


def test_who_is_late_gets_more_when_it_has_received_something() -> None:
    scene = spread("***")
    scene.follows("a", 1)
    scene.gets("a", 0, 1)
    assert sent(scene.wait(3.0, "a")) == ""
    assert scene.uploads.queued_pieces == 0
    assert scene.received("a") == ["a<1"]
    assert scene.uploads.queued_pieces == 1


def test_the_slowest_is_started_over_when_too_much_is_late() -> None:
    scene = spread("*" * 20, LONG)
    for name, pieces in (("a", 1), ("b", STALLED_COUNT - 1), ("c", 1)):
        assert scene.sessions == "ab"[: "abc".index(name)]
        scene.follows(name, pieces)
        scene.gets(name, *range(pieces))
        scene.wait(1.0, "a", "b")
    assert scene.sessions == "bc"


def test_messages_to_a_session_that_is_over_are_answered_so_once_in_a_while() -> None:
    scene = Scene("***")
    assert scene.gets("a", 0) == ["a: no session"]
    assert scene.gets("a", 1) == scene.gets("a", 2) == []
    scene.test("a")
    scene.bye("a")
    assert scene.gets("a", 1) == ["a: no session"], "another one"
    scene.tick(CHECK_SECONDS)
    assert scene.gets("a", 1) == ["a: no session"]


def test_bytes_for_those_who_stalled_are_bounded_however_much_credit_they_give() -> None:
    """Anybody may still get one piece after the other."""
    scene = spread("*" * 20, LONG)
    stalled = [chr(ord("A") + number) for number in range(20)]
    pieces = 0
    for name in stalled:
        scene.follows(name, 1_000_000)
        pieces += len(sent(scene.gets(name, *range(20))).split())
        pieces += len(sent(scene.wait(PATIENT_SECONDS, *stalled)).split())
    assert pieces <= FULL_COUNT + STALLED_COUNT + len(stalled)
    scene.follows("a", 2)
    assert scene.gets("a", 1, 2) == ["a<1"]
    assert scene.received("a") == ["a<2"]


def test_those_who_stalled_in_sessions_that_are_over_cost_no_others_theirs() -> None:
    scene = spread("*" * 20, LONG)
    for name in "AB":
        scene.follows(name, FULL_COUNT)
        scene.gets(name, *range(FULL_COUNT))
        scene.bye(name)
    scene.follows("a", 1)
    scene.gets("a", 0)
    assert "a: no session" not in scene.wait(3.0, "a")
    assert scene.received("a", 1, credit=0) == []


def test_receivers_that_never_give_credit_back_leave_the_others_their_part() -> None:
    scene = spread("*" * 64, MIB)
    stalled = [chr(ord("A") + number) for number in range(20)]
    for name in stalled:
        scene.follows(name, 1_000_000)
        scene.gets(name, *range(64))
    scene.follows("a", 4)
    words = scene.gets("a", *range(64))
    got = 0
    until = scene.now + 2.0
    while scene.now < until:
        mine = sum(word.startswith("a<") for word in words)
        got += mine
        words = [*scene.received("a", mine), *scene.wait(0.01, *stalled)]
    assert got == 64


# --- sessions that end with something on its way ----------------------------------------------------------


def test_what_is_on_its_way_after_a_bye_counts_until_the_connection_is_gone() -> None:
    scene = spread("***")
    scene.follows("a", 2)
    scene.gets("a", 0, 1)
    scene.bye("a")
    assert scene.test("a") == ["a: later"]
    scene.opened("b")
    tried = sum("a: no session" in scene.tick(0.1) + scene.cancels("b") for _ in range(200))
    assert tried == ceil(log2(20.0 / LEFT_SECONDS)), "whether the connection is still there"
    scene.unreachable("a")
    assert scene.test("a")[-1] == "a: complete"
    assert "a: no session" not in scene.wait(3.0, "a", "b")


def test_connections_that_never_read_get_little_however_often_they_say_bye() -> None:
    scene = spread("*" * 20, LONG)
    pieces = 0
    routes = [chr(ord("A") + number) for number in range(20)]
    for _ in range(3):
        for name in routes:
            if scene.test(name) != [f"{name}: later"]:
                scene.follows(name, 20)
                pieces += len(sent(scene.gets(name, *range(20))).split())
                scene.bye(name)
    assert pieces <= FULL_COUNT + STALLED_COUNT + len(routes)


def test_a_bye_when_all_has_arrived_leaves_nothing() -> None:
    scene = spread("***")
    scene.follows("a", 1)
    scene.gets("a", 0)
    scene.received("a")
    scene.bye("a")
    assert scene.test("a") == ["a: complete alone"]


@pytest.mark.parametrize(
    "end",
    [
        lambda scene: scene.bye("a"),
        lambda scene: scene.unreachable("a"),
        lambda scene: scene.fails("a", 0, gone=False),
        lambda scene: scene.says("a", Follow(1, b"\0\0\0\0\0", 1)),
    ],
    ids=["bye", "unreachable", "disk", "garbled"],
)
def test_a_session_that_ends_frees_what_it_held(end: Callable[[Scene], object]) -> None:
    scene = spread("*" * 20, LONG)
    scene.follows("a", FULL_COUNT)
    scene.gets("a", *range(FULL_COUNT))
    scene.follows("b", 1)
    assert scene.gets("b", 0) == []
    end(scene)
    assert scene.gets("b") == [] or sent(scene.tick()) == ""
    assert scene.uploads.queued_pieces == 1
    assert scene.sessions == "b"


# --- sessions that want nothing ---------------------------------------------------------------------------


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """All sessions there may be are open, and want nothing."""
    monkeypatch.setattr("node.piece_server.uploads.SESSIONS_COUNT_MAX", 4)
    scene = spread("***")
    scene.opened(*"abcd")
    return scene


def test_no_more_sessions_than_allowed(full: Scene) -> None:
    assert full.test("e") == ["e: later"]
    assert full.test("a") == ["a: complete"]
    full.bye("a")
    assert full.test("e") == ["e: complete"]


def test_sessions_that_get_nothing_give_way_and_are_told(full: Scene) -> None:
    """A Test of theirs would open a session anew, and they would wait for what was promised in the old one."""
    full.follows("a", 1)
    full.wait(EVICTION_SECONDS - 0.2, *"abcd")
    full.gets("a", 0)
    full.received("a")
    assert full.test("e") == ["e: later"]
    full.wait(0.4, *"abcd")
    assert full.test("e") == ["b: no session", "e: complete"]
    assert full.sessions == "acde"


def test_a_host_that_opens_sessions_afresh_all_the_time_keeps_nobody_out(full: Scene) -> None:
    """It takes the place of its own sessions only, and so those of others last."""
    full.hosts = dict.fromkeys("abcd", "host")
    for name in "abcd":
        full.bye(name)
        full.test(name)
    assert full.test("e") == ["a: no session", "e: complete"]
    assert full.test("f") == ["b: no session", "f: complete"]
    for _ in range(20):
        assert full.test("a") == ["a: later"]
        for name in "cd":
            full.bye(name)
            full.test(name)
        for name in "ef":
            full.cancels(name)
        full.tick(EVICTION_SECONDS / 10)
    assert full.sessions == "efcd"
    assert full.test("a") == ["a: later"]
    full.wait(EVICTION_SECONDS, *"cdef")
    assert full.test("a") == ["c: no session", "a: complete"]
    assert full.sessions == "efda"


def test_of_a_host_that_has_too_many_those_that_took_pieces_stay(full: Scene) -> None:
    full.hosts = dict.fromkeys("abcd", "host")
    full.follows("a", 1)
    full.gets("a", 0)
    full.received("a")
    full.tick(0.1)
    for name in "bcd":
        full.bye(name)
        full.test(name)
    assert full.test("e") == ["b: no session", "e: complete"]
    assert full.sessions == "acde"


def test_of_one_host_the_connection_with_most_sessions_gives_way(full: Scene) -> None:
    full.hosts = dict.fromkeys("abcde", "host")
    for name in "bcd":
        full.bye(name)
    for session in (2, 3, 4):
        full.test("a", session=session)
    assert full.test("e") == ["a: no session", "e: complete"]
    assert full.test("b") == ["a: no session", "b: complete"]
    assert full.test("c") == ["a: no session", "c: complete"]
    assert full.test("d") == ["d: later"]


def test_one_connection_cannot_have_all_sessions() -> None:
    scene = spread("***")
    for number in range(ROUTE_SESSIONS_COUNT_MAX):
        scene.test("a", session=number)
    assert scene.test("a", session=999) == ["a: later"]
    assert scene.test("b") == ["b: complete"]


def test_a_silent_session_is_forgotten_and_told() -> None:
    scene = spread("***")
    scene.opened("a", "b")
    assert "a: no session" in scene.wait(SESSION_SILENT_SECONDS + 0.5, "b")
    assert scene.sessions == "b"


# --- content that cannot be read, or is served no more ----------------------------------------------------


def test_a_piece_that_is_gone_is_taken_off_and_leaves_the_credit_for_the_next() -> None:
    scene = spread("****")
    scene.follows("a", 1)
    assert scene.gets("a", 0, 1) == ["a<0"]
    assert scene.fails("a", 0, gone=True) == ["a: not held 0", "a<1"]
    assert picture(scene.have) == " ***"
    assert scene.uploads.queued_pieces == 1
    assert scene.gets("a", 0) == ["a: not held 0"]


def test_a_disk_that_does_not_answer_sends_the_receiver_away_for_a_while() -> None:
    scene = spread("****")
    scene.follows("a", 2)
    scene.gets("a", 0)
    assert scene.fails("a", 0, gone=False) == ["a: later"]
    assert picture(scene.have) == "****"
    assert scene.test("a") == ["a: complete alone"], "nothing of it is on its way"


def test_who_tests_a_session_that_it_takes_for_begun_and_that_is_over_is_told_so() -> None:
    """It could not be told when it ended, since its connection was full; a new one would wait for its `Follow`."""
    scene = spread("****")
    scene.follows("a", 2)
    begun = AskTest(1, DIGEST, begun=True)
    assert scene.says("a", begun) == ["a: complete alone"]
    scene.unreachable("a")
    assert scene.says("a", begun) == ["a: no session"]
    assert scene.test("a") == ["a: complete alone"]
    assert scene.says("a", begun) == ["a: no session"]


def test_who_acknowledges_a_piece_before_it_could_be_read_harms_nobody() -> None:
    scene = spread("****")
    scene.follows("a", 1)
    scene.gets("a", 0)
    scene.received("a", 1, credit=0)
    assert scene.fails("a", 0, gone=True) == ["a: not held 0"]


def test_who_is_late_because_of_a_piece_that_could_not_be_read_is_late_no_more() -> None:
    scene = spread("*" * 20, LONG)
    scene.follows("a", 1)
    scene.gets("a", 0)
    scene.wait(1.0, "a")
    assert scene.uploads.queued_pieces == 0
    scene.fails("a", 0, gone=True)
    scene.gets("a", 1)
    assert scene.uploads.queued_pieces == 1


def test_a_lost_piece_is_sent_to_nobody() -> None:
    scene = spread("****")
    scene.follows("a", 2)
    scene.uploads.lost(DIGEST, 1)
    scene.uploads.lost(OTHER, 1)
    assert scene.gets("a", 1) == ["a: not held 1"]


@pytest.mark.parametrize(
    "end",
    [
        lambda scene: scene.unreachable("a"),
        lambda scene: scene.says("a", Follow(1, b"\0\0\0\0\0", 1)),
        lambda scene: scene.fails("a", 2, gone=False),
    ],
    ids=["its connection is full", "garbled", "disk"],
)
def test_a_complaint_counts_in_the_session_after_the_one_in_which_the_piece_was_sent(
    end: Callable[[Scene], object],
) -> None:
    scene = spread("****")
    for again in (False, True):
        scene.follows("a", 3)
        scene.gets("a", 0, 1, 2)
        scene.received("a", 1)
        end(scene)
        if again:
            scene.follows("a", 3)
        assert scene.bye("a", 0, 3) == ["recheck 0"]
        scene.unreachable("a")
        assert scene.bye("a", 0) == [], "each piece that was sent is read again once"


def test_a_complaint_about_a_piece_that_was_sent_has_it_read_again() -> None:
    scene = spread("****")
    scene.follows("a", 2)
    scene.gets("a", 1)
    scene.received("a")
    assert scene.bye("a", 1) == ["recheck 1"]
    assert scene.bye("a", 1) == []
    scene.test("a")
    assert scene.bye("a", 1) == [], "in this session nothing was sent"
    scene.test("a")
    assert scene.bye("a", 77) == []


def test_withdrawn_content_is_gone_for_all_its_sessions() -> None:
    scene = spread("***")
    scene.uploads.serve(OTHER, bits("*"), 60, 100)
    scene.follows("a", 1)
    scene.test("b")
    scene.test("c", OTHER)
    scene.gets("a", 0)
    assert scene.then(scene.uploads.withdraw(DIGEST)) == ["a: no", "b: no"]
    assert scene.uploads.withdraw(DIGEST) == []
    assert scene.uploads.queued_pieces == 0
    assert scene.gets("b", 0) == ["b: no session"]
    assert scene.test("b") == ["b: no"]
    assert scene.uploads.sessions() == {OTHER: 1}


def test_content_that_is_served_again_begins_anew() -> None:
    scene = spread("***")
    scene.held(0)
    scene.uploads.withdraw(DIGEST)
    scene.serve("***", "***")
    assert scene.follows("b", 1) == [], "nothing is relayed"
    assert scene.gets("b", 1) == ["b<1"]


def test_out_of_the_network_nothing_is_served() -> None:
    scene = spread("***")
    scene.test("a")
    assert scene.then(scene.uploads.set_serving(False)) == ["a: later"]
    assert scene.test("a") == ["a: later"]
    assert scene.gets("a", 0) == ["a: no session"]
    assert scene.then(scene.uploads.set_serving(True)) == []
    assert scene.test("a") == ["a: complete alone"]


# --- whatever comes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits_said", [b"", b"\0\0", b"\x01"], ids=["short", "long", "beyond the last piece"])
@pytest.mark.parametrize("message", [Follow(1, b"", 1), Have(1, b"")], ids=lambda message: type(message).__name__)
def test_a_bitfield_of_another_content_ends_the_session(message: Follow | Have, bits_said: bytes) -> None:
    scene = spread("***")
    scene.follows("a", 1)
    garbled = Follow(1, bits_said, 1) if isinstance(message, Follow) else Have(1, bits_said)
    assert scene.says("a", garbled) == ["a: no session"]
    assert scene.sessions == ""


def test_what_was_said_in_the_session_before_counts_for_nothing() -> None:
    """It was on its way when the source forgot that one, behind the Test that opens this."""
    scene = spread("***")
    scene.test("a")
    assert scene.gets("a", 0) == []
    assert scene.received("a", 0, credit=3) == []
    assert scene.follows("a", 1) == []
    assert sent(scene.gets("a", 1)) == "a1"


PIECES = st.lists(st.integers(0, 14), max_size=6)
FIELDS = st.one_of(
    st.text("* ", min_size=12, max_size=12).map(lambda text: bits(text).to_bytes()), st.binary(max_size=3)
)
FEW = st.integers(0, 6)
SAID = st.one_of(
    st.just(AskTest(1, DIGEST)),
    st.builds(Follow, st.just(1), FIELDS, FEW, st.booleans()),
    st.builds(Received, st.just(1), FEW, FEW),
    st.builds(Relay, st.just(1), FEW, PIECES),
    st.builds(Get, st.just(1), PIECES),
    st.builds(Cancel, st.just(1), PIECES),
    st.builds(Have, st.just(1), FIELDS),
)
STEP = st.one_of(
    st.tuples(st.just("says"), SAID),
    st.tuples(st.just("says"), SAID),
    st.tuples(st.just("bye"), st.integers(0, 14)),
    st.tuples(st.just("tick"), st.sampled_from([0.05, 0.5, 6.0])),
    st.tuples(st.just("held"), PIECES),
    st.tuples(st.just("fails"), st.integers(0, 11), st.booleans()),
    st.tuples(st.just("unreachable")),
    st.tuples(st.just("withdraw")),
    st.tuples(st.just("serving"), st.booleans()),
    st.tuples(st.just("serve"), st.text("* ", min_size=12, max_size=12)),
)


class Watched(Scene):
    """Checks that what is sent was allowed, besides the books."""

    def __init__(self, have: str, rate: float) -> None:
        super().__init__(have, rate=rate)
        self.credit: dict[bytes, int] = {}
        self.relays_asked: dict[bytes, int] = {}
        self.promised: dict[bytes, set[int]] = {}

    def step(self, name: str, kind: str, *arguments: object) -> None:
        route = name.encode()
        self.effects = []
        if kind == "says":
            (message,) = arguments
            assert not isinstance(message, str)
            self.note(route, message)
            self.says(name, message)  # type: ignore[arg-type]
        elif kind == "held":
            fresh = [piece for piece in arguments[0] if piece < 12 and piece not in self.have]  # type: ignore[attr-defined]
            self.held(*dict.fromkeys(fresh))
        elif kind == "withdraw":
            self.then(self.uploads.withdraw(DIGEST))
            self.serve(picture(self.have))
        elif kind == "serving":
            self.then(self.uploads.set_serving(bool(arguments[0])))
        elif kind == "fails":
            if route in self.credit:
                self.credit[route] += 1
            self.fails(name, *arguments)  # type: ignore[arg-type]
        else:
            getattr(self, kind)(*([name] if kind in ("bye", "unreachable") else []), *arguments)
        self.check()

    def note(self, route: bytes, message: object) -> None:
        if isinstance(message, Follow):
            self.credit[route] = message.credit
            self.promised[route] = set()
        elif isinstance(message, Received):
            self.credit[route] = self.credit.get(route, 0) + message.credit
        elif isinstance(message, Relay):
            self.relays_asked[route] = self.relays_asked.get(route, 0) + message.count
        elif isinstance(message, Get):
            self.relays_asked[route] = self.relays_asked.get(route, 0) + len(message.pieces)

    def check(self) -> None:
        for effect in self.effects:
            if isinstance(effect, SendPiece):
                header, route = effect.header, effect.route
                assert header.piece in self.have
                self.credit[route] -= 1
                assert self.credit[route] >= 0
                self.relays_asked[route] = self.relays_asked.get(route, 0) - header.relay
                assert self.relays_asked[route] >= 0
                assert not self.promised[route].intersection(header.promised)
                assert header.piece not in header.promised
                self.promised[route].update(header.promised)
            elif isinstance(effect, Reply) and isinstance(effect.message, NoSession):
                self.promised[effect.route] = set()


@given(
    st.text("* ", min_size=12, max_size=12),
    st.sampled_from([0.0, 500.0]),
    st.lists(st.tuples(st.sampled_from("abc"), STEP), max_size=60),
)
def test_any_history_keeps_the_books_right(have: str, rate: float, steps: list[tuple[str, tuple[str, object]]]) -> None:
    scene = Watched(have, rate)
    for name in "abc":
        scene.step(name, "says", AskTest(1, DIGEST))
        scene.step(name, "says", Follow(1, b"\0\0", 3))
    for name, step in steps:
        scene.step(name, *step)
    scene.then(scene.uploads.set_serving(True))
    scene.test("z")
    words = scene.follows("z", 2) + scene.gets("z", *range(12))
    got: set[str] = set()
    for _ in range(60):
        mine = [word for word in words if word.startswith("z<")]
        got.update(sent(mine).split())
        words = scene.received("z", len(mine)) + scene.tick(0.1)
    assert got == {f"z{piece}" for piece in scene.have.indices()}, "it gets what it asks for, whatever was before"
