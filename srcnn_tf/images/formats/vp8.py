"""Reads how strongly a lossy WebP image is quantized, from the header of its VP8 frame (RFC 6386, section 9)."""

from __future__ import annotations

from statistics import mean

FRAME_HEADER = 10  # bytes: tag, start code, width, height
SEGMENTS = 4
QUANTIZER_BITS, FILTER_BITS = 7, 6


class BitReader:
    """Reads numbers from VP8's arithmetic code (section 7), bits of which are 0 and 1 equally often."""

    def __init__(self, data: bytes) -> None:
        """Begins with the first byte of the data; after their end there are zeros."""
        self._data = iter(data)
        self._value = next(self._data, 0) << 8 | next(self._data, 0)
        self._span, self._shifts = 255, 0

    def bit(self) -> int:
        """Returns the next bit."""
        split = (self._span + 1) // 2
        result = int(self._value >= split << 8)
        self._value -= result * (split << 8)
        self._span = self._span - split if result else split
        while self._span < 128:
            self._span, self._value, self._shifts = 2 * self._span, 2 * self._value, self._shifts + 1
            if self._shifts % 8 == 0:
                self._value |= next(self._data, 0)
        return result

    def number(self, bits: int) -> int:
        """Returns the next unsigned number."""
        result = 0
        for _ in range(bits):
            result = 2 * result + self.bit()
        return result

    def signed_or_zero(self, bits: int) -> int:
        """Returns the next number of those that are 0 where a bit says so."""
        if not self.bit():
            return 0
        size = self.number(bits)
        return -size if self.bit() else size


def quantizer(frame: bytes) -> float:
    """Returns the quantizer of a key frame, 0 (fine) to 127 (coarse): the mean of its segments'."""
    bits = BitReader(frame[FRAME_HEADER:])
    bits.number(2)  # colour space, clamping
    segments, is_absolute = [0], 0
    if bits.bit():
        has_map, has_data = bits.bit(), bits.bit()
        if has_data:
            is_absolute = bits.bit()
            segments = [bits.signed_or_zero(QUANTIZER_BITS) for _ in range(SEGMENTS)]
            for _ in range(SEGMENTS):
                bits.signed_or_zero(FILTER_BITS)
        for _ in range(3 * has_map):  # probabilities
            bits.number(8 * bits.bit())
    bits.number(1 + FILTER_BITS + 3)  # loop filter: kind, level, sharpness
    if bits.bit() and bits.bit():
        for _ in range(8):
            bits.signed_or_zero(FILTER_BITS)
    bits.number(2)  # partitions
    base = bits.number(QUANTIZER_BITS)
    return mean(segments) if is_absolute else base + mean(segments)
