"""Traces: the downloader is asked for that of the last download that is meant, and its answer goes to who asked."""

from __future__ import annotations

import pytest

from node.agent.effects import ReplyApi, ToDownloader
from node.api_messages import ApiError, ApiTrace, ApiTraceReply
from node.local_messages import Fetch, GetTrace, Traced
from node.trace import Trace
from tests.node.agent.scene import Scene, digest

TRACE = Trace("f", digest(1), 1, 1, 0.0, [], b"", 0, [], [], [], [])


def scene() -> Scene:
    def download(number: int, name: str) -> Fetch:
        return Fetch(digest(number), digest(1_000 + number), name, 9, f"/got/{name}", f"/seeds/{number}", False, False)

    return Scene(downloads=[download(1, "one"), download(2, "two")]).up()


def ask(at: Scene, name: str, path: str = "") -> list[object]:
    return list(at.play(at.core.api_says(b"who", ApiTrace(5, name, path), at.now)))


def asked(at: Scene, name: str, path: str = "") -> GetTrace:
    (effect,) = ask(at, name, path)
    assert isinstance(effect, ToDownloader)
    assert isinstance(effect.message, GetTrace)
    return effect.message


@pytest.mark.parametrize(
    ("name", "path", "meant"), [("two", "", 2), (digest(1), "", 1), (digest(2)[:71], "", 2), ("x", "/got/one", 1)]
)
def test_it_is_meant_by_name_digest_or_path(name: str, path: str, meant: int) -> None:
    assert asked(scene(), name, path).digest == digest(meant)


def test_an_answer_goes_to_who_asked_and_once() -> None:
    at = scene()
    tag = asked(at, "one").tag
    reply = ReplyApi(b"who", ApiTraceReply(5, TRACE))
    assert at.play(at.core.child_says(Traced(tag, TRACE), at.now)) == [reply]
    assert at.play(at.core.child_says(Traced(tag, TRACE), at.now)) == []


def refused(effects: list[object]) -> str:
    (effect,) = effects
    assert isinstance(effect, ReplyApi)
    assert isinstance(effect.reply, ApiError)
    assert (effect.route, effect.reply.id, effect.reply.code) == (b"who", 5, "not_found")
    return effect.reply.detail


def test_one_that_nobody_knows_of_is_not_found() -> None:
    assert refused(ask(scene(), "three")).startswith("no trace of three: this peer knows of no such download")


def test_the_downloader_may_know_no_more_of_it() -> None:
    at = scene()
    assert "no trace of one" in refused([*at.play(at.core.child_says(Traced(asked(at, "one").tag, None), at.now))])


def test_a_downloader_that_was_started_again_knows_nothing() -> None:
    at = scene()
    asked(at, "one")
    told = [effect for effect in at.hello("downloader", 6) if isinstance(effect, ReplyApi)]
    assert "no trace of one" in refused([*told])
