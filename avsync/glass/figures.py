"""Figures: what people compare, out of a reading. ``None`` is UNKNOWN (too little data), ``inf`` is "never".

Names and meanings are the scenario language's; a glass can also be unreadable, so there is ``unknown_pct`` beside
the three shares.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from avsync.glass.reading import F64, STEP_MS, GlassReading, ReadingState
from avsync.monitor.percentiles import MIN_SAMPLES, rank

SETTLED_MS = 45.0
SETTLED_ROWS = round(1000 / STEP_MS)
SAME_TALK_MS = 150.0
"""What is heard this near to where the interrupted voice would be by now is still the interrupted voice."""


class Figures(NamedTuple):
    """Offsets in ms, shares in per cent. ``p50_ms`` is signed: the voice is ahead where it is positive."""

    p50_ms: float | None
    abs_p50_ms: float | None
    abs_p95_ms: float | None
    abs_p99_ms: float | None
    abs_max_ms: float | None
    spread_p95_ms: float | None
    lead_p95_ms: float | None
    lag_p95_ms: float | None
    measured_pct: float | None
    no_picture_pct: float | None
    degraded_pct: float | None
    unknown_pct: float | None
    heard_pct: float | None
    freeze_longest_ms: float | None
    seconds: float


def figures(reading: GlassReading) -> Figures:
    """All of them over the rows of ``reading``. ``spread_p95_ms``: of the distance from its own median."""
    e = reading.e_ms[reading.state == ReadingState.MEASURED]
    middle = percentile(e, 50)
    shares = [share_pct(reading.state == state) for state in ReadingState]
    return Figures(
        p50_ms=middle,
        abs_p50_ms=percentile(np.abs(e), 50),
        abs_p95_ms=percentile(np.abs(e), 95),
        abs_p99_ms=percentile(np.abs(e), 99),
        abs_max_ms=percentile(np.abs(e), 100),
        spread_p95_ms=None if middle is None else percentile(np.abs(e - middle), 95),
        lead_p95_ms=percentile(np.maximum(e, 0.0), 95),
        lag_p95_ms=percentile(np.maximum(-e, 0.0), 95),
        measured_pct=shares[ReadingState.MEASURED],
        no_picture_pct=shares[ReadingState.NO_PICTURE],
        degraded_pct=shares[ReadingState.DEGRADED],
        unknown_pct=shares[ReadingState.UNKNOWN],
        heard_pct=share_pct(reading.heard),
        freeze_longest_ms=freeze_longest_ms(reading),
        seconds=len(reading.at_ms) * STEP_MS / 1000,
    )


def percentile(values: F64, pct: int) -> float | None:
    """Nearest rank; None below ``MIN_SAMPLES`` values."""
    if len(values) < MIN_SAMPLES:
        return None
    return float(np.sort(values)[rank(len(values), pct) - 1])


def share_pct(flags: np.typing.NDArray[np.bool_]) -> float | None:
    return None if len(flags) < MIN_SAMPLES else float(100 * np.mean(flags))


def freeze_longest_ms(reading: GlassReading) -> float | None:
    """The longest run of measured rows with a picture past its duration."""
    if len(reading.at_ms) < MIN_SAMPLES:
        return None
    longest = run = 0
    for frozen in reading.frozen:
        run = run + 1 if frozen else 0
        longest = max(longest, run)
    return longest * STEP_MS


def settle_ms(reading: GlassReading, from_ms: float | None = None) -> float | None:
    """From ``from_ms`` (None: the first picture) to the first second in which all is measured and within 45 ms.

    ``inf``: there is no such second. None: the reading has no picture at all, or ends within a second.
    """
    if from_ms is None:
        pictured = np.flatnonzero(reading.state != ReadingState.NO_PICTURE)
        if not len(pictured):
            return None
        from_ms = float(reading.at_ms[pictured[0]])
    rows = reading.at_ms >= from_ms
    at, e = reading.at_ms[rows], reading.e_ms[rows]
    if len(at) < SETTLED_ROWS:
        return None
    good = (reading.state[rows] == ReadingState.MEASURED) & (np.abs(e) < SETTLED_MS)
    count = np.concatenate([[0], np.cumsum(good)])
    whole = np.flatnonzero(count[SETTLED_ROWS:] - count[:-SETTLED_ROWS] == SETTLED_ROWS)
    # Rows may have been left out in between: only seconds that are whole count.
    whole = whole[at[whole + SETTLED_ROWS - 1] - at[whole] < SETTLED_ROWS * STEP_MS]
    return float(at[whole[0]] - from_ms) if len(whole) else math.inf


def interrupt_to_silence_ms(reading: GlassReading, at_ms: float) -> float | None:
    """From an interrupt to the last sound heard of what was being said; to 10 ms. None: nothing was being said."""
    before = np.flatnonzero((reading.at_ms <= at_ms) & reading.heard)
    if not len(before) or at_ms - reading.at_ms[before[-1]] > 500:
        return None
    ahead = reading.a_ms[before[-1]] - reading.at_ms[before[-1]]
    after = (reading.at_ms > at_ms) & reading.heard
    still = after & (np.abs(reading.a_ms - reading.at_ms - ahead) < SAME_TALK_MS)
    rows = np.flatnonzero(still)
    return float(reading.at_ms[rows[-1]] + STEP_MS / 2 - at_ms) if len(rows) else 0.0
