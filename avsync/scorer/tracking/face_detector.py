"""Finding faces in a picture: where they are, how large, how turned.

Three nets of the BlazeFace family, each with a range of sizes. Measured on real faces pasted into 1280x720, the share
found at 48 / 64 / 80 / 96 / 128 px wide: short range on the whole picture 0 / 0 / 0 / 3 / 85 %; full range on two
squares of 720 px 93 / 97 / 100 / 100 / 100 %; the 256-pixel net on these squares 100 % throughout, but it costs more.
All together, with the mesh agreeing (111 faces): 97 / 100 / 100 / 100 / 100 %.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from avsync.scorer.features.cells import Floats
from avsync.scorer.tracking.face_models import BACK, FULL, SHORT, Model, load_model
from avsync.scorer.tracking.warp import Rgb, Square, shrink_into

SCORE_MIN: Final = 0.5
"""Detections below are nothing (the models' own publication uses the same)."""
SAME_OVERLAP: Final = 0.5
"""Two boxes are one face when they share so much of the smaller one: a net may take a face's surroundings for one."""
MESH_ROOM: Final = 1.5
"""The mesh wants the face's box, half as large again (the margin it was trained with)."""
TILE_OVERLAP: Final = 0.15
FACES_MAX: Final = 16


class Box(NamedTuple):
    """A face found: its centre and size in pixels, the angle of its eye line, and the score in [0, 1]."""

    x: float
    y: float
    width: float
    height: float
    angle: float
    score: float

    def square(self) -> Square:
        """What the mesh should look at."""
        return Square(self.x, self.y, max(self.width, self.height) * MESH_ROOM, self.angle)


class FaceNet:
    """One detector: a net, the size of its input and the places its answers are measured from."""

    def __init__(self, model: Model, size: int, anchors: Floats) -> None:
        self._model, self._size, self._anchors = model, size, anchors

    def __call__(self, picture: Rgb) -> list[Box]:
        """picture: uint8 (H, W, 3). Returns the faces, best first, one box each."""
        small, scale = shrink_into(picture, self._size)
        batch = np.asarray(small[None], np.float32) / np.float32(127.5) - np.float32(1.0)
        outputs = self._model(batch)
        raw = next(out for out in outputs if out.shape[-1] == 16)
        logits = next(out for out in outputs if out.shape[-1] == 1)[:, 0]
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0)))
        boxes = []
        for index in np.flatnonzero(scores >= SCORE_MIN):
            points = raw[index].reshape(8, 2) / self._size
            points[[0, 2, 3, 4, 5, 6, 7]] += self._anchors[index]  # all but the size lie relative to the anchor
            points *= self._size / scale
            (x, y), (width, height), right_eye, left_eye = points[:4].tolist()
            if width > 0 and height > 0 and np.isfinite(points).all():
                angle = math.atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])
                boxes.append(Box(x, y, width, height, angle, float(scores[index])))
        return distinct(boxes)


class FaceFinder:
    """Looks for faces down to about a fifteenth of the picture's shorter side."""

    def __init__(self) -> None:
        self._near = FaceNet(load_model(SHORT), 128, layered_anchors())
        self._far = FaceNet(load_model(FULL), 192, even_anchors(48))
        self._fine = FaceNet(load_model(BACK), 256, layered_anchors())

    def find(self, picture: Rgb) -> list[Box]:
        """All faces, best first; the slowest net is asked only where the others see none. 7 to 25 ms at 1280x720."""
        squares = tiles(picture.shape[1], picture.shape[0])
        boxes = self._near(picture)
        for net in (self._far, self._fine):
            for left, top, side in squares:
                found = net(picture[top : top + side, left : left + side])
                boxes += [box._replace(x=box.x + left, y=box.y + top) for box in found]
            if boxes:
                break
        return distinct(boxes)


def tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """Squares (left, top, side) of the shorter side that cover the picture and overlap."""
    side = min(width, height)
    count = (
        1 if width == height else math.ceil((max(width, height) - side * TILE_OVERLAP) / (side * (1 - TILE_OVERLAP)))
    )
    count = min(count, 4)
    starts = np.linspace(0, max(width, height) - side, count).round().astype(int).tolist()
    return [(start, 0, side) if width >= height else (0, start, side) for start in starts]


def distinct(boxes: list[Box]) -> list[Box]:
    """Best first, without those that mostly cover a better one."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if len(kept) < FACES_MAX and all(overlap(box, other) < SAME_OVERLAP for other in kept):
            kept.append(box)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Shared area over the area of the smaller one, in [0, 1]."""
    wide = min(a.x + a.width / 2, b.x + b.width / 2) - max(a.x - a.width / 2, b.x - b.width / 2)
    high = min(a.y + a.height / 2, b.y + b.height / 2) - max(a.y - a.height / 2, b.y - b.height / 2)
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / min(a.width * a.height, b.width * b.height)


def layered_anchors() -> Floats:
    """Centres of the cells of a 16x16 grid, two answers each, then of an 8x8 grid, six each: float32 (896, 2)."""
    return np.concatenate([np.repeat(even_anchors(16), 2, axis=0), np.repeat(even_anchors(8), 6, axis=0)])


def even_anchors(cells: int) -> Floats:
    """Centres of the cells of a square grid, row by row, as (x, y) in [0, 1]: float32 (cells * cells, 2)."""
    centres = (np.arange(cells, dtype=np.float32) + np.float32(0.5)) / np.float32(cells)
    return np.stack([np.tile(centres, cells), np.repeat(centres, cells)], axis=1)
