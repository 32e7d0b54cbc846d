"""A face drawn with Pillow, plain but shaded enough that the real detector and mesh take it for one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from avsync.errors import InputError
from avsync.scorer.tracking import face_models


def _models_are_here() -> bool:
    try:
        for name in face_models.HASHES:
            face_models.load_model(name)
    except InputError:
        return False
    return True


needs_models = pytest.mark.skipif(
    not _models_are_here(), reason="the face models are not installed: " + face_models.INSTALL
)

SKIN, SHADE, LIPS, DARK, WHITE, HAIR = (
    (214, 170, 140),
    (182, 134, 106),
    (170, 82, 78),
    (46, 30, 26),
    (240, 238, 232),
    (60, 42, 32),
)


def draw_face(width: int, *, opening: float = 0.0) -> Image.Image:
    """A head `width` pixels wide, its mouth open by `opening` (0 to 1), on grey."""
    size = 400
    image = Image.new("RGB", (size, size), (120, 126, 132))
    draw = ImageDraw.Draw(image)

    def oval(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)

    draw.rectangle((150, 320, 250, 400), fill=SHADE)
    oval(200, 170, 122, 145, HAIR)
    oval(200, 205, 104, 146, SHADE)
    oval(200, 203, 98, 140, SKIN)
    for side in (-1, 1):
        x = 200 + side * 42
        draw.arc((x - 27, 128, x + 27, 168), 200, 340, fill=HAIR, width=8)
        oval(x, 172, 20, 13, SHADE)
        oval(x, 172, 18, 9, WHITE)
        oval(x, 172, 9, 9, DARK)
        oval(200 + side * 11, 242, 6, 4, DARK)
    draw.polygon(((192, 175), (208, 175), (222, 240), (178, 240)), fill=(204, 158, 128))
    oval(200, 238, 18, 9, (204, 158, 128))
    half = 4 + 24 * opening
    oval(200, 286 + half / 2, 42, 12 + half, LIPS)
    oval(200, 286 + half / 2, 34, max(1.5, half), DARK)
    return image.filter(ImageFilter.GaussianBlur(2.0)).resize(
        (round(width * size / 208),) * 2, Image.Resampling.LANCZOS
    )


def scene(*faces: tuple[int, int, Image.Image], size: tuple[int, int] = (640, 360)) -> NDArray[np.uint8]:
    """uint8 (H, W, 3): faces at (x, y) in front of grey with a little texture."""
    noise = np.random.default_rng(7).integers(-6, 7, (size[1], size[0], 3))
    picture = Image.fromarray((np.array((120, 126, 132)) + noise).astype(np.uint8))
    for x, y, face in faces:
        picture.paste(face, (x, y))
    return np.asarray(picture)
