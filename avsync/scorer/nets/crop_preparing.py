"""Mouth crops as their network sees them: grey, free of brightness and contrast, and with their detail beside them.

In numpy, for LiteRT; `torch_mouth_network.prepared` does the same on a GPU, with the same matrices.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.nets.architecture import (
    GREY_PX,
    LUMA,
    NEARBY_PX,
    REGION_PX,
    SMALLEST_CONTRAST,
    SMALLEST_DETAIL,
)


def prepared(rois: NDArray[np.uint8]) -> Floats:
    """Crops as their network sees them: uint8 (T, 96, 96, 3) -> float32 (T, 48, 48, 2).

    The picture free of its brightness and contrast, and its detail.
    """
    luma = rois.reshape(-1, 3).astype(np.float32) @ (np.array(LUMA, np.float32) / 4)
    luma = luma.reshape(len(rois), GREY_PX, 2, GREY_PX, 2)
    grey = luma[:, :, 0, :, 0] + luma[:, :, 0, :, 1] + luma[:, :, 1, :, 0] + luma[:, :, 1, :, 1]
    level = grey - grey.mean(axis=(1, 2), keepdims=True)
    level /= np.sqrt(np.square(level).mean(axis=(1, 2), keepdims=True)) + np.float32(SMALLEST_CONTRAST)
    detail = level - _NEARBY @ level @ _NEARBY.T
    detail /= np.sqrt(_REGION @ np.square(detail) @ _REGION.T + np.float32(SMALLEST_DETAIL))
    return np.stack([level, detail], axis=3)


def averaging(size: int) -> Floats:
    """(48, 48): each row the mean of `size` neighbours, those beyond the edge left out. A blur of a picture from both
    sides; as products of matrices it costs a sixth of a pooling."""
    at = np.arange(GREY_PX)
    near = (np.abs(at[:, None] - at[None]) <= size // 2).astype(np.float32)
    return np.asarray(near / near.sum(axis=1, keepdims=True), np.float32)


_NEARBY: Final = averaging(NEARBY_PX)
_REGION: Final = averaging(REGION_PX)
