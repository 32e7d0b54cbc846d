"""Pictures of any rate, brought onto the cells of 20 ms.

A picture is on the screen from its own time until the next one's: a *held* signal. A cell's value is the mean of that
signal over the 40 ms around the cell's centre. A clip of 25 fps therefore gives the same cells when every picture is
repeated to make 50 fps, a variable rate needs no special case, and nothing is early or late by half a picture.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import CELL_NS, Floats

SPAN_NS: Final = 40_000_000
"""The mean is taken over so much: one picture at 25 fps."""
HOLD_MAX_NS: Final = 100_000_000
"""A picture is believed for so long; then nothing is known until the next (10 fps is the slowest rate without gaps)."""
SEEN_SHARE: Final = 0.5
"""A cell counts as seen when so much of its span is covered by pictures that show a face."""


def on_grid(
    start_ns: NDArray[np.int64],
    values: Floats,
    first_cell: int,
    cells: int,
    *,
    end_ns: int | None = None,
) -> tuple[Floats, NDArray[np.bool_]]:
    """The values of pictures as values of cells.

    start_ns: (T,) rising, ns; values: float32 (T, F), a row of NaN where nothing was seen; `end_ns`: when the last
    picture ends (default: it lasts as long as the middle of the others, or 40 ms).
    Returns float32 (cells, F) for the cells from `first_cell` on (zeros where unseen) and bool (cells,), seen or not.
    """
    count, width = values.shape
    if count == 0 or cells <= 0:
        return np.zeros((max(cells, 0), width), np.float32), np.zeros(max(cells, 0), np.bool_)
    seconds = (start_ns - np.int64(first_cell * CELL_NS)) * 1e-9
    lasts = _durations_s(start_ns, end_ns)
    known: NDArray[np.bool_] = np.asarray(~np.isnan(values).any(axis=1))
    filled = np.where(known[:, None], values, 0.0)
    held = np.concatenate([filled, known[:, None]], axis=1).astype(np.float64)
    total = np.concatenate([np.zeros((1, width + 1)), np.cumsum(held * lasts[:, None], axis=0)])
    centres = np.asarray((np.arange(cells) + 0.5) * (CELL_NS * 1e-9), np.float64)
    half = SPAN_NS * 0.5e-9

    def until(at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The integral of the held signal up to each time."""
        index = np.searchsorted(seconds, at_s, side="right") - 1
        inside = np.maximum(index, 0)
        part = np.clip(at_s - seconds[inside], 0.0, lasts[inside])
        return np.asarray(
            np.where((index >= 0)[:, None], total[inside] + part[:, None] * held[inside], 0.0), np.float64
        )

    area = until(centres + half) - until(centres - half)
    covered_s = area[:, -1]
    seen = covered_s >= SEEN_SHARE * SPAN_NS * 1e-9 - 1e-9
    means = np.where(seen[:, None], area[:, :-1] / np.maximum(covered_s, 1e-9)[:, None], 0.0)
    return means.astype(np.float32), seen


def _durations_s(start_ns: NDArray[np.int64], end_ns: int | None) -> NDArray[np.float64]:
    steps = np.diff(start_ns)
    if end_ns is None:
        end_ns = int(start_ns[-1]) + (int(np.median(steps)) if len(steps) else SPAN_NS)
    every = np.append(steps, end_ns - int(start_ns[-1]))
    return np.asarray(np.clip(every, 0, HOLD_MAX_NS) * 1e-9, np.float64)
