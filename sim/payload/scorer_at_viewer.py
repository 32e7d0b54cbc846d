"""Scorer at the viewer: what a lip-sync scorer says of the pixels and the sound a viewer got, beside the truth.

After a run, its payload is rendered as it was shown and heard (``sim.payload.payload``) and pushed through the SDK's
streaming scorer. Each of its windows of about a second stands beside the truth's offset over the same time: belief and
truth, in columns of their own. The scorer is told no turn and no stamp: a viewer's page knows when a picture came on
screen and when a sample was played, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from avsync.units import NS_PER_MS, ms, to_ms
from sim.judge.row import Row, faults_ns, key
from sim.payload.payload import F32, SAMPLE_NS, U8, ContentRenderer, heard, shown, times
from sim.run.world import Run
from sim.scenario.metric_names import SAMPLED, Window
from sim.scenario.scenario import Scenario
from sim.truth.truth import Offsets, OffsetState, offsets
from sim.truth.windows import ENOUGH, Measure, Within, share_pct, within

CHUNK_NS = ms(2000)
"""Pushed at a time; any chunking gives the same answers, this one bounds the memory."""
WINDOW_MIN_NS = ms(700)
"""Shorter answers are blocks of a few pictures; what is held against the truth is a window of 0.8 to 1.2 s."""
TRUTH_SHARE = 0.95
"""A window has a truth where so much of it was measured, inside one turn."""
SURE = 0.8
"""Confidence above this is an answer to act on."""


class ScorerSignal(Protocol):
    """What is read of a ``LipSyncSignal``."""

    @property
    def offset_ms(self) -> float | None: ...
    @property
    def confidence(self) -> float: ...
    @property
    def label(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def pts_ns(self) -> int: ...
    @property
    def duration_ns(self) -> int: ...


class WindowScorer(Protocol):
    """What is used of a ``LipSyncScorer``: every call returns the answers that became known."""

    def push_audio(self, pcm: F32, pts_ns: int, epoch: int) -> Iterable[ScorerSignal]: ...

    def push_video(
        self, rois: U8, pts_ns: npt.NDArray[np.int64], epoch: int, landmarks: F32 | None = None
    ) -> Iterable[ScorerSignal]: ...

    def flush(self) -> Iterable[ScorerSignal]: ...


class ScoredWindow(NamedTuple):
    """One window in the viewer's time. ``truth_ns``: the median of e(t) in it, None where it has no truth.

    ``spread_ns``: how far e(t) moved meanwhile. ``offset_ms``: what the scorer said, None where it said nothing.
    ``inside``: the windows of the scenario language that all of it lies in.
    """

    from_ns: int
    to_ns: int
    truth_ns: int | None
    spread_ns: int | None
    offset_ms: float | None
    confidence: float
    label: str
    method: str
    inside: tuple[Window, ...]

    @property
    def error_ms(self) -> float | None:
        """Scorer minus truth, where both are known; to a tenth, which is as fine as a payload's samples (0.06 ms)."""
        if self.truth_ns is None or self.offset_ms is None:
            return None
        return round(self.offset_ms - to_ms(self.truth_ns), 1) + 0.0  # no minus before a zero


def score(run: Run, payload: ContentRenderer, scorer: WindowScorer) -> list[ScoredWindow]:
    """Every window that the scorer answered, in order of time."""
    truth = offsets(run.source, run.at_viewer.presented)
    faults = faults_ns(run)
    windows = {window: within(window, faults, 0) for window in SAMPLED}
    return [
        _beside(truth, answer, windows)
        for answer in _answers(run, payload, scorer)
        if answer.duration_ns >= WINDOW_MIN_NS
    ]


def _answers(run: Run, payload: ContentRenderer, scorer: WindowScorer) -> Iterable[ScorerSignal]:
    made = run.source.table()
    left = run.at_viewer.presented.table(made)
    span = times(left)
    if span is None:
        return
    for at_ns in range(span[0] - span[0] % SAMPLE_NS, span[1], CHUNK_NS):
        changes = shown(made, left, payload, at_ns, at_ns + CHUNK_NS)
        if changes is not None:
            when, pictures = changes
            yield from scorer.push_video(pictures.rois, when, 0, pictures.landmarks)
        yield from scorer.push_audio(heard(made, left, payload, at_ns, CHUNK_NS // SAMPLE_NS), at_ns, 0)
    yield from scorer.flush()


def _beside(truth: Offsets, answer: ScorerSignal, windows: Mapping[Window, Within]) -> ScoredWindow:
    from_ns, to_ns = answer.pts_ns, answer.pts_ns + answer.duration_ns
    low, high = np.searchsorted(truth.at_ns, [from_ns, to_ns], "left")
    rows = slice(int(low), int(high))
    measured = truth.e_ns[rows][truth.state[rows] == OffsetState.MEASURED]
    turns = truth.turn[rows]
    known = len(turns) > 0 and turns[0] == turns[-1]
    known = known and len(measured) * truth.step_ns >= TRUTH_SHARE * answer.duration_ns
    at = np.arange(from_ns, to_ns, truth.step_ns, dtype=np.int64)
    return ScoredWindow(
        from_ns, to_ns, int(np.median(measured)) if known else None, int(np.ptp(measured)) if known else None,
        answer.offset_ms, answer.confidence, answer.label, answer.method,
        tuple(name for name, inside in windows.items() if inside(at).all()),
    )  # fmt: skip


# ---- columns


def columns(scored: Sequence[ScoredWindow], run: Run) -> Row:
    """What a row says: ``scorer_...`` is belief, or its error; ``scorer_truth_...`` is the truth beside it."""
    row: Row = {}
    for window in SAMPLED:
        found = measures(scored, window, frame_ms(run.scenario))
        row.update({key(name, window): value for name, value in found.items()})
    return row


def frame_ms(scenario: Scenario) -> float:
    """One frame of what the generator makes, the unit in which an answer is right or wrong."""
    return float(1000 / scenario.source.video.fps)


def measures(scored: Sequence[ScoredWindow], window: Window, frame: float) -> dict[str, Measure]:
    """Over the windows that lie in ``window`` as a whole; of one run or of several. ``frame`` in ms."""
    judged = [one for one in scored if window in one.inside and one.truth_ns is not None]
    both = [one for one in judged if one.offset_ms is not None]
    error = np.array([one.error_ms for one in both], np.float64)
    sure = np.array([one.confidence > SURE for one in both], np.bool_)
    right = np.abs(error) <= round(frame, 1)
    return {
        "scorer_windows": len(both),
        "scorer_answered_pct": share_pct(len(both), len(judged) if len(judged) >= ENOUGH else 0),
        "scorer_offset_p50_ms": _quantile(np.array([one.offset_ms for one in both]), 50),
        "scorer_truth_offset_p50_ms": _quantile(np.array([to_ms(one.truth_ns or 0) for one in both]), 50),
        "scorer_error_p50_ms": _quantile(np.abs(error), 50),
        "scorer_error_p95_ms": _quantile(np.abs(error), 95),
        "scorer_bias_ms": _quantile(error, 50),
        "scorer_right_pct": share_pct(int(right.sum()), len(both) if len(both) >= ENOUGH else 0),
        "scorer_sure_pct": share_pct(int(sure.sum()), len(judged) if len(judged) >= ENOUGH else 0),
        "scorer_sure_right_pct": share_pct(int((right & sure).sum()), int(sure.sum()) if sure.sum() >= ENOUGH else 0),
    }


def _quantile(values: npt.NDArray[np.float64], percent: int) -> Measure:
    """Nearest rank; UNKNOWN below ``ENOUGH`` values."""
    if len(values) < ENOUGH:
        return None
    return float(np.sort(values)[max(math.ceil(percent * len(values) / 100), 1) - 1])


def as_record(one: ScoredWindow) -> dict[str, float | str | bool | None]:
    """One line of ``scorer.jsonl``: ms and s, belief and truth apart."""
    return {
        "from_s": one.from_ns / 1e9,
        "to_s": one.to_ns / 1e9,
        "scorer_offset_ms": one.offset_ms,
        "scorer_confidence": round(one.confidence, 4),
        "scorer_label": one.label,
        "scorer_method": one.method,
        "truth_offset_ms": None if one.truth_ns is None else one.truth_ns / NS_PER_MS,
        "truth_spread_ms": None if one.spread_ns is None else one.spread_ns / NS_PER_MS,
        "clear": "clear" in one.inside,
    }
