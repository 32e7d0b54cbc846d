"""A talking head made of numbers: sound and a mouth that go together, and by how much they are shifted."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import MEL_PER_CELL, SAMPLE_RATE_HZ
from avsync.scorer.features.geometry import LANDMARKS
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.features.normalising import normal_lips, normal_mel, with_context
from avsync.scorer.signal import Method
from avsync.units import ms, ticks_to_ns

Array = NDArray[Any]


@dataclass
class Talk:
    """`pcm` from -before_ms on, pictures from 0 on. `ahead_ms` > 0: the voice is ahead of the lips."""

    seconds: float = 4.0
    fps: Fraction | int = 25
    ahead_ms: int = 0
    before_ms: int = 500
    seed: int = 1
    pcm: Array = field(init=False)
    rois: Array = field(init=False)
    landmarks: Array = field(init=False)
    pts_ns: list[int] = field(init=False)

    def __post_init__(self) -> None:
        open_100hz = openness(self.seed, self.seconds + 2 * self.before_ms / 1000 + 2.0)
        self.pcm = voice(open_100hz, self.seed, self.seconds + 2 * self.before_ms / 1000, 1.0 + self.ahead_ms / 1000)
        count = int(self.seconds * self.fps)
        self.pts_ns = [ticks_to_ns(n, self.fps) for n in range(count)]
        # A picture shows the mouth of its middle; sound and mouth share one clock that begins a second in.
        at_s = np.array(self.pts_ns) * 1e-9 + 0.5 / float(self.fps) + 1.0 + self.before_ms / 1000
        opened = np.interp(at_s, np.arange(len(open_100hz)) / 100, open_100hz)
        self.rois, self.landmarks = mouths(opened), faces(opened)

    @property
    def pcm_start_ms(self) -> int:
        return -self.before_ms

    @property
    def pcm_pts_ns(self) -> int:
        return -ms(self.before_ms)


def openness(seed: int, seconds: float) -> Array:
    """How open the mouth is, 0 to 1, at 100 Hz: syllables of 120 to 320 ms, now and then a pause."""
    rng = np.random.default_rng(seed)
    out: list[Array] = []
    while sum(map(len, out)) < seconds * 100:
        length = int(rng.integers(12, 32))
        height = 0.0 if rng.random() < 0.15 else float(rng.uniform(0.3, 1.0))
        out.append(height * np.sin(np.linspace(0, np.pi, length)) ** 2)
    return np.concatenate(out)[: int(seconds * 100)]


def voice(open_100hz: Array, seed: int, seconds: float, start_s: float) -> Array:
    """float32 sound as loud as the mouth is open: a buzz at 120 Hz with noise, and a quiet room."""
    rng = np.random.default_rng(seed + 1000)
    at_s = start_s + np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    loud = np.interp(at_s, np.arange(len(open_100hz)) / 100, open_100hz)
    buzz = sum(np.sin(2 * np.pi * 120 * k * at_s + k) / k for k in range(1, 30))
    noise = rng.standard_normal(len(at_s))
    return np.asarray(0.12 * loud * (buzz + 0.3 * noise) + 0.0005 * noise, np.float32)


def mouths(opened: Array) -> Array:
    """uint8 (T, 96, 96, 3): skin, lips, and a dark cavity as high as the mouth is open."""
    rows, columns = np.mgrid[0:96, 0:96]
    skin = 150 + 0.4 * columns + 0.2 * rows + 12 * np.sin(rows / 5.0)
    out = np.empty((len(opened), 96, 96, 3), np.uint8)
    for n, value in enumerate(opened):
        high = 2.0 + 14.0 * value
        shape = ((columns - 48) / 24.0) ** 2
        picture = np.where(shape + ((rows - 48) / (high + 6)) ** 2 < 1, 110.0, skin)
        picture = np.where(shape + ((rows - 48) / high) ** 2 < 1, 30.0, picture)
        out[n] = np.clip(picture, 0, 255)[:, :, None]
    return out


def faces(opened: Array) -> Array:
    """float32 (T, 468, 2): a face of 100 pixels between the eyes whose lower lip and chin go down."""
    rng = np.random.default_rng(7)
    still = np.asarray(rng.uniform(200, 400, (LANDMARKS, 2)), np.float32)
    places = {33: (240, 250), 133: (260, 250), 362: (340, 250), 263: (360, 250), 1: (300, 300), 2: (300, 335)}
    places |= {61: (270, 370), 291: (330, 370), 78: (275, 370), 308: (325, 370), 152: (300, 430)}
    upper = {0: 300, 37: 290, 267: 310, 13: 300, 81: 292, 311: 308, 82: 296, 312: 304}
    lower = {17: 300, 84: 290, 314: 310, 14: 300, 178: 292, 402: 308, 87: 296, 317: 304}
    for point, place in places.items():
        still[point] = place
    for point, x in upper.items():
        still[point] = (x, 360 if point in (0, 37, 267) else 367)
    for point, x in lower.items():
        still[point] = (x, 382 if point in (17, 84, 314) else 372)
    out = np.repeat(still[None], len(opened), axis=0)
    for point in (*lower, 152):
        out[:, point, 1] += np.asarray(18 * opened, np.float32)
    return out


class FakeBackend:
    """Dimensions, context and normalisation like a network's, of numpy alone: eight values a picture, all mixed."""

    method: Method = "pixels"
    wants: frozenset[str] = frozenset({"rois"})

    def __init__(self, bias_ms: float = 0.0) -> None:
        self.bias_ms = bias_ms
        rng = np.random.default_rng(3)
        self._lips = rng.standard_normal((16, 5)).astype(np.float32)
        self._sound = rng.standard_normal((40, 5)).astype(np.float32)

    def picture_values(self, rois: Array | None, landmarks: Array | None) -> Array:
        assert rois is not None
        return np.asarray(rois[:, 16:80, ::12, 0].reshape(len(rois), 64, 8).mean(axis=1), np.float32)

    def sound_values(self, pcm: Array) -> Array:
        return log_mel(pcm)

    def embed_lips(self, cells: Array, seen: Array, window: slice) -> Array:
        rows = with_context(normal_lips(cells, seen, np.ones(8, np.float32)), window, 7)
        return _smooth(np.tanh(rows @ self._lips), 15)

    def embed_sound(self, mel: Array, window: slice) -> Array:
        rows = with_context(normal_mel(mel), window, 7, MEL_PER_CELL)
        return _smooth(np.tanh(rows @ self._sound), 30)[::MEL_PER_CELL]


def _smooth(rows: Array, taps: int) -> Array:
    total = np.cumsum(np.concatenate([np.zeros_like(rows[:1]), rows]), axis=0)
    return np.asarray((total[taps:] - total[:-taps]) / taps, np.float32)
