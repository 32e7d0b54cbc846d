"""Windows and percentiles: which times count, and how many values make a number.

``None`` is UNKNOWN (too little data) and never 0. Milliseconds and per cent are what people read; inside it stays ns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from avsync.units import seconds, to_ms
from sim.scenario.metric_names import Window
from sim.truth.columns import I64, Bool

Measure = float | None
Faults = Sequence[tuple[int, int]]
"""(start_ns, end_ns) in the time of the point that is judged; a permanent step ends where it starts."""
Within = Callable[[I64], Bool]
"""Which times count."""

AFTERMATH_S, JOIN_S, AFTER_FAULT_S = 1.0, 5.0, 5.0
AFTERMATH_NS, JOIN_NS, AFTER_FAULT_NS = seconds(AFTERMATH_S), seconds(JOIN_S), seconds(AFTER_FAULT_S)
ENOUGH = 20
"""Fewer values are UNKNOWN: below 20, the nearest-rank p95 is the maximum."""


def merged(faults: Faults) -> list[tuple[int, int]]:
    """Faults that overlap, or begin where another ends, as one: it is over when the last of them is."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(faults):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans


def everywhere(at_ns: I64) -> Bool:
    return np.ones(len(at_ns), np.bool_)


def within(window: Window, faults: Faults, joined_ns: int | None = None) -> Within:
    """``clear``: outside every fault's [start, end + 1 s] and the 5 s after a viewer joined (None: no viewer).

    ``after_fault``: the 5 s that start 1 s after each fault's end; nothing at all without faults. What overlaps is one.
    """
    if window == "all":
        return everywhere
    faults = merged(faults)

    def clear(at_ns: I64) -> Bool:
        inside = everywhere(at_ns)
        for start, end in faults:
            inside &= (at_ns < start) | (at_ns > end + AFTERMATH_NS)
        if joined_ns is not None:
            inside &= (at_ns < joined_ns) | (at_ns >= joined_ns + JOIN_NS)
        return inside

    def after_fault(at_ns: I64) -> Bool:
        inside = ~everywhere(at_ns)
        for _, end in faults:
            begin = end + AFTERMATH_NS
            inside |= (at_ns >= begin) & (at_ns < begin + AFTER_FAULT_NS)
        return inside

    return clear if window == "clear" else after_fault


def percentile(values: I64, percent: int) -> int:
    """Nearest rank: the smallest element that at least ``percent`` % of all do not exceed. Never a mixture of two."""
    rank = max(-(-percent * len(values) // 100), 1) - 1
    return int(np.partition(values, rank)[rank])


def percentile_ms(values_ns: I64, percent: int) -> Measure:
    return to_ms(percentile(values_ns, percent)) if len(values_ns) >= ENOUGH else None


def share_pct(part: int, whole: int) -> Measure:
    return 100.0 * part / whole if whole else None
