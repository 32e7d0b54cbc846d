"""When does a packet leave a bottleneck whose rate changes with time? By arithmetic, in O(log n).

Both bottlenecks look up the trace's own endless time (``from_ns`` on, looping) and never
search step by step, so a time without any bandwidth costs nothing and ends by itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Final

from sim.network.traces.trace import OPPORTUNITY_BYTES, NetworkTrace

_BIT_NS: Final = 8_000_000_000  # a byte, in the unit of a rate schedule's service: bit/s times ns


class RateSchedule:
    """The service done by time t is S(t), the integral of the rate; a packet of n bytes that
    starts at t leaves at the first t' with S(t') = S(t) + 8 n."""

    __slots__ = ("_bps", "_done", "_duration_ns", "_from_ns", "_times", "_total")

    def __init__(self, trace: NetworkTrace, from_ns: int) -> None:
        self._times, self._bps = trace.times_ns, trace.rate_bps
        self._duration_ns, self._from_ns = trace.duration_ns, from_ns
        ends = (*self._times[1:], self._duration_ns)
        work = (bps * (end - at) for bps, at, end in zip(self._bps, self._times, ends, strict=True))
        self._done = (0, *accumulate(work))
        self._total = self._done[-1]

    def departure(self, size_bytes: int, now_ns: int, busy_ns: int, latest_ns: int) -> int:
        """When a packet accepted now, behind all that leaves until ``busy_ns``, has left.

        -1, and nothing accepted, where that would be after ``latest_ns``.
        """
        start_ns = busy_ns if busy_ns > now_ns else now_ns
        loops, at_ns = divmod(start_ns + self._from_ns, self._duration_ns)
        i = bisect_right(self._times, at_ns) - 1
        target = loops * self._total + self._done[i] + self._bps[i] * (at_ns - self._times[i]) + size_bytes * _BIT_NS
        loops, rest = divmod(target - 1, self._total)  # the first instant: the end of a loop, not of the pause after it
        rest += 1
        i = bisect_left(self._done, rest) - 1
        at_ns = self._times[i] - (self._done[i] - rest) // self._bps[i]  # rounded up
        left_ns = loops * self._duration_ns + at_ns - self._from_ns
        return left_ns if left_ns <= latest_ns else -1


class Opportunities:
    """Mahimahi: at each instant up to 1500 bytes leave, of as many packets as fit; what is not
    used then is lost for ever. A packet has left when its last byte has."""

    __slots__ = ("_duration_ns", "_from_ns", "_last", "_room", "_times")

    def __init__(self, trace: NetworkTrace, from_ns: int) -> None:
        self._times, self._duration_ns, self._from_ns = trace.opportunities_ns, trace.duration_ns, from_ns
        self._last = -1  # number of the last opportunity in use
        self._room = 0  # what is left of it, in bytes

    def _first_from(self, at_ns: int) -> int:
        """The number of the first opportunity at or after ``at_ns``."""
        loops, rest = divmod(at_ns + self._from_ns, self._duration_ns)
        if rest == 0 and loops:  # the last instant of one loop is the first of the next
            loops, rest = loops - 1, self._duration_ns
        return loops * len(self._times) + bisect_left(self._times, rest)

    def departure(self, size_bytes: int, now_ns: int, busy_ns: int, latest_ns: int) -> int:
        """As ``RateSchedule.departure``. What it accepted it remembers; ``busy_ns`` serves a
        link that had another bottleneck before this one."""
        first = self._first_from(busy_ns if busy_ns > now_ns and self._last < 0 else now_ns)
        last, room = self._last, self._room
        if first > last:  # nothing waits: what was left of an earlier instant has passed
            last, room = first, OPPORTUNITY_BYTES
        more = -(-(size_bytes - room) // OPPORTUNITY_BYTES) if size_bytes > room else 0
        last += more
        loops, i = divmod(last, len(self._times))
        left_ns = loops * self._duration_ns + self._times[i] - self._from_ns
        if left_ns > latest_ns:
            return -1
        self._last, self._room = last, room + more * OPPORTUNITY_BYTES - size_bytes
        return left_ns
