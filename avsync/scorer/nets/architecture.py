"""What the networks are made of, for both who build them: torch to train them, LiteRT to run them.

Each network is a stack of convolutions with a GELU between one and the next. A *member* is one network of its own; an
ensemble's members stand side by side as the groups of each convolution, which costs little more than a single one.
Those over time are "valid": the caller hands in the context around the cells that it wants (`ENCODER_CELLS` on either
side), and what lies before the first or after the last is a repetition of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from avsync.scorer.features.cells import MEL_PER_CELL
from avsync.scorer.features.log_mel import MEL_BANDS

EMBEDDING: Final = 32
"""Dimensions of one member's embedding."""
HIDDEN: Final = 64
ENCODER_CELLS: Final = 7
"""Cells on either side that an embedding depends on, for lips and for sound: 140 ms."""
SOUND_UNUSED: Final = ENCODER_CELLS * MEL_PER_CELL - 3 * MEL_PER_CELL - 3
"""Mel frames at either end that the sound's network leaves alone: its convolutions look at 5 frames, then 4 at a stride
of 2 (centred on the cell), then 5 and 3 cells, so 2 + 1.5 frames and 3 cells to either side."""

GREY_PX: Final = 48
"""A mouth is read off a grey picture of so many pixels a side."""
LUMA: Final = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""
CHANNELS: Final = (16, 32, 48, 64)
"""Of the four convolutions that read a mouth."""
SMALLEST_CONTRAST: Final = 4.0
"""Added to a picture's spread (of 255) before it is divided by it: the noise of a blank picture is not blown up."""
NEARBY_PX: Final = 9
"""Detail is what stands out from the mean of so many pixels around, a third of the mouth's width..."""
REGION_PX: Final = 13
"""...over its usual size in a region of so many: shadows and light fall away, edges of lips and teeth stay."""
SMALLEST_DETAIL: Final = 0.02
"""Added to the detail's mean square, in units of the whole picture's: smooth skin stays smooth."""


class Layer(NamedTuple):
    """A convolution over time or, where `square`, over a picture, with zeros around it."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    square: bool = False

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(outputs, inputs of a group, kernel), or with two kernels: torch's order."""
        return (self.outputs, self.inputs // self.groups, *(self.kernel,) * (2 if self.square else 1))


def lip_layers(features: int, members: int = 1, hidden: int = HIDDEN, embedding: int = EMBEDDING) -> list[Layer]:
    """Lip values and their slopes, (features, n + 14) -> (members x embedding, n)."""
    wide = members * hidden
    return [
        Layer(features, wide, 5),
        Layer(wide, wide, 5, groups=members),
        Layer(wide, wide, 5, groups=members),
        Layer(wide, members * embedding, 3, groups=members),
    ]


def sound_layers(members: int = 1, hidden: int = HIDDEN, embedding: int = EMBEDDING) -> list[Layer]:
    """Mel frames without the `SOUND_UNUSED` at either end, (40, ...) -> (members x embedding, n)."""
    wide = members * hidden
    return [
        Layer(MEL_BANDS, wide, 5),
        Layer(wide, wide, 4, stride=MEL_PER_CELL, groups=members),
        Layer(wide, wide, 5, groups=members),
        Layer(wide, members * embedding, 3, groups=members),
    ]


def mouth_layers(members: int, values: int, channels: Sequence[int] = CHANNELS) -> list[Layer]:
    """A prepared picture, (2, 48, 48) -> (members x values, 1, 1): each convolution but the last halves the picture."""
    layers: list[Layer] = []
    before = 2
    for index, wide in enumerate(channels):
        size, groups = (5, 1) if index == 0 else (3, members)
        layers.append(Layer(before, wide * members, size, 2, size // 2, groups, square=True))
        before = wide * members
    left = GREY_PX >> len(channels)
    return [*layers, Layer(before, values * members, left, groups=members, square=True)]


def layers_of(header: dict[str, Any], features: int) -> dict[str, list[Layer]]:
    """The networks that a file of weights holds, by name. `features`: lip values without their slopes.

    KeyError or TypeError where the header lacks something or says it in another form.
    """
    members, hidden, embedding = (int(header[name]) for name in ("members", "hidden", "embedding"))
    found = {
        "lips": lip_layers(2 * features, members, hidden, embedding),
        "sound": sound_layers(members, hidden, embedding),
    }
    if "mouth" in header:
        found["mouth"] = mouth_layers(**header["mouth"])
    return found


def weights_of(arrays: dict[str, Any], network: str, layers: Sequence[Layer]) -> Iterator[tuple[Any, Any]]:
    """Weight and bias of each layer out of a file's arrays, which are named by torch: "lips.layers.3.weight".

    ValueError where there are others than the layers want, or of other shapes.
    """
    prefix = f"{network}.layers."
    numbers = sorted({int(name.removeprefix(prefix).split(".")[0]) for name in arrays if name.startswith(prefix)})
    if len(numbers) != len(layers):
        raise ValueError(f"{network} has {len(numbers)} layers, wanted {len(layers)}")
    for number, layer in zip(numbers, layers, strict=True):
        weight, bias = arrays[f"{prefix}{number}.weight"], arrays[f"{prefix}{number}.bias"]
        if weight.shape != layer.weight_shape or bias.shape != (layer.outputs,):
            raise ValueError(f"{prefix}{number} has shape {weight.shape}, wanted {layer.weight_shape}")
        yield weight, bias
