"""Warps: an upright square cut out of a picture, turned and scaled; the same pixels wherever it lies.

A square that is more than twice its target is averaged down first, so that a near face does not shimmer. Pillow does
the work in native code and lets other threads run (0.7 ms for 192x192, NumPy takes 1.1 and holds them up).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]


class Square(NamedTuple):
    """A turned square in a picture, in pixels: pixel (i, j) covers [i, i + 1) x [j, j + 1)."""

    x: float
    """Its centre."""
    y: float
    side: float
    angle: float
    """How far its top edge is turned, radians; positive: clockwise, as seen."""


def cut_square(picture: Rgb, square: Square, size: int) -> Rgb:
    """picture: uint8 (H, W, 3) -> uint8 (size, size, 3). What lies outside the picture is black."""
    black = np.zeros((size, size, 3), np.uint8)
    if not all(map(math.isfinite, square)) or square.side <= 0.0:
        return black
    height, width = picture.shape[:2]
    reach = square.side * (abs(math.cos(square.angle)) + abs(math.sin(square.angle))) / 2 + 2
    left, right = max(0, math.floor(square.x - reach)), min(width, math.ceil(square.x + reach))
    top, bottom = max(0, math.floor(square.y - reach)), min(height, math.ceil(square.y + reach))
    if left >= right or top >= bottom:
        return black
    image = Image.fromarray(picture[top:bottom, left:right])
    shrink = max(1, min(int(square.side / size), right - left, bottom - top))
    if shrink > 1:
        image = image.reduce(shrink)
    step = square.side / size / shrink
    along, across = math.cos(square.angle) * step, math.sin(square.angle) * step
    x, y = (square.x - left) / shrink, (square.y - top) / shrink
    half = size / 2
    # Output (u, v) comes from (x, y) + rotation * (u - half, v - half), both measured at corners of pixels.
    turned = (along, -across, x - (along - across) * half, across, along, y - (across + along) * half)
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, turned, Image.Resampling.BILINEAR))


def shrink_into(picture: Rgb, size: int) -> tuple[Rgb, float]:
    """A picture scaled into the top left of a black square: uint8 (size, size, 3); and by how much it was scaled."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    target = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(picture).resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
    square = np.zeros((size, size, 3), np.uint8)
    square[: target[1], : target[0]] = np.asarray(image)
    return square, scale
