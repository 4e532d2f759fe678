"""What a piece server does while reads of seeds and pieces take their time."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from node.disk.errors import ContentChangedError, NotThereError
from node.disk.file_systems import Mount
from node.local_messages import ContentChanged, Held, ServeOk, Serving, Unserve
from node.piece_server.reading import InLoop, Then, Work, attempt
from protocol.errors import DiskError
from protocol.limits import ROUTE_SESSIONS_COUNT_MAX, SESSIONS_COUNT_MAX
from protocol.messages import Bye, Follow, Get, GetManifest, ManifestPage, NotHeld, Piece, Status
from protocol.messages import Test as AskTest
from tests.node.disk.made_content import made_file
from tests.node.piece_server.core_scene import (
    COMPLETE,
    DIGEST,
    FIRST,
    LATER,
    MADE,
    NO,
    Failure,
    Said,
    Scene,
    growing,
    item,
    share_state,
)
from tests.node.scene_pictures import bits

OTHER = made_file(300, seed=1)


class Slow(InLoop):
    """Work on what lies below ``/away`` waits until it is let go on."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Work, Then]] = []

    def find(self, path: str, then: Callable[[Mount], None]) -> None:
        then(Mount("/away", "nfs4") if path.startswith("/away") else Mount("/", "tmpfs"))

    def submit(self, mount: Mount, work: Work, then: Then) -> None:
        del mount
        self.waiting.append((work, then))


class SlowScene(Scene):
    def __init__(self) -> None:
        self.slow = Slow()
        super().__init__(self.slow)
        self.disk.seeds |= {"/away/seeds/a": MADE, "/away/seeds/new": MADE, "other": OTHER}
        self.disk.pages["/away/seeds/a", 0] = (3, b"abc")

    def let_go_on(self) -> list[Said]:
        """What was waiting is done."""
        waiting, self.slow.waiting = self.slow.waiting, []
        for work, then in waiting:
            then(attempt(work))
        return self._then()


@pytest.fixture
def scene() -> SlowScene:
    """Shares content on a slow file system."""
    scene = SlowScene()
    scene.agent(share_state(item(root="/away/data")))
    return scene


@pytest.fixture
def seedless() -> SlowScene:
    """Shares content with its seed on a slow file system."""
    scene = SlowScene()
    scene.agent(share_state(item(seed="/away/seeds/a")))
    return scene


# --- pieces -----------------------------------------------------------------------------------------------


def test_content_that_hangs_leaves_other_content_served(scene: SlowScene) -> None:
    scene.agent(item(OTHER.manifest.digest, "other"))
    assert scene.gets("a", 0, 1) == []
    scene.test("b", OTHER.manifest.digest)
    scene.peer("b", Follow(1, bytes(1), 9, push=False))
    assert scene.peer("b", Get(1, [0])) == [("b", Piece(1, 0, relay=True))]
    assert len(scene.slow.waiting) == 1


def test_pieces_are_sent_in_the_order_that_was_decided(scene: SlowScene) -> None:
    assert scene.gets("a", 1, 0, 2) == []
    assert [scene.let_go_on() for _ in range(3)] == [[("a", Piece(1, piece, relay=True))] for piece in (1, 0, 2)]


def test_no_piece_is_sent_in_a_session_that_is_over(scene: SlowScene) -> None:
    scene.gets("a", 0, 1)
    scene.peer("a", Bye(1))
    assert scene.let_go_on() == []
    assert scene.slow.waiting == []
    assert scene.core.uploads.queued_pieces == 0


def test_no_piece_of_a_session_is_sent_in_the_next_with_its_number(scene: SlowScene) -> None:
    """Its connection was full for a moment, and the receiver begins anew."""
    scene.gets("a", 0, 1)
    scene.core.uploads.unreachable(b"a", 1)
    scene.test("a")
    assert scene.core.uploads.sessions() == {DIGEST: 1}
    assert scene.let_go_on() == []
    scene.peer("a", Follow(1, bytes(1), 9, push=False))
    assert scene.peer("a", Get(1, [2])) == []
    assert scene.let_go_on() == [("a", Piece(1, 2, relay=True))]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotThereError("short"), [("a", NotHeld(1, 0))]),
        (DiskError("gone"), [("a", LATER)]),
        (ContentChangedError("new"), [("a", NO), ("agent", ContentChanged(DIGEST, "/away/data", "new"))]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_read_that_fails_late_fails_as_any(scene: SlowScene, error: Failure, said: list[Said]) -> None:
    scene.gets("a", 0)
    scene.disk.unreadable[0] = error
    assert scene.let_go_on() == said


def test_content_that_is_withdrawn_while_it_is_read_is_closed_afterwards(scene: SlowScene) -> None:
    scene.gets("a", 0, 1)
    assert scene.agent(Unserve(DIGEST)) == [("a", NO)]
    assert not scene.disk.opened[0].closed
    assert scene.let_go_on() == []
    assert scene.let_go_on() == []
    assert scene.disk.opened[0].closed


def test_what_is_being_read_of_content_that_moved_is_read_at_its_new_place(scene: SlowScene) -> None:
    scene.gets("a", 0, 1)
    said = scene.agent(item(root="/elsewhere"))
    assert said == [("a", Piece(1, 0, relay=True)), ("a", Piece(1, 1, relay=True))]
    assert scene.let_go_on() == []


def test_a_complaint_is_looked_into_after_what_is_read_before(scene: SlowScene) -> None:
    scene.gets("a", 0)
    scene.let_go_on()
    scene.gets("b", 1)
    scene.disk.wrong[0] = ContentChangedError("damaged")
    assert scene.peer("a", Bye(1, [0])) == []
    assert scene.let_go_on() == [("b", Piece(1, 1, relay=True))]
    assert scene.let_go_on() == [("b", NO), ("agent", ContentChanged(DIGEST, "/away/data", "damaged"))]


# --- seeds ------------------------------------------------------------------------------------------------


def test_who_asks_for_content_that_is_being_opened_is_answered_when_it_is(seedless: SlowScene) -> None:
    assert seedless.test("a") == []
    assert seedless.test("a") == []
    assert seedless.peer("b", GetManifest(1, DIGEST, FIRST, 0)) == []
    assert len(seedless.slow.waiting) == 1
    assert seedless.let_go_on() == [("a", COMPLETE)]
    assert seedless.let_go_on() == [("b", ManifestPage(1, 0, 3, b"abc"))]


def test_who_waits_for_content_that_is_taken_away_is_told_so(seedless: SlowScene) -> None:
    seedless.test("a")
    seedless.peer("b", GetManifest(1, DIGEST, FIRST, 0))
    assert seedless.agent(Unserve(DIGEST)) == []
    assert seedless.let_go_on() == [("a", NO), ("b", NO)]


def test_who_waits_while_the_peer_leaves_is_sent_away_for_a_while(seedless: SlowScene) -> None:
    seedless.test("a")
    seedless.agent(Serving(False))
    assert seedless.let_go_on() == [("a", LATER)]


def test_a_seed_that_cannot_be_read_just_now_sends_all_away_for_a_while(seedless: SlowScene) -> None:
    seedless.test("a")
    seedless.peer("b", GetManifest(1, DIGEST, FIRST, 0))
    seedless.disk.cannot_open = DiskError("gone")
    assert seedless.let_go_on() == [("a", LATER), ("b", LATER)]


def test_content_with_another_seed_by_now_is_opened_with_that(seedless: SlowScene) -> None:
    seedless.test("a")
    seedless.agent(item(seed="/away/seeds/new", root="/new"))
    assert seedless.let_go_on() == []
    assert seedless.let_go_on() == [("a", COMPLETE)]
    assert [content.root for content in seedless.disk.opened] == ["/new"]


def test_one_connection_waits_with_few_requests(seedless: SlowScene) -> None:
    for number in range(ROUTE_SESSIONS_COUNT_MAX):
        assert seedless.peer("a", AskTest(number, DIGEST)) == []
    assert seedless.peer("a", AskTest(99, DIGEST)) == [("a", Status(99, "later"))]
    assert seedless.peer("a", GetManifest(0, DIGEST, FIRST, 0)) == [("a", Status(0, "later"))]
    assert seedless.test("b") == []


def test_requests_do_not_wait_without_bound(seedless: SlowScene) -> None:
    for number in range(SESSIONS_COUNT_MAX):
        seedless.core.peer_says(b"%d" % number, AskTest(1, DIGEST), seedless.now)
    assert seedless.test("b") == [("b", LATER)]


def test_what_a_download_gets_while_it_is_opened_is_pushed_afterwards(seedless: SlowScene) -> None:
    seedless.agent(Unserve(DIGEST))
    seedless.downloader(growing("*   "))
    seedless.test("a")
    seedless.peer("a", Follow(1, bits("*   ").to_bytes(), 9))
    away = msgspec.structs.replace(growing("*   "), seed_path="/away/seeds/a", stamps=b"stamps")
    assert seedless.downloader(away) == [("downloader", ServeOk(DIGEST))]
    assert seedless.downloader(Held(DIGEST, [2], [2])) == []
    assert seedless.let_go_on() == [("a", Piece(1, 2))]


def test_what_a_download_got_that_ended_while_it_was_opened_is_not_had(seedless: SlowScene) -> None:
    seedless.agent(Unserve(DIGEST))
    away = msgspec.structs.replace(growing("*   "), seed_path="/away/seeds/a")
    seedless.downloader(away)
    seedless.downloader(Held(DIGEST, [2], [2]))
    seedless.downloader(Unserve(DIGEST))
    seedless.downloader(away)
    seedless.let_go_on()
    (said,) = seedless.test("a")
    assert said == ("a", Status(1, "partial", bits("*   ").to_bytes(), stock=True, alone=True))


def test_what_a_new_download_gets_while_it_is_opened_is_relayed_once(seedless: SlowScene) -> None:
    seedless.agent(Unserve(DIGEST))
    away = msgspec.structs.replace(growing("    "), seed_path="/away/seeds/a")
    assert seedless.downloader(away) == [("downloader", ServeOk(DIGEST))]
    seedless.downloader(Held(DIGEST, [2], [2]))
    seedless.let_go_on()
    seedless.test("a")
    assert seedless.peer("a", Follow(1, bytes(1), 9)) == [("a", Piece(1, 2))]
    seedless.core.uploads.check_invariants()
