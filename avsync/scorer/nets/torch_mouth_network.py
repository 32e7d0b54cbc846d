"""The network that reads a mouth's shape off a picture of it: four strided convolutions on 48x48 grey, no memory.

It sees one picture at a time and knows nothing of speech; what it says of a picture (`values` numbers) becomes lip
movement only once the running mean over the context is taken off (`normalising.normal_lips`), and with it most of what
the face looks like. Training puts a batch normalisation behind every convolution; `packed` folds it away and lays
several trained networks side by side as the groups of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avsync.scorer.nets.architecture import (
    CHANNELS,
    LUMA,
    NEARBY_PX,
    REGION_PX,
    SMALLEST_CONTRAST,
    SMALLEST_DETAIL,
    mouth_layers,
)
from avsync.scorer.nets.crop_preparing import averaging

TOGETHER: Final = 8
"""Pictures that `values_of` sends through at once: what lies between two layers of more than these is so large that
the C library gives it back to the system after every block and asks for it anew, page by page (16 pictures cost up to
1,100 page faults, and a third more time)."""


class MouthNet(nn.Module):
    """Mouth crops to values, picture by picture.

    `forward` holds everything, the preparing of the crops too, as tensor operations whose course does not depend on
    what the numbers are: a GPU records it as a graph, in half precision as well (`avsync.scorer.gpu.block_program`).
    """

    def __init__(
        self, members: int = 1, values: int = 32, channels: Sequence[int] = CHANNELS, *, training_form: bool = False
    ) -> None:
        """`training_form`: with batch normalisation and dropout, one member."""
        super().__init__()
        if training_form and members != 1:
            raise ValueError("members are trained one by one")
        self.members, self.values, self.channels = members, values, tuple(channels)
        layers: list[nn.Module] = []
        for index, layer in enumerate(mouth_layers(members, values, self.channels)):
            if index:
                if training_form:
                    layers.append(nn.BatchNorm2d(layer.inputs))
                layers.append(nn.GELU())
            if training_form and index == len(self.channels):
                layers.append(nn.Dropout(0.2))
            layers.append(
                nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding, groups=layer.groups)
            )
        self.layers = nn.Sequential(*layers)
        # The mean of 2 x 2 pixels' luma is one strided convolution.
        grey = torch.tensor(LUMA).view(1, 3, 1, 1).expand(1, 3, 2, 2) / 4
        self.register_buffer("to_grey", grey.contiguous(), persistent=False)
        self.register_buffer("nearby", torch.from_numpy(averaging(NEARBY_PX)), persistent=False)
        self.register_buffer("region", torch.from_numpy(averaging(REGION_PX)), persistent=False)

    def forward(self, rois: Tensor) -> Tensor:
        """rois: uint8 (T, 96, 96, 3) RGB -> (T, members x values)."""
        kernel: Tensor = self.to_grey  # type: ignore[assignment]
        colour = rois.permute(0, 3, 1, 2).to(kernel.dtype)
        return self.of_grey(nn.functional.conv2d(colour, kernel, stride=2)[:, 0])

    def of_grey(self, grey: Tensor) -> Tensor:
        """grey: (T, 48, 48), 0..255 -> (T, members x values)."""
        dtype = next(self.layers.parameters()).dtype
        nearby: Tensor = self.nearby  # type: ignore[assignment]
        region: Tensor = self.region  # type: ignore[assignment]
        values: Tensor = self.layers(prepared(grey.float(), nearby, region).to(dtype))
        return values.flatten(1)

    def values_of(self, rois: NDArray[np.uint8], device: str) -> NDArray[np.float32]:
        """rois: uint8 (T, 96, 96, 3) -> float32 (T, members x values)."""
        with torch.inference_mode():
            given = torch.split(torch.from_numpy(rois), TOGETHER)
            parts = [self(part.to(device)).float().cpu() for part in given]
            return np.asarray(torch.cat(parts).numpy(), np.float32)


def prepared(grey: Tensor, nearby: Tensor, region: Tensor) -> Tensor:
    """The picture free of its brightness and contrast, and its detail: (T, 2, 48, 48).

    grey: (T, 48, 48), 0..255; `nearby` and `region`: `averaging` over so many pixels.
    """
    level = grey - grey.mean(dim=(1, 2), keepdim=True)
    level = level / (level.square().mean(dim=(1, 2), keepdim=True).sqrt() + SMALLEST_CONTRAST)
    detail = level - nearby @ level @ nearby.T
    detail = detail * (region @ detail.square() @ region.T + SMALLEST_DETAIL).rsqrt()
    return torch.stack([level, detail], dim=1)


def packed(trained: Sequence[MouthNet]) -> MouthNet:
    """Networks in their training form as the members of one, batch normalisation folded into the convolutions."""
    first = trained[0]
    together = MouthNet(len(trained), first.values, first.channels)
    parts = [_folded(net) for net in trained]
    targets = [layer for layer in together.layers if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for index, target in enumerate(targets):
            target.weight.copy_(torch.cat([part[index][0] for part in parts]))
            assert target.bias is not None
            target.bias.copy_(torch.cat([part[index][1] for part in parts]))
    return together.eval()


def _folded(net: MouthNet) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution, with the batch normalisation behind it (if any) multiplied in."""
    found: list[tuple[Tensor, Tensor]] = []
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d):
            bias = layer.bias if layer.bias is not None else torch.zeros(layer.out_channels)
            found.append((layer.weight.detach(), bias.detach()))
        elif isinstance(layer, nn.BatchNorm2d):
            weight, bias = found[-1]
            mean, variance = layer.running_mean, layer.running_var
            assert mean is not None and variance is not None
            gain = layer.weight.detach() / torch.sqrt(variance + layer.eps)
            found[-1] = (weight * gain[:, None, None, None], (bias - mean) * gain + layer.bias.detach())
    return found
