"""The network that reads a mouth's shape off a picture of it (helper M2 owns and replaces this)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class MouthNet(nn.Module):
    """Mouth crops to values, picture by picture.

    `forward` holds everything, the preparing of the crops too, as tensor operations whose course does not depend on
    what the numbers are: a GPU records it as a graph, in half precision as well (`avsync.scorer.fast`).
    """

    def __init__(self, members: int = 1, values: int = 32) -> None:
        super().__init__()
        self.members, self.values = members, values

    def forward(self, rois: Tensor) -> Tensor:
        """rois: uint8 (T, 96, 96, 3) -> (T, members x values)."""
        raise NotImplementedError

    def values_of(self, rois: NDArray[np.uint8], device: str) -> NDArray[np.float32]:
        """rois: uint8 (T, 96, 96, 3) -> float32 (T, members x values)."""
        with torch.inference_mode():
            return np.asarray(self(torch.from_numpy(rois).to(device)).float().cpu().numpy(), np.float32)
