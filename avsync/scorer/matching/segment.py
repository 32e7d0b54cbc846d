"""A segment: a block or a window of pictures with its sound, measured at every lag.

Blocks, windows, clips and streams all come through here: `observe_lips` and `observe_sound` take what is known around a
segment, `measure` compares both at every lag. Nothing is remembered between calls.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.backends.backend import Backend
from avsync.scorer.features.cells import CELL_MS, CELL_NS, Floats
from avsync.scorer.features.grid import HOLD_MAX_NS, on_grid
from avsync.scorer.features.occlusion import OCCLUDED_SHARE, REFERENCE_NS, hidden, still
from avsync.scorer.matching.input_checks import CLIPPED_SHARE
from avsync.scorer.matching.lag_search import LagScores, lag_scores
from avsync.scorer.matching.media_features import PictureFeatures, SoundFeatures
from avsync.scorer.nets.architecture import ENCODER_CELLS
from avsync.scorer.signal import Label

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


class LipObservation(NamedTuple):
    """The pictures of a segment and of all that is known around it, cell by cell, before any sound is sound."""

    values: Floats
    """(N, F), 0 where unseen."""
    known: NDArray[np.bool_]
    """(N,) whether a mouth is seen."""
    window: slice
    """The segment's own cells."""
    why: Label | None
    """Why it cannot be judged, if so."""
    occluded: bool


class SoundObservation(NamedTuple):
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


class Measurement(NamedTuple):
    """What one segment says about every lag, or why it says nothing (`scores` is then None)."""

    label: Label
    """Why it cannot be judged; "uncertain" when it can."""
    scores: LagScores | None
    speech_s: float
    """Speech under seen lips: the evidence."""
    coverage: float
    """Share of the lags' overlap that was there: 1 when the sound reaches far enough on both sides."""
    occluded: bool


def measure(
    backend: Backend,
    pictures: PictureFeatures,
    sound: SoundFeatures,
    first_cell: int,
    cells: int,
    offsets_ms: NDArray[np.float64],
    *,
    silence_dbfs: float,
    end_ns: int | None = None,
) -> Measurement:
    """The segment of `cells` cells from `first_cell` on, with all that is known around it.

    Of that, `STATISTICS_S` before and `CONTEXT_MS` after it (for the sound: after and before the search) are used.
    `end_ns`: when the last picture ends, bias included; by default it lasts as long as the others.
    """
    lips = observe_lips(pictures, first_cell, cells, end_ns=end_ns)
    voice = observe_sound(sound, first_cell, cells, offsets_ms, silence_dbfs=silence_dbfs)
    why = voice.why or lips.why
    if why is not None:
        return Measurement(why, None, 0.0, 0.0, lips.occluded)
    lip_rows = backend.embed_lips(lips.values, lips.known, lips.window)
    sound_rows = backend.embed_sound(voice.mel, voice.near)
    return compare(lips, lip_rows, voice, sound_rows, offsets_ms)


def observe_lips(
    pictures: PictureFeatures, first_cell: int, cells: int, *, end_ns: int | None = None
) -> LipObservation:
    """What the pictures say of a segment, and whether it can be judged by them."""
    end_cell = first_cell + cells
    pictures = pictures.between(
        (first_cell - STATISTICS_CELLS) * CELL_NS - HOLD_MAX_NS, (end_cell + CONTEXT_CELLS) * CELL_NS
    )
    # A picture belongs to the segment of the first cell whose centre it can cover.
    own = pictures.between(first_cell * CELL_NS - CELL_NS // 2, end_cell * CELL_NS - CELL_NS // 2)
    pictures, veiled = _without_hidden(pictures, own)
    values, known, before = _cells_of(pictures, first_cell, end_cell, end_ns)
    window = slice(before, before + cells)
    occluded = _unseen_share(own, veiled, known[window]) >= OCCLUDED_SHARE
    return LipObservation(values, known, window, _picture_trouble(own, veiled, known[window]), occluded)


def observe_sound(
    sound: SoundFeatures, first_cell: int, cells: int, offsets_ms: NDArray[np.float64], *, silence_dbfs: float
) -> SoundObservation:
    """What is known of the sound of a segment and as far around it as the search goes, and whether it can be judged."""
    end_cell = first_cell + cells
    reach = math.ceil(float(np.abs(offsets_ms).max(initial=0.0)) / CELL_MS - 1e-9)
    sound = sound.between(first_cell - reach - STATISTICS_CELLS, end_cell + reach + ENCODER_CELLS)
    near = sound.between(first_cell - reach, end_cell + reach)
    here = near.between(first_cell, end_cell)
    at = np.arange(first_cell, end_cell) - sound.first_cell
    inside = (at >= 0) & (at < len(sound.mean))
    speech = np.zeros(cells, np.bool_)
    speech[inside] = sound.speech(silence_dbfs)[at[inside]]
    cut = slice(near.first_cell - sound.first_cell, near.end_cell - sound.first_cell)
    why = _sound_trouble(cells, near, here, silence_dbfs)
    return SoundObservation(sound.mel, cut, first_cell - near.first_cell, speech, why)


def compare(
    lips: LipObservation, lip_rows: Floats, sound: SoundObservation, sound_rows: Floats, offsets_ms: NDArray[np.float64]
) -> Measurement:
    """`measure` of a segment that can be judged, with the embeddings of both sides: (n, D) and (m, D)."""
    seen = lips.known[lips.window]
    scores = lag_scores(lip_rows, sound_rows, sound.lips_in_sound, offsets_ms, seen=seen)
    share = seen.mean()
    coverage = float(np.clip(scores.overlap.mean() / share, 0.0, 1.0)) if share > 0 else 0.0
    speech_s = float((sound.speech & seen).sum()) * CELL_MS / 1000.0
    return Measurement("uncertain", scores, speech_s, coverage, lips.occluded)


def _without_hidden(pictures: PictureFeatures, own: PictureFeatures) -> tuple[PictureFeatures, NDArray[np.bool_]]:
    """The pictures with those of the segment that are hidden taken as unseen, and which of the segment's these are."""
    none = np.zeros(len(own.start_ns), np.bool_)
    if pictures.thumbs is None or own.thumbs is None or len(none) == 0:
        return pictures, none
    around = pictures.between(int(own.start_ns[0]) - REFERENCE_NS, int(own.start_ns[-1]) + 1)
    assert around.thumbs is not None
    veiled = hidden(own.thumbs, around.thumbs)
    if not veiled.any():
        return pictures, veiled
    values = pictures.values.copy()
    values[np.flatnonzero(veiled) + np.searchsorted(pictures.start_ns, own.start_ns[0])] = np.nan
    return pictures._replace(values=values), veiled


def _cells_of(
    pictures: PictureFeatures, first_cell: int, end_cell: int, end_ns: int | None
) -> tuple[Floats, NDArray[np.bool_], int]:
    """Values and seen of all cells that are known around a segment, and how many of them lie before it."""
    if len(pictures.start_ns) == 0:
        return *on_grid(pictures.start_ns, pictures.values, first_cell, end_cell - first_cell), 0
    first = max(min(first_cell, int(pictures.start_ns[0] // CELL_NS)), first_cell - STATISTICS_CELLS)
    last = max(end_cell, min(end_cell + ENCODER_CELLS, int((pictures.start_ns[-1] + HOLD_MAX_NS // 2) // CELL_NS)))
    return *on_grid(pictures.start_ns, pictures.values, first, last - first, end_ns=end_ns), first_cell - first


def _unseen_share(own: PictureFeatures, veiled: NDArray[np.bool_], seen: NDArray[np.bool_]) -> float:
    """The share of the segment without a mouth: by pictures or by cells, whichever is more."""
    lost = np.isnan(own.values).any(axis=1) | veiled
    return max(float(lost.mean()) if len(lost) else 1.0, 1.0 - float(seen.mean()) if len(seen) else 1.0)


def _sound_trouble(cells: int, near: SoundFeatures, here: SoundFeatures, silence_dbfs: float) -> Label | None:
    """Why the sound of a segment says nothing; None where it does. `near`: all sound the search looks at."""
    if cells < SHORTEST_CELLS or near.spoilt.any():
        return "bad_input"
    if len(here.clipped) and here.clipped.mean() > CLIPPED_SHARE:
        return "bad_input"
    return "silence" if here.level_dbfs() < silence_dbfs else None


def _picture_trouble(own: PictureFeatures, veiled: NDArray[np.bool_], seen: NDArray[np.bool_]) -> Label | None:
    """Why the pictures of a segment say nothing; None where they do."""
    if len(seen) == 0 or seen.mean() < SEEN_SHARE:
        return "occluded" if veiled.sum() > np.isnan(own.values).any(axis=1).sum() else "no_face"
    return "still" if still(own.thumbs, own.shapes) else None
