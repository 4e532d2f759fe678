"""What a piece server decides: whom it serves what, withdraws and tells, and what a failure means."""

from __future__ import annotations

import msgspec
import pytest

from node.disk.errors import ContentChangedError, NotThereError
from node.local_messages import (
    HELLO_SECONDS,
    REPORT_SECONDS,
    ContentChanged,
    Held,
    Hello,
    Limit,
    Serve,
    ServeOk,
    Serving,
    ShareState,
    SwarmUpload,
    Unserve,
    UploadReport,
)
from node.piece_server.shelf import BOOKS_COUNT_MAX
from node.piece_server.uploads import CHECK_SECONDS
from protocol.errors import DiskError, NotFoundError, ProtocolError, SeedError, VersionError
from protocol.limits import DETAIL_BYTES_MAX
from protocol.messages import (
    Bye,
    Error,
    Follow,
    Get,
    GetManifest,
    ManifestPage,
    NoSession,
    NotHeld,
    Piece,
    Received,
    Status,
)
from protocol.messages import Test as AskTest
from tests.node.disk.made_content import made_file
from tests.node.piece_server.core_scene import (
    COMPLETE,
    CROWDED,
    DIGEST,
    FIRST,
    HELLO,
    LATER,
    MADE,
    NO,
    OTHER,
    PIECES,
    SECOND,
    Failure,
    Said,
    Scene,
    growing,
    item,
    share_state,
)
from tests.node.scene_pictures import bits

BROKEN: list[Failure] = [DiskError("device gone"), OSError("EIO"), NotThereError("short")]
WITHDRAWING: list[Failure] = [
    ContentChangedError("has another size"),
    NotFoundError("the seed is gone"),
    SeedError("damaged"),
    ProtocolError("garbled"),
]


@pytest.fixture
def scene() -> Scene:
    """In the network, sharing nothing."""
    made = Scene()
    assert made.agent(share_state()) == []
    return made


@pytest.fixture
def sharing() -> Scene:
    """In the network, sharing the whole content."""
    made = Scene()
    assert made.agent(share_state(item())) == []
    return made


@pytest.fixture
def downloading(scene: Scene) -> Scene:
    """In the network, with a download that has all its pieces so far."""
    scene.downloader(Hello("downloader", 5, 1))
    assert scene.downloader(growing()) == [("downloader", ServeOk(DIGEST))]
    return scene


# --- whether to serve -------------------------------------------------------------------------------------


def test_nobody_is_served_before_the_agent_has_said_what_is_shared() -> None:
    """A "no" would send people away for good."""
    scene = Scene()
    scene.agent(item())
    assert scene.test("a") == [("a", LATER)]
    assert scene.test("a", OTHER) == [("a", LATER)]
    assert scene.peer("a", GetManifest(1, DIGEST, FIRST, 0)) == [("a", LATER)]
    scene.agent(share_state(item()))
    assert scene.test("a") == [("a", COMPLETE)]
    assert scene.peer("a", GetManifest(1, DIGEST, FIRST, 0)) == [("a", ManifestPage(1, 0, 3, b"abc"))]


def test_a_state_may_say_not_to_serve(scene: Scene) -> None:
    scene.agent(share_state(item(), serving=False))
    assert scene.test("a") == [("a", LATER)]


def test_out_of_the_network_sessions_are_sent_away_for_a_while(sharing: Scene) -> None:
    sharing.test("a")
    sharing.test("b")
    assert sharing.agent(Serving(False)) == [("a", LATER), ("b", LATER)]
    assert sharing.test("a") == [("a", LATER)]
    assert sharing.peer("a", GetManifest(1, DIGEST, FIRST, 0)) == [("a", LATER)]
    assert sharing.agent(Serving(True)) == []
    assert sharing.test("a") == [("a", COMPLETE)]


def test_a_limit_is_kept_to_and_ends_no_session(sharing: Scene) -> None:
    sharing.test("a")
    bucket = sharing.core.uploads._uplink.bucket
    assert sharing.agent(Limit(5.0)) == []
    assert bucket.rate == 5.0
    sharing.agent(share_state(item()))
    assert bucket.rate == 5.0
    assert sharing.agent(Limit(0.0)) == []
    assert (bucket.rate, sharing.core.uploads.sessions()) == (0.0, {DIGEST: 1})


# --- what is shared ---------------------------------------------------------------------------------------


def test_content_nobody_has_put_here_is_answered_no(scene: Scene) -> None:
    assert scene.test("a", OTHER) == [("a", NO)]
    assert scene.peer("a", GetManifest(1, OTHER, FIRST, 0)) == [("a", NO)]
    assert (scene.disk.opened, scene.notes) == ([], [])


def test_content_under_another_manifest_is_told_from_content_that_is_not_here(sharing: Scene) -> None:
    assert sharing.peer("a", GetManifest(1, DIGEST, SECOND, 0)) == [("a", ManifestPage(1, 0, 0, b""))]


@pytest.mark.parametrize("serving", [True, False])
def test_who_wants_another_peer_is_told_so(scene: Scene, serving: bool) -> None:
    """Addresses change hands: whoever answers must not be taken for the one that was there before."""
    scene.agent(share_state(item(), serving=serving))
    for message in (AskTest(1, DIGEST, "other"), GetManifest(1, DIGEST, FIRST, 0, "other")):
        assert scene.peer("a", message) == [("a", Status(1, "other_peer"))]
    (_, answer) = scene.peer("a", AskTest(1, DIGEST, "me"))[0]
    assert answer == (COMPLETE if serving else LATER)


def test_content_is_opened_when_somebody_first_asks(sharing: Scene) -> None:
    assert sharing.disk.opened == []
    assert sharing.test("a") == [("a", COMPLETE)]
    assert sharing.test("b") == [("a", CROWDED), ("b", CROWDED)]
    assert [content.root for content in sharing.disk.opened] == ["/shared"]


def test_a_piece_goes_out_when_it_is_asked_for(sharing: Scene) -> None:
    assert sharing.gets("a", 2) == [("a", Piece(1, 2, relay=True))]
    assert sharing.peer("a", Received(1, 1, 1)) == []
    assert sharing.peer("a", Bye(1)) == []


def test_content_whose_seed_is_gone_is_withdrawn_when_its_manifest_is_asked_for(sharing: Scene) -> None:
    sharing.disk.seeds.clear()
    sharing.disk.pages.clear()
    said = sharing.peer("a", GetManifest(1, DIGEST, FIRST, 0))
    assert said == [("agent", ContentChanged(DIGEST, "/shared", "the seed is gone")), ("a", NO)]


def test_content_that_cannot_be_opened_is_withdrawn_when_its_manifest_is_asked_for(sharing: Scene) -> None:
    sharing.disk.cannot_open = SeedError("the seed is damaged")
    said = sharing.peer("a", GetManifest(1, DIGEST, FIRST, 0))
    assert said == [("agent", ContentChanged(DIGEST, "/shared", "the seed is damaged")), ("a", NO)]


def test_what_is_no_longer_shared_is_gone_for_its_sessions(sharing: Scene) -> None:
    sharing.test("a")
    assert sharing.agent(Unserve(DIGEST)) == [("a", NO)]
    assert sharing.disk.opened[0].closed
    assert sharing.test("a") == [("a", NO)]


def test_a_state_withdraws_what_it_does_not_name(sharing: Scene) -> None:
    sharing.test("a")
    assert sharing.agent(share_state()) == [("a", NO)]
    assert sharing.peer("a", GetManifest(1, DIGEST, FIRST, 0)) == [("a", NO)]


def test_the_same_state_again_disturbs_nobody(sharing: Scene) -> None:
    sharing.test("a")
    assert sharing.agent(share_state(item())) == []
    assert not sharing.disk.opened[0].closed
    assert sharing.gets("a", 0) == [("a", Piece(1, 0, relay=True))]


def test_content_shared_from_another_place_is_read_there_without_its_sessions_noticing(sharing: Scene) -> None:
    sharing.gets("a", 0)
    assert sharing.agent(item(root="/elsewhere")) == []
    assert [(content.root, content.closed) for content in sharing.disk.opened] == [
        ("/shared", True),
        ("/elsewhere", False),
    ]
    assert sharing.peer("a", Get(1, [1])) == [("a", Piece(1, 1, relay=True))]


@pytest.mark.parametrize("message", [item(), share_state(item())], ids=["added", "in a state"])
def test_who_has_a_session_for_a_download_is_told_when_the_whole_is_shared(
    scene: Scene, message: Serve | ShareState
) -> None:
    scene.downloader(growing("*   "))
    scene.tick()
    scene.test("a")
    assert scene.agent(message) == []
    assert ("a", msgspec.structs.replace(COMPLETE, idle=True)) in scene.tick(CHECK_SECONDS)


def test_a_second_manifest_is_handed_out_and_nobody_with_a_session_notices(sharing: Scene) -> None:
    sharing.test("a")
    assert sharing.agent(msgspec.structs.replace(item(), more={SECOND: "seed"})) == []
    assert sharing.peer("a", GetManifest(1, DIGEST, SECOND, 0)) == [("a", ManifestPage(1, 0, 3, b"abc"))]
    assert sharing.agent(item()) == []
    assert sharing.peer("a", GetManifest(1, DIGEST, SECOND, 0)) == [("a", ManifestPage(1, 0, 0, b""))]


def test_content_nobody_has_a_session_for_is_closed_when_too_much_is_open(scene: Scene) -> None:
    made = [made_file(100, seed=number) for number in range(BOOKS_COUNT_MAX + 1)]
    for number, one in enumerate(made):
        scene.disk.seeds[str(number)] = one
        scene.agent(item(one.manifest.digest, str(number)))
        scene.peer(f"p{number}", AskTest(1, one.manifest.digest))
        if number != 0:
            scene.peer(f"p{number}", Bye(1))
    closed = [number for number, content in enumerate(scene.disk.opened) if content.closed]
    assert closed == [1], "the first is in use, the second is the longest unused"
    assert scene.peer("a", AskTest(1, made[1].manifest.digest)) == [("a", COMPLETE)]


# --- content that cannot be had any more ------------------------------------------------------------------


@pytest.mark.parametrize("error", WITHDRAWING, ids=lambda error: type(error).__name__)
def test_content_that_is_not_what_it_was_is_withdrawn_and_the_agent_told(sharing: Scene, error: Failure) -> None:
    sharing.disk.cannot_open = error
    assert sharing.test("a") == [("agent", ContentChanged(DIGEST, "/shared", str(error))), ("a", NO)]
    assert sharing.notes == [f"warning: withdrawing {DIGEST.partition(':')[2][:12]}: {error}"]
    sharing.disk.cannot_open = None
    assert sharing.test("a") == [("a", NO)], "the agent knows, and says it anew when it is shared anew"


@pytest.mark.parametrize("error", WITHDRAWING, ids=lambda error: type(error).__name__)
def test_content_that_is_seen_to_have_changed_at_a_read_is_withdrawn_for_all(sharing: Scene, error: Failure) -> None:
    sharing.test("b")
    sharing.disk.unreadable[0] = error
    said = sharing.gets("a", 0)
    assert said == [("b", NO), ("a", NO), ("agent", ContentChanged(DIGEST, "/shared", str(error)))]
    assert sharing.disk.opened[0].closed
    assert sharing.peer("a", Get(1, [0])) == [("a", NoSession(1))]


def test_of_content_that_changed_nothing_more_is_sent_though_it_was_decided_before(sharing: Scene) -> None:
    sharing.disk.unreadable[1] = ContentChangedError("was replaced")
    assert sharing.gets("a", 0, 1, 2) == [
        ("a", Piece(1, 0, relay=True)),
        ("a", NO),
        ("agent", ContentChanged(DIGEST, "/shared", "was replaced")),
    ]


def test_shared_content_that_changed_leaves_a_download_of_it_to_be_served_from(downloading: Scene) -> None:
    downloading.test("a")
    downloading.disk.cannot_open = ContentChangedError("was replaced")
    assert downloading.agent(item()) == [
        ("a", NO),
        ("agent", ContentChanged(DIGEST, "/shared", "was replaced")),
    ]
    downloading.disk.cannot_open = None
    assert downloading.test("a") == [("a", COMPLETE)]
    assert downloading.disk.opened[-1].root == "/hidden"


# --- complaints about pieces ------------------------------------------------------------------------------


def sent_to(scene: Scene, name: str, piece: int) -> None:
    """``name`` gets ``piece``, and says so."""
    scene.gets(name, piece)
    scene.peer(name, Received(1, 1, 1))


def test_a_piece_that_a_receiver_finds_wrong_is_read_again_and_the_content_withdrawn(sharing: Scene) -> None:
    sent_to(sharing, "a", 0)
    sharing.test("b")
    sharing.disk.wrong[0] = ContentChangedError("piece 0 is not what was hashed")
    said = sharing.peer("a", Bye(1, [0]))
    assert said == [("b", NO), ("agent", ContentChanged(DIGEST, "/shared", "piece 0 is not what was hashed"))]
    assert sharing.test("b") == [("b", NO)]


def test_a_complaint_costs_its_session_and_no_more_than_a_read_of_what_was_sent(sharing: Scene) -> None:
    sent_to(sharing, "a", 0)
    sharing.peer("a", Bye(1, [0]))
    sharing.peer("a", Bye(1, [0]))
    sharing.test("a")
    sharing.peer("a", Bye(1, [0]))
    assert sharing.disk.checked == [0], "it was sent once, and in the last session not at all"
    assert sharing.test("b") == [("b", COMPLETE)]


def test_a_complaint_counts_though_its_sender_has_hung_up_and_another_piece_was_just_to_be_sent(sharing: Scene) -> None:
    """That the connection is gone shows at the next send, before what came over it last is read."""
    sent_to(sharing, "a", 0)
    sharing.deaf.add("a")
    sharing.peer("a", Get(1, [1]))
    assert sharing.core.uploads.sessions() == {}
    sharing.disk.wrong[0] = ContentChangedError("piece 0 is not what was hashed")
    said = sharing.peer("a", Bye(1, [0, 2]))
    assert said == [("agent", ContentChanged(DIGEST, "/shared", "piece 0 is not what was hashed"))]
    sharing.peer("a", Bye(1, [0]))
    assert sharing.disk.checked == [0], "what was sent to it, and once"


def test_a_piece_of_a_download_that_is_wrong_on_disk_is_had_no_more(downloading: Scene) -> None:
    sent_to(downloading, "a", 0)
    downloading.disk.wrong[0] = NotThereError("piece 0 is not what was verified")
    assert downloading.peer("a", Bye(1, [0])) == []
    (said,) = downloading.test("b")
    assert said == ("b", partial(" " + "*" * (PIECES - 1)))


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
def test_content_that_cannot_be_opened_just_now_may_be_asked_for_later(sharing: Scene, error: Failure) -> None:
    sharing.disk.cannot_open = error
    assert sharing.test("a") == [("a", LATER)]
    assert sharing.notes == [f"warning: cannot open {DIGEST.partition(':')[2][:12]}: {error}"]
    sharing.disk.cannot_open = None
    assert sharing.test("a") == [("a", COMPLETE)]


def test_a_piece_a_download_has_not_after_all_is_taken_back(downloading: Scene) -> None:
    downloading.disk.unreadable[1] = NotThereError("ends at byte 7")
    downloading.tick()
    assert downloading.gets("a", 1, 2) == [("a", NotHeld(1, 1)), ("a", Piece(1, 2, relay=True))]
    assert downloading.notes == [f"warning: cannot read piece 1 of {DIGEST.partition(':')[2][:12]}: ends at byte 7"]
    assert downloading.test("a") == [("a", partial("* **"))]


@pytest.mark.parametrize("error", BROKEN[:2], ids=lambda error: type(error).__name__)
def test_a_disk_that_fails_at_a_read_sends_the_receiver_away_for_a_while(sharing: Scene, error: Failure) -> None:
    sharing.disk.unreadable[1] = error
    assert sharing.gets("a", 1) == [("a", LATER)]
    assert sharing.notes == [f"warning: cannot read piece 1 of {DIGEST.partition(':')[2][:12]}: {error}"]
    assert sharing.peer("a", Get(1, [1])) == [("a", NoSession(1))]
    assert sharing.test("a") == [("a", COMPLETE)]


# --- peers that cannot be reached -------------------------------------------------------------------------


def test_who_cannot_be_answered_has_no_session(sharing: Scene) -> None:
    sharing.deaf.add("a")
    assert sharing.test("a") == [("a", COMPLETE)]
    assert sharing.core.uploads.sessions() == {}


def test_who_cannot_be_sent_a_piece_has_no_session(sharing: Scene) -> None:
    sharing.test("b")
    sharing.test("a")
    sharing.peer("a", Follow(1, bytes(1), 2))
    sharing.deaf.add("a")
    assert sharing.gets("b", 2)[-1] == ("b", Piece(1, 2, relay=True))
    assert [to for to, _ in sharing.peer("a", Get(1, [0, 1]))] == ["a"], "it is not tried twice"
    assert (sharing.core.uploads.sessions(), sharing.core.uploads.queued_pieces) == ({DIGEST: 1}, 1)


def test_all_that_was_to_be_said_to_many_is_said_though_some_are_gone(sharing: Scene) -> None:
    for name in "abc":
        sharing.test(name)
    sharing.deaf.update("ab")
    assert sharing.agent(Unserve(DIGEST)) == [("a", NO), ("b", NO), ("c", NO)]


# --- this peer's downloads --------------------------------------------------------------------------------


def test_a_download_is_served_and_what_it_relays_is_pushed(scene: Scene) -> None:
    assert scene.downloader(growing("*   ")) == [("downloader", ServeOk(DIGEST))]
    assert scene.test("a") == [("a", partial("*   "))]
    scene.peer("a", Follow(1, bits("*   ").to_bytes(), 9))
    assert scene.downloader(Held(DIGEST, [2, 3], [2])) == [("a", Piece(1, 2))]
    assert scene.test("a") == [("a", partial("* **", stock=False))]
    assert scene.downloader(Held(OTHER, [2], [])) == []


def test_a_download_is_told_how_many_pieces_it_may_have_to_relay(scene: Scene) -> None:
    scene.downloader(growing("*   "))
    assert scene.rooms == [], "nobody is there"
    scene.downloader(Hello("downloader", 5, 1))
    scene.downloader(growing("*   "))
    (room,) = scene.rooms
    scene.downloader(Held(DIGEST, [1], [1]))
    assert scene.rooms == [room]
    scene.test("a")
    scene.peer("a", Follow(1, bytes(1), 9))
    assert scene.rooms == [room, room + 1]


def test_a_download_that_moved_is_read_at_its_new_place(downloading: Scene) -> None:
    downloading.test("a")
    assert downloading.downloader(growing(root="/final")) == [("downloader", ServeOk(DIGEST))]
    assert [content.root for content in downloading.disk.opened] == ["/final"]
    assert not downloading.disk.opened[0].closed


def test_a_download_that_ended_is_gone_for_its_sessions(downloading: Scene) -> None:
    downloading.test("a")
    assert downloading.downloader(Unserve(DIGEST)) == [("a", NO)]
    assert downloading.downloader(Unserve(DIGEST)) == []
    assert downloading.test("a") == [("a", NO)]


def test_a_download_of_what_is_shared_changes_nothing(sharing: Scene) -> None:
    sharing.test("a")
    assert sharing.downloader(growing("    ")) == [("downloader", ServeOk(DIGEST))]
    assert sharing.downloader(Unserve(DIGEST)) == []
    assert sharing.test("a") == [("a", COMPLETE)]
    assert [content.root for content in sharing.disk.opened] == ["/shared"]


def test_what_a_download_gained_while_it_was_not_open_is_had(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.piece_server.shelf.BOOKS_COUNT_MAX", 1)
    scene.downloader(growing("*   "))
    scene.downloader(Held(DIGEST, [1], []))
    other = made_file(100, seed=1)
    scene.disk.seeds["other"] = other
    scene.agent(item(other.manifest.digest, "other"))
    scene.test("a", other.manifest.digest)
    assert [content.closed for content in scene.disk.opened] == [True, False]
    scene.downloader(Held(DIGEST, [3], []))
    assert scene.test("b") == [("b", partial("** *"))]
    scene.downloader(growing("  * "))
    assert scene.test("b") == [("b", partial("  * "))], "as it says itself"


def test_what_a_download_gained_while_it_was_not_open_is_relayed_by_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or by this peer, which then does not: whoever assigned it will see that it does not spread."""
    scene.downloader(growing("    "))
    scene.core.tick(scene.now)
    scene.core.uploads.withdraw(DIGEST)
    monkeypatch.setattr("node.piece_server.shelf.BOOKS_COUNT_MAX", 0)
    scene.disk.seeds["other"] = made_file(100, seed=1)
    scene.agent(item(scene.disk.seeds["other"].manifest.digest, "other"))
    scene.test("x", scene.disk.seeds["other"].manifest.digest)
    scene.downloader(Held(DIGEST, [1], [1]))
    assert scene.test("a") == [("a", partial(" *  ", stock=False))]


def test_what_a_download_gained_outlives_shared_content_of_the_same(scene: Scene) -> None:
    scene.agent(share_state(item()))
    scene.downloader(growing("*   "))
    scene.downloader(Held(DIGEST, [2], []))
    scene.agent(Unserve(DIGEST))
    assert scene.test("a") == [("a", partial("* * "))]


def test_a_download_that_cannot_be_opened_is_acknowledged_and_tried_again_when_asked_for(scene: Scene) -> None:
    scene.disk.cannot_open = DiskError("device gone")
    assert scene.downloader(growing()) == [("downloader", ServeOk(DIGEST))]
    assert len(scene.notes) == 1
    scene.disk.cannot_open = None
    assert scene.test("a") == [("a", COMPLETE)]


def test_a_new_downloader_has_to_say_again_what_the_last_one_served(downloading: Scene) -> None:
    downloading.test("a")
    assert downloading.downloader(Hello("downloader", 5, 1)) == [("downloader", HELLO)]
    assert downloading.downloader(Hello("downloader", 6, 2), "next") == [("a", NO), ("next", HELLO)]
    assert downloading.disk.opened[0].closed
    assert downloading.test("a") == [("a", NO)]
    assert downloading.downloader(growing("*   "), "next") == [("next", ServeOk(DIGEST))]
    assert downloading.test("a") == [("a", partial("*   "))]


def test_a_new_downloader_takes_nothing_from_what_is_shared(downloading: Scene) -> None:
    downloading.agent(item())
    downloading.test("a")
    assert downloading.downloader(Hello("downloader", 6, 2)) == [("downloader", HELLO)]
    assert ("a", Piece(1, 0, relay=True)) in downloading.gets("a", 0)


def partial(picture: str, stock: bool = True) -> Status:
    """As said to one receiver that is alone."""
    return Status(1, "partial", bits(picture).to_bytes(), stock, alone=True)


# --- greetings and reports --------------------------------------------------------------------------------


def reports(said: list[Said]) -> list[UploadReport]:
    return [message for _, message in said if isinstance(message, UploadReport)]


def test_the_agent_is_greeted_every_second_and_told_nothing_twice(scene: Scene) -> None:
    assert scene.tick() == [("agent", HELLO), ("agent", UploadReport([], 0, 0, 0))]
    assert scene.core.tick(scene.now) == scene.now + HELLO_SECONDS
    assert scene.tick(HELLO_SECONDS / 2) == []
    assert scene.tick(HELLO_SECONDS / 2) == [("agent", HELLO)]
    assert scene.agent(Hello("agent", 9, 1)) == [], "the agent says who it is: nothing depends on it"


def test_with_a_session_it_wants_to_be_called_for_reports_and_sessions_too(sharing: Scene) -> None:
    sharing.tick()
    sharing.test("a")
    assert sharing.core.tick(sharing.now) == sharing.now + min(REPORT_SECONDS, CHECK_SECONDS)


def test_a_report_says_what_changed_of_what_is_gone_too(sharing: Scene) -> None:
    sharing.tick()
    sharing.gets("a", 0)
    assert reports(sharing.tick()) == [], "not twice within a quarter of a second"
    sent, more = len(MADE.piece(0)), len(MADE.piece(1))
    assert reports(sharing.tick(REPORT_SECONDS)) == [UploadReport([SwarmUpload(DIGEST, sent, 1)], 1, 0, sent)]
    sharing.agent(Unserve(DIGEST))
    assert reports(sharing.tick(REPORT_SECONDS)) == [UploadReport([SwarmUpload(DIGEST, 0, 0)], 0, 0, sent)]
    sharing.agent(item())
    sharing.gets("b", 1)
    sharing.agent(Unserve(DIGEST))
    sharing.agent(item())
    assert reports(sharing.tick(REPORT_SECONDS)) == [UploadReport([SwarmUpload(DIGEST, more, 0)], 0, 0, sent + more)]
    sharing.agent(Unserve(DIGEST))
    assert reports(sharing.tick(REPORT_SECONDS)) == []


def test_a_new_agent_is_told_of_sessions_that_are_open(sharing: Scene) -> None:
    sharing.tick()
    sharing.test("a")
    assert reports(sharing.tick(REPORT_SECONDS)) == [UploadReport([SwarmUpload(DIGEST, 0, 1)], 0, 0, 0)]
    sharing.agent(ShareState(9, "me", [item()], serving=True))
    assert reports(sharing.tick(REPORT_SECONDS)) == [UploadReport([SwarmUpload(DIGEST, 0, 1)], 0, 0, 0)]
    assert reports(sharing.tick(REPORT_SECONDS)) == []


def test_garbage_is_answered_and_counted(scene: Scene) -> None:
    scene.tick()
    assert scene.garbage("x", 0, ProtocolError("y" * 1000)) == [("x", Error(0, "bad_message", "y" * DETAIL_BYTES_MAX))]
    assert scene.garbage("x", 7, VersionError("old")) == [("x", Error(7, "bad_version", "old"))]
    assert reports(scene.tick(REPORT_SECONDS)) == [UploadReport([], 0, 2, 0)]
