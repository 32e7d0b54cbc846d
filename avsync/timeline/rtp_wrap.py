"""RTP wrap: counters that never wrap, made of those that do.

Every wrapping counter (RTP timestamp, sequence number, NTP) is unwrapped by one rule, the signed
difference to the last value, so that media, sender reports and questions always agree.
"""

from __future__ import annotations

from avsync.errors import UsageError


def signed(ticks: int) -> int:
    """A difference of two RTP timestamps (32 bits), as the shorter way round."""
    return ((ticks + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000


class Unwrapper:
    """A counter of ``bits`` bits -> an int that never wraps (RTP 32, sequence 16, NTP 64).

    Each value is taken to lie within half a turn of the one before it: ``[-half, +half)``, so
    exactly half a turn away counts as back. A step back stays a step back, results may be
    negative, and nothing is ever read as "almost a whole turn ahead".

    A sender report's RTP time is asked with ``peek``, so that a lying report cannot move the
    media's counter. Only a report that comes before the first packet is given to ``unwrap``:
    else a wrap between the two would part them by a whole turn.
    """

    def __init__(self, bits: int) -> None:
        if bits < 1:
            raise UsageError(f"bits must be >= 1, got {bits}")
        self._half = 1 << (bits - 1)
        self._mask = (1 << bits) - 1
        self._last: int | None = None

    @property
    def started(self) -> bool:
        """Has it seen a value? Not ``last != 0``: zero is a timestamp like any other."""
        return self._last is not None

    def unwrap(self, value: int) -> int:
        """The unwrapped value, which becomes the reference for the next one."""
        last = self._last
        if last is None:
            result = value & self._mask
        else:
            half = self._half
            result = last + ((value - last + half) & self._mask) - half
        self._last = result
        return result

    def peek(self, value: int) -> int:
        """What ``unwrap(value)`` would answer. Changes nothing."""
        last = self._last
        if last is None:
            return value & self._mask
        return last + ((value - last + self._half) & self._mask) - self._half
