"""What the lips do, as a few numbers read off the landmarks of a face.

The landmarks are the 468 points of the MediaPipe face mesh (its numbering is public: 61 and 291 are the corners of the
mouth, 13 and 14 the middles of the inner lips, 33, 133, 362 and 263 the corners of the eyes, 152 the chin). All numbers
are distances divided by a size of the face that turning the head changes little, so they know neither the picture's
size, nor the head's place, nor its tilt.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from avsync.scorer.features import Floats

LANDMARKS: Final = 468

GEOMETRY_NAMES: Final = (
    "inner_open",
    "outer_height",
    "outer_width",
    "inner_width",
    "nose_to_chin",
    "nose_to_lower_lip",
    "upper_lip",
    "lower_lip",
    "corner_to_nose",
)
"""The columns of `geometry`, in units of the distance between the eyes' centres of a face seen from the front."""

_EYES: Final = ((33, 133), (362, 263))
_NOSE_BASE: Final = 2
_NOSE_TIP: Final = 1
_EYES_TO_NOSE: Final = 0.85
"""Height of the line from eyes to nose base over the distance of the eyes, in a face seen from the front."""


def geometry(landmarks: Floats) -> Floats:
    """Numbers of the mouth's shape for each picture.

    landmarks: float32 (T, 468, 2), pixels of the full picture; NaN where no face was found. Returns float32
    (T, len(GEOMETRY_NAMES)), rows of NaN for those.
    """
    points = np.asarray(landmarks, np.float32)

    def apart(a: int, b: int) -> Floats:
        return np.asarray(np.linalg.norm(points[:, a] - points[:, b], axis=1), np.float32)

    size = face_size(points)
    columns = (
        (apart(13, 14) + apart(81, 178) + apart(311, 402) + apart(82, 87) + apart(312, 317)) / 5,
        (apart(0, 17) + apart(37, 84) + apart(267, 314)) / 3,
        apart(61, 291),
        apart(78, 308),
        apart(_NOSE_TIP, 152),
        apart(_NOSE_BASE, 17),
        apart(0, 13),
        apart(14, 17),
        (apart(61, _NOSE_TIP) + apart(291, _NOSE_TIP)) / 2,
    )
    return np.asarray(np.stack(columns, axis=1) / size[:, None], np.float32)


def face_size(landmarks: Floats) -> Floats:
    """The size of each face in pixels, about its distance between the eyes when seen from the front: (T,).

    Turning the head shortens the line between the eyes, nodding the line from eyes to nose; the root of the mean of
    both squares changes half as much as either.
    """
    left, right = (landmarks[:, list(corners)].mean(axis=1) for corners in _EYES)
    across = np.linalg.norm(right - left, axis=1)
    down = np.linalg.norm((left + right) / 2 - landmarks[:, _NOSE_BASE], axis=1) / _EYES_TO_NOSE
    return np.maximum(np.sqrt((across**2 + down**2) / 2), np.float32(1e-3))
