"""The delay target: how much to have in hand, from what arrivals say about jitter. Integers only, a microsecond a unit.

It looks at ``delay = arrival - pts``, which means nothing by itself (two clocks, two origins): only
its changes do. Units that were retransmitted or overtaken tell how the loss was repaired, not how
the path behaves: they come with ``in_order=False`` and touch nothing.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from typing import Final

from avsync.policy import AvSyncPolicy
from avsync.units import FAR_NS, NS_PER_S, ms, seconds

# NetEq's numbers (delay manager, histogram, relative arrival delay tracker).
WINDOW_NS: Final = seconds(2)
PERIOD_NS: Final = ms(500)
BUCKET_NS: Final = ms(20)
BUCKETS: Final = 100
SETTLED_SAMPLES: Final = 59
"""The nth half second weighs 1/n (a plain histogram), from here on always 1/59: NetEq's forget factor
of 0.983, a memory of half a minute."""
_ONE: Final = 1 << 30
_ROUNDED: Final = 1 << 10  # more than weights lose by rounding down

SHIFT_NS: Final = ms(100)
SHIFT_UNITS: Final = 5


class DelayTarget:
    """How much sound to have in hand, so that ``jitter_quantile_pct`` of half seconds pass without a gap.

    Modelled on NetEq: the largest relative delay of each half second goes into a histogram with a
    memory of about 30 s, and the target is its quantile, within the policy's bounds. It grows at
    once and shrinks by at most ``jitter_shrink_ns_per_s``.

    Relative to what: the minimum over 2 s. Three departures from NetEq, both for sources that are
    not a microphone:

    - The reference follows a falling minimum no faster than the target may shrink. A source
      faster than real time makes the delay fall and fall; what arrives early is in hand already
      and needs no target.
    - What was seen in one half second alone is not covered, however few there are so far: a line hangs
      once, and the delay of that would be kept for half a minute.
    - A whole period that lies far above the reference with little spread of its own is a level
      (a source that stalled and went on, a new route), not jitter: it becomes the reference.
    """

    def __init__(self, policy: AvSyncPolicy) -> None:
        self._min_ns = policy.jitter_min_ns
        self._max_ns = policy.jitter_max_ns
        self._quantile_pct = policy.jitter_quantile_pct
        self._shrink_ns_per_s = policy.jitter_shrink_ns_per_s
        self._start_ns = self._target_ns = policy.jitter_start_ns
        self._goal_ns = policy.jitter_start_ns  # where the histogram wants the target
        self._shrunk_at_ns = 0
        self._learned_ns = 0
        self._histogram = [0]  # up to the last bucket that was ever filled; sums up to _ONE from the first sample on
        self._samples = 0
        # The open period.
        self._period_end_ns = -FAR_NS
        self._low_ns, self._high_ns = FAR_NS, -FAR_NS  # extremes of the delay since the period or the run began
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
        if self._low_ns != FAR_NS:
            self._lows.append((end_ns, self._low_ns))
        self._shrink(arrival_ns)
        if self._worst_ns >= 0:
            self._learn(self._worst_ns)
        self._low_ns, self._high_ns = FAR_NS, -FAR_NS
        self._units = 0
        self._worst_ns = -1
        self._period_end_ns = arrival_ns + PERIOD_NS

    def _learn(self, delay_ns: int) -> None:
        self._samples = n = min(self._samples + 1, SETTLED_SAMPLES)
        histogram = [weight * (n - 1) // n for weight in self._histogram]
        bucket = min(delay_ns // BUCKET_NS, BUCKETS - 1)
        histogram += [0] * (bucket + 1 - len(histogram))
        histogram[bucket] += _ONE - sum(histogram)
        self._histogram = histogram
        wanted = max(1, min(_ONE * self._quantile_pct // 100, _ONE - _ONE // n - _ROUNDED))
        # The upper end of the bucket that holds the quantile.
        goal_ns = BUCKET_NS * next(n for n, reached in enumerate(accumulate(histogram), 1) if reached >= wanted)
        if n == 1:
            goal_ns = min(goal_ns, max(self._start_ns, BUCKET_NS))
        self._learned_ns = goal_ns
        self._goal_ns = min(max(goal_ns, self._min_ns), self._max_ns)
        self._target_ns = max(self._target_ns, self._goal_ns)

    def _shrink(self, at_ns: int) -> None:
        step_ns = (at_ns - self._shrunk_at_ns) * self._shrink_ns_per_s // NS_PER_S
        self._target_ns = max(self._goal_ns, self._target_ns - step_ns)
        self._shrunk_at_ns = at_ns
