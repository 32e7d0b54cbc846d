"""A clip whose offset is known because it was made: lips that open as the sound gets loud, and a backend to see it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.evaluation.protocol import Footage
from avsync.scorer.features.cells import MEL_PER_CELL, Floats
from avsync.scorer.features.log_mel import log_mel
from avsync.scorer.signal import Method

RATE = 16_000


def opening(at_s: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """How open the mouth is at each time, 0 to 1: never the same twice."""
    chance = np.random.default_rng(seed)
    waves = sum(np.sin(2 * np.pi * (f * at_s + chance.random())) for f in chance.uniform(0.7, 5.0, 12))
    return np.asarray(1 / (1 + np.exp(-waves)))


def footage(seconds: float = 6.0, *, fps: float = 25.0, voice_ahead_ms: float = 0.0, seed: int = 0) -> Footage:
    """Sound at time t belongs to the lips at t + voice_ahead_ms."""
    start_ns = np.round(np.arange(int(seconds * fps)) * 1e9 / fps).astype(np.int64)
    wide = opening(start_ns / 1e9 + 0.5 / fps, seed)
    landmarks = np.tile(np.random.default_rng(9).uniform(40, 160, (1, 468, 2)).astype(np.float32), (len(wide), 1, 1))
    landmarks[:, 17, 1] += (20 * wide).astype(np.float32)
    rois = np.random.default_rng(seed).integers(90, 110, (len(wide), 96, 96, 3), dtype=np.uint8)
    rois[:, :40] = 30  # a face is no even grey: it has a shape that stays
    rois[:, 40:70, 30:60] = (40 + 100 * wide).astype(np.uint8)[:, None, None, None]
    at_s = np.arange(int(seconds * RATE)) / RATE + voice_ahead_ms / 1000
    noise = np.random.default_rng(seed + 100).standard_normal(len(at_s)) * 0.1
    pcm = (noise * (0.02 + opening(at_s, seed))).astype(np.float32)
    return Footage(start_ns, round(seconds * 1e9), rois, landmarks, pcm, 0)


class Opening:
    """A backend that reads the made clips: one number of the landmarks against the sound's log energy."""

    method: Method = "geometry"
    bias_ms = 0.0
    wants = frozenset({"landmarks"})

    def __init__(self) -> None:
        self.sounds: list[tuple[int, slice]] = []

    def picture_values(self, rois: NDArray[np.uint8] | None, landmarks: Floats | None) -> Floats:
        assert landmarks is not None
        return landmarks[:, 17, 1:2].copy()

    def sound_values(self, pcm: Floats) -> Floats:
        return log_mel(pcm)

    def embed_lips(self, cells: Floats, seen: NDArray[np.bool_], window: slice) -> Floats:
        return np.log(1 + np.maximum(cells[window] - cells.min(), 0))

    def embed_sound(self, mel: Floats, window: slice) -> Floats:
        self.sounds.append((len(mel), window))
        cells = mel.mean(axis=1).reshape(-1, MEL_PER_CELL).mean(axis=1)
        return np.asarray((cells - mel.mean())[window, None], np.float32)


def trial(**columns: Any) -> Any:
    """One row as `protocol.trials_of` makes it: right, of clip 0, unless told otherwise."""
    from avsync.scorer.evaluation.protocol import TRIAL

    usual = {
        "clip": 0, "kind": 0, "window_ms": 1000, "step_ms": 20, "tracked": True, "found_ms": 0.0, "error_ms": 0.0,
        "best": 0.5, "margin": 0.2, "speech_s": 1.0, "coverage": 1.0,
    }  # fmt: skip
    row = np.zeros(1, TRIAL)
    for name, value in {**usual, **columns}.items():
        row[name] = value
    return row
