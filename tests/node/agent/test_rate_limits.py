"""The agent and the peer's rate limits: who is told of them, what changes them, and until when they hold."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from node.agent.disk_work import LIMITS_NAME, AgentFiles
from node.agent.effects import KeepLimits, ToDownloader, ToPieceServer
from node.config import AgentSettings
from node.local_messages import ApiLimit, ApiLimits, Limit, Pause, ShareState
from node.rate_limit import RateLimits
from service.logs import LogSettings
from tests.node.agent.scene import Scene

CONFIGURED = RateLimits(3_000.0, 2_000.0)


def told(scene: Scene) -> tuple[list[float], list[float]]:
    """What piece server and downloader were told since the last look."""
    up, down = scene.told(ToPieceServer, Limit), scene.told(ToDownloader, Limit)
    return [limit.rate for limit in up], [limit.rate for limit in down]


def limited(scene: Scene, up: float | None = None, down: float | None = None) -> RateLimits:
    """Ask for these limits; those that hold then."""
    scene.ask(ApiLimit(1, up, down))
    return scene.reply(ApiLimits).limits


def test_a_new_run_of_the_other_processes_is_told_before_it_has_anything_to_do() -> None:
    scene = Scene(limits=CONFIGURED)
    scene.hello("piece_server", port=9)
    first = [type(effect.message) for effect in scene.took(ToPieceServer)]
    assert first.index(Limit) < first.index(ShareState)
    scene.hello("downloader")
    then = [effect.message for effect in scene.took(ToDownloader)]
    assert then.index(Limit(2_000.0)) < then.index(Pause(False))
    scene.hello("piece_server", port=9)
    scene.hello("downloader")
    assert told(scene) == ([], []), "they know"


def test_a_limit_that_is_given_changes_and_the_other_stays() -> None:
    scene = Scene(limits=CONFIGURED).up()
    assert limited(scene, up=0.0) == RateLimits(0.0, 2_000.0)
    assert told(scene) == ([0.0], [2_000.0])
    assert limited(scene, down=5.0) == RateLimits(0.0, 5.0)
    assert told(scene) == ([0.0], [5.0])
    assert scene.took(KeepLimits) == [KeepLimits(RateLimits(0.0, 2_000.0)), KeepLimits(RateLimits(0.0, 5.0))]
    assert scene.status().limits == RateLimits(0.0, 5.0)


def test_limits_are_shown_and_nobody_is_told() -> None:
    scene = Scene(limits=CONFIGURED).up()
    assert limited(scene) == CONFIGURED
    assert (told(scene), scene.took(KeepLimits)) == (([], []), [])


def test_a_restart_of_another_process_changes_no_limit() -> None:
    scene = Scene(limits=CONFIGURED).up()
    limited(scene, 7.0, 0.0)
    told(scene)
    scene.hello("piece_server", instance=6, port=9)
    scene.hello("downloader", instance=6)
    assert told(scene) == ([7.0], [0.0])


def files(place: Path, run: str) -> AgentFiles:
    (place / run).mkdir(exist_ok=True)
    settings = AgentSettings(
        data_dir=str(place),
        runtime_dir=str(place / run),
        name="one",
        tracker="tcp://127.0.0.1:1",
        advertise="tcp://127.0.0.1:0",
        share=[],
        algorithm="blake3",
        scan_seconds=1.0,
        run=run,
        foreground=False,
        log=LogSettings(),
        limits=CONFIGURED,
    )
    return AgentFiles(settings)


def test_limits_hold_for_the_run_of_the_peer_and_its_configuration_for_the_next(tmp_path: Path) -> None:
    for limits in (RateLimits(1.5, 0.0), RateLimits(0.0, 0.0)):
        with closing(files(tmp_path, "first")) as kept:
            kept.keep_limits(limits)
        with closing(files(tmp_path, "first")) as again:
            assert again.limits == limits
    with closing(files(tmp_path, "second")) as next_run:
        assert next_run.limits == CONFIGURED


@pytest.mark.parametrize("data", [b"", b'{"upload_rate":', b"[]", b'{"upload_rate": -5}', b'{"download_rate": "fast"}'])
def test_damaged_limits_are_told_of_and_those_of_the_configuration_hold(
    data: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(files(tmp_path, "run")) as kept:
        kept.keep_limits(RateLimits(1.5, 0.0))
        (tmp_path / "run" / LIMITS_NAME).write_bytes(data)
        assert kept.limits == CONFIGURED
    assert "those of the configuration hold" in caplog.text
