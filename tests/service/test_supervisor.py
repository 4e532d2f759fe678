"""`service.supervisor` with real child processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from service import supervisor as module
from service.supervisor import ChildSpec, Supervisor
from tests.service.events import PATIENCE_SECONDS, Events, gone

pytestmark = pytest.mark.process

Supervise = Callable[..., Supervisor]


@pytest.fixture
def supervise() -> Iterator[Supervise]:
    """Make a supervisor whose children are gone when the test ends."""
    made: list[Supervisor] = []

    def make(*children: ChildSpec) -> Supervisor:
        made.append(Supervisor(children))
        return made[-1]

    yield make
    for each in made:
        each.kill()


def poll_until(supervisor: Supervisor, done: Callable[[], bool]) -> int | None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    code = None
    while code is None and not done():
        assert time.monotonic() < deadline, "nothing happened"
        code = supervisor.poll(0.05)
    return code


def test_children_start_and_end(events: Events, supervise: Supervise) -> None:
    supervisor = supervise(events.spec("one"), events.spec("two"), events.spec("three"))
    supervisor.start()
    assert sorted(events.next().name for _ in range(3)) == ["one", "three", "two"]
    pids = supervisor.pids()
    assert list(pids) == ["one", "two", "three"]
    supervisor.stop()
    ended = [events.next() for _ in range(3)]
    assert sorted((event.name, event.what) for event in ended) == [(n, "stopped") for n in ("one", "three", "two")]
    assert supervisor.pids() == {}
    assert all(gone(pid) for pid in pids.values())


def test_a_killed_child_comes_back_and_the_others_stay(
    events: Events, supervise: Supervise, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervise(events.spec("one"), events.spec("two"))
    supervisor.start()
    for _ in range(2):
        events.next()
    before = supervisor.pids()
    with caplog.at_level(logging.INFO):
        os.kill(before["two"], signal.SIGKILL)
        assert poll_until(supervisor, lambda: supervisor.pids().get("two", before["two"]) != before["two"]) is None
    assert events.next().name == "two"
    assert supervisor.pids()["one"] == before["one"]
    assert "two was killed by SIGKILL; starting it again in 0.1 s" in caplog.text
    supervisor.stop()


def test_an_end_that_is_first_seen_by_asking_who_runs_is_seen_to_all_the_same(
    events: Events, supervise: Supervise, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervise(events.spec("one"), events.spec("two", "fatal"))
    supervisor.start()
    pids = supervisor.pids()
    os.kill(pids["one"], signal.SIGKILL)
    for pid in pids.values():
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert supervisor.pids() == {}
    assert poll_until(supervisor, lambda: False) == 4
    assert "one was killed by SIGKILL; starting it again in 0.1 s" in caplog.text


def test_a_child_ended_by_its_own_sigterm_comes_back(events: Events, supervise: Supervise) -> None:
    supervisor = supervise(events.spec("one"))
    supervisor.start()
    first = events.next().pid
    os.kill(first, signal.SIGTERM)
    assert poll_until(supervisor, lambda: supervisor.pids().get("one", first) != first) is None
    assert [events.next().what, events.next().what] == ["stopped", "started"]


def test_backoff_doubles_and_starts_over_after_a_healthy_run(
    events: Events, supervise: Supervise, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 0.2)
    supervisor = supervise(events.spec("one", "crash"))
    supervisor.start()
    poll_until(supervisor, lambda: len(caplog.records) == 3)
    monkeypatch.setattr(module, "HEALTHY_SECONDS", 0.0)
    poll_until(supervisor, lambda: len(caplog.records) == 4)
    delays = [record.getMessage().rsplit("in ", 1)[1] for record in caplog.records]
    assert delays == ["0.1 s", "0.2 s", "0.2 s", "0.1 s"]
    assert "ended with exit code 1" in caplog.text


@pytest.mark.parametrize(("behaviour", "code"), [("stop", 0), ("fatal", 4)])
def test_some_ends_end_everything(events: Events, supervise: Supervise, behaviour: str, code: int) -> None:
    supervisor = supervise(events.spec("one"), events.spec("two", behaviour))  # type: ignore[arg-type]
    supervisor.start()
    assert poll_until(supervisor, lambda: False) == code
    supervisor.stop()
    assert supervisor.pids() == {}


@pytest.mark.parametrize("behaviour", ["stop", "fatal"])
def test_the_others_go_on_without_an_expendable_child(events: Events, supervise: Supervise, behaviour: str) -> None:
    expendable = replace(events.spec("two", behaviour), expendable=True)  # type: ignore[arg-type]
    supervisor = supervise(events.spec("one"), expendable)
    supervisor.start()
    first = supervisor.pids().get("two")
    assert poll_until(supervisor, lambda: supervisor.pids().get("two") not in (None, first)) is None
    assert "one" in supervisor.pids()


def test_a_child_that_does_not_end_is_killed(
    events: Events, supervise: Supervise, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.05)
    supervisor = supervise(events.spec("stuck", "stuck"))
    supervisor.start()
    pid = events.next().pid
    supervisor.stop()
    assert gone(pid)
    assert "did not end in time" in caplog.text


def test_children_that_do_not_end_are_waited_for_together(
    events: Events, supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.5)
    supervisor = supervise(*(events.spec(f"stuck{number}", "stuck") for number in range(4)))
    supervisor.start()
    pids = [events.next().pid for _ in range(4)]
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 1.0
    assert all(gone(pid) for pid in pids)


def test_settings_larger_than_a_pipe_arrive(events: Events, supervise: Supervise) -> None:
    supervisor = supervise(events.spec("one", ballast="x" * 1_000_000))
    supervisor.start()
    assert events.next().what == "started"
    supervisor.stop()


def test_a_module_that_does_not_exist_is_tried_again(supervise: Supervise, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = supervise(ChildSpec("one", "service.no_such_module", b"{}" + b" " * 1_000_000))
    supervisor.start()
    assert poll_until(supervisor, lambda: len(caplog.records) > 0) is None


def test_a_child_starts_from_any_directory_and_ignores_modules_there(
    events: Events, supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    supervisor = supervise(events.spec("one"))
    supervisor.start()
    assert events.next().cwd == str(tmp_path)
    supervisor.stop()


# --- run(), in a program of its own ----------------------------------------------------------------------

PROGRAM = """
import os, sys
sys.path.insert(0, os.environ["ROOT"])
from service.supervisor import ChildSpec, Supervisor
children = [ChildSpec(f"child{n}", "tests.service.sample_child", line.encode()) for n, line in enumerate(sys.argv[1:])]
sys.exit(Supervisor(children).run())
"""


@pytest.fixture
def program(events: Events, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program that is all `Supervisor.run`, with the given behaviours."""
    started: list[subprocess.Popen[str]] = []

    def start(*behaviours: str) -> subprocess.Popen[str]:
        lines = [events.spec(f"c{n}", how).settings.decode() for n, how in enumerate(behaviours)]  # type: ignore[arg-type]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *lines],
            env={**os.environ, "ROOT": str(module.PROJECT_ROOT)},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=PATIENCE_SECONDS)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_run_ends_in_order_on_a_signal(
    events: Events, program: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = program("serve", "serve")
    pids = [events.next().pid for _ in range(2)]
    os.killpg(process.pid, number)  # as a terminal does: the whole group gets it
    assert [events.next().what for _ in range(2)] == ["stopped", "stopped"]
    assert finish(process) == ""
    assert process.returncode == 0
    assert all(gone(pid) for pid in pids)


def test_run_ends_when_the_group_is_interrupted_while_children_start(
    events: Events, program: Callable[..., subprocess.Popen[str]]
) -> None:
    process = program("serve", "serve", "serve")
    events.next()
    os.killpg(process.pid, signal.SIGINT)
    assert "Traceback" not in finish(process)
    assert process.returncode == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_interrupt_kills(
    events: Events, program: Callable[..., subprocess.Popen[str]], first: signal.Signals
) -> None:
    process = program("serve", "stuck")
    pids = [events.next().pid for _ in range(2)]
    began = time.monotonic()
    process.send_signal(first)
    assert events.next().what == "stopped"
    process.send_signal(signal.SIGINT)
    errors = finish(process)
    assert "was not given time to end; killing it" in errors
    assert "in time" not in errors
    assert process.returncode == 0
    assert time.monotonic() - began < module.STOP_SECONDS
    assert all(gone(pid) for pid in pids)


def test_run_returns_the_exit_code_of_a_fatal_error(program: Callable[..., subprocess.Popen[str]]) -> None:
    process = program("serve", "fatal")
    errors = finish(process)
    assert process.returncode == 4
    assert errors.count("\n") == 1
    assert "port 5550 is in use" in errors


def test_children_end_when_their_supervisor_is_killed(
    events: Events, program: Callable[..., subprocess.Popen[str]]
) -> None:
    process = program("serve", "serve")
    for _ in range(2):
        events.next()
    process.kill()
    assert [events.next().what for _ in range(2)] == ["stopped", "stopped"]
    finish(process)  # its stderr ends when the last child is gone
