"""The camera and the line: what happens to a picture between the face and the crop that the scorer is given.

Things in front of the face, blur of focus and of motion, low resolution, exposure, noise, and a codec that rounds
away detail and leaves blocks as they were. Each clip draws its own severities; pictures are (B, C, T, S, S) in 0..1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from avsync.scorer.synthetic.render_face import chance, soft_step, uniform
from avsync.scorer.synthetic.render_motion import crop_points

BLOCK_SHARE = 12
"""A codec's block is a twelfth of the crop: 8 pixels of a crop that was 96 pixels wide in its picture."""


def film(rng: np.random.Generator, pictures: Tensor, *, strength: float = 1.0) -> Tensor:
    """What the scorer is given of `pictures`. `strength` scales how often and how hard each fault strikes."""
    pictures = occlude(rng, pictures, 0.15 * strength)
    pictures = blur(rng, pictures, strength)
    pictures = shrink(rng, pictures, 0.4 * strength)
    pictures = expose(rng, pictures, strength)
    pictures = compress(rng, pictures, 0.5 * strength)
    return stick(rng, pictures, 0.3 * strength).clamp(0, 1)


def randn(rng: np.random.Generator, *shape: int) -> Tensor:
    """Normal noise of `shape`, float32; large shapes cost less this way than through NumPy."""
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    return torch.randn(shape, generator=generator)


def wander(rng: np.random.Generator, batch: int, frames: int, every: int) -> Tensor:
    """Slow random motion of unit spread, changing over about `every` pictures: (B, frames)."""
    knots = max(4, frames // max(every, 1) + 3)
    coarse = randn(rng, batch, 1, knots)
    fine = functional.interpolate(coarse, size=(knots - 2) * max(every, 1) + frames, mode="linear", align_corners=True)
    start = int(rng.integers(0, fine.shape[-1] - frames + 1))
    return fine[:, 0, start : start + frames]


def occlude(rng: np.random.Generator, pictures: Tensor, share: float) -> Tensor:
    """A hand, a microphone, a caption or the rim of glasses in front of some faces."""
    batch, _, frames, size, _ = pictures.shape
    x, y = crop_points(size, 2.0)
    path = 0.12 * wander(rng, 2 * batch, frames, 12).reshape(2, batch, 1, frames, 1, 1)

    def u(low: float, high: float) -> Tensor:
        return uniform(rng, batch, low, high)[..., None]

    angle = u(-1.5, 1.5)
    far = u(0.35, 1.1)
    at_x = far * torch.sin(angle) * 1.2 + path[0]
    at_y = far * torch.cos(angle) + path[1]
    along, across = x - at_x, y - at_y
    tilt = u(-1.5, 1.5)
    along, across = along * tilt.cos() + across * tilt.sin(), across * tilt.cos() - along * tilt.sin()
    inside = 1 - torch.sqrt((along / u(0.2, 0.8)) ** 2 + (across / u(0.12, 0.45)) ** 2 + 1e-6)
    thing = soft_step(inside, u(0.05, 0.3)) * chance(rng, batch, share)[..., None]
    level = pictures.mean((2, 3, 4), keepdim=True)
    colour = level * u(0.1, 1.6) * (1 + u(-0.3, 0.3) * along + u(0.0, 0.2) * torch.sin(along * u(3, 20)))
    pictures = pictures + (colour - pictures) * thing
    rim = (
        torch.exp(-(((y + u(0.75, 0.98) - 0.15 * x.abs()) / u(0.03, 0.08)) ** 2)) * chance(rng, batch, share)[..., None]
    )
    return pictures * (1 - rim * u(0.2, 0.9))


def blur(rng: np.random.Generator, pictures: Tensor, strength: float) -> Tensor:
    """Out of focus, or moved during the exposure: a Gaussian of two widths, as strong as each picture has it."""
    batch, channels, frames, size, _ = pictures.shape
    unit = size / 48
    reach = round(4 * unit)
    line = torch.arange(-reach, reach + 1, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    angle = rng.uniform(0, np.pi, batch)
    wide = rng.uniform(0.25, 0.65, batch) + (rng.random(batch) < 0.3 * strength) * rng.uniform(0, 1.6, batch)
    long = wide + (rng.random(batch) < 0.25 * strength) * rng.uniform(0, 2.5, batch)
    kernels = []
    for turn, a, b in zip(angle, long * unit, wide * unit, strict=True):
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        kernel = torch.exp(-0.5 * ((along / a) ** 2 + (across / b) ** 2))
        kernels.append(kernel / kernel.sum())
    weight = torch.stack(kernels)[:, None].repeat_interleave(channels, 0)
    stacked = pictures.transpose(1, 2).transpose(0, 1).reshape(frames, batch * channels, size, size)
    padded = functional.pad(stacked, (reach,) * 4, mode="replicate")
    soft = functional.conv2d(padded, weight, groups=batch * channels)
    soft = soft.reshape(frames, batch, channels, size, size).permute(1, 2, 0, 3, 4)
    share = (0.85 + 0.25 * wander(rng, batch, frames, 5)).clamp(0.3, 1)[:, None, :, None, None]
    return pictures + (soft - pictures) * share


def shrink(rng: np.random.Generator, pictures: Tensor, share: float) -> Tensor:
    """Some faces were small in their picture: fewer pixels, brought back to the crop's size."""
    batch, _, _, size, _ = pictures.shape
    out = pictures.clone()
    for index in np.flatnonzero(rng.random(batch) < share):
        small = int(size * rng.uniform(0.3, 0.9))
        clip = pictures[index].transpose(0, 1)
        tiny = functional.interpolate(clip, (small, small), mode="area")
        out[index] = functional.interpolate(tiny, (size, size), mode="bilinear", align_corners=False).transpose(0, 1)
    return out


def expose(rng: np.random.Generator, pictures: Tensor, strength: float) -> Tensor:
    """Tone curve, gain, flicker, haze, and the sensor's noise, which grows as light fails."""
    batch, channels, frames, size, _ = pictures.shape

    def u(low: float, high: float) -> Tensor:
        return uniform(rng, batch, low, high)[..., None]

    gamma = torch.exp(0.3 * randn(rng, batch, 1, 1, 1, 1)).clamp(0.4, 2.2)
    dark = chance(rng, batch, 0.15 * strength)[..., None]
    gain = u(0.7, 1.3) * (1 - dark * u(0.4, 0.85))
    flicker = 1 + 0.04 * strength * wander(rng, batch, frames, 8)[:, None, :, None, None]
    haze = u(0.0, 0.3) * chance(rng, batch, 0.3)[..., None]
    pictures = pictures.clamp(1e-3, 1.5) ** gamma * gain * flicker * (1 - haze) + haze * u(0.2, 0.8)
    level = strength * (u(0.0, 0.008) + chance(rng, batch, 0.3)[..., None] * u(0.0, 0.04) + 0.01 * dark)
    coarse = randn(rng, batch * channels * frames, 1, size // 2, size // 2)
    coarse = functional.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    grain = 0.7 * randn(rng, *pictures.shape) + 0.7 * coarse.reshape(pictures.shape)
    return (pictures + level * grain).clamp(0, 1)


@lru_cache(maxsize=8)
def cosines(size: int) -> Tensor:
    """The DCT-II of `size` points as an orthonormal matrix."""
    k, n = torch.arange(size)[:, None], torch.arange(size)[None]
    matrix: Tensor = torch.cos(torch.pi * (n + 0.5) * k / size) * (2 / size) ** 0.5
    matrix[0] /= 2**0.5
    return matrix


def compress(rng: np.random.Generator, pictures: Tensor, share: float) -> Tensor:
    """Blocks whose finer cosines are rounded harder, as JPEG and the video codecs do."""
    batch, channels, frames, size, _ = pictures.shape
    block = size // BLOCK_SHARE
    shift_x, shift_y = (int(rng.integers(0, block)) for _ in range(2))
    rolled = pictures.roll((shift_y, shift_x), (-2, -1))
    matrix = cosines(block)
    tiles = rolled.reshape(batch, channels, frames, BLOCK_SHARE, block, BLOCK_SHARE, block)
    waves = torch.einsum("ai,bcftiuj,dj->bcftaud", matrix, tiles, matrix)
    order = torch.arange(block)[:, None] + torch.arange(block)[None]
    hard = torch.exp(torch.from_numpy(rng.uniform(np.log(0.008), np.log(0.08), batch).astype(np.float32)))
    steps = (hard.view(-1, 1, 1, 1, 1, 1, 1) * (1 + 1.5 * order)[None, None, None, None, :, None, :]) * (block / 4)
    rounded = torch.round(waves / steps) * steps
    back = torch.einsum("ai,bcftaud,dj->bcftiuj", matrix, rounded, matrix).reshape(pictures.shape)
    back = back.roll((-shift_y, -shift_x), (-2, -1))
    struck = chance(rng, batch, share)[..., None]
    return pictures + (back - pictures) * struck


def stick(rng: np.random.Generator, pictures: Tensor, share: float) -> Tensor:
    """Blocks that changed little since they were last sent stay as they were, in some clips."""
    batch, _, frames, size, _ = pictures.shape
    struck = np.flatnonzero(rng.random(batch) < share)
    if len(struck) == 0 or frames < 2:
        return pictures
    block = size // BLOCK_SHARE
    limit = torch.from_numpy(rng.uniform(0.005, 0.035, len(struck)).astype(np.float32)).view(-1, 1, 1)
    key = int(rng.integers(8, 40))
    clips = pictures[struck]
    shown = [clips[:, :, 0]]
    for frame in range(1, frames):
        new, old = clips[:, :, frame], shown[-1]
        change = functional.avg_pool2d((new - old).abs().mean(1), block)
        fresh = ((change > limit) | (frame % key == 0)).float()[:, None]
        fresh = fresh.repeat_interleave(block, -1).repeat_interleave(block, -2)
        shown.append(old + (new - old) * fresh)
    out = pictures.clone()
    out[struck] = torch.stack(shown, 2)
    return out
