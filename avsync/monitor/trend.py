"""Trend: how fast the believed offset grows, in ppm, whatever bursts and steps lie on top.

One mean per second and turn, the median of the slopes between seconds 5 to 15 s apart
(Theil-Sen with bounded lags: a step of the route then spoils few pairs, where a global fit
answers hundreds of ppm). Pairs stay within one turn, because a new turn anchors both streams
anew. Positive: the voice runs away ahead of the lips.

This is what is *left over* at the sink after every correction. It is for people and alerts;
a correction fed with it would chase its own tail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from avsync.units import NS_PER_S, seconds

WINDOW_S: Final = 60
"""The slope is that of the last minute, and unknown before a minute has been seen."""
MIN_BINS: Final = 30
MIN_SPAN_NS: Final = seconds(55)
MIN_BIN_SAMPLES: Final = 5
LAG_MIN_NS: Final = seconds(5)
LAG_MAX_NS: Final = seconds(15)
MIN_PAIRS: Final = 50
"""Fewer pairs than this come from turns too short to tell a slope from a start."""


class Slope(NamedTuple):
    """``ppm``: the median. ``agreed``: both quartiles of the pair slopes have its sign."""

    ppm: int
    agreed: bool


class _Second(NamedTuple):
    at_ns: int
    offset_ns: int
    epoch: int


class Trend:
    """Feed it offsets in the order of their times; ask ``slope`` now and then (some 100 us)."""

    def __init__(self) -> None:
        self._bins: deque[_Second] = deque(maxlen=4 * WINDOW_S)
        self._second = self._epoch = -1
        self._count = self._at_sum = self._offset_sum = 0
        self._cached: Slope | None = None

    def add(self, at_ns: int, offset_ns: int, epoch: int) -> None:
        second = at_ns // NS_PER_S
        if second != self._second or epoch != self._epoch:
            self._finish()
            self._second, self._epoch = second, epoch
        self._count += 1
        self._at_sum += at_ns
        self._offset_sum += offset_ns

    def add_all(self, samples: Iterable[tuple[int, int, int, bool, bool]]) -> None:
        """(at_ns, offset_ns, epoch, frozen, exact): those that are exact, as ``add`` takes them."""
        second, count, at_sum, offset_sum = self._second, self._count, self._at_sum, self._offset_sum
        for at_ns, offset_ns, epoch, _, exact in samples:
            if not exact:
                continue
            if at_ns // NS_PER_S != second or epoch != self._epoch:
                self._count, self._at_sum, self._offset_sum = count, at_sum, offset_sum
                self._finish()
                count = at_sum = offset_sum = 0
                second = self._second = at_ns // NS_PER_S
                self._epoch = epoch
            count += 1
            at_sum += at_ns
            offset_sum += offset_ns
        self._count, self._at_sum, self._offset_sum = count, at_sum, offset_sum

    def slope(self, now_ns: int) -> Slope | None:
        """None while less than a minute is known, or when nothing was added for ten seconds."""
        bins = self._bins
        if not bins or now_ns - bins[-1].at_ns > seconds(10):
            return None
        if self._cached is None:
            self._cached = fit(tuple(bins))
        return self._cached

    def _finish(self) -> None:
        if self._count >= MIN_BIN_SAMPLES:
            count = self._count
            self._bins.append(_Second(self._at_sum // count, self._offset_sum // count, self._epoch))
            self._cached = None
            oldest_ns = self._bins[-1].at_ns - WINDOW_S * NS_PER_S
            while self._bins[0].at_ns < oldest_ns:
                self._bins.popleft()
        self._count = self._at_sum = self._offset_sum = 0


def fit(points: tuple[_Second, ...]) -> Slope | None:
    """The median slope of pairs of one turn, 5 to 15 s apart; None below a minute of them."""
    if len(points) < MIN_BINS or points[-1].at_ns - points[0].at_ns < MIN_SPAN_NS:
        return None
    slopes = []
    for index, (at_ns, offset_ns, epoch) in enumerate(points):
        for later in points[index + 1 :]:
            lag_ns = later.at_ns - at_ns
            if lag_ns > LAG_MAX_NS:
                break
            if lag_ns >= LAG_MIN_NS and later.epoch == epoch:
                slopes.append((later.offset_ns - offset_ns) * 1_000_000 // lag_ns)
    if len(slopes) < MIN_PAIRS:
        return None
    slopes.sort()
    quarter = len(slopes) // 4
    low, middle, high = slopes[quarter], slopes[len(slopes) // 2], slopes[-quarter - 1]
    return Slope(middle, agreed=low > 0 or high < 0)
