"""The network that reads a mouth's shape off a picture of it (helper M2 owns and replaces this)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn


class MouthNet(nn.Module):
    """Mouth crops to values, picture by picture."""

    def __init__(self, members: int = 1, values: int = 32) -> None:
        super().__init__()
        self.members, self.values = members, values

    def values_of(self, rois: NDArray[np.uint8], device: str) -> NDArray[np.float32]:
        """rois: uint8 (T, 96, 96, 3) -> float32 (T, members x values)."""
        raise NotImplementedError
