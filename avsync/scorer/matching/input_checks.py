"""Checks: what a caller may hand to the scorer, and what is wrong with the rest.

A wrong type, shape or number is a broken rule of the API: `UsageError`, by name, with the remedy. Wrong *content* (NaN
among the samples, a picture that never changes) is something a live service meets: it is marked here and ends as a null
score with its label, never as a confident number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsync.errors import UsageError
from avsync.scorer.features.cells import CELL_SAMPLES, Floats, as_mono_float
from avsync.scorer.features.geometry import LANDMARKS
from avsync.types import MAX_PTS_NS

ROI: Final = 96
"""Mouth crops are so many pixels wide and high."""

LOUDEST: Final = 2.0
"""Float samples beyond this are no sound in [-1, 1] (int16 values as floats); decoders overshoot 1.0 a little."""

FULL_SCALE: Final = 0.999
CLIPPED_SHARE: Final = 0.05
"""More samples than this at full scale: the sound is clipped beyond use (a loud master has well under 1 %)."""

FURTHEST_PIXEL: Final = 1e5
"""Landmarks outside ±this are no place in a picture; such a face counts as not found."""

RATES_FPS: Final = (1.0, 250.0)
LONGEST_S: Final = 30.0
"""A window longer than this is a clip: push it through the stream, which needs no more memory for a longer one."""
FURTHEST_START_MS: Final = 60_000.0


def pcm_of(pcm: Any) -> Floats:
    """The samples as float32 (n,); those that are not sound (NaN, infinite, far beyond 1.0) come out as NaN."""
    array = np.asarray(pcm)
    if array.dtype not in (np.int16, np.float32, np.float64):
        raise UsageError(f"pcm must be int16, or float32/float64 in [-1, 1], got {array.dtype}")
    if array.ndim != 1:
        raise UsageError(f"pcm must be one channel at 16 kHz, (n,), got shape {array.shape}; mix the channels first")
    if array.dtype == np.int16:
        return as_mono_float(array)
    with np.errstate(over="ignore", invalid="ignore"):
        floats = array.astype(np.float32)
        return np.where(np.abs(floats) <= LOUDEST, floats, np.float32(np.nan))


def rois_of(rois: Any) -> NDArray[np.uint8] | None:
    """Mouth crops as uint8 (T, 96, 96, 3), or None as given."""
    if rois is None:
        return None
    array = np.asarray(rois)
    if array.dtype != np.uint8:
        raise UsageError(f"rois must be uint8 RGB in 0..255, got {array.dtype}")
    if array.ndim != 4 or array.shape[1:] != (ROI, ROI, 3):
        raise UsageError(f"rois must be mouth crops of shape (T, {ROI}, {ROI}, 3), got {array.shape}")
    return array


def landmarks_of(landmarks: Any) -> Floats | None:
    """Landmarks as float32 (T, 468, 2), or None as given; a face that is not wholly finite is a row of NaN."""
    if landmarks is None:
        return None
    array = np.asarray(landmarks)
    if array.dtype not in (np.float32, np.float64):
        raise UsageError(f"landmarks must be float32 pixels of the full picture, got {array.dtype}")
    if array.ndim != 3 or array.shape[1:] != (LANDMARKS, 2):
        raise UsageError(f"landmarks must have the shape (T, {LANDMARKS}, 2), got {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        floats = array.astype(np.float32)
        lost: NDArray[np.bool_] = np.any(~(np.abs(floats) <= FURTHEST_PIXEL), axis=(1, 2))
    if lost.any():
        floats = np.where(lost[:, None, None], np.float32(np.nan), floats)
    return floats


def pictures_of(rois: Any, landmarks: Any) -> tuple[NDArray[np.uint8] | None, Floats | None, int]:
    """Both, and how many pictures they are of."""
    crops, points = rois_of(rois), landmarks_of(landmarks)
    if crops is None and points is None:
        raise UsageError("pictures are needed: rois (T, 96, 96, 3), landmarks (T, 468, 2), or both")
    if crops is not None and points is not None and len(crops) != len(points):
        raise UsageError(f"rois and landmarks must be of the same pictures, got {len(crops)} and {len(points)}")
    return crops, points, len(crops) if crops is not None else len(points) if points is not None else 0


def check_wants(method: str, wants: frozenset[str], rois: Any, landmarks: Any) -> None:
    """The backend's inputs are there."""
    given = {name for name, value in (("rois", rois), ("landmarks", landmarks)) if value is not None}
    if wants - given:
        raise UsageError(
            f"the {method} backend needs {' and '.join(sorted(wants))}, got {' and '.join(sorted(given))} only"
        )


def fps_of(fps: Any) -> Fraction:
    """A frame rate, exact (29.97 stays 29.97; hand in Fraction(30000, 1001) where it matters)."""
    if isinstance(fps, bool) or not isinstance(fps, int | float | Fraction | np.integer | np.floating):
        raise UsageError(f"fps must be a number, got {type(fps).__name__}")
    if not math.isfinite(fps) or not RATES_FPS[0] <= fps <= RATES_FPS[1]:
        raise UsageError(f"fps must be {RATES_FPS[0]:g} to {RATES_FPS[1]:g}, got {fps}")
    return Fraction(fps) if isinstance(fps, int | Fraction) else Fraction(float(fps)).limit_denominator(100_000)


def start_ms_of(pcm_start_ms: Any) -> float:
    if isinstance(pcm_start_ms, bool) or not isinstance(pcm_start_ms, int | float | np.integer | np.floating):
        raise UsageError(f"pcm_start_ms must be a number, got {type(pcm_start_ms).__name__}")
    start_ms = float(pcm_start_ms)
    if not abs(start_ms) <= FURTHEST_START_MS:
        raise UsageError(f"pcm_start_ms (first sample minus first picture) must be within ±60 s, got {start_ms}")
    return start_ms


def pts_of(pts_ns: Any) -> int:
    """One media time: an int of ns, as everywhere in avsync; a float of seconds is somebody else's clock."""
    if isinstance(pts_ns, bool) or not isinstance(pts_ns, int | np.integer):
        raise UsageError(f"pts_ns must be an int of nanoseconds, got {type(pts_ns).__name__}")
    if not -MAX_PTS_NS <= pts_ns <= MAX_PTS_NS:
        raise UsageError(f"pts_ns is more than a year away: {pts_ns}")
    return int(pts_ns)


def picture_pts_of(pts_ns: Any, pictures: int) -> list[int]:
    """The media times of some pictures; a single int for a single picture."""
    if isinstance(pts_ns, int | np.integer) and not isinstance(pts_ns, bool) and pictures == 1:
        return [pts_of(pts_ns)]
    if not isinstance(pts_ns, Sequence | np.ndarray) or isinstance(pts_ns, str):
        raise UsageError(f"pts_ns must hold one int of ns for each of {pictures} pictures, got {pts_ns!r}")
    if len(pts_ns) != pictures:
        raise UsageError(f"pts_ns must hold one time for each picture, got {len(pts_ns)} for {pictures}")
    return [pts_of(value) for value in pts_ns]


def epoch_of(epoch: Any) -> int:
    if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer) or int(epoch) < 0:
        raise UsageError(f"epoch must be a whole number >= 0, got {epoch!r}")
    return int(epoch)


def clipped_per_cell(pcm: Floats) -> Floats:
    """Share of each cell's samples at full scale: (320 M,) -> (M,)."""
    return np.asarray((np.abs(pcm) >= FULL_SCALE).reshape(-1, CELL_SAMPLES).mean(axis=1), np.float32)
