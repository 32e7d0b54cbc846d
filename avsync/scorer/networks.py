"""The networks that embed sound and lips: small stacks of convolutions over time, several members side by side.

A *member* is one network of its own; an ensemble's members run as groups of one convolution, which costs little more
than a single one. All convolutions are "valid": the caller hands in the context around the cells that it wants
(`CONTEXT_CELLS` on either side), and what lies before the first or after the last is a repetition of it.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from avsync.scorer.features import MEL_BANDS, MEL_PER_CELL

EMBEDDING: Final = 32
"""Dimensions of one member's embedding."""
HIDDEN: Final = 64
CONTEXT_CELLS: Final = 7
"""Cells on either side that an embedding depends on, for lips and for sound: 140 ms."""

_SOUND_MARGIN: Final = CONTEXT_CELLS * MEL_PER_CELL


class SoundNet(nn.Module):
    """Mel frames to one embedding a cell: (B, 40, 2 (n + 14)) -> (B, members x 32, n)."""

    def __init__(self, members: int = 1, hidden: int = HIDDEN, embedding: int = EMBEDDING) -> None:
        super().__init__()
        wide = members * hidden
        # 5 frames, then 4 at a stride of 2 (centred on the cell), then 5 and 3 cells: 2 + 1.5 frames and 3 cells of
        # context on either side; `unused` is what CONTEXT_CELLS allows beyond that.
        self.unused = _SOUND_MARGIN - 3 * MEL_PER_CELL - 3
        self.layers = nn.Sequential(
            nn.Conv1d(MEL_BANDS, wide, 5),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Conv1d(wide, wide, 4, stride=MEL_PER_CELL, groups=members),
            nn.GELU(),
            nn.Conv1d(wide, wide, 5, groups=members),
            nn.GELU(),
            nn.Conv1d(wide, members * embedding, 3, groups=members),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """mel: (B, 40, 2 (n + 14)), normalised. Returns (B, members x 32, n)."""
        out: Tensor = self.layers(mel[..., self.unused : mel.shape[-1] - self.unused])
        return out


class LipNet(nn.Module):
    """Lip values and their slopes to one embedding a cell: (B, features, n + 14) -> (B, members x 32, n)."""

    def __init__(self, features: int, members: int = 1, hidden: int = HIDDEN, embedding: int = EMBEDDING) -> None:
        super().__init__()
        wide = members * hidden
        self.layers = nn.Sequential(
            nn.Conv1d(features, wide, 5),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Conv1d(wide, wide, 5, groups=members),
            nn.GELU(),
            nn.Conv1d(wide, wide, 5, groups=members),
            nn.GELU(),
            nn.Conv1d(wide, members * embedding, 3, groups=members),
        )

    def forward(self, lips: Tensor) -> Tensor:
        """lips: (B, features, n + 14), normalised. Returns (B, members x 32, n)."""
        out: Tensor = self.layers(lips)
        return out
