"""Normalised features: lip values free of the face they belong to, sound free of the line it came over."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import GEOMETRY_NAMES

SPREAD_SHARE: Final = 0.7
"""Lip values are divided by 0.7 of their own spread plus 0.3 of the usual one: a mouth that hardly moves is not blown
up into one that does."""

MEL_SPREAD_FLOOR: Final = 0.3

TRUST_BY: Final = ("inner_open", "outer_height", "lower_lip")
"""Landmarks that see little of a mouth (a hand before it, a blur, a profile) hardly move where lips do..."""
TRUST_FROM: Final = 0.9
TRUST_LEAST: Final = 0.1
"""...so below the first share of the usual movement, geometry counts less beside pixels: by the square of what is left
of that share, and of the second one at least. Otherwise trembling is blown up to the size of a mouth's movements: on
the development half a hand before the mouth cost 5.5 points of windows of 1 s, 6.3 without this, and clean clips lose
nothing."""


def normal_lips(cells: Floats, seen: NDArray[np.bool_], usual_spread: Floats) -> Floats:
    """Lip values free of the face they belong to, and their slopes: (N, F) -> (N, 2 F). Unseen cells are 0.

    Mean and spread are those of what was seen; `usual_spread` (F,) is the training data's.
    """
    if not seen.any():
        return np.zeros((len(cells), 2 * cells.shape[1]), np.float32)
    known = cells[seen]
    spread = SPREAD_SHARE * known.std(axis=0) + (1 - SPREAD_SHARE) * usual_spread + 1e-6
    level = np.where(seen[:, None], (cells - known.mean(axis=0)) / spread, 0.0)
    slope = np.gradient(level, axis=0) if len(level) > 1 else np.zeros_like(level)
    # Slopes of 20 ms are small beside the levels; doubled they are those of a picture at 25 fps.
    return np.concatenate([level, 2.0 * slope], axis=1).astype(np.float32)


def trust_in(seen: Floats, usual_spread: Floats) -> np.float32:
    """How far the numbers of `geometry` that were seen (n, F) are to be trusted to be a speaking mouth's: 0.01 to 1."""
    columns = trust_columns()
    moved = float(np.mean(seen[:, columns].std(axis=0) / usual_spread[columns])) if len(seen) else 0.0
    return np.float32(np.clip(moved / TRUST_FROM, TRUST_LEAST, 1.0) ** 2)


def trust_columns() -> list[int]:
    """The columns of `geometry` that `trust_in` looks at."""
    return [GEOMETRY_NAMES.index(name) for name in TRUST_BY]


def normal_mel(mel: Floats) -> Floats:
    """Mel frames free of the line they came over: each band minus its mean, over its spread."""
    if len(mel) == 0:
        return mel
    return np.asarray((mel - mel.mean(axis=0)) / (mel.std(axis=0) + MEL_SPREAD_FLOOR), np.float32)


def with_context(rows: Floats, window: slice, margin: int, per_cell: int = 1) -> Floats:
    """The rows of the window's cells and `margin` cells on either side; beyond the ends, the end row is repeated."""
    first, last = (window.start - margin) * per_cell, (window.stop + margin) * per_cell
    return np.asarray(rows[np.clip(np.arange(first, last), 0, len(rows) - 1)], np.float32)


def level_of(embedding: Floats, members: int) -> Floats:
    """Each member's embedding scaled to a mean square of 1 about its mean: (n, members x D); all weigh the same."""
    n = len(embedding)
    parts = embedding.reshape(n, members, -1)
    moving = parts - parts.mean(axis=0, keepdims=True)
    size = np.sqrt(np.mean(np.sum(moving**2, axis=2), axis=0) + 1e-9)
    return np.asarray(parts / size[None, :, None], np.float32).reshape(n, -1)
