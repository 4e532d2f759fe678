"""`service.child` as a real process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from service.exits import EXIT_TERMINATED
from service.supervisor import PROJECT_ROOT
from tests.service.events import PATIENCE_SECONDS, Events
from tests.service.sample_child import Behaviour

pytestmark = pytest.mark.process

Start = Callable[[bytes], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a sample child with these bytes on its stdin."""
    started: list[subprocess.Popen[bytes]] = []

    def start_with(data: bytes) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.service.sample_child"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=PROJECT_ROOT,
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.flush()
        return process

    yield start_with
    for process in started:
        process.kill()
        process.communicate()


def settings(events: Events, behaviour: Behaviour = "serve") -> bytes:
    return events.spec("child", behaviour).settings + b"\n"


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Close its stdin and wait for it; its exit code and what it logged."""
    errors = process.communicate(timeout=PATIENCE_SECONDS)[1]
    return process.returncode, errors.decode()


def wait(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for it with its lifeline open."""
    process.wait(PATIENCE_SECONDS)
    return finish(process)


def test_the_end_of_stdin_ends_it_in_order(start: Start, events: Events) -> None:
    process = start(settings(events))
    assert events.next().what == "started"
    assert finish(process) == (0, "")
    assert events.next().what == "stopped"


def test_sigterm_ends_it_in_order_and_sigint_does_nothing(start: Start, events: Events) -> None:
    process = start(settings(events))
    events.next()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert wait(process) == (EXIT_TERMINATED, "")
    assert events.next().what == "stopped"


def test_a_signal_that_came_before_the_loop_ends_it_too(start: Start, events: Events) -> None:
    assert wait(start(settings(events, "term itself")))[0] == EXIT_TERMINATED


@pytest.mark.parametrize("behaviour", ["crash", "crash with a thread", "bug", "fatal too late"])
def test_a_crash_is_logged_with_its_traceback(start: Start, events: Events, behaviour: Behaviour) -> None:
    code, errors = wait(start(settings(events, behaviour)))
    assert code == 1
    assert "ERROR   sample       crashed\nTraceback" in errors


def test_an_error_of_ours_is_one_line_and_fatal(start: Start, events: Events) -> None:
    code, errors = wait(start(settings(events, "fatal")))
    assert code == 64 + 4
    assert errors.endswith("ERROR   sample       port 5550 is in use\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("data", [b"", b"garbage\n", b"{}\n", b'{"name": 5}\n', b'{"name": "cut', b"\xff\n"])
def test_bad_settings_are_fatal(start: Start, data: bytes) -> None:
    code, errors = finish(start(data))
    assert code == 64 + 2
    assert "settings" in errors
    assert "Traceback" not in errors
