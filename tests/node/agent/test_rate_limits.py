"""The agent and the peer's rate limits: who is told of them, what changes them, and until when they hold."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from node.agent.disk_work import LIMITS_NAME, AgentFiles
from node.agent.effects import KeepLimits, Note, ToDownloader, ToPieceServer
from node.api_messages import ApiLimit, ApiLimits
from node.config import AgentSettings
from node.local_messages import Limit, Pause, ShareState
from node.rate_limit import RateLimits
from node.schedule import DAY_MINUTES, Override, PeriodKeys, parse_schedule
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
    assert scene.took(KeepLimits) == [
        KeepLimits(Override(RateLimits(0.0, 2_000.0))),
        KeepLimits(Override(RateLimits(0.0, 5.0))),
    ]
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
        trackers=["tcp://127.0.0.1:1"],
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
    for override in (Override(RateLimits(1.5, 0.0)), Override(RateLimits(0.0, 0.0), 3), None):
        with closing(files(tmp_path, "first")) as kept:
            kept.keep_limits(Override(RateLimits(1.0, 1.0)))
            kept.keep_limits(override)
        with closing(files(tmp_path, "first")) as again:
            assert again.override == override
    with closing(files(tmp_path, "second")) as next_run:
        assert next_run.override is None


@pytest.mark.parametrize(
    "data",
    [b"", b'{"limits":', b"[]", b"{}", b'{"limits": {"upload_rate": -5}}', b'{"limits": {"download_rate": "fast"}}'],
)
def test_damaged_limits_are_told_of_and_those_of_the_configuration_hold(
    data: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(files(tmp_path, "run")) as kept:
        kept.keep_limits(Override(RateLimits(1.5, 0.0)))
        (tmp_path / "run" / LIMITS_NAME).write_bytes(data)
        assert kept.override is None
    assert "those of the configuration apply" in caplog.text


def test_the_schedule_changes_the_limits_and_ends_what_a_person_set() -> None:
    keys = [PeriodKeys(from_="08:00", to=18 * 60, days="mon-fri", upload_rate=9_000)]
    scene = Scene(limits=CONFIGURED, schedule=tuple(parse_schedule(keys))).up()

    def at(hour: int) -> None:
        scene.play(scene.core.tell_time(hour * 60, scene.now))

    at(7)
    assert told(scene) == ([], [])
    assert scene.status().limits_why == "as configured, until mon 08:00"
    at(8)
    assert told(scene) == ([9_000.0], [2_000.0])
    assert [note.text for note in scene.took(Note)] == [
        "limits: up 8.8 KiB/s, down 2.0 KiB/s (schedule: mon-fri 08:00-18:00, until mon 18:00)"
    ]
    assert limited(scene, down=1.0) == RateLimits(9_000.0, 1.0)
    assert scene.took(KeepLimits) == [KeepLimits(Override(RateLimits(9_000.0, 1.0), 0))]
    assert scene.status().limits_why == "set by 'limit' until mon 18:00"
    told(scene)
    at(17)
    assert (told(scene), scene.took(KeepLimits)) == (([], []), [])
    at(18)
    assert (told(scene), scene.took(KeepLimits)) == (([3_000.0], [2_000.0]), [KeepLimits(None)])
    scene.hello("downloader", instance=9)
    assert told(scene)[1] == [2_000.0]


def test_what_a_person_set_before_a_restart_of_the_agent_holds_on() -> None:
    keys = [PeriodKeys(from_="22:00", to="06:00", upload_rate=0)]
    entries, set_before = tuple(parse_schedule(keys)), Override(RateLimits(1.0, 1.0), 0)
    scene = Scene(limits=CONFIGURED, schedule=entries, override=set_before).up()
    scene.play(scene.core.tell_time(DAY_MINUTES + 5 * 60, scene.now))
    assert limited(scene) == RateLimits(1.0, 1.0)
    scene.play(scene.core.tell_time(DAY_MINUTES + 6 * 60, scene.now))
    assert limited(scene) == CONFIGURED
