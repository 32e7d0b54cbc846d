"""Cells: the scorer's time, cut into 20 ms of media time, and how samples and mel frames lie on it.

Cell ``j`` covers [20 j, 20 j + 20) ms. Sound is described by two mel frames a cell, frame ``k`` centred on (k + 0.5) x
10 ms, so that a cell's two frames lie evenly around its centre. All of it follows from the sample rate and the cell.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SAMPLE_RATE_HZ: Final = 16_000
CELL_MS: Final = 20
CELLS_PER_S: Final = 1000 // CELL_MS
CELL_NS: Final = CELL_MS * 1_000_000
MEL_PER_CELL: Final = 2
HOP_SAMPLES: Final = SAMPLE_RATE_HZ // (CELLS_PER_S * MEL_PER_CELL)
CELL_SAMPLES: Final = HOP_SAMPLES * MEL_PER_CELL


def as_mono_float(pcm: NDArray[Any]) -> Floats:
    """One channel of samples as float32 in [-1, 1]; int16 is divided by 32768, floats are taken as they are."""
    if pcm.dtype == np.int16:
        return np.asarray(pcm, np.float32) / np.float32(32768.0)
    return np.asarray(pcm, np.float32)
