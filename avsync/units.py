"""Units: every time inside avsync is an ``int`` of nanoseconds, every count stays a count.

People speak milliseconds, so ``ms(30)`` is how a constant is written. Counters (samples,
frames, RTP ticks) are turned into time from their *total* (``ticks_to_ns``), with one exact
integer division: adding up rounded durations is how an hour goes missing.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
NS_PER_US: Final = 1_000

FAR_NS: Final = (1 << 62) - 1
"""Further than any time (146 years): never, or an empty minimum; ``-FAR_NS`` is before anything that was told.
The largest int that a compiled build keeps without an object."""

SOUND_HZ: Final = 48_000
"""Opus' clock in RTP, whatever it carries (RFC 7587); sound is brought to this rate before it is encoded."""

PICTURE_HZ: Final = 90_000
"""The clock of every video format in RTP (RFC 3551, section 5; RFC 7741, RFC 6184)."""

SLOT_SAMPLES: Final = 960
"""What goes into one Opus packet: 20 ms of ``SOUND_HZ``, per channel."""

Rate = int | Fraction
"""Ticks per second, exact: 48000, 25, Fraction(30000, 1001)."""


def us(microseconds: float) -> int:
    """Microseconds as spoken -> ns."""
    return round(microseconds * NS_PER_US)


def ms(milliseconds: float) -> int:
    """Milliseconds as spoken -> ns. ``ms(0.5) == 500_000``."""
    return round(milliseconds * NS_PER_MS)


def seconds(value: float) -> int:
    """Seconds as spoken -> ns."""
    return round(value * NS_PER_S)


def to_ms(ns: int) -> float:
    """ns -> milliseconds, for people (YAML, CLI, reports). Never fed back into the core."""
    return ns / NS_PER_MS


def stretched_ns(duration_ns: int, stretch_ppm: int) -> int:
    """How long sound of ``duration_ns`` takes to leave, played ``stretch_ppm`` faster (> 0) or slower; rounded down."""
    return duration_ns * 1_000_000 // (1_000_000 + stretch_ppm)


def ticks_to_ns(ticks: int, rate: Rate) -> int:
    """The time of tick number ``ticks`` at ``rate`` ticks/s, rounded down. Exact at any size."""
    if isinstance(rate, int):
        return ticks * NS_PER_S // rate
    return ticks * NS_PER_S * rate.denominator // rate.numerator


def ns_to_ticks(ns: int, rate: Rate) -> int:
    """The tick nearest to ``ns`` (halves round up), so that ns -> tick -> ns -> tick is stable."""
    if isinstance(rate, int):
        return (2 * ns * rate + NS_PER_S) // (2 * NS_PER_S)
    scale = NS_PER_S * rate.denominator
    return (2 * ns * rate.numerator + scale) // (2 * scale)
