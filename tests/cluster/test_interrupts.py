"""Signals end a run, but never in the middle of a step that would leave something behind."""

from __future__ import annotations

import signal

import pytest

from cluster.interrupts import Interrupted, interruptible, shielded


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_an_exception(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=number.name) as caught, interruptible():
        signal.raise_signal(number)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_shielded_step_is_finished_first() -> None:
    done = []

    def steps() -> None:
        with shielded():
            with shielded():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")
        done.append("after")

    with pytest.raises(Interrupted), interruptible():
        steps()
    assert done == ["inner", "outer"]


def test_an_error_in_a_shielded_step_is_not_hidden() -> None:
    def step() -> None:
        with shielded():
            signal.raise_signal(signal.SIGTERM)
            raise ValueError("what went wrong")

    with pytest.raises(Interrupted) as caught, interruptible():
        step()
    assert isinstance(caught.value.__context__, ValueError)
    with shielded():
        pass
