"""Drift: how fast a remote media clock runs against ours, from arrivals alone. Integers only, O(1) a unit.

It looks at ``delay = arrival - pts``, which means nothing by itself (two clocks, two origins): only its changes do.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Final, NamedTuple

from avsync.units import FAR_NS, NS_PER_S, seconds

BIN_NS: Final = NS_PER_S
BIN_UNITS: Final = 5
"""Fewer in a second do not make a minimum."""
LAG_MIN_NS: Final = seconds(5)
LAG_MAX_NS: Final = seconds(15)
HISTORY_NS: Final = seconds(300)
REPORT_FROM_NS: Final = seconds(60)
REPORT_BINS: Final = 30
APPLY_FROM_NS: Final = seconds(120)
APPLY_BINS: Final = 60
AGREE_PPB: Final = 150_000
"""Half of the pair slopes lie within this, or nobody may act on their median. A slow wave of the
delay, the one noise that fools it, spreads them far wider; measured on synthetic paths (tests)."""


class _Low(NamedTuple):
    run: int
    bin_ns: int  # when its second began
    at_ns: int  # arrival of the fastest unit in it
    delay_ns: int


class DriftEstimator:
    """How fast the remote media clock runs against ours, in ppm. Positive = it runs fast (delay falls).

    The fastest unit of each second, and the median of the slopes of all pairs 5 to 15 s apart in
    the last 300 s. A step of the route spoils only the pairs that span it, and these are few; a
    global fit would be fooled by hundreds of ppm. Origin: our own hold-out study, in which this
    family was the best one at 60 s with bursts and a step (median 15, p95 35 ppm).

    Kept sorted as pairs come and go: about 25 insertions and removals a second, O(1) per unit.
    """

    def __init__(self) -> None:
        self._run = 0
        self._bin_ns = self._bin_end_ns = -FAR_NS
        self._units = 0
        self._low_ns, self._low_at_ns = FAR_NS, 0
        self._lows: deque[_Low] = deque()
        self._slopes: deque[tuple[int, int]] = deque()  # (when its later end was seen, ppb)
        self._sorted: list[int] = []

    def add(self, arrival_ns: int, pts_ns: int) -> None:
        if arrival_ns >= self._bin_end_ns:
            self._end_bin()
            self._bin_ns = arrival_ns // BIN_NS * BIN_NS
            self._bin_end_ns = self._bin_ns + BIN_NS
        self._units += 1
        delay_ns = arrival_ns - pts_ns
        if delay_ns < self._low_ns:
            self._low_ns = delay_ns
            self._low_at_ns = arrival_ns

    def on_pause(self) -> None:
        """The content stands while time passes (between turns): nothing is compared across it."""
        self._end_bin()
        self._run += 1

    def ppm(self, now_ns: int) -> int | None:
        """Rounded to the nearest; None before 60 s with at least 30 useful seconds among them."""
        if not self._enough(now_ns, REPORT_FROM_NS, REPORT_BINS):
            return None
        ordered = self._sorted
        middle = len(ordered) // 2
        ppb = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2
        return (ppb + 500) // 1000

    def spread_ppm(self, now_ns: int) -> int | None:
        """How far the pair slopes disagree (interquartile range): the confidence in ``ppm``."""
        if not self._enough(now_ns, REPORT_FROM_NS, REPORT_BINS):
            return None
        return self._spread_ppb() // 1000

    def applicable(self, now_ns: int) -> bool:
        """May ``ppm`` be acted upon? From 120 s on, and only while the pair slopes agree."""
        return self._enough(now_ns, APPLY_FROM_NS, APPLY_BINS) and self._spread_ppb() <= AGREE_PPB

    def _spread_ppb(self) -> int:
        ordered = self._sorted
        return ordered[3 * len(ordered) // 4] - ordered[len(ordered) // 4]

    def _enough(self, now_ns: int, from_ns: int, bins: int) -> bool:
        self._forget(now_ns)
        lows = self._lows
        return len(lows) >= bins and now_ns - lows[0].bin_ns >= from_ns and len(self._sorted) >= bins

    def _end_bin(self) -> None:
        if self._units >= BIN_UNITS:
            newest = _Low(self._run, self._bin_ns, self._low_at_ns, self._low_ns)
            self._forget(newest.at_ns)
            for older in reversed(self._lows):
                lag_ns = newest.at_ns - older.at_ns
                if older.run != newest.run or lag_ns > LAG_MAX_NS:
                    break
                if lag_ns >= LAG_MIN_NS:
                    ppb = (older.delay_ns - newest.delay_ns) * NS_PER_S // lag_ns
                    self._slopes.append((newest.at_ns, ppb))
                    insort(self._sorted, ppb)
            self._lows.append(newest)
        self._units = 0
        self._low_ns = FAR_NS

    def _forget(self, now_ns: int) -> None:
        oldest_ns = now_ns - HISTORY_NS
        while self._lows and self._lows[0].at_ns < oldest_ns:
            self._lows.popleft()
        while self._slopes and self._slopes[0][0] < oldest_ns + LAG_MAX_NS:
            _, ppb = self._slopes.popleft()
            del self._sorted[bisect_left(self._sorted, ppb)]
