"""What the lips do, as a few numbers read off the landmarks of a face.

The landmarks are the 468 points of the MediaPipe face mesh (its numbering is public: 61 and 291 are the corners of the
mouth, 13 and 14 the middles of the inner lips, 33, 133, 362 and 263 the corners of the eyes, 152 the chin). All numbers
are distances divided by a size of the face that turning the head changes little, so they know neither the picture's
size, nor the head's place, nor its tilt.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avsync.scorer.features.cells import Floats

LANDMARKS: Final = 468

MOUTH_DISTANCES: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "inner_open": ((13, 14), (81, 178), (311, 402), (82, 87), (312, 317)),
    "outer_height": ((0, 17), (37, 84), (267, 314)),
    "outer_width": ((61, 291),),
    "inner_width": ((78, 308),),
    "nose_to_chin": ((1, 152),),
    "nose_to_lower_lip": ((2, 17),),
    "upper_lip": ((0, 13),),
    "lower_lip": ((14, 17),),
    "corner_to_nose": ((61, 1), (291, 1)),
}
"""Each number is the mean of the distances between these pairs of landmarks (1: tip of the nose, 2: its base)."""
GEOMETRY_NAMES: Final = tuple(MOUTH_DISTANCES)
"""The columns of `geometry`, in units of the distance between the eyes' centres of a face seen from the front."""

EYES: Final = ((33, 133), (362, 263))
NOSE_BASE: Final = 2
EYES_TO_NOSE: Final = 0.85
"""Height of the line from eyes to nose base over the distance of the eyes, in a face seen from the front."""
SMALLEST_FACE_PX: Final = 1e-3

_PAIRS: Final = np.array([pair for pairs in MOUTH_DISTANCES.values() for pair in pairs])


def distance_shares() -> Floats:
    """What each pair's distance, in the order of `MOUTH_DISTANCES`, adds to each column: float32 (pairs, columns)."""
    counts = [len(pairs) for pairs in MOUTH_DISTANCES.values()]
    column = np.repeat(np.arange(len(counts)), counts)
    return np.asarray((column[:, None] == np.arange(len(counts))) / np.array(counts), np.float32)


_SHARES: Final = distance_shares()


def geometry(landmarks: Floats) -> Floats:
    """Numbers of the mouth's shape for each picture.

    landmarks: float32 (T, 468, 2), pixels of the full picture; NaN where no face was found. Returns float32
    (T, len(GEOMETRY_NAMES)), rows of NaN for those.
    """
    points = np.asarray(landmarks, np.float32)
    apart = np.linalg.norm(points[:, _PAIRS[:, 0]] - points[:, _PAIRS[:, 1]], axis=2)
    return np.asarray(apart @ _SHARES / face_size(points)[:, None], np.float32)


def face_size(landmarks: Floats) -> Floats:
    """The size of each face in pixels, about its distance between the eyes when seen from the front: (T,).

    Turning the head shortens the line between the eyes, nodding the line from eyes to nose; the root of the mean of
    both squares changes half as much as either.
    """
    left, right = (landmarks[:, list(corners)].mean(axis=1) for corners in EYES)
    across = np.linalg.norm(right - left, axis=1)
    down = np.linalg.norm((left + right) / 2 - landmarks[:, NOSE_BASE], axis=1) / EYES_TO_NOSE
    return np.asarray(np.maximum(np.sqrt((across**2 + down**2) / 2), SMALLEST_FACE_PX), np.float32)
