"""Features of media: pictures described one by one, sound cell by cell, each once, whatever it is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.backends.backend import Backend
from avsync.scorer.features.cells import CELL_SAMPLES, MEL_PER_CELL, Floats
from avsync.scorer.features.geometry import geometry
from avsync.scorer.features.log_mel import SILENT_DBFS, log_mel
from avsync.scorer.features.occlusion import thumbnails
from avsync.scorer.matching.input_checks import clipped_per_cell

SPEECH_BELOW_LOUD_DB: Final = 25.0
"""A cell is speech when its level is no further below the loud ones (95th percentile)."""
SPEECH_BELOW_SILENCE_DB: Final = 10.0
"""... and no further below the silence threshold, which is held against the whole segment with its pauses."""


class PictureFeatures(NamedTuple):
    """Pictures, described one by one. Times have the method's bias in them."""

    start_ns: NDArray[np.int64]
    """(T,) rising."""
    values: Floats
    """(T, F) the backend's; NaN where no face was found."""
    thumbs: Floats | None
    """(T, 144), where crops were given."""
    shapes: Floats | None
    """(T, 9), where landmarks were given."""

    def part(self, first: int, last: int) -> PictureFeatures:
        cut = slice(first, last)
        thumbs = None if self.thumbs is None else self.thumbs[cut]
        shapes = None if self.shapes is None else self.shapes[cut]
        return PictureFeatures(self.start_ns[cut], self.values[cut], thumbs, shapes)

    def between(self, start_ns: int, end_ns: int) -> PictureFeatures:
        first, last = np.searchsorted(self.start_ns, (start_ns, end_ns))
        return self.part(int(first), int(last))

    def and_then(self, more: PictureFeatures) -> PictureFeatures:
        return PictureFeatures(
            np.concatenate([self.start_ns, more.start_ns]),
            np.concatenate([self.values, more.values]),
            None if self.thumbs is None or more.thumbs is None else np.concatenate([self.thumbs, more.thumbs]),
            None if self.shapes is None or more.shapes is None else np.concatenate([self.shapes, more.shapes]),
        )


class SoundFeatures(NamedTuple):
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

    def between(self, first_cell: int, end_cell: int) -> SoundFeatures:
        a, b = (min(max(cell - self.first_cell, 0), len(self.mean)) for cell in (first_cell, max(first_cell, end_cell)))
        mel = self.mel[a * MEL_PER_CELL : b * MEL_PER_CELL]
        return SoundFeatures(
            self.first_cell + a, mel, self.mean[a:b], self.mean_square[a:b], self.clipped[a:b], self.spoilt[a:b]
        )

    def and_then(self, more: SoundFeatures) -> SoundFeatures:
        return SoundFeatures(
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


def picture_features(
    backend: Backend, start_ns: NDArray[np.int64], rois: NDArray[np.uint8] | None, landmarks: Floats | None
) -> PictureFeatures:
    """Pictures with their times (the backend's bias not yet in them). Landmarks of NaN: no face, whatever the crop."""
    values = np.array(backend.picture_values(rois, landmarks), np.float32)
    if landmarks is not None:
        values[np.isnan(landmarks[:, 0, 0])] = np.nan
    return PictureFeatures(
        start_ns + np.int64(round(backend.bias_ms * 1e6)),
        values,
        None if rois is None else thumbnails(rois),
        None if landmarks is None else geometry(landmarks),
    )


def sound_features(
    first_cell: int,
    pcm: Floats,
    *,
    before: int = 0,
    after: int = 0,
    describe: Callable[[Floats], Floats] = log_mel,
) -> SoundFeatures:
    """Sound from the start of a cell on; NaN marks samples that are no sound.

    pcm: (n,) float32. `before` and `after` of its cells are only there for the edges of the windows of analysis, and
    are not part of the answer; what does not fill a cell at the end is left out. `describe`: the backend's
    `sound_values`.
    """
    cells = len(pcm) // CELL_SAMPLES
    spoilt = np.isnan(pcm)
    clean = np.where(spoilt, np.float32(0.0), pcm) if spoilt.any() else pcm
    kept = slice(before, max(cells - after, before))
    mel = describe(clean)[kept.start * MEL_PER_CELL : kept.stop * MEL_PER_CELL]
    whole = clean[: cells * CELL_SAMPLES].reshape(cells, CELL_SAMPLES)[kept]
    bad = spoilt[: cells * CELL_SAMPLES].reshape(cells, CELL_SAMPLES)[kept]
    return SoundFeatures(
        first_cell + before,
        mel,
        whole.mean(axis=1),
        np.square(whole).mean(axis=1),
        clipped_per_cell(np.ascontiguousarray(whole).reshape(-1)),
        np.asarray(bad.any(axis=1), np.bool_),
    )
