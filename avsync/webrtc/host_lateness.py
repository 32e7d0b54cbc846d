"""Lateness of this host: how long after its time a slot of sound was sent. Too late, and no offset means anything."""

from __future__ import annotations

from collections import deque

from avsync.monitor.percentiles import MIN_SAMPLES, rank

KEPT = 500  # slots of 20 ms: the last ten seconds


class HostLateness:
    """``add`` each slot's; ``percentile_ms`` is None below 20 of them."""

    def __init__(self) -> None:
        self._late_ns: deque[int] = deque(maxlen=KEPT)

    def add(self, late_ns: int) -> None:
        self._late_ns.append(late_ns)

    def percentile_ms(self, percent: int) -> float | None:
        if len(self._late_ns) < MIN_SAMPLES:
            return None
        ordered = sorted(self._late_ns)
        return ordered[rank(len(ordered), percent) - 1] / 1e6
