"""The numbers of an evaluation, all computed from trials (`protocol.TRIAL`) and nothing else.

Too few trials give None, never 0. Percent are 0 to 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.calibration import ConfidenceCurve
from avsync.scorer.evaluation.protocol import KINDS, RIGHT_MS, Kind, Trials
from avsync.scorer.matching.confidence import EDGE_MOST, UNRELATED_FROM_S
from avsync.scorer.score.evidence import SURE

RESAMPLES: Final = 2000
COVERAGES: Final = (10, 20, 30, 40, 50, 60, 70, 75, 80, 90, 100)
BINS: Final = 10
BIAS_WINDOW_MS: Final = 2000
BIAS_STEP_MS: Final = 20
"""The windows and lags that a bias is read off."""

Floats64 = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Accuracy(NamedTuple):
    """How often the offset was right within 40 ms. Windows without a face count as wrong."""

    trials: int
    clips: int
    pooled_pct: float | None
    averaged_pct: float | None
    """The mean of the clips' own accuracies."""
    low_pct: float | None
    high_pct: float | None
    """95 % interval of `pooled_pct` when clips are drawn anew."""


class Bias(NamedTuple):
    """What is left after calibration: the signed error (positive: the answer says the voice is further ahead than it
    is), over clips, of their medians."""

    clips: int
    median_ms: float | None
    quarter_ms: float | None
    three_quarters_ms: float | None
    lowest_ms: float | None
    highest_ms: float | None


class SureAnswers(NamedTuple):
    """Answers with a confidence above 0.8."""

    trials: int
    covered_pct: float | None
    wrong_pct: float | None
    """Of those covered; None when none was."""


class Bin(NamedTuple):
    """Reliability: of `trials` answers with about this confidence, so many were right."""

    from_confidence: float
    to_confidence: float
    trials: int
    mean_confidence: float | None
    right_pct: float | None


def chosen(trials: Trials, *, window_ms: int | None = None, step_ms: int | None = None, kind: Kind = "known") -> Trials:
    """Those of one kind, and of one window and lag step where given."""
    wanted = trials["kind"] == KINDS.index(kind)
    if window_ms is not None:
        wanted &= trials["window_ms"] == window_ms
    if step_ms is not None:
        wanted &= trials["step_ms"] == step_ms
    return np.asarray(trials[wanted])


def right(trials: Trials) -> Flags:
    """Which answers were right within 40 ms at any frame rate; one without a face never is."""
    return np.asarray(trials["tracked"] & (np.abs(trials["error_ms"]) <= RIGHT_MS + 1e-3))


def confidences(trials: Trials, curve: ConfidenceCurve) -> Floats64:
    """What `confidence.signal_of` would say to each; 0 without a face."""
    best, margin, speech_s = (trials[name].astype(np.float64) for name in ("best", "margin", "speech_s"))
    believed = np.where(speech_s > 0, curve.chances(margin, best, speech_s), 0.0) * trials["coverage"]
    unrelated = (speech_s >= UNRELATED_FROM_S) & (best < curve.unrelated_peak) & (margin < curve.unrelated_margin)
    believed = np.where(trials["at_edge"] | unrelated, np.minimum(believed, EDGE_MOST), believed)
    return np.where(trials["tracked"] & np.isfinite(trials["found_ms"]), believed, 0.0)


def accuracy(trials: Trials) -> Accuracy:
    """Over all the trials given."""
    good, count = _by_clip(trials)
    if len(count) == 0:
        return Accuracy(0, 0, None, None, None, None)
    draws = np.random.default_rng(0).integers(0, len(count), (RESAMPLES, len(count)))
    drawn = good[draws].sum(axis=1) / count[draws].sum(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5)) if len(count) > 1 else (np.nan, np.nan)
    return Accuracy(
        int(count.sum()), len(count), _pct(good.sum() / count.sum()), _pct((good / count).mean()), _pct(low), _pct(high)
    )


def bias(trials: Trials) -> Bias:
    """Of tracked windows; give those of 2 s at 20 ms lags."""
    medians = clip_medians_ms(trials)
    if not medians:
        return Bias(0, None, None, None, None, None)
    values = np.array(list(medians.values()))
    return Bias(len(values), *(round(float(np.percentile(values, at)), 1) for at in (50, 25, 75, 0, 100)))


def clip_medians_ms(trials: Trials) -> dict[int, float]:
    """Each clip's median signed error."""
    found = trials[trials["tracked"] & np.isfinite(trials["error_ms"])]
    return {int(clip): float(np.median(found["error_ms"][found["clip"] == clip])) for clip in np.unique(found["clip"])}


def sure(confidence: Floats64, rights: Flags) -> SureAnswers:
    """Coverage and error of the answers above 0.8."""
    kept = confidence > SURE
    covered, wrong = (
        (float(kept.mean()), float((~rights[kept]).mean()) if kept.any() else np.nan) if len(kept) else (np.nan,) * 2
    )
    return SureAnswers(len(kept), _pct(covered), _pct(wrong))


def coverage(confidence: Floats64, rights: Flags) -> list[tuple[int, float | None]]:
    """(kept percent, percent wrong among them) when only the surest are kept."""
    if len(rights) == 0:
        return [(kept, None) for kept in COVERAGES]
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~rights[order])
    counts = [max(1, round(len(rights) * kept / 100)) for kept in COVERAGES]
    return [(kept, _pct(wrong[count - 1] / count)) for kept, count in zip(COVERAGES, counts, strict=True)]


def reliability(confidence: Floats64, rights: Flags) -> list[Bin]:
    """Ten bins of confidence; each says how often its answers were right."""
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in range(BINS):
        inside = number == place
        mean, share = (float(confidence[inside].mean()), _pct(rights[inside].mean())) if inside.any() else (None, None)
        bins.append(Bin(place / BINS, (place + 1) / BINS, int(inside.sum()), mean, share))
    return bins


def of_clips(trials: Trials, clips: Sequence[int]) -> Trials:
    """Those of some clips."""
    return trials[np.isin(trials["clip"], np.asarray(clips, np.int32))]


def as_json(value: Any) -> Any:
    """Named tuples as objects, all else as it is."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: as_json(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return value


def _by_clip(trials: Trials) -> tuple[Floats64, Floats64]:
    """Right answers and all answers, per clip."""
    _, place = np.unique(trials["clip"], return_inverse=True)
    clips = int(place.max()) + 1 if len(place) else 0
    return np.bincount(place, right(trials), clips).astype(float), np.bincount(place, minlength=clips).astype(float)


def _pct(share: float) -> float | None:
    return round(100 * float(share), 2) if np.isfinite(share) else None
