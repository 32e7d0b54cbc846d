"""The lag search: how well lips and sound agree at each offset, and which offset is best.

All backends give one embedding per cell of 20 ms for the lips and one for the sound; agreement at a lag is the
correlation of the two over a window, all dimensions together, each freed of its mean over the window; over a long
window, of its running mean. Whoever starts to speak moves their lips from then on, and so does anybody else who started
at the same time: one step in both is no proof that they belong together, what happens from syllable to syllable is.
(Development half of real clips, fused: windows of 1 and 2 s right 95.5 and 99.6 % with the mean of the window, 96.9 and
99.9 with the running mean; surer than 95.5 % of strangers' voices are 72 and 80 % of the windows of 2 s.)
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import CELL_MS, Floats

NEIGHBOUR_MS: Final = 40.0
"""Lags no further apart than this look alike (a picture at 25 fps); the margin looks beyond them."""
DRIFT_CELLS: Final = 31
"""A running mean is taken over so many cells, 620 ms, about three syllables; shorter windows have one mean."""
OVERLAP_SHARE: Final = 0.5
"""A lag with less of the window than this under both lips and sound is not scored (NaN)."""


class LagScores(NamedTuple):
    """Agreement per lag. Arrays of length L."""

    offsets_ms: NDArray[np.float64]
    """The offset that each lag means: positive, the voice is ahead."""
    rho: NDArray[np.float64]
    """Correlation in [-1, 1]; NaN where too little overlaps."""
    overlap: NDArray[np.float64]
    """Share of the window that was under both, 0 to 1."""


class Peak(NamedTuple):
    """The best lag of a search."""

    lag: int
    """Its place among the lags."""
    offset_ms: float
    best: float
    """Correlation there."""
    margin: float
    """`best` minus the best lag more than `NEIGHBOUR_MS` away; its neighbours say nothing."""
    at_edge: bool
    """The best lag is the first or last one searched: the true one may lie beyond."""


def search_offsets(search_ms: float = 200.0, step_ms: float = 20.0) -> NDArray[np.float64]:
    """Offsets from -search_ms to +search_ms (ms, positive: voice ahead), symmetric about 0, a multiple of the step."""
    each_way = int(search_ms / step_ms + 1e-9)
    return np.arange(-each_way, each_way + 1, dtype=np.float64) * step_ms


def lag_scores(
    lips: Floats,
    sound: Floats,
    lips_in_sound: int,
    offsets_ms: NDArray[np.float64],
    *,
    seen: NDArray[np.bool_] | None = None,
) -> LagScores:
    """The agreement of a window at each offset.

    lips: (n, D), one row a cell; sound: (m, D); `lips_in_sound`: the row of `sound` at the same media time as lips[0]
    (may be negative); `seen`: (n,), cells whose lips count. Sound outside its array is left out of the sums.
    An offset of +20 ms (voice ahead) compares lips at cell i with sound at cell i - 1.
    """
    n, m = len(lips), len(sound)
    lags = len(offsets_ms)
    if n == 0 or m == 0:
        return LagScores(offsets_ms, np.full(lags, np.nan), np.zeros(lags))
    if n > DRIFT_CELLS:
        lips, sound = without_drift(lips, seen), without_drift(sound)
    at = (lips_in_sound - np.asarray(offsets_ms, np.float64) / CELL_MS)[:, None] + np.arange(n)
    below = np.floor(at + 1e-9).astype(np.int64)
    part = np.where(at - below < 1e-6, 0.0, at - below)
    both = (below >= 0) & (below + (part > 0) < m)
    if seen is not None:
        both &= seen
    count = both.sum(axis=1)
    sums = _sums(lips, sound, np.clip(below, 0, m - 1), np.where(both, part, 0.0), both.astype(np.float64))
    share = np.maximum(count, 1)
    top = sums.product - sums.means / share
    below_root = (sums.lips - sums.lips_mean / share) * (sums.sound - sums.sound_mean / share)
    rho = np.where(below_root > 1e-12, top / np.sqrt(np.maximum(below_root, 1e-12)), 0.0)
    overlap = count / n
    return LagScores(offsets_ms, np.where(overlap >= OVERLAP_SHARE, rho, np.nan), overlap)


def without_drift(rows: Floats, seen: NDArray[np.bool_] | None = None) -> Floats:
    """Each row (n, D) minus the mean of the `DRIFT_CELLS` around it, of those that are there and `seen`."""
    counted = np.ones(len(rows)) if seen is None else seen.astype(np.float64)
    total = np.zeros((len(rows) + 1, rows.shape[1] + 1))
    np.cumsum(np.column_stack([rows * counted[:, None], counted]), axis=0, out=total[1:])
    at = np.arange(len(rows))
    around = total[np.minimum(at + DRIFT_CELLS // 2 + 1, len(rows))] - total[np.maximum(at - DRIFT_CELLS // 2, 0)]
    return np.asarray(rows - around[:, :-1] / np.maximum(around[:, -1:], 1.0), np.float32)


class _Sums(NamedTuple):
    """Over the cells under both, per lag (L,), all dimensions: products, squares, and the same of the plain sums."""

    product: NDArray[np.float64]
    lips: NDArray[np.float64]
    sound: NDArray[np.float64]
    means: NDArray[np.float64]
    lips_mean: NDArray[np.float64]
    sound_mean: NDArray[np.float64]


def _sums(
    lips: Floats, sound: Floats, row: NDArray[np.int64], part: NDArray[np.float64], both: NDArray[np.float64]
) -> _Sums:
    """What a correlation needs: lag l compares cell i with row[l, i] of the sound, mixed with `part` of the next row.

    No (lags, cells, dimensions) array is made, which costs ten times as much: dot products of all rows with all rows
    are a small matrix, and every lag picks its diagonal out of it.
    """
    v = lips - lips.mean(axis=0, dtype=np.float64)
    s = sound - sound.mean(axis=0, dtype=np.float64)
    cell, following = np.arange(len(v)), np.minimum(row + 1, len(s) - 1)
    low, high = both * (1.0 - part), both * part
    dots = v @ s.T
    square = np.einsum("md,md->m", s, s)
    beside = np.append(np.einsum("md,md->m", s[:-1], s[1:]), 0.0)
    squares = low * (1.0 - part) * square[row] + high * part * square[following] + 2.0 * low * part * beside[row]
    taken = np.zeros((len(row), len(s)))
    each = np.arange(len(row))[:, None]
    np.add.at(taken, (each, row), low)
    np.add.at(taken, (each, following), high)
    of_lips, of_sound = both @ v, taken @ s
    return _Sums(
        (low * dots[cell, row] + high * dots[cell, following]).sum(axis=1),
        both @ np.einsum("nd,nd->n", v, v),
        squares.sum(axis=1),
        (of_lips * of_sound).sum(axis=1),
        (of_lips**2).sum(axis=1),
        (of_sound**2).sum(axis=1),
    )


def best_lag(offsets_ms: NDArray[np.float64], rho: NDArray[np.float64]) -> Peak | None:
    """The best of the scored lags; None when none was scored. Equal bests: the smaller offset by size."""
    scored = np.isfinite(rho)
    if not scored.any():
        return None
    filled = np.where(scored, rho, -np.inf)
    ties = np.flatnonzero(filled == filled.max())
    index = int(ties[np.argmin(np.abs(offsets_ms[ties]))])
    far = np.abs(offsets_ms - offsets_ms[index]) > NEIGHBOUR_MS + 1e-6
    rival = float(filled[far].max()) if (far & scored).any() else 0.0
    edges = np.flatnonzero(scored)[[0, -1]]
    best = float(filled[index])
    return Peak(index, float(offsets_ms[index]), best, best - rival, index in edges)
