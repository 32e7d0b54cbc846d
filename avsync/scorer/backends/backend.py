"""The backends: each turns pictures and sound into embeddings, one a cell, that the lag search compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.signal import Method


class Backend(Protocol):
    """Embeddings of lips and sound on the grid of 20 ms cells."""

    method: Method
    bias_ms: float
    """Added to the pictures' times before they are brought onto the grid."""
    wants: frozenset[str]
    """What must be given: "rois", "landmarks", or both."""

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        """Values of each picture: rois uint8 (T, 96, 96, 3), landmarks float32 (T, 468, 2) -> float32 (T, F)."""
        ...

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        """cells (N, F) and seen (N,), all that is known; embeddings (n, D) of those in `window`."""
        ...

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        """mel (2 M, 40), all that is known; embeddings (m, D) of the cells in `window`."""
        ...


def sound_values_of(backend: Backend) -> Callable[[Floats], Floats]:
    """What a backend describes sound by, (n,) samples -> two rows a cell: log-mel, unless it has `sound_values`."""
    describe: Callable[[Floats], Floats] = getattr(backend, "sound_values", log_mel)
    return describe
