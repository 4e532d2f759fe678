"""node.workers: results, errors included, wake a poll loop."""

from __future__ import annotations

import select
import threading
import weakref
from functools import partial

import pytest

from node.workers import Workers


def wait(workers: Workers[str, int], count: int) -> dict[str, int | BaseException]:
    results: dict[str, int | BaseException] = {}
    while len(results) < count:
        ready, _, _ = select.select([workers.fd], [], [], 10)
        assert ready, "no result within ten seconds"
        results.update(workers.results())
    return results


def test_results_and_errors_come_back_with_their_tags() -> None:
    workers: Workers[str, int] = Workers(2)
    assert workers.results() == []
    workers.submit("good", lambda: 7)
    workers.submit("bad", lambda: 1 // 0)
    results = wait(workers, 2)
    assert results["good"] == 7
    assert isinstance(results["bad"], ZeroDivisionError)
    assert workers.results() == []
    workers.close()


def test_nothing_is_lost_among_many() -> None:
    workers: Workers[str, int] = Workers(3)
    for number in range(500):
        workers.submit(str(number), partial(int, number))
    assert wait(workers, 500) == {str(number): number for number in range(500)}
    workers.close()


def test_close_waits_for_what_runs_and_drops_the_rest() -> None:
    before = threading.active_count()
    workers: Workers[str, int] = Workers(1)
    started, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> int:
        started.set()
        assert go_on.wait(10)
        done.append("first")
        return 1

    def second() -> int:
        done.append("second")
        return 2

    workers.submit("first", first)
    workers.submit("second", second)
    assert started.wait(10)
    threading.Timer(0.2, go_on.set).start()  # when close has dropped the second and waits
    workers.close()
    assert done == ["first"]
    with pytest.raises(RuntimeError):
        workers.submit("third", second)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and isinstance(thread, threading.Timer):
            thread.join()
    assert threading.active_count() == before


def test_a_thread_that_waits_holds_nothing() -> None:
    class Data:
        pass

    workers: Workers[str, int] = Workers(1)
    data = Data()
    gone = weakref.ref(data)
    workers.submit("length", partial(lambda it: len(repr(it)), data))
    wait(workers, 1)
    del data
    workers.submit("another", lambda: 1)  # the thread is done with the first
    wait(workers, 1)
    assert gone() is None
    workers.close()


def test_close_leaves_behind_what_takes_too_long() -> None:
    workers: Workers[str, int] = Workers(1)
    started, go_on = threading.Event(), threading.Event()

    def long() -> int:
        started.set()
        assert go_on.wait(10)
        return 1

    workers.submit("long", long)
    assert started.wait(10)
    assert not workers.close(0.0)
    go_on.set()
    assert workers.close(10.0)
