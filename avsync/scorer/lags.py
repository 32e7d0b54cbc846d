"""The lag search: how well lips and sound agree at each offset, and which offset is best.

All backends give one embedding per cell of 20 ms for the lips and one for the sound; agreement at a lag is the
correlation of the two over a window, all dimensions together, each freed of its mean over the window.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features import CELL_MS, Floats

NEIGHBOUR_MS: Final = 40.0
"""Lags no further apart than this look alike (a picture at 25 fps); the margin looks beyond them."""
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

    index: int
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
    return np.arange(-each_way, each_way + 1) * float(step_ms)


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
    n = len(lips)
    shifts = -np.asarray(offsets_ms, np.float64) / CELL_MS
    at = lips_in_sound + shifts[:, None] + np.arange(n)[None, :]
    below = np.floor(at + 1e-9).astype(np.int64)
    part = np.maximum(at - below, 0.0)
    part[part < 1e-6] = 0.0
    above = below + (part > 0)
    both = (below >= 0) & (above < len(sound))
    if seen is not None:
        both &= seen[None, :]
    count = both.sum(axis=1)
    last = max(len(sound) - 1, 0)
    if len(sound) == 0 or n == 0:
        return LagScores(offsets_ms, np.full(len(shifts), np.nan), np.zeros(len(shifts)))
    heard = sound[np.clip(below, 0, last)]
    if part.any():
        weight = part[:, :, None].astype(np.float32)
        heard = heard * (1 - weight) + sound[np.clip(above, 0, last)] * weight
    mask = both[:, :, None].astype(np.float32)
    share = np.maximum(count, 1)[:, None, None]
    a = (heard - (heard * mask).sum(axis=1, keepdims=True) / share) * mask
    v = (lips[None] - (lips[None] * mask).sum(axis=1, keepdims=True) / share) * mask
    top = np.einsum("lnd,lnd->l", a, v, dtype=np.float64)
    below_root = np.einsum("lnd,lnd->l", a, a, dtype=np.float64) * np.einsum("lnd,lnd->l", v, v, dtype=np.float64)
    rho = np.where(below_root > 1e-12, top / np.sqrt(np.maximum(below_root, 1e-12)), 0.0)
    overlap = count / max(n, 1)
    return LagScores(offsets_ms, np.where(overlap >= OVERLAP_SHARE, rho, np.nan), overlap)


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
