"""What a backend is: it turns pictures and sound into embeddings, one a cell, that the lag search compares."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
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

    def sound_values(self, pcm: Floats) -> Floats:
        """Mono 16 kHz sound (n,) in [-1, 1] -> float32 (n // 160, F), two rows a cell; most backends answer log-mel."""
        ...

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        """cells (N, F) and seen (N,), all that is known; embeddings (n, D) of those in `window`."""
        ...

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        """Rows of `sound_values` (2 M, F), all that is known; embeddings (m, D) of the cells in `window`."""
        ...
