"""Gathering: lag scores of windows in a row, so that confidence grows with evidence.

A window of a second is often unsure by itself. The lag scores of the last seconds are averaged, each window weighing as
much as it held speech, and the best lag is looked for in the mean. When the offset changes, the old windows are wrong
evidence: two windows in a row that agree with each other and contradict the rest, or a single one that is sure by
itself, take over at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.matching.lag_search import NEIGHBOUR_MS, Peak, best_lag

ConfidenceOf = Callable[[float, float, float], float]
"""(margin, peak, seconds of evidence) -> confidence: a `ConfidenceCurve`."""

TAKES_OVER: Final = 0.8
"""A single window this sure of another offset needs no second."""


class LagWindow(NamedTuple):
    end_ns: int
    rho: NDArray[np.float64]
    """(L,), NaN where not scored."""
    speech_s: float


class Gathered(NamedTuple):
    rho: NDArray[np.float64]
    speech_s: float


class Gathering:
    """The windows of the last `keep_ns` of media time. Memory: one row of lags a window."""

    def __init__(self, offsets_ms: NDArray[np.float64], keep_ns: int, sure: ConfidenceOf) -> None:
        self._offsets_ms, self._keep_ns, self._sure = offsets_ms, keep_ns, sure
        self._windows: deque[LagWindow] = deque()

    def add(self, window: LagWindow) -> Gathered:
        """The window together with those before it that still count."""
        while self._windows and self._windows[0].end_ns <= window.end_ns - self._keep_ns:
            self._windows.popleft()
        self._windows.append(window)
        self._forget_what_is_contradicted()
        return _mean(list(self._windows))

    def clear(self) -> None:
        self._windows.clear()

    def _forget_what_is_contradicted(self) -> None:
        *older, newest = self._windows
        if not older:
            return
        before, now = self._peak(older), self._peak([newest])
        if before is None or now is None or _agree(before, now):
            return
        kept = [newest] if self._sure(now.margin, now.best, newest.speech_s) >= TAKES_OVER else []
        if not kept and len(older) > 1:
            last = self._peak(older[-1:])
            if last is not None and _agree(last, now):
                kept = [older[-1], newest]
        if kept:
            self._windows = deque(kept)

    def _peak(self, windows: list[LagWindow]) -> Peak | None:
        return best_lag(self._offsets_ms, _mean(windows).rho)


def _agree(a: Peak, b: Peak) -> bool:
    return abs(a.offset_ms - b.offset_ms) <= NEIGHBOUR_MS + 1e-6


def _mean(windows: list[LagWindow]) -> Gathered:
    """Mean lag scores, by seconds of speech; a lag that some window could not score is the mean of the others."""
    weights = np.array([max(window.speech_s, 1e-3) for window in windows])[:, None]
    rho = np.stack([window.rho for window in windows])
    known = np.isfinite(rho)
    total = (known * weights).sum(axis=0)
    mean = np.where(known, rho * weights, 0.0).sum(axis=0) / np.where(total > 0, total, 1.0)
    return Gathered(np.where(total > 0, mean, np.nan), sum(window.speech_s for window in windows))
