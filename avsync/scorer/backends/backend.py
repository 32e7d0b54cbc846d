"""The backends: each turns pictures and sound into embeddings, one a cell, that the lag search compares."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.features.features import Floats, log_mel
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.nets.litert import litert_is_here
from avsync.scorer.signal import Method

if TYPE_CHECKING:
    from pathlib import Path

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


class Backend(Protocol):
    """Embeddings of lips and sound on the grid of 20 ms cells."""

    method: Method
    zero_ms: float
    """Added to the pictures' times before they are brought onto the grid."""
    wants: frozenset[str]
    """What must be given: "rois", "landmarks", or both."""

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        """Values of each picture: rois uint8 (T, 96, 96, 3), landmarks float32 (T, 468, 2) -> float32 (T, F)."""
        ...

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        """cells (N, F) and seen (N,), all that is known; embeddings (n, D) of those in `window`."""
        ...

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        """mel (2 M, 40), all that is known; embeddings (m, D) of the cells in `window`."""
        ...


def sound_values_of(backend: Backend) -> Callable[[Floats], Floats]:
    """What a backend describes sound by, (n,) samples -> two rows a cell: log-mel, unless it has `sound_values`."""
    describe: Callable[[Floats], Floats] = getattr(backend, "sound_values", log_mel)
    return describe


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


def load_backend(name: str = "auto", *, device: str = "cpu", weights: dict[str, Path] | None = None) -> Backend:
    """A backend by name; "auto" is the best that can answer: fused where networks can run, else the heuristic.

    On a CPU LiteRT runs them, and torch where that is missing; other devices and SyncNet need torch. `weights`: files
    in place of the shipped ones, by net ("geometry", "pixels", "syncnet"). InputError when the name is unknown, or what
    it needs is missing.
    """
    if name == "auto":
        name = "fused" if networks_run_on(device) else "heuristic"
    if name == "heuristic":
        from avsync.scorer.backends.heuristic import HeuristicBackend

        return HeuristicBackend()
    if name not in ("fused", "pixels", "geometry", "syncnet"):
        raise InputError(f"no backend {name!r}; there are auto, fused, pixels, geometry, heuristic, syncnet")
    if not (torch_is_here() if name == "syncnet" else networks_run_on(device)):
        where = "" if name == "syncnet" or device == "cpu" else f" on {device}"
        raise InputError(
            f"the {name} backend needs torch{where}: pip install 'avsync[scorer]'; the heuristic one does not"
        )
    if name == "syncnet":
        from avsync.scorer.backends.syncnet import load_syncnet

        return load_syncnet(device=device, weights=weights or {})
    from avsync.scorer.backends.learned import load_nets

    return load_nets(cast(Method, name), device=device, weights=weights or {})


def networks_run_on(device: str) -> bool:
    """Whether there is anything to run the learned backends with."""
    return (device == "cpu" and litert_is_here()) or torch_is_here()


def torch_is_here() -> bool:
    return importlib.util.find_spec("torch") is not None
