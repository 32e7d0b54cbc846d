"""Occlusion and stillness: pictures that show no speaking mouth, found without a network.

Each crop becomes a *thumbnail* of 12x12 grey values, too coarse for lips, fine enough for a hand. A picture whose
thumbnail does not look like the running picture of this mouth (the median of the last second and the segment itself)
hides it. The limits lean to saying nothing: measured on the development half of real clips, 0.7 % of windows of a
second in which nothing hides the mouth are called occluded (in two clips with cuts and wide turns of the head); a flat
patch that comes over the whole crop is seen in 95 % of its pictures, one over its lower or one side's half in 40 to
50 %. What hides the mouth from the beginning is part of the running picture and is not noticed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats

THUMB: Final = 12
ALIKE: Final = 0.3
"""Correlation with the running picture below which the mouth is hidden. Real clips: 0.8 % of pictures are below, half
are above 0.97."""
REFERENCE_NS: Final = 1_000_000_000
"""How far the running picture reaches back: it must forget the last shot soon after a cut."""
OCCLUDED_SHARE: Final = 0.3
"""`occluded` is said when the mouth was hidden, or no face seen, for so much of the segment."""

STILL_SHARE: Final = 0.05
"""Pictures that change by less than this share of their contrast are one picture. Real blocks of 0.4 s: 0.12 and
more; noise averages out in a thumbnail."""
STILL_GREY: Final = 0.3
"""... or by less than this many of 255 grey values, where there is no contrast at all."""
STILL_SHAPE: Final = 0.004
"""Landmarks whose numbers all stay within this (eye distances) are one face; real blocks: 0.010 and more."""


def thumbnails(rois: NDArray[np.uint8]) -> Floats:
    """uint8 (T, 96, 96, 3) -> float32 (T, 144), grey values of 0..255, means over 8x8 pixels.

    Of every second pixel's green: blur of the crop is wanted anyway, and it costs a twelfth.
    """
    fours = rois[:, ::2, ::2, 1].reshape(len(rois) * THUMB, 4, 4 * THUMB)
    rows = fours[:, 0].astype(np.uint16)  # four sums of slices: six times as fast as a mean over two axes
    for line in range(1, 4):
        rows += fours[:, line]
    blocks = rows.reshape(len(rois), THUMB * THUMB, 4)
    return np.asarray(blocks.sum(axis=2, dtype=np.float32) / 16, np.float32)


def hidden(thumbs: Floats, around: Floats) -> NDArray[np.bool_]:
    """Which pictures do not look like the running picture of this mouth.

    thumbs: (T, 144), the segment; around: (R, 144), the same and what came before it. Returns bool (T,).
    """
    if len(thumbs) == 0 or len(around) == 0:
        return np.zeros(len(thumbs), np.bool_)
    usual = np.median(around, axis=0)
    usual = usual - usual.mean()
    each = thumbs - thumbs.mean(axis=1, keepdims=True)
    size = np.sqrt((each**2).sum(axis=1) * (usual**2).sum())
    # Without contrast there is nothing to compare: not hidden by this rule (`still` sees flat pictures).
    return np.asarray((size > 1.0) & (each @ usual < ALIKE * size))


def still(thumbs: Floats | None, shapes: Floats | None) -> bool:
    """True when the pictures are all the same one; either of the two is enough, as real lips move both.

    thumbs: (T, 144); shapes: (T, columns of `geometry`), rows of NaN are left out.
    """
    if thumbs is not None and len(thumbs) > 1:
        moved = float(np.ptp(thumbs, axis=0).mean())
        if moved < STILL_GREY or moved < STILL_SHARE * float(thumbs.mean(axis=0).std()):
            return True
    if shapes is not None:
        known = shapes[~np.isnan(shapes).any(axis=1)]
        return len(known) > 1 and float(np.ptp(known, axis=0).max()) < STILL_SHAPE
    return False
