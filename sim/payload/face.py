"""Payload, the face: from what a mouth does (``avsync.scorer.synthetic.mouths.COLUMNS``) to crops and landmarks.

Landmarks are those of the face mesh, placed so that ``avsync.scorer.features.geometry`` reads the mouth's own numbers
off them; only the points that it uses are placed. Crops come from the training's renderer where torch is installed, and
are drawn simply (skin, lips, a dark opening) where it is not. The same mouth of the same speaker gives the same
picture.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from avsync.scorer.features.geometry import LANDMARKS
from avsync.scorer.synthetic.mouths import COLUMNS
from avsync.scorer.tracking.mouth_crops import CROP_SPAN
from sim.payload.payload import F32, ROI_PX, U8, PictureBatch

EYE_PX = 100.0
MIDDLE_PX = (640.0, 300.0)
"""The eyes' distance and the point between them, in a picture of 1280x720."""
NOSE_TIP_Y, NOSE_BASE_Y = 0.65, 0.85
"""Below the eyes' line, in eye distances; 0.85 is what ``geometry`` expects of a face seen from the front."""
LIPS_Y = 1.15
CHIN_Y = 1.75
JAW_DROP = 0.15
UPPER_SHARE = 0.4
"""Of both lips' height without the gap between them, the upper one's."""

AT_ONCE = 25
"""Pictures rendered at a time: bounds the memory."""

F64 = npt.NDArray[np.float64]


class SpeakerFace(Protocol):
    def pictures(self, mouth: F32) -> PictureBatch:
        """(T, len(COLUMNS)) -> T pictures."""
        ...


class DrawnFace:
    """One speaker's face, drawn with nothing but numpy. ``shade``: 0..1, how light the skin is."""

    def __init__(self, shade: float) -> None:
        self.skin = np.array([235.0, 195.0, 170.0]) * (0.35 + 0.6 * shade)
        self.lips = self.skin * np.array([0.80, 0.55, 0.55])
        self.inside = np.array([45.0, 15.0, 15.0])

    def pictures(self, mouth: F32) -> PictureBatch:
        return PictureBatch(self._crops(mouth), landmarks(mouth))

    def _crops(self, mouth: F32) -> U8:
        line = ((np.arange(ROI_PX) + 0.5) / ROI_PX - 0.5) * CROP_SPAN
        x, y = line[None, None, :], line[None, :, None]
        width, inner_width, opening, height = (
            column(mouth, name)[:, None, None] for name in ("outer_width", "inner_width", "inner_open", "outer_height")
        )
        low = opening * 0.2  # the jaw opens downwards
        rois = np.broadcast_to(self.skin, (len(mouth), ROI_PX, ROI_PX, 3)).copy()
        for colour, wide, high in ((self.lips, width, height), (self.inside, inner_width, opening)):
            inside = 1 - (2 * x / wide) ** 2 - (2 * (y - low) / np.maximum(high, 1e-3)) ** 2
            share = np.clip(inside * 4 + 0.5, 0.0, 1.0)[..., None]
            rois += share * (colour - rois)
        return np.clip(rois, 0, 255).astype(np.uint8)


class RenderedFace:
    """The face that the training's renderer draws for ``seed``, before any camera; ``usual``: (n, columns) of it."""

    def __init__(self, seed: int, usual: F32) -> None:
        import torch

        from avsync.scorer.synthetic.render_face import draw_face
        from avsync.scorer.synthetic.renderer import rest_of

        self.seed = seed
        rest = rest_of(torch.from_numpy(usual[None]))
        self._face = draw_face(np.random.default_rng(seed), 1, colour=True, mouth=rest)

    def pictures(self, mouth: F32) -> PictureBatch:
        import torch

        from avsync.scorer.synthetic.render_motion import show
        from avsync.scorer.synthetic.renderer import motion_of

        parts: list[U8] = []
        with torch.inference_mode():
            for first in range(0, len(mouth), AT_ONCE):
                part = torch.from_numpy(np.ascontiguousarray(mouth[None, first : first + AT_ONCE], np.float32))
                # The same chance for every call: what is drawn is this speaker's, not the picture's. Strength 0: no
                # shaking, so a picture is the same whichever others are asked for with it.
                motion = motion_of(np.random.default_rng(self.seed), part, self._face, 0.0)
                # The crop is the SDK's own: it follows the mouth across and the skull downwards. Other crops, which the
                # training is hardened against, have no part in it.
                motion = motion._replace(right=torch.zeros_like(motion.right), down=torch.zeros_like(motion.down))
                shown = show(self._face, motion, pixels=ROI_PX, span=CROP_SPAN)[0].clamp(0, 1)
                parts.append((shown * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy())
        return PictureBatch(np.concatenate(parts), landmarks(mouth))


def column(mouth: F32, name: str) -> F64:
    return mouth[:, COLUMNS.index(name)].astype(np.float64)


def landmarks(mouth: F32) -> F32:
    """(T, len(COLUMNS)) -> float32 (T, 468, 2). Points that nobody reads lie between the eyes."""
    points = np.zeros((len(mouth), LANDMARKS, 2))
    zero = np.zeros(len(mouth))

    def put(index: int, x: F64 | float, y: F64 | float) -> None:
        points[:, index, 0], points[:, index, 1] = x, y

    for index, x in ((33, -0.65), (133, -0.35), (362, 0.35), (263, 0.65)):
        put(index, x, 0.0)
    put(1, 0.0, NOSE_TIP_Y)
    put(2, 0.0, NOSE_BASE_Y)
    gap, height, width, inner = (
        column(mouth, name) for name in ("inner_open", "outer_height", "outer_width", "inner_width")
    )
    top = LIPS_Y - column(mouth, "upper_raise")
    bottom = top + gap
    lips = np.maximum(height - gap, 0.02)
    for upper, lower, x in ((13, 14, 0.0), (82, 87, -0.10), (312, 317, 0.10), (81, 178, -0.18), (311, 402, 0.18)):
        put(upper, x, top)
        put(lower, x, bottom)
    for upper, lower, x in ((0, 17, 0.0), (37, 84, -0.12), (267, 314, 0.12)):
        put(upper, x, top - UPPER_SHARE * lips)
        put(lower, x, bottom + (1 - UPPER_SHARE) * lips)
    corner = LIPS_Y + 0.5 * gap - 0.03 * column(mouth, "smile")
    for left, right, wide in ((61, 291, width), (78, 308, inner)):
        put(left, -wide / 2, corner)
        put(right, wide / 2, corner)
    put(152, zero, CHIN_Y + JAW_DROP * column(mouth, "jaw"))
    return _in_picture(points, mouth).astype(np.float32)


def _in_picture(points: F64, mouth: F32) -> F64:
    """A flat face turned, tilted, moved: eye distances -> pixels."""
    yaw, pitch, roll = (np.radians(column(mouth, name))[:, None] for name in ("yaw_deg", "pitch_deg", "roll_deg"))
    x, y = points[..., 0] * np.cos(yaw), points[..., 1] * np.cos(pitch)
    x, y = x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll)
    scale = EYE_PX * column(mouth, "scale")[:, None]
    x = MIDDLE_PX[0] + scale * (x + column(mouth, "shift_x")[:, None])
    y = MIDDLE_PX[1] + scale * (y + column(mouth, "shift_y")[:, None])
    return np.stack([x, y], axis=-1)
