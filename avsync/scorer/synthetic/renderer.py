"""The renderer: moving mouths with known shape, as the 96x96 crops that a tracker would cut from real pictures.

``render(tracks, rng)`` draws one random face for each track of mouths.py, moves it as the track says, photographs it,
and hands back pictures; with `colour` they are uint8 RGB crops for the lab and for tests, without, grey floats of 48
pixels for training. Every frame is a function of `rng` and the track alone. Heavy randomness is the point: what a
network learns here must not depend on how any of it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsync.scorer.features.cells import Floats
from avsync.scorer.synthetic.mouths import COLUMNS, TRACK_HZ
from avsync.scorer.synthetic.render_camera import film, randn, wander
from avsync.scorer.synthetic.render_face import FaceAppearance, chance, draw_face, uniform
from avsync.scorer.synthetic.render_motion import Motion, show

CROP_SPAN: Final = 1.5
"""A crop spans 1.5 eye distances (mouth_crops.py)."""
CROP_PX: Final = 96
GREY_PX: Final = 48


def render(
    values: Floats, rng: np.random.Generator, *, colour: bool = False, strength: float = 1.0, span: float = CROP_SPAN
) -> Tensor:
    """Pictures of B mouths over T pictures.

    values: float32 (B, T, len(COLUMNS)), rows of `MouthTrack.values` at the pictures' times (`at_pictures`).
    Returns float32 (B, T, 48, 48) luma in 0..1, or with `colour` (B, T, 3, 96, 96). `strength` 0 to about 1.5: how
    badly camera and line treat the pictures (0: not at all).
    """
    mouth = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    face = draw_face(rng, len(mouth), colour=colour, mouth=rest_of(mouth))
    motion = motion_of(rng, mouth, face, strength)
    pictures = show(face, motion, pixels=CROP_PX if colour else GREY_PX, span=span)
    if strength > 0:
        pictures = film(rng, pictures, strength=strength)
    pictures = pictures.clamp(0, 1)
    return pictures.transpose(1, 2) if colour else pictures[:, 0]


def crops(values: Floats, rng: np.random.Generator, *, strength: float = 0.5) -> NDArray[np.uint8]:
    """Crops of one mouth as a tracker gives them: values (T, columns) -> uint8 RGB (T, 96, 96, 3)."""
    pictures = render(values[None], rng, colour=True, strength=strength)[0]
    return np.asarray((pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())


def at_pictures(values: Floats, start_s: Sequence[float] | NDArray[np.float64], lasts_s: float) -> Floats:
    """Rows of a track (n, columns at 100 Hz) as pictures catch them: the mean over each picture's time on screen."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)]) / TRACK_HZ
    edges = np.arange(len(values) + 1) / TRACK_HZ

    def until(at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        at_s = np.clip(at_s, 0, edges[-1])
        index = np.minimum((at_s * TRACK_HZ).astype(np.int64), len(values) - 1)
        return total[index] + (at_s - edges[index])[:, None] * values[index]

    starts = np.clip(np.asarray(start_s, np.float64), 0, edges[-1] - lasts_s)
    return ((until(starts + lasts_s) - until(starts)) / lasts_s).astype(np.float32)


def column(mouth: Tensor, name: str) -> Tensor:
    """(B, T) of one column of the tracks."""
    return mouth[..., COLUMNS.index(name)]


def rest_of(mouth: Tensor) -> dict[str, Tensor]:
    """The lips' usual size in these tracks, which the textures are drawn for: (B, 1, 1, 1) each."""
    thick = (column(mouth, "outer_height") - column(mouth, "inner_open")).median(dim=1).values
    width = column(mouth, "outer_width").median(dim=1).values
    return {"thick": thick.view(-1, 1, 1, 1), "width": width.view(-1, 1, 1, 1)}


def motion_of(rng: np.random.Generator, mouth: Tensor, face: FaceAppearance, strength: float) -> Motion:
    """What the renderer needs of the tracks (B, T, columns), with this speaker's bones and the tracker's errors."""
    batch, frames, _ = mouth.shape
    shape = {name: value.reshape(batch, 1) for name, value in face.shape.items()}

    def u(low: float, high: float) -> Tensor:
        return uniform(rng, batch, low, high).reshape(batch, 1)

    opening = column(mouth, "inner_open").clamp_min(0)
    thick = (column(mouth, "outer_height") - opening) * (1 - shape["thin"] * (opening / 0.15).clamp(0, 1.3))
    thick = thick.clamp_min(0.02)
    share = shape["upper"] / (shape["upper"] + shape["lower"])
    # Rounded lips purse: the mouth is narrower, its gap more so, and the lips turn outwards. The tracks' widths are
    # what a landmark model makes of that, which is less than the eye sees.
    purse = u(0.0, 0.16) * column(mouth, "round").clamp(-1.0, 1.3)
    thick = thick * (1 + u(0.0, 2.5) * purse.clamp_min(0))
    hidden = column(mouth, "tuck") * (column(mouth, "press") + (1 - opening / 0.06).clamp(0, 1)).clamp(0, 1)
    yaw, pitch, roll = (torch.deg2rad(column(mouth, name)) for name in ("yaw_deg", "pitch_deg", "roll_deg"))
    yaw = (yaw * u(0.6, 1.8)).clamp(-0.8, 0.8)
    # The crop is cut level with the eyes, so that tilt, place and size are what the tracker gets wrong of them: a
    # steady error, a slow one, and one that is new in each picture.
    shake = strength * u(0.0, 1.0) * chance(rng, batch, 0.8).reshape(batch, 1)

    def error(steady: float, slow: float, fresh: float) -> Tensor:
        moving = slow * wander(rng, batch, frames, 10) + fresh * randn(rng, batch, frames)
        return u(-steady, steady) + shake * moving

    # Other people's crops hang on the nose, which points aside and down with the head, or follow the lips.
    aside = u(-0.1, 0.4) * chance(rng, batch, 0.4).reshape(batch, 1) * yaw.sin()
    nod = u(-0.2, 0.3) * chance(rng, batch, 0.4).reshape(batch, 1) * pitch.sin()
    raised = shape["lift"] * column(mouth, "upper_raise") + error(0.0, 0.004, 0.0)
    followed = u(0.3, 1.0) * chance(rng, batch, 0.2).reshape(batch, 1) * (opening / 2 - raised)

    return Motion(
        opening=opening,
        upper=thick * share * (1 - 0.2 * column(mouth, "press")),
        lower=thick * (1 - share) * (1 - 0.6 * hidden),
        width=(column(mouth, "outer_width") * (1 - purse)).clamp_min(0.25),
        inner_width=(column(mouth, "inner_width") * (1 - 1.3 * purse)).clamp_min(0.12),
        jaw=shape["drop"] * column(mouth, "jaw"),
        raised=raised,
        skew=0.35 * column(mouth, "asymmetry"),
        smile=0.03 * column(mouth, "smile"),
        tongue=(0.15 + u(0.0, 0.3) + 0.6 * column(mouth, "tongue")).clamp(0, 0.95),
        teeth=u(0.6, 1.0).expand(batch, frames),
        yaw=yaw,
        pitch=(pitch * u(0.6, 1.6)).clamp(-0.5, 0.5),
        roll=0.2 * roll + error(0.08, 0.02, 0.008),
        right=0.3 * column(mouth, "shift_x") + error(0.09, 0.02, 0.006) + aside,
        down=0.3 * column(mouth, "shift_y") + error(0.10, 0.02, 0.006) + nod - followed,
        size=column(mouth, "scale") ** 0.3 * torch.exp(error(0.16, 0.015, 0.006)) * (1 + 0.5 * (1 - yaw.cos())),
    )
