"""The strip: a number written into a picture as black and white blocks, read back right or not at all.

Forty blocks in two rows over the full width at the top: 24 bits of payload (a bit for "idle", 23 of
milliseconds) and a CRC-16 of it. Large blocks survive VP8 and H.264 at low bitrates; a block that is neither
black nor white, or a CRC that does not fit, makes the whole strip unreadable. An evenly black or white picture
is unreadable too, because the CRC starts from ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

COLUMNS, ROWS = 20, 2
PAYLOAD_BITS, CHECK_BITS = 24, 16
NUMBER_LIMIT = 1 << (PAYLOAD_BITS - 1)
"""Numbers are milliseconds modulo this: 2 h 19 min."""
BLACK, WHITE = 16, 235
"""As far apart as limited-range video allows: nothing is clipped on its way through YUV."""
DARK_BELOW, BRIGHT_ABOVE = 90, 160
"""The mean of a block in between is no answer. A coded block stays within about 30 of what it was."""


class Mark(NamedTuple):
    """``number``: content position in ms, modulo ``NUMBER_LIMIT``; ``idle``: a picture without lips, on purpose."""

    number: int
    idle: bool


def rows_high(height: int) -> int:
    """Height in pixels of one row of blocks: a fifteenth of the picture, 24 of 360."""
    return max(1, height // 15)


def write_strip(picture: U8, mark: Mark) -> None:
    """picture: (H, W, 3) uint8, written in place; W >= 80, H >= 60 or the blocks get too small to survive."""
    high, width = rows_high(picture.shape[0]), picture.shape[1]
    levels = np.where(_bits(mark), WHITE, BLACK).astype(np.uint8).reshape(ROWS, COLUMNS)
    column = np.arange(width) * COLUMNS // width
    picture[: ROWS * high] = np.repeat(levels[:, column], high, axis=0)[:, :, None]


def read_strip(picture: U8) -> Mark | None:
    """picture: (H, W, 3) or (H, W) uint8 -> what is written there, None where it cannot be read for certain."""
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    high, width = rows_high(grey.shape[0]), grey.shape[1]
    edges = np.arange(COLUMNS + 1) * width / COLUMNS
    means = [_middle(grey, row * high, high, edges[c], edges[c + 1]) for row in range(ROWS) for c in range(COLUMNS)]
    return read_levels(np.array(means))


def read_levels(levels: npt.NDArray[np.float64]) -> Mark | None:
    """levels: (40,) mean brightness of each block, row by row."""
    bright = levels > BRIGHT_ABOVE
    if not np.all(bright | (levels < DARK_BELOW)):
        return None
    value = int("".join("1" if bit else "0" for bit in bright), 2)
    payload, check = value >> CHECK_BITS, value & ((1 << CHECK_BITS) - 1)
    if crc16(payload.to_bytes(3, "big")) != check:
        return None
    return Mark(payload & (NUMBER_LIMIT - 1), bool(payload >> (PAYLOAD_BITS - 1)))


def crc16(data: bytes) -> int:
    """CRC-16 with polynomial 0x1021 and all ones at the start: any error burst of up to 16 blocks is seen."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def _bits(mark: Mark) -> npt.NDArray[np.bool_]:
    payload = mark.number % NUMBER_LIMIT | (int(mark.idle) << (PAYLOAD_BITS - 1))
    value = payload << CHECK_BITS | crc16(payload.to_bytes(3, "big"))
    total = PAYLOAD_BITS + CHECK_BITS
    return np.array([value >> (total - 1 - place) & 1 for place in range(total)], dtype=np.bool_)


def _middle(grey: npt.NDArray[np.generic], top: int, high: int, left: float, right: float) -> float:
    """Mean of the middle half of a block: its edges are blurred by the codec's filters and by scaling."""
    quarter = (right - left) / 4
    x0, x1 = round(left + quarter), max(round(left + quarter) + 1, round(right - quarter))
    y0, y1 = top + high // 4, max(top + high // 4 + 1, top + high - high // 4)
    return float(grey[y0:y1, x0:x1].astype(np.float64).mean())
