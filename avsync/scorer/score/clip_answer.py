"""The answer of a clip: what all its windows say: one offset, or how it changes, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avsync.scorer.score.evidence import AGREES_MS, SURE, UNJUDGED, Array, Evidence, Judge, OffsetPart, Windows
from avsync.scorer.score.offset_changes import changes
from avsync.scorer.signal import Label


@dataclass(frozen=True, slots=True)
class ClipAnswer:
    """A clip's offset, positive = voice ahead of the lips; None (and confidence 0) where nothing could be judged.

    ``score``: mean similarity at offset 0, ``score_best``: at ``offset_ms``, both in [0, 1]; ``score_margin`` as in
    `LipSyncSignal`. ``judged`` windows had speech and a mouth, ``agreeing`` of them lie within ±40 ms of the answer;
    ``left_out`` counts the others by label. ``parts`` is empty unless the offset changes: two or more are steps, a
    single one is a drift; ``offset_ms`` is then that of the longest part (of a drift: its middle), ``confidence`` that
    of the least sure one. ``curve``: the mean score per lag, after the change was taken out.
    """

    label: Label
    offset_ms: float | None
    confidence: float
    score: float | None
    score_best: float | None
    score_margin: float | None
    judged: int
    agreeing: int
    left_out: dict[str, int]
    parts: tuple[OffsetPart, ...] = ()
    curve: tuple[float, ...] = ()

    @property
    def sure(self) -> bool:
        return self.confidence >= SURE

    @property
    def worst_ms(self) -> float | None:
        """The largest offset of any part, without sign: what a limit is held against."""
        if self.offset_ms is None:
            return None
        return max((part.worst_ms for part in self.parts), default=abs(self.offset_ms))


def answer_of(windows: Sequence[Evidence], lags_ms: Array, judge: Judge) -> ClipAnswer:
    """Windows in the order of time -> the clip's answer."""
    judged = [window for window in windows if window.rho is not None and window.label not in UNJUDGED]
    left_out = dict(Counter(str(window.label) for window in windows if window.label in UNJUDGED))
    whole = _windows(judged, lags_ms, judge) if judged else None
    peak = None if whole is None else whole.peak()
    if whole is None or peak is None:
        return ClipAnswer(_commonest(windows), None, 0.0, None, None, None, 0, 0, left_out)
    parts = changes(whole)
    if parts:
        return _changed(whole, parts, left_out)
    offset_ms, curve = whole.offset_ms(), whole.mean()
    label, confidence = whole.judged()
    return ClipAnswer(
        label, offset_ms, confidence, _similarity(_at_zero(whole)), _similarity(peak.best),
        peak.margin, len(judged), whole.agreeing(offset_ms), left_out, (), tuple(curve.tolist()),
    )  # fmt: skip


def _windows(judged: Sequence[Evidence], lags_ms: Array, judge: Judge) -> Windows:
    rho = np.stack([np.asarray(window.rho, np.float64) for window in judged])
    start_ms = np.array([window.start_ms for window in judged], np.float64)
    end_ms = np.array([window.end_ms for window in judged], np.float64)
    speech_s = np.array([window.speech_s for window in judged], np.float64)
    return Windows(rho, start_ms, end_ms, speech_s, np.asarray(lags_ms, np.float64), judge)


def _changed(whole: Windows, parts: tuple[OffsetPart, ...], left_out: dict[str, int]) -> ClipAnswer:
    """The longest part speaks for the clip; a window agrees when it fits the part that it lies in."""
    offset_ms = max(parts, key=lambda part: part.end_ms - part.start_ms).middle_ms
    model_ms = np.array([_part_at(parts, at_ms).at(at_ms) for at_ms in whole.at_ms])
    straight = whole.straightened(model_ms)
    peak = straight.peak()
    assert peak is not None, "each part has a peak of its own"
    label: Label = "in_sync" if abs(offset_ms) <= AGREES_MS else "voice_ahead" if offset_ms > 0 else "voice_behind"
    return ClipAnswer(
        label, offset_ms, min(part.confidence for part in parts), _similarity(_at_zero(whole)), _similarity(peak.best),
        peak.margin, len(whole.rho), straight.agreeing(0.0), left_out, parts, tuple(straight.mean().tolist()),
    )  # fmt: skip


def _part_at(parts: Sequence[OffsetPart], at_ms: float) -> OffsetPart:
    return next((part for part in parts if at_ms <= part.end_ms), parts[-1])


def _at_zero(whole: Windows) -> float:
    mean = whole.mean()
    known = np.isfinite(mean)
    return float(np.interp(0.0, whole.lags_ms[known], mean[known]))


def _similarity(rho: float) -> float:
    return float(np.clip(rho, 0.0, 1.0))


def _commonest(windows: Sequence[Evidence]) -> Label:
    names = Counter(window.label for window in windows)
    return names.most_common(1)[0][0] if names else "uncertain"
