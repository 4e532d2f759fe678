"""``python -m tests.fuzz --minutes 10``: look for inputs that a decoder does not survive, guided by coverage.

Needs atheris (``pip install -r requirements-fuzz.txt``). Begins with the samples and the corpus of each target. What it
finds is printed as a line for ``tests/fuzz/corpus/NAME.txt``; ``--keep`` adds what reached something new.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import logging
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.mutation import mutated

OURS = ["protocol", "broker", "node", "service"]
KEPT_BYTES_MAX = 400
KEPT_FILE_BYTES_MAX = 3_500
SLOW_COUNT_MAX = 20
"""Inputs that took too long with the instruments, and are tried without."""
OUTCOMES_COUNT = 512
"""How many ways to refuse an input, or to accept it, are told apart."""
_ANY_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def fuzz(name: str, seconds: int, keep: bool) -> tuple[int, bool]:
    """How many inputs ``name`` was tried with, and whether it survived them."""
    from tests.fuzz.targets import INPUT_BYTES_MAX, TARGETS, corpus_of

    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        begin, slow = place / "corpus", place / "slow"
        begin.mkdir()
        slow.mkdir()
        before = [*TARGETS[name].samples(), *corpus_of(name)]
        for number, data in enumerate(before):
            (begin / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=10", "-rss_limit_mb=2048"]
        options += [f"-artifact_prefix={place}/found-", "-print_final_stats=1", str(begin)]
        command = [sys.executable, "-m", "tests.fuzz", name, "--inside", str(slow), *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
        found = [path.read_bytes() for path in sorted(place.glob("found-*"))]
        found += [data for path in slow.iterdir() if (data := path.read_bytes()) and _is_slow(name, data)]
        if done.returncode and not found:
            raise RuntimeError(f"{name}: fuzzing ended with code {done.returncode}\n{done.stderr[-4_000:]}")
        for data in found:
            sys.stdout.write(f"{done.stderr[-2_000:]}\n{name}: {base64.b64encode(data).decode()}\n")
        if keep and not found:
            _keep(name, [path.read_bytes() for path in begin.iterdir()], before)
    executed = _EXECUTED.search(done.stderr)
    return int(executed[1]) if executed is not None else 0, not found


def _is_slow(name: str, data: bytes) -> bool:
    from tests.fuzz.targets import TARGETS, TooSlowError, check

    try:
        check(TARGETS[name], data)
    except TooSlowError as error:
        sys.stdout.write(f"{name}: {error}\n")
        return True
    return False


def _keep(name: str, reached: list[bytes], before: list[bytes]) -> None:
    from tests.fuzz.targets import CORPUS, corpus_of

    new = [data for data in reached if data not in before and len(data) <= KEPT_BYTES_MAX]
    lines: list[str] = []
    for data in [*corpus_of(name), *sorted(new, key=lambda data: (len(data), data))]:
        line = base64.b64encode(data).decode() + "\n"
        if sum(map(len, lines)) + len(line) <= KEPT_FILE_BYTES_MAX:
            lines.append(line)
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.txt").write_text("".join(lines))


def run_inside(name: str, slow: Path, options: list[str]) -> None:
    """Ends the process. What takes too long is put into the directory ``slow``."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=OURS):
        from tests.fuzz.targets import TARGETS, TooSlowError, check
    target = TARGETS[name]
    logging.disable(logging.CRITICAL)  # each damaged file is told of
    branches: list[Callable[[], None]] = [atheris.instrument_func(eval("lambda: None")) for _ in range(OUTCOMES_COUNT)]

    def run(data: bytes) -> None:
        try:
            made = _ANY_TEXT.sub("", check(target, data))
        except TooSlowError:
            if len(list(slow.iterdir())) < SLOW_COUNT_MAX:
                (slow / hashlib.sha256(data).hexdigest()).write_bytes(data)
            return
        branches[zlib.crc32(made.encode("utf-8", "replace")) % OUTCOMES_COUNT]()

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        rng = Random(seed)
        changed = mutated(data, target.form, rng) if target.form is not None and rng.random() < 0.5 else None
        return changed[:size] if changed is not None else bytes(atheris.Mutate(data, size))

    atheris.Setup([sys.argv[0], *options], run, custom_mutator=mutate)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    if arguments[1:2] == ["--inside"]:
        run_inside(arguments[0], Path(arguments[2]), arguments[3:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Needs atheris: requirements-fuzz.txt.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--minutes", type=float, default=10, help="which they share; default: 10")
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reached something new")
    given = parser.parse_args(arguments)
    names = given.names or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"there is no decoder {unknown[0]}")
    total, well = 0, True
    for name in names:
        count, survived = fuzz(name, max(1, round(60 * given.minutes / len(names))), given.keep)
        sys.stdout.write(f"{name:>14}: {count:>12,} executions{'' if survived else ', BROKEN'}\n")
        sys.stdout.flush()
        total, well = total + count, well and survived
    sys.stdout.write(f"{'all':>14}: {total:>12,} executions\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
