"""Estimators: what arrivals say about jitter, delay and drift. Integers only, about a microsecond per unit.

All look at ``delay = arrival - pts``, which means nothing by itself (two clocks, two origins): only
its changes do. Units that were retransmitted or overtaken tell how the loss was repaired, not how
the path behaves: they come with ``in_order=False`` and touch nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from itertools import accumulate
from typing import NamedTuple

from avsync.policy import AvSyncPolicy
from avsync.units import NS_PER_S, ms, seconds

_FAR = 1 << 62
"""Further than any time; an empty minimum."""


class JitterEstimator:
    """RFC 3550 6.4.1: J += (|D| - J) / 16, D = the change of delay between two units, in ns."""

    __slots__ = ("_delay_ns", "_jitter16_ns")

    def __init__(self) -> None:
        self._delay_ns: int | None = None
        self._jitter16_ns = 0  # 16 J, or the division would lose the last 15 ns for ever

    def add(self, arrival_ns: int, pts_ns: int, *, in_order: bool = True) -> None:
        if not in_order:
            return
        delay_ns = arrival_ns - pts_ns
        if self._delay_ns is not None:
            self._jitter16_ns += abs(delay_ns - self._delay_ns) - ((self._jitter16_ns + 8) >> 4)
        self._delay_ns = delay_ns

    def on_discontinuity(self) -> None:
        """The next unit is not compared with the last: a new turn, or a marked pause."""
        self._delay_ns = None

    @property
    def jitter_ns(self) -> int:
        return self._jitter16_ns >> 4


# NetEq's numbers (delay manager, histogram, relative arrival delay tracker).
WINDOW_NS = seconds(2)
PERIOD_NS = ms(500)
BUCKET_NS = ms(20)
BUCKETS = 100
SETTLED_SAMPLES = 59
"""The nth half second weighs 1/n (a plain histogram), from here on always 1/59: NetEq's forget factor
of 0.983, a memory of half a minute."""
_ONE = 1 << 30

SHIFT_NS = ms(100)
SHIFT_UNITS = 5


class DelayTarget:
    """How much sound to have in hand, so that ``jitter_quantile_pct`` of half seconds pass without a gap.

    Modelled on NetEq: the largest relative delay of each half second goes into a histogram with a
    memory of about 30 s, and the target is its quantile, within the policy's bounds. It grows at
    once and shrinks by at most ``jitter_shrink_ns_per_s``.

    Relative to what: the minimum over 2 s. Two departures from NetEq, both for sources that are
    not a microphone:

    - The reference follows a falling minimum no faster than the target may shrink. A source
      faster than real time makes the delay fall and fall; what arrives early is in hand already
      and needs no target.
    - A whole period that lies far above the reference with little spread of its own is a level
      (a source that stalled and went on, a new route), not jitter: it becomes the reference.
    """

    def __init__(self, policy: AvSyncPolicy) -> None:
        self._min_ns = policy.jitter_min_ns
        self._max_ns = policy.jitter_max_ns
        self._quantile_pct = policy.jitter_quantile_pct
        self._shrink_ns_per_s = policy.jitter_shrink_ns_per_s
        self._target_ns = policy.jitter_start_ns
        self._goal_ns = policy.jitter_start_ns  # where the histogram wants the target
        self._shrunk_at_ns = 0
        self._learned_ns = 0
        self._histogram = [0] * BUCKETS  # sums up to _ONE from the first sample on
        self._samples = 0
        # The open period.
        self._period_end_ns = -_FAR
        self._low_ns, self._high_ns = _FAR, -_FAR  # extremes of the delay since the period or the run began
        self._units = 0  # in this period, but for those that only began a run
        self._worst_ns = -1  # of runs that ended within this period
        # What delays are measured from.
        self._fresh = True  # the next unit begins a run: nothing before it is its yardstick
        self._lows: deque[tuple[int, int]] = deque()  # (period's end, minimum) of the last 2 s
        self._reference_ns = 0
        self._reference_at_ns = 0

    def target_ns(self) -> int:
        """Within the policy's bounds; ``jitter_start_ns`` until half a second has been seen."""
        return self._target_ns

    def learned_ns(self) -> int:
        """The quantile as it is seen now, without bounds and slew; 0 until half a second has been seen."""
        return self._learned_ns

    def add(self, arrival_ns: int, pts_ns: int, *, in_order: bool = True, pause: bool = False) -> None:
        """A unit arrived. ``pause``: it is marked so; what comes after it comes when the source pleases."""
        if not in_order:
            return
        delay_ns = arrival_ns - pts_ns
        if arrival_ns >= self._period_end_ns:
            self._end_period(arrival_ns)
        if self._target_ns > self._goal_ns:
            self._shrink(arrival_ns)
        if self._fresh:
            self._begin_run(arrival_ns, delay_ns)
        else:
            self._units += 1
            if delay_ns < self._low_ns:
                self._low_ns = delay_ns
            if delay_ns > self._high_ns:
                self._high_ns = delay_ns
        self._fresh = pause

    def on_discontinuity(self) -> None:
        """The next unit begins anew (a turn after a silence): its delay says nothing about the last one's."""
        self._fresh = True

    def _begin_run(self, arrival_ns: int, delay_ns: int) -> None:
        self._measure(arrival_ns)
        self._lows.clear()
        self._low_ns = self._high_ns = self._reference_ns = delay_ns
        self._reference_at_ns = arrival_ns

    def _measure(self, at_ns: int) -> None:
        """Move the reference and take the worst delay of the open run against it."""
        if not self._units:
            return
        while self._lows and self._lows[0][0] <= at_ns - WINDOW_NS:
            self._lows.popleft()
        low_ns, high_ns = self._low_ns, self._high_ns
        above_ns = low_ns - self._reference_ns
        if self._units >= SHIFT_UNITS and above_ns > SHIFT_NS and above_ns > 3 * (high_ns - low_ns):
            self._lows.clear()
        floor_ns = min((low for _, low in self._lows), default=low_ns)
        reach_ns = (at_ns - self._reference_at_ns) * self._shrink_ns_per_s // NS_PER_S
        self._reference_ns = max(min(floor_ns, low_ns), self._reference_ns - reach_ns)
        self._reference_at_ns = at_ns
        self._worst_ns = max(self._worst_ns, high_ns - self._reference_ns, 0)

    def _end_period(self, arrival_ns: int) -> None:
        """Close the period that is over, learn from it, open the one that ``arrival_ns`` is in."""
        end_ns = self._period_end_ns
        self._measure(end_ns)
        if self._low_ns != _FAR:
            self._lows.append((end_ns, self._low_ns))
        self._shrink(arrival_ns)
        if self._worst_ns >= 0:
            self._learn(self._worst_ns)
        self._low_ns, self._high_ns = _FAR, -_FAR
        self._units = 0
        self._worst_ns = -1
        self._period_end_ns = arrival_ns + PERIOD_NS

    def _learn(self, delay_ns: int) -> None:
        self._samples = n = min(self._samples + 1, SETTLED_SAMPLES)
        histogram = [weight * (n - 1) // n for weight in self._histogram]
        histogram[min(delay_ns // BUCKET_NS, BUCKETS - 1)] += _ONE - sum(histogram)
        self._histogram = histogram
        wanted = _ONE * self._quantile_pct // 100
        # The upper end of the bucket that holds the quantile.
        goal_ns = BUCKET_NS * next(n for n, reached in enumerate(accumulate(histogram), 1) if reached >= wanted)
        self._learned_ns = goal_ns
        self._goal_ns = min(max(goal_ns, self._min_ns), self._max_ns)
        self._target_ns = max(self._target_ns, self._goal_ns)

    def _shrink(self, at_ns: int) -> None:
        step_ns = (at_ns - self._shrunk_at_ns) * self._shrink_ns_per_s // NS_PER_S
        self._target_ns = max(self._goal_ns, self._target_ns - step_ns)
        self._shrunk_at_ns = at_ns


BIN_NS = NS_PER_S
BIN_UNITS = 5
"""Fewer in a second do not make a minimum."""
LAG_MIN_NS, LAG_MAX_NS = seconds(5), seconds(15)
HISTORY_NS = seconds(300)
REPORT_FROM_NS, REPORT_BINS = seconds(60), 30
APPLY_FROM_NS, APPLY_BINS = seconds(120), 60
AGREE_PPB = 150_000
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
        self._bin_ns = self._bin_end_ns = -_FAR
        self._units = 0
        self._low_ns, self._low_at_ns = _FAR, 0
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
        self._low_ns = _FAR

    def _forget(self, now_ns: int) -> None:
        oldest_ns = now_ns - HISTORY_NS
        while self._lows and self._lows[0].at_ns < oldest_ns:
            self._lows.popleft()
        while self._slopes and self._slopes[0][0] < oldest_ns + LAG_MAX_NS:
            _, ppb = self._slopes.popleft()
            del self._sorted[bisect_left(self._sorted, ppb)]
