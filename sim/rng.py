"""Chance has a name: ``substream(seed, "to_viewer.loss")`` is one stream for one cause.

Streams of different names are independent, so nothing that one cause draws can move another.
The same (seed, name) gives the same integers on every platform, Python and numpy: only the raw
64-bit stream of PCG64 is used (numpy promises it never changes), and what is made of it comes
from integer arithmetic and integer tables. No floating point stands between a draw and a
decision; this file is the one place where a draw becomes nanoseconds.
"""

from __future__ import annotations

import math
import zlib
from statistics import NormalDist
from typing import Final

from numpy.random import PCG64, SeedSequence

from avsync.errors import UsageError

CHUNK: Final = 512  # raw draws fetched at once: 24 ns each instead of 433 ns for a scalar draw
_TABLE_BITS: Final = 12
_TABLE: Final = 1 << _TABLE_BITS
_SHIFT: Final = 64 - _TABLE_BITS

# The middles of 4096 equal slices of probability, rounded to a millionth: far coarser than the
# last-digit differences between C libraries, so the table is the same everywhere (a test pins it).
NORMAL_MILLIONTHS: Final = tuple(round(NormalDist().inv_cdf((i + 0.5) / _TABLE) * 1_000_000) for i in range(_TABLE))
EXPONENTIAL_MILLIONTHS: Final = tuple(round(-math.log(1 - (i + 0.5) / _TABLE) * 1_000_000) for i in range(_TABLE))


class Draws:
    """One named stream of chance. Every method but ``raws`` takes exactly one raw draw from it."""

    __slots__ = ("_bits", "_left", "_pop")

    def __init__(self, bits: PCG64) -> None:
        self._bits = bits
        self._left: list[int] = []
        self._pop = self._left.pop

    def raw(self) -> int:
        """The next 64 bits, 0 <= raw < 2**64."""
        try:
            return self._pop()
        except IndexError:
            chunk: list[int] = self._bits.random_raw(CHUNK).tolist()
            chunk.reverse()
            self._left.extend(chunk)  # the list object stays: its bound ``pop`` is cached
            return self._pop()

    def below(self, n: int) -> int:
        """An int in 0 <= value < n; the bias is below n / 2**64."""
        return self.raw() * n >> 64

    def chance(self, ppm: int) -> bool:
        """True ``ppm`` times in a million: never for 0, always for 1_000_000."""
        return self.raw() * 1_000_000 >> 64 < ppm

    def gaussian(self, sigma: int) -> int:
        """N(0, sigma) in sigma's own unit, rounded down; at most 3.67 sigma away from 0."""
        raw = self._pop() if self._left else self.raw()
        return NORMAL_MILLIONTHS[raw >> _SHIFT] * sigma // 1_000_000

    def exponential(self, mean: int) -> int:
        """Exponential with that mean, in its own unit, rounded down; at most 9 means."""
        return EXPONENTIAL_MILLIONTHS[self.raw() >> _SHIFT] * mean // 1_000_000

    def between_ns(self, low_ns: int, high_ns: int) -> int:
        """Uniform over ``low_ns <= value <= high_ns``."""
        raw = self._pop() if self._left else self.raw()
        return low_ns + (raw * (high_ns - low_ns + 1) >> 64)

    def raws(self, count: int) -> list[int]:
        """``count`` times ``raw``."""
        left = self._left
        ready = left[: -count - 1 : -1]
        del left[len(left) - len(ready) :]
        more: list[int] = self._bits.random_raw(count - len(ready)).tolist() if len(ready) < count else []
        return ready + more


def substream(seed: int, name: str) -> Draws:
    """The stream of the cause ``name`` in the run ``seed`` (>= 0). Costs about 20 us once."""
    if type(seed) is not int or seed < 0:
        raise UsageError(f"seed must be an int >= 0, got {seed!r}")
    return Draws(PCG64(SeedSequence([seed, zlib.crc32(name.encode())])))
