"""Motion: where each point of a moving face lies on its texture at rest, and what shows between its lips.

The skin moves as skin does: above the mouth it is stretched between the nose, which stays, and the upper lip; below,
between the lower lip and the chin, which follows the jaw. Teeth belong to the skull and the jaw, not to the lips.
Units and axes are those of render_face.py; all tensors are (B, C or 1, T, S, S), or broadcast to that.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from avsync.scorer.synthetic.render_face import TEXTURE_HALF, FaceAppearance, rest_lips, soft_step


class Motion(NamedTuple):
    """What B faces do over T pictures: each (B, T) float32, lengths in eye distances, angles in radians."""

    opening: Tensor
    """Between the inner lips, at the middle; >= 0."""
    upper: Tensor
    """Thickness of the upper lip at the middle."""
    lower: Tensor
    width: Tensor
    """Between the corners of the mouth."""
    inner_width: Tensor
    jaw: Tensor
    """How far the chin is below its place at rest."""
    raised: Tensor
    """How far the upper lip's inner edge is above its place at rest."""
    skew: Tensor
    """How much more one side opens than the other."""
    smile: Tensor
    """Corners up (+) or down."""
    tongue: Tensor
    """How much of the opening the tongue fills, from below: 0..1."""
    teeth: Tensor
    """How near the teeth are to the light: 0 (hidden) to 1."""
    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    right: Tensor
    """How far the face's origin is to the right of the crop's middle."""
    down: Tensor
    size: Tensor
    """Eye distance as shown, over the one that the crop assumed."""


def crop_points(pixels: int, span: float) -> tuple[Tensor, Tensor]:
    """x, y of a crop's pixels about its middle, (1, 1, 1, S, S), for a crop of `span` eye distances."""
    line = ((torch.arange(pixels) + 0.5) / pixels - 0.5) * span
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x[None, None, None], y[None, None, None]


def show(face: FaceAppearance, motion: Motion, *, pixels: int, span: float) -> Tensor:
    """Pictures of the faces, before the camera: (B, C, T, S, S) in 0..1."""
    m = Motion(*(value[:, None, :, None, None] for value in motion))
    at_x, at_y = crop_points(pixels, span)
    x, y, facing = turn(face, m, at_x, at_y)
    line, top, bottom, reach = lips_now(face, m, x)
    texture_x, texture_y = to_rest(face, m, x, y, top, bottom, reach)
    skin = sample(face.texture, texture_x, texture_y)
    skin = skin * (1 - creases(face, m, x, y, line, bottom))
    inside = soft_step(y - top, 0.02) * soft_step(bottom - y, 0.02) * soft_step(m.inner_width / 2 - x.abs(), 0.03)
    inside = inside * soft_step(m.opening - 0.012, 0.012)
    picture = skin + (inner_mouth(face, m, x, y, top, bottom) - skin) * inside
    chin = face.shape["chin_y"] + m.jaw - face.shape["jaw_curve"] * x**2
    below = soft_step(y - chin, 0.07)
    picture = picture + (face.neck * (1 - 0.4 * torch.exp(-(((y - chin) / 0.12) ** 2))) - picture) * below
    half = face.shape["cheek"] - 0.35 * (y - face.shape["nose_y"]).clamp_min(0) ** 2
    seen = facing * soft_step(half - x.abs(), 0.05)
    behind = sample(face.background, at_x.expand_as(x), at_y.expand_as(y))
    return behind + (picture - behind) * seen


def turn(face: FaceAppearance, m: Motion, at_x: Tensor, at_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Crop points to points of the face as seen from the front, and whether the face is there (0..1)."""
    x, y = (at_x - m.right) / m.size, (at_y - m.down) / m.size
    x, y = x * m.roll.cos() + y * m.roll.sin(), y * m.roll.cos() - x * m.roll.sin()
    # A round head: the point (x, y) stands at depth -d x^2, so it is seen at x cos(yaw) - d x^2 sin(yaw).
    curve = face.shape["depth"] * m.yaw.sin()
    straight = m.yaw.cos()
    under_root = straight**2 - 4 * curve * x
    face_x = 2 * x / (straight + under_root.clamp_min(1e-3).sqrt())
    face_y = (y + face.shape["depth"] * face_x**2 * m.pitch.sin()) / m.pitch.cos()
    return face_x, face_y, soft_step(under_root - 0.02, 0.05)


def lips_now(face: FaceAppearance, m: Motion, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y of the line between the corners, of the inner upper and lower lip, and x over half the mouth's width."""
    reach = (x / (m.width / 2)).clamp(-1, 1)
    corner = face.shape["bow"] + 0.2 * m.jaw - m.smile
    line = corner * reach**2 + face.shape["wave"] * torch.cos(3 * torch.pi * reach) * (1 - reach**2)
    across = (x / (m.inner_width / 2)).clamp(-1, 1)
    arch = (1 - across**2).clamp_min(1e-4) ** face.shape["inner_power"] * (1 + m.skew * across)
    top = line - m.raised * arch
    return line, top, top + m.opening * arch, reach


def to_rest(
    face: FaceAppearance, m: Motion, x: Tensor, y: Tensor, top: Tensor, bottom: Tensor, reach: Tensor
) -> tuple[Tensor, Tensor]:
    """The point of the texture that is seen at (x, y)."""
    s = face.shape
    half_rest, half = s["width"] / 2, m.width / 2
    off = torch.relu(torch.maximum(top - y, y - bottom))
    pull = (half_rest - half) * reach * torch.exp(-torch.relu(x.abs() - half) / 0.3 - (off / 0.3) ** 2)
    rest_x = x + pull
    rest_upper, rest_lower = rest_lips(s, rest_x)
    upper = (rest_upper - 0.002) * (m.upper / s["upper"]) + 0.002
    lower = (rest_lower - 0.002) * (m.lower / s["lower"]) + 0.002
    above = top - y
    nose_gap = (top - upper - s["nose_y"]).clamp_min(0.03)
    rest_gap = (-rest_upper - s["nose_y"]).clamp_min(0.03)
    lip = above.clamp_min(0).minimum(upper) * (rest_upper / upper)
    skin = (above - upper).clamp_min(0).minimum(nose_gap) * (rest_gap / nose_gap)
    rise = lip + skin + (above - upper - nose_gap).clamp_min(0)
    under = y - bottom
    jaw = m.jaw * torch.exp(-((x / 0.8) ** 2))
    chin_gap = (s["chin_y"] + jaw - bottom - lower).clamp_min(0.1)
    rest_chin = (s["chin_y"] - rest_lower).clamp_min(0.1)
    lip = under.clamp_min(0).minimum(lower) * (rest_lower / lower)
    skin = (under - lower).clamp_min(0).minimum(chin_gap) * (rest_chin / chin_gap)
    fall = lip + skin + (under - lower - chin_gap).clamp_min(0)
    return rest_x, torch.where(above > 0, -rise, fall)


def sample(texture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """texture (B, C, P, P) at points (B, 1, T, S, S) -> (B, C, T, S, S)."""
    batch, _, frames, high, wide = x.shape[0], 1, x.shape[2], x.shape[3], x.shape[4]
    grid = torch.stack([x, y], -1).reshape(batch, frames * high, wide, 2) / TEXTURE_HALF
    found = functional.grid_sample(texture, grid, padding_mode="border", align_corners=False)
    return found.reshape(batch, texture.shape[1], frames, high, wide)


def creases(face: FaceAppearance, m: Motion, x: Tensor, y: Tensor, line: Tensor, bottom: Tensor) -> Tensor:
    """Shadows that come and go with the shape: beside a smile, and below the lower lip. 0..0.8."""
    s = face.shape
    side_x = x.abs() - (m.width / 2 + 0.09 - 0.45 * (y - line))
    beside = torch.exp(-((side_x / 0.05) ** 2) - ((y - line + 0.08) / 0.2) ** 2)
    deeper = (0.3 + 6 * m.smile + 2 * (m.width - s["width"])).clamp(0, 2)
    below = (y - bottom - m.lower - 0.035) / 0.035
    under = torch.exp(-(below**2) - (x / (m.width * 0.32)) ** 2) * (0.5 + 4 * (m.lower - s["lower"])).clamp(0, 2)
    return (s["fold"] * deeper * beside + s["under"] * under).clamp(0, 0.8)


def inner_mouth(face: FaceAppearance, m: Motion, x: Tensor, y: Tensor, top: Tensor, bottom: Tensor) -> Tensor:
    """Teeth, tongue and the dark behind them, as if the lips were not there: (B, C, T, S, S)."""
    s = face.shape
    across = (x / (m.inner_width / 2)).clamp(-1.2, 1.2)
    depth = (1 - 0.55 * across**2).clamp_min(0)
    tongue_top = bottom - m.tongue * m.opening * (0.6 + 0.4 * depth)
    mouth = face.cavity + (face.tongue * depth - face.cavity) * soft_step(y - tongue_top, 0.03)
    gaps = 1 - s["gaps"] * torch.exp(-((torch.sin(torch.pi * x / s["tooth"]) / 0.3) ** 2))
    near = soft_step(s["teeth_half"] - across.abs(), 0.25) * m.teeth
    tooth = face.teeth * gaps * (1 - s["teeth_round"] * across**2).clamp_min(0.1)
    low = near * soft_step(y - s["low_teeth"] - s["low_follow"] * (m.opening - m.raised), 0.02)
    mouth = mouth + (tooth * s["low_bright"] - mouth) * low
    high = near * soft_step(s["teeth_edge"] - y, 0.02)
    mouth = mouth + (tooth - mouth) * high
    shadow = torch.exp(-(((y - top).clamp_min(0) / 0.025) ** 2))
    return mouth * (1 - s["shadow"] * shadow)
