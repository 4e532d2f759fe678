"""`service.exits`: every error's exit code survives the way from a child to its supervisor's caller."""

from __future__ import annotations

import signal

import pytest

from protocol.errors import EXIT_CODES, NetworkError, RemoteError, ZswarmError
from service.exits import EXIT_CRASHED, EXIT_STOPPED, EXIT_TERMINATED, describe_exit, fatal_exit, final_exit


def test_a_fatal_error_keeps_its_exit_code() -> None:
    for kind in (ZswarmError, RemoteError, NetworkError):
        assert final_exit(fatal_exit(kind())) == kind.exit_code
    assert all(final_exit(64 + code) == code for code in EXIT_CODES.values())


@pytest.mark.parametrize("code", [EXIT_CRASHED, EXIT_TERMINATED, -signal.SIGKILL, -signal.SIGSEGV, 2, 64, 80, 255])
def test_other_ends_are_restarted(code: int) -> None:
    assert final_exit(code) is None


def test_told_to_stop_is_the_end_of_all() -> None:
    assert final_exit(EXIT_STOPPED) == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "ended with exit code 1"),
        (143, "ended after SIGTERM"),
        (-9, "was killed by SIGKILL"),
        (-6, "was killed by SIGABRT"),
        (-40, "was killed by signal 40"),
    ],
)
def test_an_end_in_words(code: int, text: str) -> None:
    assert describe_exit(code) == text
