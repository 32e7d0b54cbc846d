"""What an evaluation adds up to: plain rows, the same that ``--json`` prints and that the tables are made of.

Every row names what it is of (backend, half, window, ...) and holds numbers from `numbers`. Clips that were
left out are listed with their reason and counted nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import numpy as np

from avsync.scorer.calibration import curve_of
from avsync.scorer.evaluation import degrade
from avsync.scorer.evaluation.evaluate import CLEAN, Contender, EvaluatedClip, EvaluationPlan
from avsync.scorer.evaluation.numbers import (
    BIAS_STEP_MS,
    BIAS_WINDOW_MS,
    accuracy,
    as_json,
    bias,
    chosen,
    clip_medians_ms,
    confidences,
    coverage,
    of_clips,
    reliability,
    right,
    sure,
)
from avsync.scorer.evaluation.protocol import (
    BEYOND_MS,
    DELAYS_MS,
    EVERY_MS,
    RIGHT_MS,
    SEARCH_MS,
    STEPS_MS,
    TRIAL,
    WINDOWS_MS,
    Kind,
    Mode,
    Trials,
)
from avsync.scorer.evaluation.speakers import HALVES

POOLED: Final = "all"
CONDITION_WINDOW_MS: Final = 1000
FLOOR_STEP_MS: Final = 40

Rows = list[dict[str, Any]]


class Pool:
    """All the trials of an evaluation, by contender, mode, condition and part of the clips."""

    def __init__(self, done: Sequence[EvaluatedClip]) -> None:
        used = [clip for clip in done if not clip.left_out]
        self.parts = {POOLED: [clip.place for clip in used]}
        for half in HALVES:
            self.parts[half] = [clip.place for clip in used if clip.entry.half == half]
        self.parts = {name: clips for name, clips in self.parts.items() if clips}
        if len(self.parts) == 2:  # one half alone: "all" would say the same again
            del self.parts[POOLED]
        gathered: dict[tuple[str, str, str], list[Trials]] = {}
        for clip in sorted(used, key=lambda clip: clip.place):
            for answers in clip.answers:
                gathered.setdefault((answers.label, answers.mode, answers.condition), []).append(answers.trials)
        self.trials = {key: np.concatenate(some) for key, some in gathered.items()}

    def of(self, label: str, part: str, *, mode: Mode = "stream", condition: str = CLEAN) -> Trials:
        """Empty where nothing of the kind was tried."""
        found = self.trials.get((label, mode, condition))
        return of_clips(found, self.parts[part]) if found is not None else np.zeros(0, TRIAL)


def summary(done: Sequence[EvaluatedClip], plan: EvaluationPlan) -> dict[str, Any]:
    """Everything the tables say, as JSON would have it."""
    pool = Pool(done)
    shipped = [one for one in plan.contenders if one.shipped]
    seeds = [one for one in plan.contenders if not one.shipped]
    return {
        "protocol": _protocol(plan),
        "clips": [_clip(clip) for clip in sorted(done, key=lambda clip: clip.place)],
        "accuracy": _accuracy(pool, shipped, plan.modes),
        "seeds": _accuracy(pool, seeds, plan.modes[:1]),
        "spread": _spread(pool, seeds),
        "bias": _bias(pool, shipped),
        "confidence": _confidence(pool, shipped),
        "unrelated": _unrelated(pool, shipped),
        "conditions": _conditions(pool, shipped, [name for name in plan.conditions if name not in degrade.RATES]),
        "rates": _rates(pool, shipped, [name for name in plan.conditions if name in degrade.RATES]),
    }


def floor_numbers(done: Sequence[EvaluatedClip], label: str) -> list[float | None]:
    """Pooled percent right in the stream at 40 ms lags, per window: what ``--floor`` is held against."""
    pool = Pool(done)
    part = POOLED if POOLED in pool.parts else next(iter(pool.parts))
    trials = pool.of(label, part)
    return [accuracy(chosen(trials, window_ms=window_ms, step_ms=FLOOR_STEP_MS)).pooled_pct for window_ms in WINDOWS_MS]


def _heads(pool: Pool, contenders: Sequence[Contender]) -> list[tuple[Contender, str, dict[str, Any]]]:
    """What each row begins with: a backend and a part of the clips."""
    return [(one, part, {"backend": one.label, "half": part}) for one in contenders for part in pool.parts]


def _accuracy(pool: Pool, contenders: Sequence[Contender], modes: Sequence[Mode]) -> Rows:
    rows: Rows = []
    for mode, step_ms, window_ms in product(modes, STEPS_MS, WINDOWS_MS):
        for one, part, head in _heads(pool, contenders):
            trials = chosen(pool.of(one.label, part, mode=mode), window_ms=window_ms, step_ms=step_ms)
            head |= {"mode": mode, "step_ms": step_ms, "window_ms": window_ms}
            rows.append(head | as_json(accuracy(trials)))
    return rows


def _spread(pool: Pool, seeds: Sequence[Contender]) -> Rows:
    """Of each method's other trainings: the mean of their accuracies (pooled, in the stream), lowest and highest."""
    rows: Rows = []
    methods = dict.fromkeys(one.method for one in seeds)
    for method, part, step_ms, window_ms in product(methods, pool.parts, STEPS_MS, WINDOWS_MS):
        labels = [one.label for one in seeds if one.method == method]
        found = [accuracy(chosen(pool.of(label, part), window_ms=window_ms, step_ms=step_ms)) for label in labels]
        values = [one.pooled_pct for one in found if one.pooled_pct is not None]
        mean, low, high = (round(float(np.mean(values)), 2), min(values), max(values)) if values else (None,) * 3
        head = {"method": method, "half": part, "step_ms": step_ms, "window_ms": window_ms, "weights": len(values)}
        rows.append(head | {"mean_pct": mean, "low_pct": low, "high_pct": high})
    return rows


def _bias(pool: Pool, contenders: Sequence[Contender]) -> Rows:
    rows: Rows = []
    for one, part, head in _heads(pool, contenders):
        trials = chosen(pool.of(one.label, part), window_ms=BIAS_WINDOW_MS, step_ms=BIAS_STEP_MS)
        rows.append(head | as_json(bias(trials)))
    return rows


def _confidence(pool: Pool, contenders: Sequence[Contender]) -> Rows:
    rows: Rows = []
    for step_ms, window_ms in product(STEPS_MS, WINDOWS_MS):
        for one, part, head in _heads(pool, contenders):
            trials = chosen(pool.of(one.label, part), window_ms=window_ms, step_ms=step_ms)
            believed, rights = confidences(trials, curve_of(one.method)), right(trials)
            found = {"step_ms": step_ms, "window_ms": window_ms, "sure": sure(believed, rights)}
            found |= {"coverage": coverage(believed, rights), "reliability": reliability(believed, rights)}
            rows.append(head | as_json(found))
    return rows


def _unrelated(pool: Pool, contenders: Sequence[Contender]) -> Rows:
    """How often a window whose sound is somebody else's, or far beyond the search, gets a confidence above 0.8."""
    rows: Rows = []
    kinds: tuple[Kind, ...] = ("other", "beyond")
    for kind, step_ms, window_ms in product(kinds, STEPS_MS, WINDOWS_MS):
        for one, part, head in _heads(pool, contenders):
            trials = chosen(pool.of(one.label, part), window_ms=window_ms, step_ms=step_ms, kind=kind)
            found = sure(confidences(trials, curve_of(one.method)), right(trials))
            head |= {"kind": kind, "step_ms": step_ms, "window_ms": window_ms, "trials": found.trials}
            rows.append(head | {"confident_pct": found.covered_pct})
    return rows


def _conditions(pool: Pool, contenders: Sequence[Contender], conditions: Sequence[str]) -> Rows:
    """Against the same windows of the clean clips; a window whose face was lost is wrong."""
    rows: Rows = []
    for condition in conditions:
        for one, part, head in _heads(pool, contenders):
            clean, harmed = (
                chosen(pool.of(one.label, part, condition=name), window_ms=CONDITION_WINDOW_MS, step_ms=FLOOR_STEP_MS)
                for name in (CLEAN, condition)
            )
            before, after = accuracy(clean).pooled_pct, accuracy(harmed).pooled_pct
            untracked = 100 * float((~harmed["tracked"]).mean()) if len(harmed) else None
            head |= {"condition": condition, "window_ms": CONDITION_WINDOW_MS, "trials": len(harmed)}
            head |= {"clean_pct": before, "pooled_pct": after, "loss_points": _less(before, after)}
            rows.append(head | {"untracked_pct": untracked})
    return rows


def _rates(pool: Pool, contenders: Sequence[Contender], rates: Sequence[str]) -> Rows:
    """Beside the losses of accuracy: by how much each clip's median answer (2 s, 20 ms lags) moves; over clips."""
    rows = _conditions(pool, contenders, rates)
    for row in rows:
        before, after = (
            clip_medians_ms(
                chosen(
                    pool.of(row["backend"], row["half"], condition=name),
                    window_ms=BIAS_WINDOW_MS,
                    step_ms=BIAS_STEP_MS,
                )
            )
            for name in (CLEAN, row["condition"])
        )
        moved = [after[clip] - before[clip] for clip in before if clip in after]
        row["moved_median_ms"] = float(np.median(moved)) if moved else None
        row["moved_mean_ms"] = round(float(np.mean(moved)), 1) if moved else None
        row["moved_most_ms"] = float(np.abs(moved).max()) if moved else None
    return rows


def _clip(clip: EvaluatedClip) -> dict[str, Any]:
    return {
        "file": clip.entry.name,
        "speaker": clip.entry.speaker,
        "half": clip.entry.half,
        "truth_ms": clip.entry.truth_ms,
        "seconds": round(clip.seconds, 2),
        "pictures": clip.pictures,
        "face_pct": round(clip.face_pct, 1),
        "windows": dict(zip(map(str, WINDOWS_MS), clip.windows, strict=False)),
        "troubles": list(clip.troubles),
        "left_out": clip.left_out or None,
    }


def _protocol(plan: EvaluationPlan) -> dict[str, Any]:
    severities = {name.lower(): value for name, value in vars(degrade).items() if name.isupper() and _plain(value)}
    return {
        "windows_ms": list(WINDOWS_MS),
        "every_ms": EVERY_MS,
        "delays_ms": list(DELAYS_MS),
        "search_ms": SEARCH_MS,
        "steps_ms": list(STEPS_MS),
        "right_within_ms": RIGHT_MS,
        "beyond_ms": SEARCH_MS + BEYOND_MS,
        "modes": list(plan.modes),
        "severities": severities if plan.conditions else {},
    }


def _plain(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, tuple) and all(map(_plain, value)))


def _less(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(before - after, 2)
