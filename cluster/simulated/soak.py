"""Many worlds, in worker processes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context

from cluster.simulated.faults import Level
from cluster.simulated.scenario import Outcome, run_scenario

AHEAD_COUNT = 4
"""Seeds that wait for each worker process."""


def outcomes(seeds: Iterable[int], level: Level, jobs: int) -> Iterator[Outcome]:
    """What became of the worlds of ``seeds``, in the order they are ready, by so many worker processes."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        todo = iter(seeds)
        running: set[Future[Outcome]] = {
            pool.submit(run_quietly, seed, level) for seed in islice(todo, AHEAD_COUNT * jobs)
        }
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(run_quietly, seed, level) for seed in islice(todo, len(done))}
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # who is interrupted does not wait for worlds that have not begun


def run_quietly(seed: int, level: Level) -> Outcome:
    """Run one, without what the parts of its peers write to their logs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return run_scenario(seed, level)
    finally:
        logging.disable(before)
