"""The state of every piece of a download.

Pure. A piece is in exactly one state, and only these steps exist::

    MISSING --claim--> CLAIMED --arrive--> WRITING --finish--> DONE
       ^                   |                  |
       '------ release ----+----- release ----'

A missing piece is in the picker, a piece under way counts against the budget that all downloads of the process share.
Who claimed a piece from whom is known to `download`.
"""

from __future__ import annotations

from enum import IntEnum
from random import Random

from node.downloader.picker import Picker
from node.rate_limit import Budget, Share
from protocol.bitfield import Bitfield


class PieceState(IntEnum):
    MISSING = 0
    CLAIMED = 1
    WRITING = 2
    DONE = 3


class PieceTable:
    """Pieces of content of ``length`` bytes, of which ``have`` is there already; ``have`` grows as pieces finish."""

    def __init__(
        self, length: int, piece_length: int, have: Bitfield, budget: Budget, rng: Random, sequential: bool
    ) -> None:
        self._length = length
        self.piece_length = piece_length
        self.have = have
        self.picker = Picker(have.size, have.missing(), rng, sequential)
        self._share = Share(budget)
        self._states = bytearray(have.size)
        for piece in have.indices():
            self._states[piece] = PieceState.DONE
        self.done_bytes = sum(self.size(piece) for piece in have.indices())

    def __getitem__(self, piece: int) -> PieceState:
        return PieceState(self._states[piece])

    def __len__(self) -> int:
        return self.have.size

    def size(self, piece: int) -> int:
        """Bytes of ``piece``: only the last may be short."""
        return min(self.piece_length, self._length - piece * self.piece_length)

    def missing(self, piece: int) -> bool:
        return self._states[piece] == PieceState.MISSING

    def admits(self, piece: int, now: float) -> bool:
        """Whether the budget has room for ``piece``."""
        return self._share.admits(self.size(piece), now)

    def admits_any(self, now: float) -> bool:
        """Whether the budget has room for a piece of full length."""
        return self._share.open(self.piece_length, now)

    def in_state(self, state: PieceState) -> list[int]:
        """The pieces in ``state``, in order."""
        return [piece for piece, one in enumerate(self._states) if one == state]

    def claim(self, piece: int, now: float) -> None:
        """A source was told to send the missing ``piece``."""
        self._step(piece, PieceState.MISSING, PieceState.CLAIMED)
        self.picker.remove(piece)
        self._share.claim(self.size(piece), now)

    def arrive(self, piece: int) -> None:
        """The data of the claimed ``piece`` is here and goes to be verified and written."""
        self._step(piece, PieceState.CLAIMED, PieceState.WRITING)

    def finish(self, piece: int) -> None:
        """``piece`` is verified and on disk."""
        self._step(piece, PieceState.WRITING, PieceState.DONE)
        self._share.release(self.size(piece))
        self.have.set(piece)
        self.done_bytes += self.size(piece)

    def release(self, piece: int) -> None:
        """Nothing came of a claim or a write: ``piece`` is missing again."""
        state = self[piece]
        assert state in (PieceState.CLAIMED, PieceState.WRITING), f"released a piece that is {state.name}"
        self._states[piece] = PieceState.MISSING
        self._share.release(self.size(piece))
        self.picker.add(piece)

    def check_invariants(self) -> None:
        """Raise AssertionError when the books do not agree with each other."""
        self.picker.check_invariants()
        done = self.in_state(PieceState.DONE)
        assert self.picker.missing() == self.in_state(PieceState.MISSING)
        assert list(self.have.indices()) == done
        assert self.done_bytes == sum(map(self.size, done))

    def _step(self, piece: int, before: PieceState, after: PieceState) -> None:
        assert self._states[piece] == before, f"piece {piece} is {self[piece].name}, not {before.name}"
        self._states[piece] = after
