"""A network trace as a value: what a real network did, ready for a ``Link`` to do it again.

Its time starts at 0 and repeats every ``duration_ns``. It says one or more of: how much could
be sent (``rate_bps`` or ``opportunities_ns``), how long it took (``delay_ns``, ``jitter_ns`` or
``delay_quantiles_ns``), how much was lost (``loss_ppm``). What it does not say, it leaves to
the link. How such a value is read from a file is told in ``sim/network/traces/load.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from avsync.errors import UsageError
from avsync.units import NS_PER_S

OPPORTUNITY_BYTES = 1_500  # Mahimahi: what one line of a trace may carry
MAX_DURATION_NS = 7 * 86_400 * NS_PER_S
MAX_RATE_BPS = 1_000_000_000_000
MAX_DELAY_NS = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class NetworkTrace:
    """What a network did, by its own time from 0 to ``duration_ns``, and then again.

    ``about``: one line for people: format, units and every assumption made in reading it.
    ``times_ns``: from when on the entries of ``rate_bps``, ``delay_ns``, ``jitter_ns`` and
    ``loss_ppm`` hold (each as long as ``times_ns``, or empty: not said). With ``between``,
    delays change along the line from one entry to the next (single probes); without, in steps.
    ``jitter_ns``: sigma of the half-normal delay on top, as in ``LinkSpec``.
    ``opportunities_ns``: up to 1500 bytes leave at each of these instants (Mahimahi).
    ``delay_quantiles_ns``: a distribution of delay, ascending, of equal probability each.
    """

    format: str
    about: str
    duration_ns: int
    times_ns: tuple[int, ...] = ()
    rate_bps: tuple[int, ...] = ()
    delay_ns: tuple[int, ...] = ()
    jitter_ns: tuple[int, ...] = ()
    loss_ppm: tuple[int, ...] = ()
    opportunities_ns: tuple[int, ...] = ()
    delay_quantiles_ns: tuple[int, ...] = ()
    between: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.duration_ns <= MAX_DURATION_NS:
            raise UsageError(f"the trace's duration must be above 0 and at most 7 days, got {self.duration_ns} ns")
        if not (self.times_ns or self.opportunities_ns or self.delay_quantiles_ns):
            raise UsageError("the trace says nothing about rate, delay or loss")
        if self.times_ns and (self.times_ns[0] != 0 or self.times_ns[-1] >= self.duration_ns):
            raise UsageError("times_ns must start at 0 and end before duration_ns")
        if any(a >= b for a, b in pairwise(self.times_ns)):
            raise UsageError("times_ns must grow")
        for name, top in (("rate_bps", MAX_RATE_BPS), ("delay_ns", MAX_DELAY_NS), ("jitter_ns", MAX_DELAY_NS)):
            self._check_column(name, top)
        self._check_column("loss_ppm", 1_000_000)
        _check_bounds("delay_quantiles_ns", self.delay_quantiles_ns, MAX_DELAY_NS)
        _check_bounds("opportunities_ns", self.opportunities_ns, self.duration_ns)
        if any(a > b for a, b in pairwise(self.opportunities_ns)):
            raise UsageError("opportunities_ns must not go back")
        if any(a > b for a, b in pairwise(self.delay_quantiles_ns)):
            raise UsageError("delay_quantiles_ns must not go back")
        if self.rate_bps and not any(self.rate_bps):
            raise UsageError("the trace never lets a single bit through (rate 0 from start to end)")
        if self.rate_bps and self.opportunities_ns:
            raise UsageError("the trace has both rate_bps and opportunities_ns: choose one")

    def _check_column(self, name: str, top: int) -> None:
        column: tuple[int, ...] = getattr(self, name)
        if column and len(column) != len(self.times_ns):
            raise UsageError(f"{name} has {len(column)} entries for {len(self.times_ns)} times")
        _check_bounds(name, column, top)

    @property
    def limits_rate(self) -> bool:
        """Whether it says how much can be sent."""
        return bool(self.rate_bps or self.opportunities_ns)

    @property
    def mean_bps(self) -> int:
        """The mean rate over the whole trace; 0 where it does not limit the rate."""
        if self.opportunities_ns:
            return len(self.opportunities_ns) * OPPORTUNITY_BYTES * 8 * NS_PER_S // self.duration_ns
        if not self.rate_bps:
            return 0
        ends = (*self.times_ns[1:], self.duration_ns)
        bits = sum(bps * (end - at) for bps, at, end in zip(self.rate_bps, self.times_ns, ends, strict=True))
        return bits // self.duration_ns


def _check_bounds(name: str, column: Sequence[int], top: int) -> None:
    if column and (min(column) < 0 or max(column) > top):
        raise UsageError(f"{name} must lie within 0 and {top}, got {min(column)} to {max(column)}")


def quantiles_from_points(points: Sequence[tuple[int, int]], count: int = 1_000) -> tuple[int, ...]:
    """``(share in millionths, ns)`` points, ascending, first at 0 and last at 1e6 -> ``count`` quantiles.

    Straight lines between the points: what can honestly be made of a few published percentiles.
    """
    quantiles = []
    at = 0
    for i in range(count):
        share = (2 * i + 1) * 1_000_000 // (2 * count)
        while points[at + 1][0] < share:
            at += 1
        (low, low_ns), (high, high_ns) = points[at], points[at + 1]
        quantiles.append(low_ns + (high_ns - low_ns) * (share - low) // max(high - low, 1))
    return tuple(quantiles)
