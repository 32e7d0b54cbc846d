"""Sender reports: which time of the sender's clock a tick of RTP stands for.

``RtpNtpMap`` turns unwrapped RTP ticks into the sender's NTP time and believes only what fits:
a lying, late, doubled or stepping sender report is counted, never followed alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from itertools import chain
from typing import Final, NamedTuple

from avsync.errors import UsageError
from avsync.units import NS_PER_S, ms, seconds


class Rejected(Enum):
    """Why a sender report was not believed."""

    ZERO_NTP = "zero_ntp"  # the sender says that it has no clock
    DUPLICATE = "duplicate"  # an NTP or RTP time already seen (a stale pair sent again)
    NOT_INCREASING = "not_increasing"  # late, out of order, or the sender's clock went back
    NTP_JUMP = "ntp_jump"  # more than an hour
    RTP_JUMP = "rtp_jump"  # more than 2**25 ticks
    OUTLIER = "outlier"  # does not fit the pairs before it


class _Pair(NamedTuple):
    rtp: int
    ntp_ns: int


KEPT_PAIRS: Final = 20  # origin: libwebrtc and LiveKit
SLOPE_FROM_PAIRS: Final = 4  # below, the nominal rate is the better guess; origin: LiveKit
SLOPE_LIMIT_PPB: Final = 1_000_000
"""A slope further than 1000 ppm from nominal is noise or a lie, not a crystal."""
REBUILD_AFTER: Final = 5  # consecutive rejections; origin: LiveKit
MAX_NTP_JUMP_NS: Final = seconds(3600)  # origin: libwebrtc
MAX_RTP_JUMP: Final = 1 << 25  # ticks; origin: libwebrtc
OUTLIER_FLOOR_NS: Final = ms(2)
"""Perfect reports have no spread; without a floor each next one would be an outlier. aiortc's jitter by several ms."""
OUTLIER_ALWAYS_NS: Final = ms(50)
"""However noisy the reports: beyond this it is a step. Also the bound while no spread is known yet."""
YOUNG_SLOPE_PPM: Final = 1_000
GROWN_SLOPE_PPM: Final = 200
"""How wrong the slope may be: widens the tolerance with the distance from the newest pair."""


class RtpNtpMap:
    """One stream's sender reports: unwrapped RTP ticks -> the sender's NTP time, in ns.

    From one pair on it answers, with the nominal rate; from four on with the median of all pair
    slopes (Theil-Sen), which half-believes nobody: up to 29 % of wild pairs do not move it. After
    ``REBUILD_AFTER`` rejections in a row that follow each other it believes the sender's new
    clock instead and starts again from these: ``generation`` rises, and ``step_ns`` says how far
    the answer moved, so that whoever holds a one-way delay can keep it.

    The NTP time need not be anybody's wall clock. Mapping moves are for the caller to slew.
    """

    def __init__(self, rate_hz: int) -> None:
        if rate_hz <= 0:
            raise UsageError(f"rate_hz must be > 0, got {rate_hz}")
        self.generation = 0
        self.step_ns = 0
        """remote_ns after the last rebuild minus before it, at the newest pair; 0 before any."""
        self.rejections: dict[Rejected, int] = dict.fromkeys(Rejected, 0)
        self._rate_hz = rate_hz
        self._pairs: deque[_Pair] = deque(maxlen=KEPT_PAIRS)
        self._slopes: deque[list[int]] = deque(maxlen=KEPT_PAIRS)  # of each pair, with every pair after it
        self._suspects: list[_Pair] = []  # the current run of rejected pairs, each after the last
        # How far reports were from what was expected, the rejected ones too: were it only the believed
        # ones, three that happen to agree would set a bound that keeps all honest noise out for ever.
        self._misses_ns: deque[int] = deque(maxlen=KEPT_PAIRS)
        self._accepted_at_ns: int | None = None
        # The answer in use: remote = anchor_ns + (rtp - anchor_rtp) * ns_per_rate / rate.
        self._anchor_rtp: int | None = None
        self._anchor_ns = 0
        self._ns_per_rate = NS_PER_S

    def add(self, ntp_ns: int, rtp_unwrapped: int, now_ns: int) -> Rejected | None:
        """A sender report as it arrived. None: believed. The rejection that rebuilds is still answered as one."""
        pair = _Pair(rtp_unwrapped, ntp_ns)
        reason = self._judge(pair)
        if reason is None:
            self._believe(pair)
            self._suspects.clear()
            self._accepted_at_ns = now_ns
            self._fit()
            return None
        self.rejections[reason] += 1
        # A sender without media repeats its last pair for minutes: that says nothing new.
        if reason is not Rejected.ZERO_NTP and reason is not Rejected.DUPLICATE:
            self._suspect(pair, now_ns)
        return reason

    def remote_ns(self, rtp_unwrapped: int) -> int | None:
        """The sender's NTP time at this tick; None before the first believed report."""
        anchor_rtp = self._anchor_rtp
        if anchor_rtp is None:
            return None
        return self._anchor_ns + (rtp_unwrapped - anchor_rtp) * self._ns_per_rate // self._rate_hz

    def slope_ppm(self) -> int | None:
        """How fast the RTP clock runs against the sender's NTP: positive = more ticks than nominal.

        None below four pairs.
        """
        if len(self._pairs) < SLOPE_FROM_PAIRS:
            return None
        return _divide((NS_PER_S - self._ns_per_rate) * 1_000_000, self._ns_per_rate)

    def age_ns(self, now_ns: int) -> int | None:
        """Time since the last believed report; None before the first."""
        return None if self._accepted_at_ns is None else now_ns - self._accepted_at_ns

    def _judge(self, pair: _Pair) -> Rejected | None:
        if pair.ntp_ns == 0:
            return Rejected.ZERO_NTP
        if not self._pairs:
            return None
        if _seen(pair, self._pairs):
            return Rejected.DUPLICATE
        fault = _order_fault(self._pairs[-1], pair)
        if fault is None and not self._is_outlier(pair):
            return None
        if _seen(pair, self._suspects):
            return Rejected.DUPLICATE
        return fault or Rejected.OUTLIER

    def _is_outlier(self, pair: _Pair) -> bool:
        expected_ns = self.remote_ns(pair.rtp)
        assert expected_ns is not None  # there are pairs
        miss_ns = abs(pair.ntp_ns - expected_ns)
        young = len(self._pairs) < SLOPE_FROM_PAIRS
        tolerance_ns = OUTLIER_ALWAYS_NS
        if not young:
            # 3 sigma, sigma = 1.4826 * the median deviation: a few wild reports do not widen it.
            sigma3_ns = _median(sorted(self._misses_ns)) * 44_478 // 10_000
            tolerance_ns = min(max(sigma3_ns, OUTLIER_FLOOR_NS), OUTLIER_ALWAYS_NS)
        slope_ppm = YOUNG_SLOPE_PPM if young else GROWN_SLOPE_PPM
        self._misses_ns.append(miss_ns)
        return miss_ns > tolerance_ns + (pair.ntp_ns - self._pairs[-1].ntp_ns) * slope_ppm // 1_000_000

    def _suspect(self, pair: _Pair, now_ns: int) -> None:
        suspects = self._suspects
        if suspects and _order_fault(suspects[-1], pair) is not None:
            suspects.clear()  # does not follow the run it would belong to: a run of its own
        suspects.append(pair)
        if len(suspects) < REBUILD_AFTER:
            return
        before_ns = self.remote_ns(pair.rtp)
        self._pairs.clear()
        self._slopes.clear()
        for suspect in suspects:
            self._believe(suspect)
        suspects.clear()
        self._accepted_at_ns = now_ns
        self._fit()
        self._misses_ns.extend(abs(p.ntp_ns - (self.remote_ns(p.rtp) or 0)) for p in self._pairs)
        after_ns = self.remote_ns(pair.rtp)
        if before_ns is not None and after_ns is not None:
            self.step_ns = after_ns - before_ns
        self.generation += 1

    def _believe(self, pair: _Pair) -> None:
        for (rtp, ntp_ns), slopes in zip(self._pairs, self._slopes, strict=True):
            slopes.append((pair.ntp_ns - ntp_ns) * self._rate_hz // (pair.rtp - rtp))
        self._pairs.append(pair)
        self._slopes.append([])

    def _fit(self) -> None:
        pairs, rate_hz = self._pairs, self._rate_hz
        newest = pairs[-1]
        ns_per_rate = NS_PER_S
        if len(pairs) >= SLOPE_FROM_PAIRS:
            slopes = sorted(chain.from_iterable(self._slopes))
            ns_per_rate = min(max(_median(slopes), NS_PER_S - SLOPE_LIMIT_PPB), NS_PER_S + SLOPE_LIMIT_PPB)
        newest_rtp, newest_ns = newest
        offsets = sorted([ns - newest_ns - (rtp - newest_rtp) * ns_per_rate // rate_hz for rtp, ns in pairs])
        self._anchor_rtp = newest.rtp
        self._anchor_ns = newest.ntp_ns + _median(offsets)
        self._ns_per_rate = ns_per_rate


def _order_fault(before: _Pair, after: _Pair) -> Rejected | None:
    """Can ``after`` follow ``before`` on one clock at all?"""
    if abs(after.ntp_ns - before.ntp_ns) > MAX_NTP_JUMP_NS:
        return Rejected.NTP_JUMP
    if abs(after.rtp - before.rtp) > MAX_RTP_JUMP:
        return Rejected.RTP_JUMP
    if after.ntp_ns <= before.ntp_ns or after.rtp <= before.rtp:
        return Rejected.NOT_INCREASING
    return None


def _seen(pair: _Pair, pairs: Sequence[_Pair]) -> bool:
    return any(pair.rtp == other.rtp or pair.ntp_ns == other.ntp_ns for other in pairs)


def _median(ordered: Sequence[int]) -> int:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def _divide(numerator: int, denominator: int) -> int:
    """To the nearest, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)
