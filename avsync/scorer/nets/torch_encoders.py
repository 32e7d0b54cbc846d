"""The networks that embed sound and lips, as torch modules: what is trained, and what a GPU runs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from avsync.scorer.nets.architecture import EMBEDDING, HIDDEN, SOUND_UNUSED, Layer, lip_layers, sound_layers


class SoundNet(nn.Module):
    """Mel frames to one embedding a cell: (B, 40, 2 (n + 14)) -> (B, members x 32, n)."""

    def __init__(self, members: int = 1, hidden: int = HIDDEN, embedding: int = EMBEDDING) -> None:
        super().__init__()
        self.layers = _stack(sound_layers(members, hidden, embedding))

    def forward(self, mel: Tensor) -> Tensor:
        """mel: (B, 40, 2 (n + 14)), normalised. Returns (B, members x 32, n)."""
        out: Tensor = self.layers(mel[..., SOUND_UNUSED : mel.shape[-1] - SOUND_UNUSED])
        return out


class LipNet(nn.Module):
    """Lip values and their slopes to one embedding a cell: (B, features, n + 14) -> (B, members x 32, n)."""

    def __init__(self, features: int, members: int = 1, hidden: int = HIDDEN, embedding: int = EMBEDDING) -> None:
        super().__init__()
        self.layers = _stack(lip_layers(features, members, hidden, embedding))

    def forward(self, lips: Tensor) -> Tensor:
        """lips: (B, features, n + 14), normalised. Returns (B, members x 32, n)."""
        out: Tensor = self.layers(lips)
        return out


def _stack(layers: Sequence[Layer]) -> nn.Sequential:
    found: list[nn.Module] = []
    for number, layer in enumerate(layers):
        if number:
            found.append(nn.GELU())
        if number == 1:
            found.append(nn.Dropout(0.1))
        found.append(nn.Conv1d(layer.inputs, layer.outputs, layer.kernel, layer.stride, groups=layer.groups))
    return nn.Sequential(*found)
