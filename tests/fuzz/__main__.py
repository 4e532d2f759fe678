"""``python -m tests.fuzz NAME --seconds 600``: look for inputs that a decoder does not survive, guided by coverage.

Needs atheris (``pip install -r requirements-fuzz.txt``). Begins with the samples and the corpus of the target. What it
finds is printed as a line for ``tests/fuzz/corpus/NAME.txt``; ``--keep`` adds what reached something new.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from tests.fuzz.mutation import mutated

OURS = ["protocol", "broker", "node", "service"]
SLOWER = 5.0
"""How much longer instrumented code may take; the tests run the corpus without."""
KEPT_BYTES_MAX = 400
KEPT_COUNT_MAX = 60


def fuzz(name: str, seconds: int, keep: bool) -> bool:
    """Whether ``name`` survived."""
    from tests.fuzz.targets import CORPUS, INPUT_BYTES_MAX, TARGETS, corpus_of

    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        begin, found = place / "corpus", place / "found-"
        begin.mkdir()
        before = [*TARGETS[name].samples(), *corpus_of(name)]
        for number, data in enumerate(before):
            (begin / str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=10", "-rss_limit_mb=2048"]
        inside = [sys.executable, "-m", "tests.fuzz", name, "--inside"]
        code = subprocess.run([*inside, *options, f"-artifact_prefix={found}", str(begin)], check=False).returncode
        lines = [base64.b64encode(path.read_bytes()).decode() for path in sorted(place.glob("found-*"))]
        for line in lines:
            sys.stdout.write(f"{name}: {line}\n")
        if keep and not code:
            reached = sorted((path.read_bytes() for path in begin.iterdir()), key=lambda data: (len(data), data))
            new = [data for data in reached if data not in before and len(data) <= KEPT_BYTES_MAX]
            kept = [*corpus_of(name), *new][:KEPT_COUNT_MAX]
            CORPUS.mkdir(exist_ok=True)
            (CORPUS / f"{name}.txt").write_text("".join(base64.b64encode(data).decode() + "\n" for data in kept))
    return not code


def run_inside(name: str, options: list[str]) -> None:
    """Ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=OURS):
        from tests.fuzz.targets import TARGETS, check
    target = TARGETS[name]
    logging.disable(logging.CRITICAL)  # each damaged file is told of

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        rng = Random(seed)
        changed = mutated(data, target.packed, rng) if target.packed is not None and rng.random() < 0.5 else None
        return changed[:size] if changed is not None else bytes(atheris.Mutate(data, size))

    atheris.Setup([sys.argv[0], *options], lambda data: check(target, data, SLOWER), custom_mutator=mutate)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    if arguments[1:2] == ["--inside"]:
        run_inside(arguments[0], arguments[2:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name", choices=[*TARGETS, "all"], help="which decoder; all of them share the time")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reached something new")
    found = parser.parse_args(arguments)
    names = list(TARGETS) if found.name == "all" else [found.name]
    results = [fuzz(name, max(1, found.seconds // len(names)), found.keep) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
