"""Getting a manifest from peers that may not have it, not answer, or lie."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest

from node.downloader.manifest_fetch import (
    CHECK_SECONDS,
    GIVING_COUNT_MAX,
    IMPATIENT_SECONDS,
    Effect,
    GotManifest,
    ManifestFetch,
    NoManifest,
)
from node.downloader.source import (
    RETRY_SECONDS_FIRST,
    RETRY_SECONDS_MAX,
    STATUS_COUNT_MAX,
    Banned,
    Connect,
    Disconnect,
    Send,
)
from protocol.limits import MANIFEST_PAGE_BYTES, TEST_TIMEOUT_SECONDS
from protocol.manifest import manifest_digest
from protocol.messages import Error, GetManifest, ManifestPage, Status
from tests.node.downloader.scene import DIGEST, entry

PAGE = MANIFEST_PAGE_BYTES
DATA = bytes(range(256)) * (5 * PAGE // 512)
"""Two pages and a half."""
MANIFEST = manifest_digest(DATA, "blake3")


class Scene:
    def __init__(self, manifest: str = MANIFEST) -> None:
        self.now = 10.0
        self.fetch = ManifestFetch(DIGEST, manifest, count(1), Random(1))

    def found(self, *names: str, listed: int | None = None) -> list[Effect]:
        return self.fetch.found([entry(name) for name in names], self.now, listed)

    def connected(self, session: int) -> list[Effect]:
        return self.fetch.connected(session, self.now)

    def page(self, session: int, number: int, data: bytes = DATA, total: int | None = None) -> list[Effect]:
        part = data[number * PAGE : (number + 1) * PAGE]
        page = ManifestPage(session, number, len(data) if total is None else total, part)
        return self.fetch.handle(session, page, self.now)

    def whole(self, session: int, data: bytes = DATA) -> list[Effect]:
        self.connected(session)
        effects: list[Effect] = []
        for number in range((len(data) + PAGE - 1) // PAGE):
            effects = self.page(session, number, data)
        return effects

    def wait(self, seconds: float) -> list[Effect]:
        until = self.now + seconds
        effects: list[Effect] = []
        while (due := self.fetch.next_deadline(self.now)) is not None and due <= until:
            self.now = max(self.now, due)
            effects += self.fetch.tick(self.now)
        self.now = until
        return effects


def ask(session: int, page: int, peer: str = "a") -> Send:
    return Send(session, GetManifest(session, DIGEST, MANIFEST, page, peer))


def test_page_by_page() -> None:
    scene = Scene()
    assert scene.found("a", "b") == [Connect(1, "tcp://a:1")]
    assert scene.connected(1) == [ask(1, 0)]
    assert scene.page(1, 0) == [ask(1, 1)]
    assert scene.page(1, 0) == [], "said twice"
    assert scene.page(1, 2) == [], "not asked for yet"
    assert scene.page(1, 1) == [ask(1, 2)]
    assert scene.page(1, 2) == [GotManifest(DATA)]
    assert scene.fetch.next_deadline(scene.now) is None
    assert scene.found("c") == []
    assert scene.wait(10.0) == []


def test_the_connection_it_came_over_is_kept_until_it_is_closed() -> None:
    scene = Scene()
    scene.found(*"abcd")
    scene.wait(IMPATIENT_SECONDS + CHECK_SECONDS)
    effects = scene.whole(2)
    assert effects == [Disconnect(1), GotManifest(DATA)]
    assert [source.session for source in scene.fetch.pool] == [2]
    assert scene.page(2, 0) == [], "asked for nothing any more"
    assert scene.fetch.handle(2, Status(2, "no"), scene.now) == []
    assert scene.wait(60.0) == []
    assert scene.fetch.close(scene.now) == [Disconnect(2)]


@pytest.mark.parametrize("whole", [False, True], ids=["while the manifest comes", "while the connection is kept"])
def test_a_source_that_floods_is_banned(whole: bool) -> None:
    """Messages that answer no question are none of use; a few may have crossed ours."""
    scene = Scene()
    scene.found("a")
    if whole:
        scene.whole(1)
    else:
        scene.connected(1)
        scene.page(1, 0)
    useless = [scene.page(1, 0) for _ in range(STATUS_COUNT_MAX)]
    assert useless == STATUS_COUNT_MAX * [[]]
    assert scene.page(1, 0) == [Banned("a", "name-a", "floods us with messages"), Disconnect(1)]
    assert scene.fetch.pool.banned == {"a": "floods us with messages"}
    assert scene.page(1, 0) == []
    assert scene.wait(10.0) == []


def test_a_source_of_a_long_manifest_does_not_flood() -> None:
    data = bytes(2 * STATUS_COUNT_MAX * PAGE)
    scene = Scene(manifest_digest(data, "blake3"))
    scene.found("a")
    assert scene.whole(1, data) == [GotManifest(data)]


@pytest.mark.parametrize("how", ["lost", "left", "misbehaved"])
def test_a_kept_connection_that_ends_is_not_dialled_again(how: str) -> None:
    scene = Scene()
    scene.found("a", "b")
    scene.whole(1)
    if how == "lost":
        effects = scene.fetch.disconnected(1, "connection lost", scene.now)
    elif how == "left":
        effects = scene.fetch.peer_lost("a", scene.now)
    else:
        effects = scene.fetch.misbehaved(1, "sends nonsense", scene.now)
    assert [effect for effect in effects if not isinstance(effect, Banned)] == [Disconnect(1)]
    assert scene.wait(10.0) == []
    assert len(scene.fetch.pool) == 0


@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_any_size(size: int) -> None:
    data = DATA[:size]
    scene = Scene(manifest_digest(data, "blake3"))
    scene.found("a")
    assert scene.whole(1, data)[-1] == GotManifest(data)


def test_one_that_hands_out_pages_slowly_does_not_keep_others_from_being_asked() -> None:
    """All of it may take minutes, and have another digest in the end."""
    scene = Scene()
    scene.found("a", "b")
    scene.connected(1)
    total, effects, page = 128 * PAGE, list[Effect](), 0
    while not any(isinstance(effect, Connect) for effect in effects) and page < 64:
        scene.now += IMPATIENT_SECONDS - 0.01
        effects += scene.page(1, page, bytes(total), total)
        effects += scene.wait(0.0)
        page += 1
    assert page < 15


def test_who_has_another_manifest_is_passed_over() -> None:
    scene = Scene()
    scene.found("a", "b")
    scene.connected(1)
    assert scene.page(1, 0, b"", total=0) == [Disconnect(1), Connect(2, "tcp://b:1")]
    assert scene.whole(2)[-1] == GotManifest(DATA)


def test_who_hands_out_something_else_is_banned() -> None:
    scene = Scene()
    scene.found("a", "b")
    effects = scene.whole(1, DATA[:-1] + b"!")
    reason = "sent another manifest than it was asked for"
    assert effects == [Banned("a", "name-a", reason), Disconnect(1), Connect(2, "tcp://b:1")]
    assert scene.whole(2)[-1] == GotManifest(DATA)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ManifestPage(1, 0, 3 * PAGE, DATA[: PAGE - 1]), None),
        (ManifestPage(1, 0, 10, b""), None),
        (ManifestPage(1, 0, 10, DATA[:11]), None),
        (ManifestPage(1, 0, 3 * PAGE, DATA[:PAGE]), ManifestPage(1, 1, 4 * PAGE, DATA[:PAGE])),
        (ManifestPage(1, 0, PAGE + 5, DATA[:PAGE]), ManifestPage(1, 1, PAGE + 5, DATA[:6])),
    ],
)
def test_pages_that_do_not_fit_ban(first: ManifestPage, second: ManifestPage | None) -> None:
    scene = Scene()
    scene.found("a", "b")
    scene.connected(1)
    effects = scene.fetch.handle(1, first, scene.now)
    if second is not None:
        assert effects == [ask(1, 1)]
        effects = scene.fetch.handle(1, second, scene.now)
    assert [type(effect) for effect in effects] == [Banned, Disconnect, Connect]


def test_when_all_the_tracker_lists_have_another_there_is_no_manifest() -> None:
    scene = Scene()
    scene.found("a", "b", listed=2)
    scene.connected(1)
    scene.page(1, 0, b"", total=0)
    scene.connected(2)
    effects = scene.page(2, 0, b"", total=0)
    assert effects[0] == Disconnect(2)
    (nothing,) = effects[1:]
    assert isinstance(nothing, NoManifest)
    assert scene.fetch.next_deadline(scene.now) is None


@pytest.mark.parametrize("listed", [None, 3], ids=["it is not sure", "there are more"])
def test_as_long_as_others_may_have_it_nothing_is_final(listed: int | None) -> None:
    scene = Scene()
    scene.found("a", "b", listed=listed)
    for session in (1, 2):
        scene.connected(session)
        scene.page(session, 0, b"", total=0)
    assert scene.found("c") == [Connect(3, "tcp://c:1")]
    assert scene.whole(3)[-1] == GotManifest(DATA)


@pytest.mark.parametrize("state", ["no", "later", "other_peer"])
def test_who_cannot_serve_is_asked_again_later(state: Any) -> None:
    scene = Scene()
    scene.found("a", listed=1)
    scene.connected(1)
    assert scene.fetch.handle(1, Status(1, state), scene.now) == [Disconnect(1)]
    assert scene.wait(RETRY_SECONDS_FIRST + CHECK_SECONDS) == [Connect(2, "tcp://a:1")]
    assert scene.whole(2)[-1] == GotManifest(DATA)


def test_who_refused_is_asked_again_after_the_others() -> None:
    scene = Scene()
    scene.found("a", "b")
    scene.connected(1)
    scene.page(1, 0, b"", total=0)
    assert scene.found("a") == []
    scene.now += RETRY_SECONDS_FIRST
    assert scene.fetch.disconnected(2, "refused", scene.now) == [Disconnect(2), Connect(3, "tcp://a:1")]


def test_who_does_not_answer_makes_way_and_is_tried_again_later() -> None:
    scene = Scene()
    scene.found("a", "b")
    assert Disconnect(1) in scene.wait(TEST_TIMEOUT_SECONDS + CHECK_SECONDS)
    scene.connected(2)
    assert Disconnect(2) in scene.wait(TEST_TIMEOUT_SECONDS + CHECK_SECONDS)
    assert Connect in [type(effect) for effect in scene.wait(RETRY_SECONDS_MAX + CHECK_SECONDS)]


def test_while_one_is_silent_more_and_more_others_are_asked_too() -> None:
    scene = Scene()
    scene.found(*"abcdefgh")
    scene.connected(1)
    (one_more,) = scene.wait(IMPATIENT_SECONDS + CHECK_SECONDS)
    assert isinstance(one_more, Connect)
    opened = [effect for effect in scene.wait(2.0) if isinstance(effect, Connect)]
    assert len(opened) == 6
    scene.connected(3)
    for number in range(2):
        scene.page(3, number)
    assert scene.page(1, 0) == [ask(1, 1)], "each has its own pages"
    assert GotManifest(DATA) in scene.page(3, 2)


def test_only_a_few_give_more_than_a_page() -> None:
    scene = Scene()
    names = [f"s{number}" for number in range(GIVING_COUNT_MAX + 2)]
    scene.found(*names)
    scene.wait(4 * IMPATIENT_SECONDS)
    for session in range(1, len(names) + 1):
        scene.connected(session)
    effects = [scene.page(session, 0)[0] for session in range(1, len(names) + 1)]
    assert [type(effect) for effect in effects] == GIVING_COUNT_MAX * [Send] + 2 * [Disconnect]


def test_each_page_has_its_own_time() -> None:
    scene = Scene()
    scene.found("a")
    scene.connected(1)
    for number in range(2):
        assert scene.wait(TEST_TIMEOUT_SECONDS - 2 * CHECK_SECONDS) == []
        assert scene.page(1, number) == [ask(1, number + 1)]


def test_a_connection_lost_midway_starts_from_the_first_page() -> None:
    scene = Scene()
    scene.found("a", "b")
    scene.connected(1)
    scene.page(1, 0)
    assert scene.fetch.disconnected(1, "refused", scene.now) == [Disconnect(1), Connect(2, "tcp://b:1")]
    assert scene.connected(2) == [ask(2, 0, "b")]
    assert scene.whole(2)[-1] == GotManifest(DATA)


def test_the_only_source_lost_midway_is_asked_for_the_first_page_again() -> None:
    scene = Scene()
    scene.found("a")
    scene.connected(1)
    scene.page(1, 0)
    assert scene.fetch.disconnected(1, "refused", scene.now) == [Disconnect(1)]
    assert scene.wait(2.0) == [Connect(2, "tcp://a:1")]
    assert scene.whole(2)[-1] == GotManifest(DATA)


def test_a_peer_that_left_makes_way() -> None:
    scene = Scene()
    scene.found("a", "b")
    assert scene.fetch.peer_lost("a", scene.now) == [Disconnect(1), Connect(2, "tcp://b:1")]
    assert scene.fetch.peer_lost("a", scene.now) == []
    assert scene.fetch.peer_lost("b", scene.now) == [Disconnect(2)]
    assert scene.wait(20.0) == []
    assert scene.found("b") == [Connect(3, "tcp://b:1")]


def test_who_says_something_else_cannot_help_now() -> None:
    scene = Scene()
    scene.found("a", "b")
    scene.connected(1)
    assert scene.fetch.handle(1, Error(0, "bad", "no"), scene.now) == [Disconnect(1), Connect(2, "tcp://b:1")]


def test_what_is_no_peer_is_not_banned() -> None:
    scene = Scene()
    scene.found("a", "b")
    assert scene.fetch.misbehaved(1, "speaks HTTP", scene.now) == [Disconnect(1), Connect(2, "tcp://b:1")]
    assert scene.fetch.pool.banned == {}


def test_a_peer_that_sends_nonsense_is_banned() -> None:
    scene = Scene()
    scene.found("a", "b")
    scene.connected(1)
    scene.page(1, 0)
    effects = scene.fetch.misbehaved(1, "sends nonsense", scene.now)
    assert effects == [Banned("a", "name-a", "sends nonsense"), Disconnect(1), Connect(2, "tcp://b:1")]
    assert scene.found("a") == []


def test_words_of_nobody_are_nothing() -> None:
    scene = Scene()
    assert scene.fetch.connected(9, scene.now) == []
    assert scene.fetch.disconnected(9, "refused", scene.now) == []
    assert scene.fetch.misbehaved(9, "x", scene.now) == []
    assert scene.page(9, 0) == []


def test_closed_it_asks_nobody() -> None:
    scene = Scene()
    scene.found("a")
    assert scene.fetch.close(scene.now) == [Disconnect(1)]
    assert scene.found("b") == []
    assert scene.fetch.next_deadline(scene.now) is None
