"""Marked media: pictures and sound that say which position of the content they are.

``picture(content_ns)`` and ``sound(from_sample, count)`` are pure functions of the content position: a sender may
emit any position at any time, repeat or leave out, and whoever records what comes out can tell what it was. One
content clock serves both: sample n belongs to ``n / 48000`` s, a picture's number is its position in whole
milliseconds (modulo ``NUMBER_LIMIT``, 2 h 19 min).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from avsync.glass.marked_sound import mouth, sound
from avsync.glass.strip import NUMBER_LIMIT, ROWS, Mark, read_levels, read_strip, rows_high, write_strip
from avsync.units import NS_PER_MS

__all__ = [
    "NUMBER_LIMIT",
    "Mark",
    "idle_picture",
    "mouth",
    "number_of",
    "picture",
    "read_levels",
    "read_strip",
    "sound",
]

U8 = npt.NDArray[np.uint8]
MOUTHS = 16
SKIN, HAIR, WALL, LIPS, DARK = (226, 178, 150), (84, 60, 48), (196, 206, 214), (178, 80, 84), (62, 24, 28)


def number_of(content_ns: int) -> int:
    """The number a picture of this position carries: its millisecond, rounded, modulo ``NUMBER_LIMIT``."""
    return (2 * content_ns + NS_PER_MS) // (2 * NS_PER_MS) % NUMBER_LIMIT


def picture(content_ns: int, *, width: int = 640, height: int = 360) -> U8:
    """(height, width, 3) uint8 RGB, fresh: a head that sways and talks, its position as a strip above. About 0.5 ms."""
    seconds = content_ns / 1e9
    return _draw(Mark(number_of(content_ns), False), math.sin(1.7 * seconds), mouth(content_ns), width, height)


def idle_picture(*, width: int = 640, height: int = 360) -> U8:
    """A picture without lips, marked so: the reading counts it as degraded, never as a position."""
    return _draw(Mark(0, True), 0.0, 0.0, width, height)


def _draw(mark: Mark, sway: float, opening: float, width: int, height: int) -> U8:
    wide, head, mouths = _face(width, height)
    reach = (wide.shape[1] - width) // 2
    shift = reach + round(reach * sway)
    out = wide[:, shift : shift + width].copy()
    shape = mouths[min(MOUTHS - 1, int(opening * MOUTHS))]
    top, left = head[0], head[1] - shift
    out[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    write_strip(out, mark)
    return out


@lru_cache(maxsize=8)
def _face(width: int, height: int) -> tuple[U8, tuple[int, int], tuple[U8, ...]]:
    """(a head before a wall, wider than the picture by what it sways), (top, left) of the mouth, mouths by opening."""
    reach = width // 20
    full = width + 2 * reach
    y, x = np.mgrid[0:height, 0:full].astype(np.float64)
    strip = ROWS * rows_high(height)
    size = (height - strip) / 2
    cy, cx = strip + size * 1.06, full / 2
    wall = np.array(WALL) * (0.8 + 0.2 * y / height)[:, :, None] + 12 * np.sin(x / 23)[:, :, None]
    image = np.asarray(wall)
    _ellipse(image, y, x, cy - size * 0.12, cx, size * 0.86, size * 0.66, HAIR)
    _ellipse(image, y, x, cy + size * 0.05, cx, size * 0.76, size * 0.56, SKIN)
    for side in (-1, 1):
        _ellipse(image, y, x, cy - size * 0.1, cx + side * size * 0.22, size * 0.07, size * 0.11, (245, 245, 245))
        _ellipse(image, y, x, cy - size * 0.1, cx + side * size * 0.22, size * 0.055, size * 0.05, DARK)
    top, left = round(cy + size * 0.2), round(cx - size * 0.3)
    high, broad = round(size * 0.42), round(size * 0.6)
    mouths = []
    for opening in range(MOUTHS):
        patch = image[top : top + high, left : left + broad].copy()
        py, px = y[top : top + high, left : left + broad], x[top : top + high, left : left + broad]
        tall = size * (0.03 + 0.13 * opening / (MOUTHS - 1))
        _ellipse(patch, py, px, cy + size * 0.4, cx, tall + size * 0.035, size * 0.25, LIPS)
        _ellipse(patch, py, px, cy + size * 0.4, cx, tall, size * 0.2, DARK)
        mouths.append(np.clip(patch, 0, 255).astype(np.uint8))
    return np.clip(image, 0, 255).astype(np.uint8), (top, left), tuple(mouths)


def _ellipse(
    image: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    x: npt.NDArray[np.float64],
    cy: float,
    cx: float,
    ry: float,
    rx: float,
    colour: tuple[int, int, int],
) -> None:
    image[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1] = colour
