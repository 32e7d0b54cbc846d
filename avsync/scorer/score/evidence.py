"""Evidence: windows of a clip in a row, and what they say together.

Lag scores are averaged over the windows before a lag is chosen. A correlation lies in [-1, 1], so one bad window moves
the mean by at most 2 / windows: a minority that sees another mouth or hears another voice is outvoted, and windows
that are not sure by themselves still add up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.matching.confidence import EDGE_MOST
from avsync.scorer.matching.lag_search import Peak, best_lag
from avsync.scorer.signal import Label

Array = NDArray[np.float64]

SURE = 0.8
"""Confidence from which an answer is called sure: what the calibration promises < 1 % wrong for."""

AGREES_MS = 40.0
"""A window agrees with the clip when it is off by no more: the tolerance of every accuracy figure here."""

LEAST_SPEECH_S = 0.1
"""What a window weighs at least: it was judged, so something was heard."""

UNJUDGED: frozenset[Label] = frozenset({"silence", "no_face", "still", "occluded", "bad_input"})
"""Windows with these labels say nothing about the offset and are left out."""

Judge = Callable[[Peak, float], tuple[Label, float]]
"""``(peak, seconds of evidence) -> label and confidence``, as the calibrated curve of the method has it."""


class Evidence(NamedTuple):
    """One window. ``rho``: (L,) lag scores, NaN where not scored; None where nothing could be judged.

    ``speech_s``: how much of it was speech under seen lips.
    """

    start_ms: float
    end_ms: float
    label: Label
    rho: Array | None
    speech_s: float


class OffsetPart(NamedTuple):
    """A segment of the clip with one offset, or with one that moves steadily from one to another."""

    start_ms: float
    end_ms: float
    from_offset_ms: float
    to_offset_ms: float
    confidence: float

    @property
    def middle_ms(self) -> float:
        return (self.from_offset_ms + self.to_offset_ms) / 2

    @property
    def worst_ms(self) -> float:
        """The largest offset in it, without sign."""
        return max(abs(self.from_offset_ms), abs(self.to_offset_ms))

    def at(self, at_ms: float) -> float:
        """The offset at a time in the clip."""
        share = (at_ms - self.start_ms) / max(self.end_ms - self.start_ms, 1.0)
        return self.from_offset_ms + (self.to_offset_ms - self.from_offset_ms) * min(max(share, 0.0), 1.0)


class Windows(NamedTuple):
    """Judged windows in a row: ``rho`` (W, L), ``start_ms``, ``end_ms`` and ``speech_s`` (W,); ``lags_ms`` (L,)."""

    rho: Array
    start_ms: Array
    end_ms: Array
    speech_s: Array
    lags_ms: Array
    judge: Judge

    @property
    def at_ms(self) -> Array:
        """(W,) the middles of the windows."""
        return np.asarray((self.start_ms + self.end_ms) / 2)

    def mean(self) -> Array:
        """(L,) over the windows, by seconds of speech; NaN at a lag that less than half of it scored."""
        known = np.isfinite(self.rho) * np.maximum(self.speech_s, LEAST_SPEECH_S)[:, None]
        weight = known.sum(axis=0)
        total = (np.where(known > 0, self.rho, 0.0) * known).sum(axis=0)
        return np.where(2 * weight >= weight.max(), total / np.maximum(weight, LEAST_SPEECH_S), np.nan)

    def peak(self) -> Peak | None:
        return best_lag(self.lags_ms, self.mean())

    def offset_ms(self) -> float:
        """Of the best lag, refined between lags; 0 where there is none."""
        peak = self.peak()
        return 0.0 if peak is None else between_lags(self.lags_ms, self.mean(), peak)

    def seconds(self) -> float:
        """Seconds of speech under the windows; what two of them share counts once."""
        total_ms, until = 0.0, -np.inf
        for start, end in zip(self.start_ms.tolist(), self.end_ms.tolist(), strict=True):
            total_ms += max(0.0, end - max(start, until))
            until = max(until, end)
        doubled = float((self.end_ms - self.start_ms).sum()) / max(total_ms, 1.0)
        return float(self.speech_s.sum()) / max(doubled, 1.0)

    def judged(self) -> tuple[Label, float]:
        """Label and confidence; the edge of the search is never sure, the best fit may lie beyond it."""
        peak = self.peak()
        if peak is None:
            return "uncertain", 0.0
        label, confidence = self.judge(peak._replace(offset_ms=self.offset_ms()), self.seconds())
        return label, min(confidence, EDGE_MOST) if peak.at_edge else confidence

    def confidence(self) -> float:
        return self.judged()[1]

    def agreeing(self, offset_ms: float) -> int:
        own = self.lags_ms[np.where(np.isfinite(self.rho), self.rho, -np.inf).argmax(axis=1)]
        return int((np.abs(own - offset_ms) <= AGREES_MS).sum())

    def part(self, first: int, end: int) -> Windows:
        rows = slice(first, end)
        return Windows(
            self.rho[rows], self.start_ms[rows], self.end_ms[rows], self.speech_s[rows], self.lags_ms, self.judge
        )

    def straightened(self, offsets_ms: Array) -> Windows:
        """Every window shifted so that its given offset lies at 0; what was not searched is NaN."""
        rows = [
            np.interp(self.lags_ms + offset, self.lags_ms, row, left=np.nan, right=np.nan)
            for row, offset in zip(self.rho, offsets_ms, strict=True)
        ]
        return self._replace(rho=np.stack(rows))


def between_lags(lags_ms: Array, rho: Array, peak: Peak) -> float:
    """The top of the parabola through the best lag and its neighbours, at most half a step away (ms)."""
    at = peak.lag
    if peak.at_edge or not np.isfinite(rho[at - 1 : at + 2]).all():
        return peak.offset_ms
    low, top, high = (float(rho[place]) for place in (at - 1, at, at + 1))
    bend = low - 2 * top + high
    shift = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return peak.offset_ms + min(max(shift, -0.5), 0.5) * float(lags_ms[at + 1] - lags_ms[at])
