"""The face: a random one per clip, as a lit texture of the lower face at rest, mouth closed.

Coordinates are in eye distances (pupil to pupil = 1), the origin lies between the closed lips, x to the right, y down.
It knows nothing of time: render_motion.py says where each point of a moving face lies on this texture.
Everything is drawn from `rng`; nothing is taken from real faces.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

TEXTURE_HALF = 1.1
"""The texture spans +-1.1 eye distances both ways: more than any crop shows."""
TEXTURE_PX = {False: 80, True: 160}
"""Pixels of the texture, by colour or not: somewhat finer than the crops of 48 or 96 pixels."""
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 luma, as the scorer's own grey (MouthNet)."""


class FaceAppearance(NamedTuple):
    """A batch of B faces. Shapes: texture (B, C, P, P) in 0..1; everything else (B, C or 1, 1, 1, 1)."""

    texture: Tensor
    background: Tensor
    """(B, C, P, P): what is seen beside the face, fixed to the camera."""
    neck: Tensor
    teeth: Tensor
    tongue: Tensor
    cavity: Tensor
    shape: dict[str, Tensor]
    """Numbers of this face: lip thickness, curvature, chin height and so on, (B, 1, 1, 1, 1)."""


def uniform(rng: np.random.Generator, batch: int, low: float, high: float) -> Tensor:
    """(B, 1, 1, 1) float32, one draw per face."""
    return torch.from_numpy(rng.uniform(low, high, (batch, 1, 1, 1)).astype(np.float32))


def chance(rng: np.random.Generator, batch: int, share: float) -> Tensor:
    """(B, 1, 1, 1) of 0 or 1, one with probability `share`."""
    return torch.from_numpy((rng.random((batch, 1, 1, 1)) < share).astype(np.float32))


def blobs(rng: np.random.Generator, batch: int, cells: int, size: int) -> Tensor:
    """Smooth noise of unit spread: (B, 1, size, size) from cells x cells random numbers."""
    coarse = torch.from_numpy(rng.standard_normal((batch, 1, cells, cells)).astype(np.float32))
    mode = "bilinear" if cells >= size else "bicubic"
    return functional.interpolate(coarse, (size, size), mode=mode, align_corners=False)


def texture_grid(pixels: int) -> tuple[Tensor, Tensor]:
    """x, y of the texture's points, each (1, 1, P, P), in eye distances."""
    line = (torch.arange(pixels) + 0.5) / pixels * 2 - 1
    y, x = torch.meshgrid(line * TEXTURE_HALF, line * TEXTURE_HALF, indexing="ij")
    return x[None, None], y[None, None]


def bump(
    x: Tensor, y: Tensor, at_x: Tensor | float, at_y: Tensor | float, wide: Tensor | float, high: Tensor | float
) -> Tensor:
    """A Gaussian hill."""
    return torch.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)


def soft_step(distance: Tensor, edge: Tensor | float) -> Tensor:
    """0 to 1 across `edge`."""
    return torch.sigmoid(distance * (4.0 / edge))


def draw_shape(rng: np.random.Generator, batch: int, mouth: dict[str, Tensor]) -> dict[str, Tensor]:
    """The bones of B faces and their lips at rest, (B, 1, 1, 1) each, in eye distances."""

    def u(low: float, high: float) -> Tensor:
        return uniform(rng, batch, low, high)

    share = u(0.28, 0.5)
    return {
        "thin": u(-0.2, 0.5),  # how much of their thickness lips lose when they are drawn back from open teeth
        "width": mouth["width"],
        "upper": mouth["thick"] * share,  # thickness of the upper lip at its middle
        "lower": mouth["thick"] * (1 - share),
        "nose_y": -u(0.28, 0.46),  # where nose and lip meet
        "chin_y": u(0.52, 0.78),
        "jaw_curve": u(0.12, 0.65),
        "cheek": u(0.85, 1.25),  # half width of the face at the mouth
        "bow": u(-0.05, 0.05),  # corners below (+) or above the middle of the closed lips
        "cupid": u(0.0, 0.35),
        "wave": u(-0.012, 0.012),
        "upper_power": u(0.45, 0.95),
        "lower_power": u(0.45, 0.9),
        "inner_power": u(0.5, 1.1),
        "lift": u(0.3, 1.5),  # how much of its raising the upper lip makes good
        "drop": u(0.06, 0.24),  # how far the chin goes down for the widest vowel
        "edge": u(0.015, 0.09),  # softness of the lip's border
        "teeth_edge": u(-0.03, 0.06),  # upper teeth's lower end below the closed lips' line
        "low_teeth": u(-0.03, 0.07),  # lower teeth's upper end below that line, the jaw closed
        "low_follow": u(0.25, 0.95),  # how far the lower teeth follow the lower lip: lips draw back from teeth
        "low_bright": u(0.6, 1.1),
        "teeth_half": u(0.6, 1.1),  # of the inner mouth's half width
        "teeth_round": u(0.1, 0.6),  # how fast they go dark to the sides
        "gaps": u(0.0, 0.3),
        "shadow": u(0.0, 0.5),  # of the upper lip on what is behind it
        "tooth": u(0.045, 0.075),
        "fold": u(0.0, 0.25) * chance(rng, batch, 0.7),
        "under": u(0.0, 0.3),
        "line": u(0.25, 0.95),  # darkness of the line between closed lips
        "depth": u(0.25, 0.6),  # how round the head is: moves the middle against the sides in yaw
    }


def draw_face(rng: np.random.Generator, batch: int, *, colour: bool, mouth: dict[str, Tensor]) -> FaceAppearance:
    """B random faces; C = 3 channels with `colour`, else 1 (their luma). `mouth`: "width" and "thick" (both lips)."""
    shape = draw_shape(rng, batch, mouth)
    x, y = texture_grid(TEXTURE_PX[colour])
    lips = lip_cover(shape, x, y)
    relief = draw_relief(rng, batch, shape, x, y, lips)
    shade, gloss = light_relief(rng, batch, relief, lips)
    skin = skin_colour(rng, batch)
    albedo = draw_albedo(rng, batch, shape, x, y, lips, skin)
    lit = albedo * shade + gloss
    teeth = (skin.mean(1, keepdim=True) * uniform(rng, batch, 0.4, 0.9) + uniform(rng, batch, 0.15, 0.5)).clamp(
        0.2, 1.0
    )
    teeth = teeth * torch.tensor([1.0, 0.97, 0.86])[None, :, None, None]
    tongue = skin * torch.tensor([1.0, 0.62, 0.62])[None, :, None, None] * uniform(rng, batch, 0.35, 0.85)
    cavity = skin * torch.tensor([0.9, 0.55, 0.5])[None, :, None, None] * uniform(rng, batch, 0.02, 0.3)
    neck = skin * uniform(rng, batch, 0.25, 1.0) * torch.tensor([1.0, 0.98, 0.95])[None, :, None, None]
    background = draw_background(rng, batch, skin, x.shape[-1])
    parts = [lit.clamp(0, 1.2), background, neck, teeth, tongue, cavity]
    if not colour:
        parts = [(part * torch.tensor(LUMA)[None, :, None, None]).sum(1, keepdim=True) for part in parts]
    texture, background, neck, teeth, tongue, cavity = parts
    return FaceAppearance(
        texture,
        background,
        neck[..., None],
        teeth[..., None],
        tongue[..., None],
        cavity[..., None],
        {name: value[..., None] for name, value in shape.items()},
    )


def lip_cover(shape: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """1 on the closed lips, 0 on the skin: (B, 1, P, P)."""
    top, bottom = rest_lips(shape, x)
    inside = soft_step(y + top, shape["edge"]) * soft_step(bottom - y, shape["edge"])
    return inside * soft_step(shape["width"] / 2 - x.abs(), shape["edge"])


def rest_lips(shape: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Thickness of the upper and lower lip over x at rest, both >= 0.002, shaped like `x`."""
    across = (x / (shape["width"] / 2)).clamp(-1, 1)
    taper = (1 - across**2).clamp_min(1e-4)
    dip = 1 - shape["cupid"] * torch.exp(-((across / 0.13) ** 2))
    return shape["upper"] * dip * taper ** shape["upper_power"] + 0.002, shape["lower"] * taper ** shape[
        "lower_power"
    ] + 0.002


def draw_relief(
    rng: np.random.Generator, batch: int, shape: dict[str, Tensor], x: Tensor, y: Tensor, lips: Tensor
) -> Tensor:
    """The height of the face towards the camera, (B, 1, P, P), in eye distances."""

    def u(low: float, high: float) -> Tensor:
        return uniform(rng, batch, low, high)

    nose = shape["nose_y"]
    height: Tensor = -shape["depth"] * x**2 - u(0.0, 0.25) * y**2
    height = height + u(0.15, 0.4) * bump(x, y, 0.0, nose - u(0.08, 0.2), u(0.11, 0.17), u(0.1, 0.2))  # tip
    wing = u(0.14, 0.22)
    for side in (-1, 1):
        height = height + u(0.03, 0.1) * bump(x, y, side * wing, nose - 0.04, 0.06, 0.08)
        height = height - u(0.0, 0.05) * bump(x, y, side * shape["width"] / 2, 0.02, 0.06, u(0.05, 0.12))  # corners
        height = height + u(0.0, 0.08) * bump(x, y, side * u(0.5, 0.7), -0.2, 0.2, 0.25)  # cheeks
        crease_x = side * (wing + 0.03 + (y - nose) * u(0.3, 0.75))
        height = height - u(0.0, 0.035) * torch.exp(-(((x - crease_x) / 0.04) ** 2)) * soft_step(y - nose, 0.1) * (
            soft_step(0.2 - y, 0.2)
        )
    height = height - u(0.0, 0.02) * bump(x, y, 0.0, nose / 2, 0.035, 0.12)  # philtrum
    top, bottom = rest_lips(shape, x)
    roll = torch.sqrt(((y + top) * (bottom - y)).clamp_min(0) + 1e-6)
    height = height + lips * roll * u(0.3, 1.1) - u(0.0, 0.05) * torch.exp(-((y / 0.02) ** 2)) * lips
    height = height - u(0.01, 0.07) * bump(x, y, 0.0, shape["lower"] + u(0.03, 0.08), u(0.18, 0.4), u(0.04, 0.08))
    height = height + u(0.03, 0.12) * bump(x, y, 0.0, shape["chin_y"] - u(0.1, 0.2), u(0.18, 0.3), u(0.1, 0.18))
    return (
        height + u(0.0, 0.0025) * blobs(rng, batch, 24, x.shape[-1]) + u(0.0, 0.012) * blobs(rng, batch, 7, x.shape[-1])
    )


def light_relief(rng: np.random.Generator, batch: int, relief: Tensor, lips: Tensor) -> tuple[Tensor, Tensor]:
    """Two lamps and a sky on the relief: (diffuse factor, gloss), both (B, 1, P, P)."""
    step = 2 * TEXTURE_HALF / relief.shape[-1]
    padded = functional.pad(relief, (1, 1, 1, 1), mode="replicate")
    slope_x = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / (2 * step)
    slope_y = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / (2 * step)
    length = torch.sqrt(slope_x**2 + slope_y**2 + 1)
    shade = uniform(rng, batch, 0.15, 0.9)
    gloss = torch.zeros_like(relief)
    for strongest in (1.0, 0.5):
        # From where: up is usual, from below rare, from the sides often.
        from_x, from_y = uniform(rng, batch, -1.4, 1.4), uniform(rng, batch, -1.6, 0.5)
        norm = torch.sqrt(from_x**2 + from_y**2 + 1)
        facing = (-slope_x * from_x - slope_y * from_y + 1) / (length * norm)
        shade = shade + uniform(rng, batch, 0.1, strongest) * facing.clamp_min(0)
        half_x, half_y, half_z = from_x / norm, from_y / norm, 1 / norm + 1
        half = torch.sqrt(half_x**2 + half_y**2 + half_z**2)
        mirror = ((-slope_x * half_x - slope_y * half_y + half_z) / (length * half)).clamp_min(0)
        shine = uniform(rng, batch, 0.0, 0.18) * (1 - lips) + uniform(rng, batch, 0.0, 0.5) * lips
        gloss = gloss + shine * mirror ** uniform(rng, batch, 12, 60)
    level = shade.mean((-1, -2), keepdim=True)
    return shade / level, gloss


def skin_colour(rng: np.random.Generator, batch: int) -> Tensor:
    """(B, 3, 1, 1) in 0..1, from very dark to very light, tinted by blood and by the room's light."""
    level = uniform(rng, batch, 0.15, 0.85)
    red, blue = uniform(rng, batch, 1.05, 1.35), uniform(rng, batch, 0.6, 0.95)
    return torch.cat([level * red, level, level * blue], 1).clamp(0.03, 0.98)


def draw_albedo(
    rng: np.random.Generator,
    batch: int,
    shape: dict[str, Tensor],
    x: Tensor,
    y: Tensor,
    lips: Tensor,
    skin: Tensor,
) -> Tensor:
    """What colour each point has, light apart: (B, 3, P, P)."""

    def u(low: float, high: float) -> Tensor:
        return uniform(rng, batch, low, high)

    def some(share: float) -> Tensor:
        return chance(rng, batch, share)

    nose = shape["nose_y"]
    colour = skin * (
        1 + u(0.0, 0.06) * blobs(rng, batch, 6, x.shape[-1]) + u(0.0, 0.05) * blobs(rng, batch, 28, x.shape[-1])
    )
    colour = colour * (1 + u(0.0, 0.04) * blobs(rng, batch, x.shape[-1], x.shape[-1]))
    # Lips: from nearly the skin's own colour to dark lipstick, the upper darker than the lower.
    tint = torch.cat([u(0.75, 1.15), u(0.45, 0.95), u(0.5, 1.0)], 1) * (1 - 0.45 * some(0.15))
    across = 1 + u(-0.15, 0.3) * torch.tanh(y / 0.04)
    furrows = 1 + u(0.0, 0.15) * torch.sin(x * u(60, 140) + 2 * blobs(rng, batch, 10, x.shape[-1]))
    cover = lips * u(0.55, 1.0)
    colour = colour * (1 - cover) + skin * tint * across * furrows * cover
    gap = torch.exp(-((y / u(0.008, 0.022)) ** 2)) * soft_step(shape["width"] * 0.49 - x.abs(), 0.05)
    colour = colour * (1 - shape["line"] * gap)
    colour = colour * (1 - draw_nose_shade(rng, batch, nose, x, y))
    # Hair: stubble is fine and everywhere below the nose; a moustache covers the upper lip's edge; a beard frames it.
    grain = 0.6 + 0.4 * blobs(rng, batch, x.shape[-1], x.shape[-1])
    below = soft_step(y - nose, 0.12)
    free = 1 - lips * u(0.6, 1.0)
    stubble = some(0.3) * u(0.1, 0.5) * below * free * soft_step(y + 0.35 * x.abs() + u(-0.1, 0.2), 0.3)
    moustache = some(0.16) * u(0.3, 0.95) * bump(x, y, 0.0, nose * u(0.35, 0.55), u(0.28, 0.5), u(0.08, 0.14))
    ring = soft_step(((x / u(0.45, 0.6)) ** 2 + ((y - 0.08) / u(0.24, 0.36)) ** 2) - 1, 0.5)
    beard = some(0.16) * u(0.3, 0.95) * below * ring * free
    hair = skin * u(0.1, 0.8) * u(0.2, 1.0)
    for cover in (stubble, moustache, beard):
        cover = (cover * (grain if cover is stubble else 0.75 + 0.25 * grain)).clamp(0, 1)
        colour = colour * (1 - cover) + hair * cover
    return (colour * (1 - draw_marks(rng, batch, shape, x, y))).clamp(0.01, 1.1)


def draw_nose_shade(rng: np.random.Generator, batch: int, nose: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Nostrils, the wings' outline and the shadow below: 0 (none) to 1."""
    apart = uniform(rng, batch, 0.07, 0.13)
    dark = uniform(rng, batch, 0.0, 0.08) * torch.ones_like(x)
    for side in (-1, 1):
        nostril = bump(x, y, side * apart, nose - uniform(rng, batch, 0.0, 0.06), 0.055, 0.03)
        dark = dark * 0 + torch.maximum(dark, uniform(rng, batch, 0.2, 0.95) * nostril)
        wing = torch.exp(-(((x - side * (apart + 0.09)) / 0.02) ** 2) - ((y - nose + 0.07) / 0.07) ** 2)
        dark = torch.maximum(dark, uniform(rng, batch, 0.0, 0.45) * wing)
    cast = bump(x, y, uniform(rng, batch, -0.12, 0.12), nose + uniform(rng, batch, 0.0, 0.12), 0.16, 0.06)
    return torch.maximum(dark, uniform(rng, batch, 0.0, 0.6) * cast)


def draw_marks(rng: np.random.Generator, batch: int, shape: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Wrinkles, moles and folds: darkness 0..0.8."""
    dark = torch.zeros(batch, 1, x.shape[-1], x.shape[-1])
    for side in (-1, 1):
        corner = side * shape["width"] / 2
        line = torch.exp(-(((x - corner * 1.06 - side * (y * uniform(rng, batch, -0.1, 0.3))) / 0.02) ** 2))
        dark = dark + uniform(rng, batch, 0, 0.25) * chance(rng, batch, 0.4) * line * bump(
            x, y, corner, 0.12, 0.3, 0.12
        )
        fold_x = side * (0.22 + (y - shape["nose_y"]) * uniform(rng, batch, 0.35, 0.8))
        fold = torch.exp(-(((x - fold_x) / uniform(rng, batch, 0.015, 0.045)) ** 2))
        reach = soft_step(y - shape["nose_y"] + 0.05, 0.1) * soft_step(uniform(rng, batch, 0.0, 0.2) - y, 0.15)
        dark = dark + uniform(rng, batch, 0, 0.4) * chance(rng, batch, 0.6) * fold * reach
        dark = dark + uniform(rng, batch, 0, 0.35) * bump(x, y, corner, 0.0, uniform(rng, batch, 0.02, 0.06), 0.03)
    for _ in range(2):
        spot = bump(x, y, uniform(rng, batch, -0.7, 0.7), uniform(rng, batch, -0.5, 0.7), 0.025, 0.025)
        dark = dark + uniform(rng, batch, 0, 0.7) * chance(rng, batch, 0.15) * spot
    return dark.clamp(0, 0.8)


def draw_background(rng: np.random.Generator, batch: int, skin: Tensor, pixels: int) -> Tensor:
    """Hair, wall or screen beside the face: (B, 3, P, P)."""
    base = torch.from_numpy(rng.uniform(0.02, 0.95, (batch, 3, 1, 1)).astype(np.float32))
    base = base * (1 - 0.7 * chance(rng, batch, 0.4))
    plain = base * (1 + uniform(rng, batch, 0.0, 0.3) * blobs(rng, batch, 5, pixels))
    return (plain + uniform(rng, batch, 0.0, 0.08) * blobs(rng, batch, 40, pixels) * skin).clamp(0, 1)
