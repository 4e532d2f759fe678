"""What `versus` measures: sizes, receivers, and what is asked of the ratios. Pure."""

from __future__ import annotations

from benchmarks.comparison import Case, Target
from protocol.limits import MIB

OURS, FLOOR, LIBTORRENT, NGINX = "zswarm", "pyzmq floor", "libtorrent", "nginx + curl"


def _rate(other: str, limit: float) -> Target:
    return Target(f"MiB/s over that of {other}", other, "mib_s", limit, at_least=True)


CASES = (
    Case(
        "five",
        5,
        128 * MIB,
        (
            _rate(FLOOR, 0.8),
            _rate(LIBTORRENT, 2.0),
            Target(f"CPU seconds over those of the {FLOOR}", FLOOR, "cpu_s_per_gib", 1.35, at_least=False),
        ),
    ),
    Case("one", 1, 512 * MIB, (_rate(NGINX, 1.1),)),
)
