"""Confidence: how much an offset may be believed, in words."""

from __future__ import annotations

from typing import Final

from avsync.scorer.calibration import Curve
from avsync.scorer.matching.lag_search import Peak
from avsync.scorer.signal import Label

CONFIDENT: Final = 0.5
"""From here on a label says ahead, behind or in sync; below it says uncertain."""

IN_SYNC_MS: Final = 40.0
"""One picture at 25 fps, and the tolerance of every accuracy figure; people notice from 45 ms on (ITU-R BT.1359)."""

EDGE_MOST: Final = 0.3
"""Best lag at the edge of the search: the true one may lie beyond, so it is never confident."""

UNRELATED_FROM_S: Final = 0.8
"""With less speech than this, a low peak is nothing unusual for lips and voice that do belong together."""


def label_of(curve: Curve, peak: Peak, confidence: float, evidence_s: float) -> tuple[Label, float]:
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
