"""Who gets a page of a manifest while others do not read theirs, and which requests wait."""

from __future__ import annotations

import pytest

from node.piece_server.requests import LOOK_SECONDS, PATIENCE_SECONDS
from protocol.messages import GetManifest, ManifestPage, Status
from tests.node.piece_server.core_scene import DIGEST, FIRST, Said, Scene, item, share_state

PAGES = 4


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """There is room for few pages; one content is shared."""
    monkeypatch.setattr("node.piece_server.requests.PAGES_COUNT_MAX", PAGES)
    scene = Scene()
    scene.agent(share_state(item()))
    scene.disk.pages = {("seed", page): (9, b"abc") for page in range(3)}
    return scene


def ask(scene: Scene, names: str, page: int = 0) -> list[Said]:
    """Each of ``names`` asks for ``page``; session 1 + ``page``."""
    said: list[Said] = []
    for name in names:
        said += scene.peer(name, GetManifest(1 + page, DIGEST, FIRST, page))
    return said


def wait(scene: Scene, seconds: float) -> list[Said]:
    """What peers are told then."""
    return [said for said in scene.tick(seconds) if said[0] != "agent"]


def pages(names: str, page: int = 0) -> list[Said]:
    return [(name, ManifestPage(1 + page, page, 9, b"abc")) for name in names]


def test_who_does_not_read_a_page_gets_no_other(scene: Scene) -> None:
    scene.unread = {"a"}
    assert ask(scene, "a") == pages("a")
    assert ask(scene, "a", 1) == []
    assert ask(scene, "bb") == pages("bb")
    due = scene.core.tick(scene.now)
    assert due == scene.now + LOOK_SECONDS
    scene.unread = set()
    assert wait(scene, LOOK_SECONDS) == pages("a", 1)
    assert scene.core.tick(scene.now) != scene.now + LOOK_SECONDS


def test_a_host_that_takes_all_room_and_does_not_read_is_hung_up_on(scene: Scene) -> None:
    scene.unread, scene.hosts = {*"abcdefgh"}, dict.fromkeys("abcde", "host")
    assert ask(scene, "abcd") == pages("abcd")
    assert ask(scene, "e") == [], "one of its own has to go out first"
    assert ask(scene, "f") == [("a", "hung up on")]
    assert wait(scene, LOOK_SECONDS) == [], "it is being closed"
    scene.unread -= {"a"}
    assert wait(scene, LOOK_SECONDS) == pages("f")
    assert ask(scene, "g") == [("b", "hung up on")]
    scene.unread -= {"b"}
    assert wait(scene, LOOK_SECONDS) == pages("g")
    assert ask(scene, "h") == [("c", "hung up on")]
    scene.unread -= {"c"}
    assert wait(scene, LOOK_SECONDS) == pages("h")
    assert ask(scene, "i") == [], "it has no more than others now"


def test_whoever_waits_too_long_for_its_page_gives_way_to_another_of_its_host(scene: Scene) -> None:
    scene.unread, scene.hosts = {*"abcd"}, dict.fromkeys("abcde", "host")
    ask(scene, "abcd")
    assert ask(scene, "e") == []
    assert wait(scene, PATIENCE_SECONDS - LOOK_SECONDS) == []
    assert wait(scene, LOOK_SECONDS) == [("a", "hung up on")]
    scene.unread -= {"a"}
    assert wait(scene, LOOK_SECONDS) == pages("e")


def test_hosts_that_read_are_not_hung_up_on(scene: Scene) -> None:
    """However many there are, each waits for its turn."""
    scene.unread = {*"abcd"}
    ask(scene, "abcd")
    assert ask(scene, "efgh") == []
    assert wait(scene, PATIENCE_SECONDS - LOOK_SECONDS) == []
    scene.unread = set()
    assert wait(scene, LOOK_SECONDS) == pages("efgh")


def test_pages_that_nobody_gets_make_room(scene: Scene) -> None:
    scene.deaf = {*"abcd"}
    assert ask(scene, "abcd") == pages("abcd"), "tried"
    scene.unread = {*"efgh"}
    assert ask(scene, "efgh") == pages("efgh")
    scene.agent(share_state())
    scene.unread = set()
    assert ask(scene, "i") == [("i", Status(1, "no"))]
    assert ask(scene, "i") == [("i", Status(1, "no"))]


def test_a_host_with_very_many_requests_that_wait_keeps_nobody_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.piece_server.requests.SESSIONS_COUNT_MAX", 4)
    scene.unread, scene.hosts = {*"abc"}, dict.fromkeys("abc", "host")
    ask(scene, "abc")
    assert ask(scene, "ab", 1) + ask(scene, "ab", 2) == []
    assert ask(scene, "c", 1) == [("a", Status(2, "later"))], "of one host each connection has as many"
    assert ask(scene, "c", 2) == [("c", Status(3, "later"))]
    assert ask(scene, "d") == [("b", Status(2, "later")), *pages("d")]
