"""Randomness of a world: one integer seed, and a stream of its own for each use. Pure.

A stream depends on the seed and its name alone: what one part of the world draws does not change what another does.
"""

from __future__ import annotations

import hashlib
from random import Random


class Streams:
    """The streams of the world of ``seed``."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def of(self, *name: object) -> Random:
        """A new generator, at the start of the stream called ``name``; its parts must have one text in every run."""
        text = "/".join(map(str, (self.seed, *name)))
        return Random(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big"))
