"""A segment: a block or a window of pictures with its sound, measured and put into words.

Blocks, windows, clips and streams all come through here: `look` and `hear` describe what was given, `measure` compares
one segment of it at every lag, `signal_of` says what that means. Nothing is remembered between calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.backends.backend import Backend
from avsync.scorer.calibration import Curve
from avsync.scorer.features.cells import CELL_MS, CELL_NS, CELL_SAMPLES, MEL_PER_CELL, Floats
from avsync.scorer.features.geometry import geometry
from avsync.scorer.features.grid import HOLD_MAX_NS, on_grid
from avsync.scorer.features.log_mel import SILENT_DBFS, log_mel
from avsync.scorer.features.occlusion import OCCLUDED_SHARE, REFERENCE_NS, hidden, still, thumbnails
from avsync.scorer.matching.confidence import label_of
from avsync.scorer.matching.input_checks import CLIPPED_SHARE, clipped_per_cell
from avsync.scorer.matching.lag_search import LagScores, best_lag, lag_scores
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.signal import Label, LipSyncSignal

STATISTICS_S: Final = 6.0
"""Lips and sound are normalised over what is known of so much before a segment, and the segment: a voice and a mouth
show their range in a few seconds, and it bounds memory."""
STATISTICS_CELLS: Final = int(STATISTICS_S * 1000) // CELL_MS
CONTEXT_CELLS: Final = ENCODER_CELLS + 1
"""One more than an embedding depends on: the last mel frame's window and the last cell's mean over the pictures reach
so far."""
CONTEXT_MS: Final = CONTEXT_CELLS * CELL_MS
"""The documented context: pictures and sound used beyond a segment, the sound on top of the search."""

SHORTEST_CELLS: Final = 8
"""160 ms: with less there is no movement to compare."""
SEEN_SHARE: Final = 0.5
"""A segment with fewer cells that show a mouth has no face."""
SPEECH_BELOW_LOUD_DB: Final = 25.0
"""A cell is speech when its level is no further below the loud ones (95th percentile)."""
SPEECH_BELOW_SILENCE_DB: Final = 10.0
"""... and no further below the silence threshold, which is held against the whole segment with its pauses."""


class Looked(NamedTuple):
    """Pictures, described one by one. Times have the method's bias in them."""

    start_ns: NDArray[np.int64]
    """(T,) rising."""
    values: Floats
    """(T, F) the backend's; NaN where no face was found."""
    thumbs: Floats | None
    """(T, 144), where crops were given."""
    shapes: Floats | None
    """(T, 9), where landmarks were given."""

    def part(self, first: int, last: int) -> Looked:
        cut = slice(first, last)
        thumbs = None if self.thumbs is None else self.thumbs[cut]
        shapes = None if self.shapes is None else self.shapes[cut]
        return Looked(self.start_ns[cut], self.values[cut], thumbs, shapes)

    def between(self, start_ns: int, end_ns: int) -> Looked:
        first, last = np.searchsorted(self.start_ns, (start_ns, end_ns))
        return self.part(int(first), int(last))

    def and_then(self, more: Looked) -> Looked:
        return Looked(
            np.concatenate([self.start_ns, more.start_ns]),
            np.concatenate([self.values, more.values]),
            None if self.thumbs is None or more.thumbs is None else np.concatenate([self.thumbs, more.thumbs]),
            None if self.shapes is None or more.shapes is None else np.concatenate([self.shapes, more.shapes]),
        )


class Heard(NamedTuple):
    """Sound, described cell by cell from `first_cell` on."""

    first_cell: int
    mel: Floats
    """(2 M, 40), or what else the backend describes sound by."""
    mean: Floats
    mean_square: Floats
    """(M,) of the samples."""
    clipped: Floats
    """(M,) share of samples at full scale."""
    spoilt: NDArray[np.bool_]
    """(M,) some of it was no sound at all (NaN, infinite, far beyond full scale)."""

    @property
    def end_cell(self) -> int:
        return self.first_cell + len(self.mean)

    def between(self, first_cell: int, end_cell: int) -> Heard:
        a, b = (min(max(cell - self.first_cell, 0), len(self.mean)) for cell in (first_cell, max(first_cell, end_cell)))
        mel = self.mel[a * MEL_PER_CELL : b * MEL_PER_CELL]
        return Heard(
            self.first_cell + a, mel, self.mean[a:b], self.mean_square[a:b], self.clipped[a:b], self.spoilt[a:b]
        )

    def and_then(self, more: Heard) -> Heard:
        return Heard(
            self.first_cell, *(np.concatenate([a, b]) for a, b in zip(self[1:], more[1:], strict=True))
        )  # fmt: skip

    def level_dbfs(self) -> float:
        """RMS of it all without its constant part, in dB below full scale."""
        if len(self.mean) == 0:
            return SILENT_DBFS
        square = float(self.mean_square.mean(dtype=np.float64) - self.mean.mean(dtype=np.float64) ** 2)
        return max(SILENT_DBFS, 10.0 * math.log10(max(square, 0.0) + 1e-12))

    def speech(self, silence_dbfs: float) -> NDArray[np.bool_]:
        """(M,) cells that are loud enough to be speech."""
        if len(self.mean) == 0:
            return np.zeros(0, np.bool_)
        levels = 10.0 * np.log10(np.maximum(self.mean_square - self.mean**2, 0.0) + 1e-12)
        least = max(
            float(np.percentile(levels, 95)) - SPEECH_BELOW_LOUD_DB, silence_dbfs - SPEECH_BELOW_SILENCE_DB
        )  # fmt: skip
        return np.asarray(levels > least)


class Measured(NamedTuple):
    """What one segment says about every lag, or why it says nothing (`scores` is then None)."""

    label: Label
    """Why it cannot be judged; "uncertain" when it can."""
    scores: LagScores | None
    speech_s: float
    """Speech under seen lips: the evidence."""
    coverage: float
    """Share of the lags' overlap that was there: 1 when the sound reaches far enough on both sides."""
    occluded: bool


class Watched(NamedTuple):
    """The pictures of a segment and of all that is known around it, cell by cell, before any sound is heard."""

    values: Floats
    """(N, F), 0 where unseen."""
    known: NDArray[np.bool_]
    """(N,) whether a mouth is seen."""
    window: slice
    """The segment's own cells."""
    why: Label | None
    """Why it cannot be judged, if so."""
    occluded: bool


class Listened(NamedTuple):
    """The sound of a segment and of all that is known around it; where on the clip it lies does not matter."""

    mel: Floats
    """(2 M, 40)."""
    near: slice
    """The cells, of these M, that the search looks at."""
    lips_in_sound: int
    """The cell of `near` at the media time of the segment's first."""
    speech: NDArray[np.bool_]
    """(n,) of the segment's own cells."""
    why: Label | None
    """Why it cannot be judged, if so."""


# ---- describing what was given


def look(
    backend: Backend, start_ns: NDArray[np.int64], rois: NDArray[np.uint8] | None, landmarks: Floats | None
) -> Looked:
    """Pictures with their times (the backend's bias not yet in them). Landmarks of NaN: no face, whatever the crop."""
    values = np.array(backend.picture_values(rois, landmarks), np.float32)
    if landmarks is not None:
        values[np.isnan(landmarks[:, 0, 0])] = np.nan
    return Looked(
        start_ns + np.int64(round(backend.bias_ms * 1e6)),
        values,
        None if rois is None else thumbnails(rois),
        None if landmarks is None else geometry(landmarks),
    )


def hear(
    first_cell: int,
    pcm: Floats,
    *,
    before: int = 0,
    after: int = 0,
    describe: Callable[[Floats], Floats] = log_mel,
) -> Heard:
    """Sound from the start of a cell on; NaN marks samples that are no sound.

    pcm: (n,) float32. `before` and `after` of its cells are only there for the edges of the windows of analysis, and
    are not part of the answer; what does not fill a cell at the end is left out. `describe`: the backend's, see
    `backends.sound_values_of`.
    """
    cells = len(pcm) // CELL_SAMPLES
    spoilt = np.isnan(pcm)
    clean = np.where(spoilt, np.float32(0.0), pcm) if spoilt.any() else pcm
    kept = slice(before, max(cells - after, before))
    mel = describe(clean)[kept.start * MEL_PER_CELL : kept.stop * MEL_PER_CELL]
    whole = clean[: cells * CELL_SAMPLES].reshape(cells, CELL_SAMPLES)[kept]
    bad = spoilt[: cells * CELL_SAMPLES].reshape(cells, CELL_SAMPLES)[kept]
    return Heard(
        first_cell + before,
        mel,
        whole.mean(axis=1),
        np.square(whole).mean(axis=1),
        clipped_per_cell(np.ascontiguousarray(whole).reshape(-1)),
        np.asarray(bad.any(axis=1), np.bool_),
    )


# ---- measuring


def measure(
    backend: Backend,
    looked: Looked,
    heard: Heard,
    first_cell: int,
    cells: int,
    offsets_ms: NDArray[np.float64],
    *,
    silence_dbfs: float,
    end_ns: int | None = None,
) -> Measured:
    """The segment of `cells` cells from `first_cell` on, with all that is known around it.

    Of that, `STATISTICS_S` before and `CONTEXT_MS` after it (for the sound: after and before the search) are used.
    `end_ns`: when the last picture ends, bias included; by default it lasts as long as the others.
    """
    watched = watch(looked, first_cell, cells, end_ns=end_ns)
    listened = listen(heard, first_cell, cells, offsets_ms, silence_dbfs=silence_dbfs)
    why = listened.why or watched.why
    if why is not None:
        return Measured(why, None, 0.0, 0.0, watched.occluded)
    lips = backend.embed_lips(watched.values, watched.known, watched.window)
    sound = backend.embed_sound(listened.mel, listened.near)
    return compare(watched, lips, listened, sound, offsets_ms)


def watch(looked: Looked, first_cell: int, cells: int, *, end_ns: int | None = None) -> Watched:
    """What `measure` sees of a segment."""
    end_cell = first_cell + cells
    looked = looked.between(
        (first_cell - STATISTICS_CELLS) * CELL_NS - HOLD_MAX_NS, (end_cell + CONTEXT_CELLS) * CELL_NS
    )
    # A picture belongs to the segment of the first cell whose centre it can cover.
    own = looked.between(first_cell * CELL_NS - CELL_NS // 2, end_cell * CELL_NS - CELL_NS // 2)
    looked, veiled = _without_hidden(looked, own)
    values, known, before = _cells_of(looked, first_cell, end_cell, end_ns)
    window = slice(before, before + cells)
    occluded = _unseen_share(own, veiled, known[window]) >= OCCLUDED_SHARE
    return Watched(values, known, window, _why_unseen(own, veiled, known[window]), occluded)


def listen(
    heard: Heard, first_cell: int, cells: int, offsets_ms: NDArray[np.float64], *, silence_dbfs: float
) -> Listened:
    """What `measure` hears of a segment and as far around it as the search goes."""
    end_cell = first_cell + cells
    reach = math.ceil(float(np.abs(offsets_ms).max(initial=0.0)) / CELL_MS - 1e-9)
    heard = heard.between(first_cell - reach - STATISTICS_CELLS, end_cell + reach + ENCODER_CELLS)
    near = heard.between(first_cell - reach, end_cell + reach)
    here = near.between(first_cell, end_cell)
    at = np.arange(first_cell, end_cell) - heard.first_cell
    inside = (at >= 0) & (at < len(heard.mean))
    speech = np.zeros(cells, np.bool_)
    speech[inside] = heard.speech(silence_dbfs)[at[inside]]
    cut = slice(near.first_cell - heard.first_cell, near.end_cell - heard.first_cell)
    why = _why_unheard(cells, near, here, silence_dbfs)
    return Listened(heard.mel, cut, first_cell - near.first_cell, speech, why)


def compare(
    watched: Watched, lips: Floats, listened: Listened, sound: Floats, offsets_ms: NDArray[np.float64]
) -> Measured:
    """`measure` of a segment that can be judged, with the embeddings of both sides."""
    seen = watched.known[watched.window]
    scores = lag_scores(lips, sound, listened.lips_in_sound, offsets_ms, seen=seen)
    share = seen.mean()
    coverage = float(np.clip(scores.overlap.mean() / share, 0.0, 1.0)) if share > 0 else 0.0
    speech_s = float((listened.speech & seen).sum()) * CELL_MS / 1000.0
    return Measured("uncertain", scores, speech_s, coverage, watched.occluded)


def _without_hidden(looked: Looked, own: Looked) -> tuple[Looked, NDArray[np.bool_]]:
    """The pictures with those of the segment that are hidden taken as unseen, and which of the segment's these are."""
    none = np.zeros(len(own.start_ns), np.bool_)
    if looked.thumbs is None or own.thumbs is None or len(none) == 0:
        return looked, none
    around = looked.between(int(own.start_ns[0]) - REFERENCE_NS, int(own.start_ns[-1]) + 1)
    assert around.thumbs is not None
    veiled = hidden(own.thumbs, around.thumbs)
    if not veiled.any():
        return looked, veiled
    values = looked.values.copy()
    values[np.flatnonzero(veiled) + np.searchsorted(looked.start_ns, own.start_ns[0])] = np.nan
    return looked._replace(values=values), veiled


def _cells_of(
    looked: Looked, first_cell: int, end_cell: int, end_ns: int | None
) -> tuple[Floats, NDArray[np.bool_], int]:
    """Values and seen of all cells that are known around a segment, and how many of them lie before it."""
    if len(looked.start_ns) == 0:
        return *on_grid(looked.start_ns, looked.values, first_cell, end_cell - first_cell), 0
    first = max(min(first_cell, int(looked.start_ns[0] // CELL_NS)), first_cell - STATISTICS_CELLS)
    last = max(end_cell, min(end_cell + ENCODER_CELLS, int((looked.start_ns[-1] + HOLD_MAX_NS // 2) // CELL_NS)))
    return *on_grid(looked.start_ns, looked.values, first, last - first, end_ns=end_ns), first_cell - first


def _unseen_share(own: Looked, veiled: NDArray[np.bool_], seen: NDArray[np.bool_]) -> float:
    """The share of the segment without a mouth: by pictures or by cells, whichever is more."""
    lost = np.isnan(own.values).any(axis=1) | veiled
    return max(float(lost.mean()) if len(lost) else 1.0, 1.0 - float(seen.mean()) if len(seen) else 1.0)


def _why_unheard(cells: int, near: Heard, here: Heard, silence_dbfs: float) -> Label | None:
    """Why the sound of a segment says nothing; None where it does. `near`: all sound the search looks at."""
    if cells < SHORTEST_CELLS or near.spoilt.any():
        return "bad_input"
    if len(here.clipped) and here.clipped.mean() > CLIPPED_SHARE:
        return "bad_input"
    return "silence" if here.level_dbfs() < silence_dbfs else None


def _why_unseen(own: Looked, veiled: NDArray[np.bool_], seen: NDArray[np.bool_]) -> Label | None:
    """Why the pictures of a segment say nothing; None where they do."""
    if len(seen) == 0 or seen.mean() < SEEN_SHARE:
        return "occluded" if veiled.sum() > np.isnan(own.values).any(axis=1).sum() else "no_face"
    return "still" if still(own.thumbs, own.shapes) else None


# ---- saying it


def signal_of(
    measured: Measured,
    curve: Curve,
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
