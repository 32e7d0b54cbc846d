"""The face mesh: 468 points of one face, from a square that shows it. Never smoothed over time.

A smoothed mesh opens the mouth late, and lateness is what is measured here.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from avsync.scorer.features.cells import Floats
from avsync.scorer.tracking.face_detector import MESH_ROOM, Box
from avsync.scorer.tracking.face_models import MESH, Model, load_model
from avsync.scorer.tracking.warp import Rgb, Square, cut_square

POINTS: Final = 468
INPUT_SIZE: Final = 192
OUTER_EYE_CORNERS: Final = (33, 263)


class Meshed(NamedTuple):
    """landmarks: float32 (468, 2), pixels of the picture; presence in [0, 1]: whether there is a face at all."""

    landmarks: Floats
    presence: float


class FaceMesh:
    def __init__(self, model: Model | None = None) -> None:
        self._model = model or load_model(MESH)

    def __call__(self, picture: Rgb, square: Square) -> Meshed:
        """picture: uint8 (H, W, 3). 1.5 ms."""
        crop = cut_square(picture, square, INPUT_SIZE)
        outputs = self._model(np.asarray(crop[None], np.float32) / np.float32(255.0))
        points = next(out for out in outputs if out.size == POINTS * 3).reshape(POINTS, 3)[:, :2]
        logit = float(next(out for out in outputs if out.size == 1).ravel()[0])
        step = square.side / INPUT_SIZE
        along, across = math.cos(square.angle) * step, math.sin(square.angle) * step
        u, v = points[:, 0] - INPUT_SIZE / 2, points[:, 1] - INPUT_SIZE / 2
        placed = np.stack([square.x + along * u - across * v, square.y + across * u + along * v], axis=1)
        return Meshed(np.asarray(placed, np.float32), 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, logit)))))


def box_of(landmarks: Floats, presence: float = 1.0) -> Box:
    """The upright box around the points of one face, with the angle of its eye line."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    (x, y), (width, height) = ((low + high) / 2).tolist(), (high - low).tolist()
    right, left = (landmarks[corner] for corner in OUTER_EYE_CORNERS)
    return Box(x, y, width, height, math.atan2(float(left[1] - right[1]), float(left[0] - right[0])), presence)


def next_square(landmarks: Floats) -> Square:
    """Where to look for this face in the next picture."""
    box = box_of(landmarks)
    return Square(box.x, box.y, max(box.width, box.height) * MESH_ROOM, box.angle)
