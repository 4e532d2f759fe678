"""Which pieces of a content are had: one bit a piece, packed as it travels (PROTOCOL.md, section 3.7).

Piece 0 is the high bit of byte 0, as in BitTorrent (BEP 3). Spare bits of the last byte are zero.
"""

from __future__ import annotations

from collections.abc import Iterator

from protocol.errors import ProtocolError

_MASKS = tuple(0x80 >> bit for bit in range(8))
_BITS_OF = tuple(tuple(bit for bit in range(8) if byte & _MASKS[bit]) for byte in range(256))


class Bitfield:
    """A set of piece indices below ``size``, which knows how many it has.

    An index outside the range is in no bitfield; to set or clear one raises IndexError.
    """

    __slots__ = ("_data", "count_set", "size")

    def __init__(self, count: int) -> None:
        self.size = count
        self.count_set = 0
        self._data = bytearray((count + 7) // 8)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, count: int) -> Bitfield:
        """The bitfield of ``count`` pieces that travelled as ``data``; `ProtocolError` when it cannot be one."""
        if len(data) != (count + 7) // 8:
            raise ProtocolError(f"a bitfield of {count} pieces has {(count + 7) // 8} bytes, not {len(data)}")
        if count % 8 and data[-1] & (0xFF >> count % 8):
            raise ProtocolError(f"a bitfield of {count} pieces has bits set beyond the last piece")
        bits = cls(count)
        bits._data[:] = data
        bits.count_set = int.from_bytes(data, "big").bit_count()
        return bits

    @classmethod
    def full_of(cls, count: int) -> Bitfield:
        """All of ``count`` pieces."""
        bits = cls(count)
        bits._data[:] = b"\xff" * len(bits._data)
        if count % 8:
            bits._data[-1] = 0xFF & (0xFF00 >> count % 8)
        bits.count_set = count
        return bits

    def to_bytes(self) -> bytes:
        return bytes(self._data)

    def set(self, index: int) -> None:
        self._check(index)
        mask = _MASKS[index & 7]
        if not self._data[index >> 3] & mask:
            self._data[index >> 3] |= mask
            self.count_set += 1

    def clear(self, index: int) -> None:
        self._check(index)
        mask = _MASKS[index & 7]
        if self._data[index >> 3] & mask:
            self._data[index >> 3] ^= mask
            self.count_set -= 1

    @property
    def full(self) -> bool:
        """Every piece is in it; so it is for content of no pieces."""
        return self.count_set == self.size

    def indices(self) -> Iterator[int]:
        """The pieces in it, in order. Changing it meanwhile gives either state of what changed."""
        for position, byte in enumerate(self._data):
            if byte:
                base = position << 3
                for bit in _BITS_OF[byte]:
                    yield base + bit

    def missing(self) -> Iterator[int]:
        """The pieces not in it, in order."""
        for position, byte in enumerate(self._data):
            if byte != 0xFF:
                base = position << 3
                for bit in _BITS_OF[byte ^ 0xFF]:
                    if base + bit < self.size:
                        yield base + bit

    def both(self, other: Bitfield) -> Bitfield:
        """The pieces that are in both, which are of one size."""
        return self._combined(int.from_bytes(self._data, "big") & int.from_bytes(other._data, "big"))

    def either(self, other: Bitfield) -> Bitfield:
        """The pieces that are in one of them or in both."""
        return self._combined(int.from_bytes(self._data, "big") | int.from_bytes(other._data, "big"))

    def without(self, other: Bitfield) -> Bitfield:
        """The pieces that are in this one and not in ``other``."""
        return self._combined(int.from_bytes(self._data, "big") & ~int.from_bytes(other._data, "big"))

    def copy(self) -> Bitfield:
        return Bitfield.from_bytes(self._data, self.size)

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self.size and bool(self._data[index >> 3] & _MASKS[index & 7])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bitfield):
            return NotImplemented
        return self.size == other.size and self._data == other._data

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Bitfield({self.count_set} of {self.size})"

    def _combined(self, bits: int) -> Bitfield:
        combined = Bitfield(self.size)
        combined._data[:] = bits.to_bytes(len(self._data), "big")
        combined.count_set = bits.bit_count()
        return combined

    def _check(self, index: int) -> None:
        if not 0 <= index < self.size:
            raise IndexError(f"piece {index} of {self.size}")
