"""Impairments: loss, jitter and holds that come from the seed, never from who is sending.

Loss is drawn once per packet of its kind, whatever becomes of the packet. Jitter, holds and
outages are functions of time alone, so however much or little a policy sends, it meets the same.
"""

from __future__ import annotations

from math import isqrt
from statistics import NormalDist
from typing import Final

import numpy as np

from avsync.errors import UsageError
from avsync.units import ms
from sim.rng import NORMAL_MILLIONTHS, Draws, substream

_ALL: Final = 1 << 64
_MILLION: Final = 1_000_000

SLOT_NS: Final = ms(10)
"""Jitter changes on this grid. Origin: EDAF probes a 5G uplink at 100 Hz; its lag-1 correlation
of 0.65 is therefore one from slot to slot. Packets of one burst share their jitter."""

# |N(0, 1)| at each of the 4096 levels of probability, in millionths.
HALF_NORMAL_MILLIONTHS: Final = tuple(
    round(NormalDist().inv_cdf((1 + (i + 0.5) / len(NORMAL_MILLIONTHS)) / 2) * _MILLION)
    for i in range(len(NORMAL_MILLIONTHS))
)
_TOP_LEVEL: Final = len(NORMAL_MILLIONTHS) - 1
_NORMAL: Final = np.array(NORMAL_MILLIONTHS, dtype=np.int64)
_SLOTS_AT_ONCE: Final = 256  # drawing slots in bulk keeps a packet below 1 us


class Loss:
    """Gilbert-Elliott: every packet in the bad state is lost, none in the good one.

    Mean loss L and mean burst b give leaving-bad r = 1/b and entering-bad p = L / ((1 - L) b)
    (libwebrtc, simulated_network.cc). ``burst_packets`` 1 means independent loss instead.
    """

    __slots__ = ("_bad", "_draws", "_enter", "_stay")

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._bad = False
        self._enter = self._stay = 0

    def tune(self, loss_ppm: int, burst_packets: float) -> None:
        """Change the odds. The state, and the place in the stream, stay."""
        burst, good_ppm = round(burst_packets * 1000), _MILLION - loss_ppm
        if burst <= 1000 or not good_ppm:
            self._enter = self._stay = loss_ppm * _ALL // _MILLION
        else:
            self._enter = loss_ppm * 1000 * _ALL // (good_ppm * burst)
            self._stay = _ALL - 1000 * _ALL // burst

    def lost(self) -> bool:
        """One packet passes. One draw."""
        self._bad = self._draws.raw() < (self._stay if self._bad else self._enter)
        return self._bad


class JitterLevel:
    """A level of probability (0..4095) for each 10 ms slot of time, correlated from slot to slot.

    z' = rho z + sqrt(1 - rho^2) e in integers, one draw per slot; the level is z's rank in the
    normal distribution. What delay a level means is the reader's affair (half-normal jitter, a
    trace's own distribution); being monotone, that keeps the correlation.
    """

    __slots__ = ("_carry", "_draws", "_end", "_first", "_fresh", "_levels", "_z")

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._first = self._end = 0  # of the slots at hand
        self._levels: list[int] = []
        self._z = draws.gaussian(_MILLION)  # stationary from the start
        self._carry = 0
        self._fresh = 1 << 20

    def tune(self, correlation_pct: int) -> None:
        """The correlation of the slots not yet drawn: up to 2.5 s of them may be."""
        self._carry = (correlation_pct << 20) // 100
        self._fresh = isqrt((1 << 40) - self._carry * self._carry)

    def at(self, slot: int) -> int:
        """The level of this slot (``now_ns // SLOT_NS``, never going back)."""
        while slot >= self._end:
            self._first, self._end = self._end, self._end + _SLOTS_AT_ONCE
            self._levels = self._next_levels()
        return self._levels[slot - self._first]

    def _next_levels(self) -> list[int]:
        z, carry, fresh = self._z, self._carry, self._fresh
        values = []
        for raw in self._draws.raws(_SLOTS_AT_ONCE):
            values.append(z)
            z = (carry * z + fresh * NORMAL_MILLIONTHS[raw >> 52]) >> 20
        self._z = z
        levels: list[int] = np.minimum(np.searchsorted(_NORMAL, values), _TOP_LEVEL).tolist()
        return levels


class Recurring:
    """Windows [start, end) that return every ``every_ns``, each drawn within its spread.

    The first starts anywhere in the first ``every_ns``. Two draws per window, by time alone.
    """

    __slots__ = ("_draws", "_every", "_length", "_next_ns", "_windows")

    def __init__(self, draws: Draws, every_ns: int, for_ns: int, every_spread_pct: int, for_spread_pct: int) -> None:
        spread, length_spread = every_ns * every_spread_pct // 100, for_ns * for_spread_pct // 100
        self._draws = draws
        self._every = (every_ns - spread, every_ns + spread)
        self._length = (for_ns - length_spread, for_ns + length_spread)
        self._next_ns = draws.between_ns(0, every_ns)
        self._windows: list[tuple[int, int]] = []

    def end_of(self, at_ns: int, now_ns: int) -> int:
        """The end of the window that covers ``at_ns`` (>= ``now_ns``), or ``at_ns`` itself."""
        windows = self._windows
        while self._next_ns <= at_ns:
            start = self._next_ns
            end = start + self._draws.between_ns(*self._length)
            if end > now_ns:
                windows.append((start, end))
            self._next_ns = start + self._draws.between_ns(*self._every)
        while windows and windows[0][1] <= now_ns:
            del windows[0]
        return end_of(windows, at_ns)


def end_of(windows: list[tuple[int, int]], at_ns: int) -> int:
    """``at_ns``, moved past every window [from, until) that covers it; windows sorted by start."""
    for from_ns, until_ns in windows:
        if from_ns <= at_ns < until_ns:
            at_ns = until_ns
    return at_ns


def recurring(
    seed: int, name: str, every_ns: int, for_ns: int, every_spread_pct: int, for_spread_pct: int
) -> Recurring | None:
    """None where nothing recurs."""
    if not every_ns or not for_ns:
        return None
    return Recurring(substream(seed, name), every_ns, for_ns, every_spread_pct, for_spread_pct)


def check_burst(loss_ppm: int, burst_packets: float) -> None:
    """Refuse a mean burst too short for the mean loss: p would exceed 1."""
    good_ppm = _MILLION - loss_ppm
    if burst_packets > 1 and good_ppm and loss_ppm > good_ppm * burst_packets:
        shortest = loss_ppm / good_ppm
        raise UsageError(f"burst_packets must be at least {shortest:.3g} where {loss_ppm} ppm are lost")
