"""Calibration: the two things that real clips may set, and only those of the development half.

The *bias*: what a method says of clips in sync is not quite 0, because a mouth begins before its sound, by more or less
than in training. Minus that is added to the times of pictures. The *curve*: how likely an answer is right within 40 ms,
by its margin, its peak and the seconds of speech. A curve of maximum likelihood is honest on average, but too generous
where it matters: those who act on a confidence above 0.8 are promised that fewer than 1 % of the answers are wrong. So
the fitted curve is bent until that holds with something to spare, for windows of each length and for voices that belong
to somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.calibration import MOST_UNCALIBRATED, TERMS, ConfidenceCurve, terms
from avsync.scorer.evaluation.numbers import BIAS_STEP_MS, BIAS_WINDOW_MS, SureAnswers, chosen, confidences, right, sure
from avsync.scorer.evaluation.protocol import KINDS, STEPS_MS, WINDOWS_MS, Trials
from avsync.scorer.matching.confidence import EDGE_MOST, UNRELATED_FROM_S
from avsync.scorer.score.evidence import SURE
from avsync.scorer.signal import Method

STEP_MS: Final = max(STEPS_MS)
"""The lag step at which the promise holds: that of the headline accuracy, a picture at 25 fps. References are known to
a picture or so; at 20 ms an answer 60 ms off is next to one that is right, and no margin can tell them apart."""
WRONG_MOST: Final = 0.005
"""Of sure answers, on the clips that were fitted: half of what is promised for others."""
UNRELATED_MOST: Final = 0.045
"""Of answers to somebody else's voice, and of those to an offset beyond the search; 0.05 is promised."""
MISNAMED_MOST: Final = 0.005
"""Of windows whose sound is the speaker's own, so many may be called unrelated."""
RIDGE: Final = 1e-3
"""Of the curve's weights (for terms of spread 1), per trial: keeps them finite where the trials can be told apart."""
PLACES: Final = 1000
"""Thresholds tried, evenly over the answers."""
FEWEST_TRIALS: Final = 200
FEWEST_SPEAKERS: Final = 4

Floats64 = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Fit(NamedTuple):
    """What was fitted for a method."""

    curve: ConfidenceCurve
    sure: dict[int, SureAnswers]
    """By window (ms), of answers with a known offset: on the clips that were fitted."""
    held_out: dict[int, SureAnswers]
    """The same for each speaker by a curve fitted on the others."""
    unrelated: dict[int, SureAnswers]
    """By window, of voices of others and offsets beyond the search: none of these is right."""


def in_sync_reading_ms(trials: Trials, speakers: Mapping[int, str]) -> float:
    """What the method says of clips in sync (ms): the median over speakers of the medians of their clips.

    trials: of windows of 2 s at 20 ms lags; speakers: by clip. One speaker with many clips counts once.
    """
    known = chosen(trials, window_ms=BIAS_WINDOW_MS, step_ms=BIAS_STEP_MS)
    known = known[known["tracked"] & np.isfinite(known["refined_ms"]) & (np.abs(known["error_ms"]) < 200)]
    medians: dict[str, list[float]] = {}
    for clip in np.unique(known["clip"]):
        some = known[known["clip"] == clip]
        medians.setdefault(speakers[int(clip)], []).append(float(np.median(some["refined_ms"] + some["delay_ms"])))
    if len(medians) < FEWEST_SPEAKERS:
        raise InputError(
            f"windows of 2 s of {len(medians)} speakers are too few to set a bias; {FEWEST_SPEAKERS} are needed"
        )
    return float(np.median([np.median(clips) for clips in medians.values()]))


def fit(method: Method, trials: Trials, speakers: Mapping[int, str], bias_ms: float) -> Fit:
    """The curve of a method from its trials of all kinds in the stream. InputError where they are too few."""
    trials = trials[trials["step_ms"] == STEP_MS]
    curve = fit_curve(method, trials, bias_ms)
    names = np.array([speakers[int(clip)] for clip in trials["clip"]])
    believed = np.zeros(len(trials))
    for name in np.unique(names):
        others = fit_curve(method, trials[names != name], bias_ms) if len(set(names)) > FEWEST_SPEAKERS else curve
        believed[names == name] = confidences(trials[names == name], others)
    held_out, fitted, unrelated = {}, {}, {}
    for window_ms in WINDOWS_MS:
        own = (trials["window_ms"] == window_ms) & (trials["kind"] == KINDS.index("known"))
        stranger = (trials["window_ms"] == window_ms) & (trials["kind"] != KINDS.index("known"))
        held_out[window_ms] = sure(believed[own], right(trials[own]))
        fitted[window_ms] = sure(confidences(trials[own], curve), right(trials[own]))
        unrelated[window_ms] = sure(confidences(trials[stranger], curve), right(trials[stranger]))
    return Fit(curve, fitted, held_out, unrelated)


def fit_curve(method: Method, trials: Trials, bias_ms: float) -> ConfidenceCurve:
    """trials: at one lag step. Answers to strangers and to offsets beyond the search count as wrong."""
    used = trials[trials["tracked"] & np.isfinite(trials["found_ms"]) & (trials["speech_s"] > 0)]
    if len(used) < FEWEST_TRIALS:
        raise InputError(f"{len(used)} answers are too few to fit a curve; {FEWEST_TRIALS} are needed")
    weights = likeliest(terms(used["margin"], used["best"], used["speech_s"]), right(used))
    named_peak, named_margin = unrelated_limits(used)
    most = MOST_UNCALIBRATED if method == "heuristic" else 1.0
    curve = ConfidenceCurve(method, bias_ms, tuple(float(each) for each in weights), most, named_peak, named_margin)
    return curve if method == "heuristic" else bent(curve, used)


def likeliest(columns: Floats64, rights: Flags) -> Floats64:
    """Logistic regression of `rights` (N,) on `columns` (N, K), the first of which is 1: (K,), by Newton's steps."""
    middle, spread = columns.mean(axis=0), columns.std(axis=0)
    middle[0], spread[0] = 0.0, 1.0
    spread = np.maximum(spread, 1e-6)
    x, y = (columns - middle) / spread, rights.astype(float)
    ridge = RIDGE * len(y) * np.diag([0.0] + [1.0] * (x.shape[1] - 1))
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        chance = _logistic(x @ weights)
        slope = x.T @ (y - chance) - ridge @ weights
        bend = (x * (chance * (1 - chance))[:, None]).T @ x + ridge + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights = weights + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    plain = weights / spread
    plain[0] = weights[0] - float((weights[1:] * middle[1:] / spread[1:]).sum())
    return np.asarray(plain)


def bent(curve: ConfidenceCurve, trials: Trials) -> ConfidenceCurve:
    """The curve, moved (and moved by the logarithm of the evidence) until a confidence above 0.8 keeps its promise.

    Among all such moves the one that covers most windows of 1 and 2 s; then made steeper or flatter about 0.8, as the
    trials would have it.
    """
    columns = terms(trials["margin"], trials["best"], trials["speech_s"])
    log_s = columns[:, TERMS.index("log_s")]
    fitted = np.array(curve.weights)
    raw = columns @ fitted
    best = (-1.0, 0.0, np.inf)
    for lean in np.linspace(-3.0, 3.0, 49):
        leaning = raw + lean * log_s
        least = _threshold(trials, curve, leaning)
        covered = _covered(trials, curve, leaning > least)
        if (covered, -abs(lean)) > (best[0], -abs(best[1])):
            best = (covered, float(lean), float(least))
    _, lean, least = best
    turn = float(np.log(SURE / (1 - SURE)))
    if not np.isfinite(least):
        least = float(raw.max()) + 1.0
    weights = fitted.copy()
    weights[TERMS.index("log_s")] += lean
    weights[0] -= least
    about = columns @ weights
    steep = max(np.linspace(0.3, 2.0, 35), key=lambda each: _log_likelihood(each * about + turn, right(trials)))
    weights *= steep
    weights[0] += turn
    return replace(curve, weights=tuple(map(float, weights)))


def unrelated_limits(trials: Trials) -> tuple[float, float]:
    """Peak and margin below which sound is called somebody else's: as often as goes without misnaming own voices."""
    spoken = trials[trials["speech_s"] >= UNRELATED_FROM_S]
    own, strange = spoken[spoken["kind"] == 0], spoken[spoken["kind"] != 0]
    if len(own) == 0 or len(strange) == 0:
        return 0.0, 0.0
    best = (0.0, 0.0, 0.0)
    for peak in np.quantile(strange["best"], np.linspace(0.05, 0.95, 37)):
        for margin in np.quantile(strange["margin"], np.linspace(0.05, 0.95, 37)):
            if ((own["best"] < peak) & (own["margin"] < margin)).mean() > MISNAMED_MOST:
                break
            named = float(((strange["best"] < peak) & (strange["margin"] < margin)).mean())
            best = max(best, (named, float(peak), float(margin)))
    return best[1], best[2]


def as_numbers(curve: ConfidenceCurve, trials: int, speakers: int) -> dict[str, Any]:
    """The curve as `confidence.read_calibration` wants it."""
    return {
        "bias_ms": round(curve.bias_ms, 1),
        "curve": {term: round(weight, 4) for term, weight in zip(TERMS, curve.weights, strict=True)},
        "unrelated": {"peak": round(curve.unrelated_peak, 4), "margin": round(curve.unrelated_margin, 4)},
        "from": {"speakers": speakers, "answers": trials},
    }


def _threshold(trials: Trials, curve: ConfidenceCurve, raw: Floats64) -> float:
    """The lowest value above which answers keep both promises at each length of window at once; infinite if none."""
    wrong, free = ~right(trials), _free(trials, curve)
    places = np.append(np.quantile(raw, np.linspace(0, 1, PLACES)), -np.inf)
    kept = np.ones(len(places), np.bool_)
    for window_ms, kind in product(WINDOWS_MS, range(len(KINDS))):
        some = (trials["window_ms"] == window_ms) & (trials["kind"] == kind)
        sure_of = _above(raw[some & free], places)
        if KINDS[kind] == "known":
            kept &= _above(raw[some & free & wrong], places) <= WRONG_MOST * sure_of
        else:
            kept &= sure_of <= UNRELATED_MOST * some.sum()
    return float(places[kept].min()) if kept.any() else np.inf


def _above(values: Floats64, places: Floats64) -> Floats64:
    """How many values lie above each place."""
    ordered = np.sort(values)
    return np.asarray(len(ordered) - np.searchsorted(ordered, places, side="right"), np.float64)


def _covered(trials: Trials, curve: ConfidenceCurve, kept: Flags) -> float:
    """How much of the windows of 1 and 2 s is sure: the smaller share of what is promised (at most 1), then the sum."""
    shares = []
    for window_ms, wanted in ((1000, 0.4), (2000, 0.8)):
        own = (trials["window_ms"] == window_ms) & (trials["kind"] == 0)
        shares.append(float((kept & _free(trials, curve))[own].mean()) / wanted if own.any() else 0.0)
    return min(1.0, *shares) * 10 + sum(shares)


def _free(trials: Trials, curve: ConfidenceCurve) -> Flags:
    """Answers that `label_of` does not hold down whatever the curve says (0.3 is far below 0.8)."""
    assert EDGE_MOST < SURE
    unrelated = (trials["best"] < curve.unrelated_peak) & (trials["margin"] < curve.unrelated_margin)
    return np.asarray(~trials["at_edge"] & ~(unrelated & (trials["speech_s"] >= UNRELATED_FROM_S)))


def _log_likelihood(raw: Floats64, rights: Flags) -> float:
    chance = np.clip(_logistic(raw), 1e-6, 1 - 1e-6)
    return float(np.log(np.where(rights, chance, 1 - chance)).sum())


def _logistic(raw: Floats64) -> Floats64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(raw, -40.0, 40.0))))
