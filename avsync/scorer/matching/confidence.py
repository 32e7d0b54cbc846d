"""Confidence: from lag scores to a signal: which offset, how far it may be believed, and that in a word."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.calibration import ConfidenceCurve
from avsync.scorer.matching.lag_search import Peak, best_lag
from avsync.scorer.matching.segment import Measurement
from avsync.scorer.signal import Label, LipSyncSignal

CONFIDENT: Final = 0.5
"""From here on a label says ahead, behind or in sync; below it says uncertain."""

IN_SYNC_MS: Final = 40.0
"""One picture at 25 fps, and the tolerance of every accuracy figure; people notice from 45 ms on (ITU-R BT.1359)."""

EDGE_MOST: Final = 0.3
"""Best lag at the edge of the search: the true one may lie beyond, so it is never confident."""

UNRELATED_FROM_S: Final = 0.8
"""With less speech than this, a low peak is nothing unusual for lips and voice that do belong together."""


def label_of(curve: ConfidenceCurve, peak: Peak, confidence: float, evidence_s: float) -> tuple[Label, float]:
    """The label of a segment that could be judged, and its confidence, held down where the best lag is at the edge."""
    if evidence_s >= UNRELATED_FROM_S and peak.best < curve.unrelated_peak and peak.margin < curve.unrelated_margin:
        return "unrelated", min(confidence, EDGE_MOST)
    if peak.at_edge:
        return "out_of_range", min(confidence, EDGE_MOST)
    if confidence < CONFIDENT:
        return "uncertain", confidence
    if abs(peak.offset_ms) <= IN_SYNC_MS:
        return "in_sync", confidence
    return ("voice_ahead" if peak.offset_ms > 0 else "voice_behind"), confidence


def signal_of(
    measured: Measurement,
    curve: ConfidenceCurve,
    *,
    pts_ns: int,
    duration_ns: int,
    epoch: int = 0,
    rho: NDArray[np.float64] | None = None,
    evidence_s: float | None = None,
) -> LipSyncSignal:
    """The result of a segment. `rho` and `evidence_s`: lag scores gathered with earlier windows, and over how much."""
    gathered = measured.scores.rho if measured.scores is not None and rho is None else rho
    peak = None if measured.scores is None or gathered is None else best_lag(measured.scores.offsets_ms, gathered)
    if measured.scores is None or gathered is None or peak is None:
        label = measured.label if measured.scores is None else "bad_input"
        return LipSyncSignal(
            None, None, 0.0, measured.occluded, label, None, None, curve.method, pts_ns, duration_ns, epoch
        )
    evidence = measured.speech_s if evidence_s is None else evidence_s
    believed = curve(peak.margin, peak.best, evidence) * measured.coverage
    label, confidence = label_of(curve, peak, believed, evidence)
    in_sync = float(gathered[int(np.abs(measured.scores.offsets_ms).argmin())])
    return LipSyncSignal(
        score=None if math.isnan(in_sync) else _similarity(in_sync),
        offset_ms=peak.offset_ms,
        confidence=confidence,
        occluded=measured.occluded,
        label=label,
        score_best=_similarity(peak.best),
        score_margin=peak.margin,
        method=curve.method,
        pts_ns=pts_ns,
        duration_ns=duration_ns,
        epoch=epoch,
    )


def _similarity(rho: float) -> float:
    return float(np.clip(rho, 0.0, 1.0))
