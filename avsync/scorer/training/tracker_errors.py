"""What a face tracker makes of a mouth: the numbers of `geometry`, as if measured from landmarks of a picture.

A landmark model is no ruler. It has seen many faces, so it shows closed lips a little open, makes extremes smaller,
moves everything that usually moves together, follows late by nothing but trembles. All of that is drawn per clip;
the ranges are set by hand after the spread, the spectrum and the correlations of the numbers on real faces.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import Floats
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.synthetic.mouths import TRACK_HZ, MouthTrack, _slow

RATES: Final = (25.0, 25.0, 25.0, 30.0, 30.0, 50.0, 60.0)


def tracked_geometry(
    track: MouthTrack, random: np.random.Generator, *, fps: float | None = None
) -> tuple[NDArray[np.int64], Floats]:
    """The pictures' times (ns, rising) and the numbers read off them, float32 (T, len(GEOMETRY_NAMES)).

    A picture shows the mouth of the middle of its time on the screen, blurred over its exposure.
    """
    rate = fps or float(random.choice(RATES))
    clean = _distances(track, random)
    period_s = 1.0 / rate
    count = int(len(clean) / TRACK_HZ * rate)
    start_s = np.arange(count) * period_s
    exposure_s = random.uniform(0.2, 1.0) * min(period_s, 0.04)
    shown = np.zeros((count, clean.shape[1]))
    parts = 4
    for part in range(parts):
        at = (start_s + period_s / 2 + ((part + 0.5) / parts - 0.5) * exposure_s) * TRACK_HZ - 0.5
        for column in range(clean.shape[1]):
            shown[:, column] += np.interp(at, np.arange(len(clean)), clean[:, column]) / parts
    values = shown + _trembling(count, rate, random)
    return np.round(start_s * 1e9).astype(np.int64), values.astype(np.float32)


def _distances(track: MouthTrack, random: np.random.Generator) -> NDArray[np.float64]:
    """The true shape through the landmark model's habits and the head's pose: (n, F), 100 times a second."""

    def at(name: str) -> NDArray[np.float64]:
        return track.column(name).astype(np.float64)

    def draw(middle: float, spread: float) -> float:
        return float(random.normal(middle, spread))

    inner = at("inner_open")
    floor = random.uniform(0.003, 0.04)
    knee = random.uniform(0.005, 0.03)
    # Small openings are hardly told from closed lips; large ones are shown smaller.
    opened = np.sqrt(inner**2 + knee**2) - knee
    opened = opened * random.uniform(0.7, 1.15) / (1.0 + opened * random.uniform(0.0, 2.0))
    opened = opened * (1.0 + 0.15 * at("asymmetry") * draw(0.0, 0.5))
    speech = at("jaw") * draw(0.020, 0.012)
    # The outline knows the jaw and the rounding better than the gap does.
    inner_open = floor + opened
    outer_height = draw(0.27, 0.045) + draw(1.2, 0.12) * opened + 0.5 * speech
    outer_height = outer_height + 0.015 * draw(1.0, 0.5) * np.maximum(at("round"), 0.0) - 0.02 * at("press")
    lower_lip = draw(0.160, 0.010) + draw(0.18, 0.05) * opened - draw(0.008, 0.004) * at("tuck") - 0.004 * at("press")
    upper_lip = draw(0.105, 0.012) + draw(0.10, 0.05) * opened - 0.003 * at("press")
    width, inner_width = at("outer_width"), at("inner_width") + draw(0.0, 0.02)
    corner_x = width / 2
    rise = draw(0.25, 0.03) - 0.3 * at("upper_raise")
    down_lower = rise + outer_height
    down_corner = draw(0.46, 0.045) + draw(0.48, 0.12) * opened - 0.015 * at("smile")
    down_chin = draw(1.16, 0.09) + draw(0.75, 0.20) * opened + draw(0.9, 0.3) * speech

    yaw, pitch = np.deg2rad(at("yaw_deg")), np.deg2rad(at("pitch_deg") + draw(0.0, 5.0))
    size = np.sqrt((np.cos(yaw) ** 2 + (np.cos(pitch) - 0.25 * np.sin(pitch)) ** 2) / 2)
    flat, deep = np.cos(pitch), np.sin(pitch)
    nose = 0.45  # how far the nose's tip stands out, eye distances
    narrow = np.cos(yaw) + 0.08 * np.abs(np.sin(yaw))
    corner_far = np.hypot(corner_x * narrow + nose * np.sin(yaw), down_corner * flat + nose * deep)
    corner_near = np.hypot(corner_x * narrow - nose * np.sin(yaw), down_corner * flat + nose * deep)
    columns = {
        "inner_open": inner_open * flat,
        "outer_height": outer_height * flat,
        "outer_width": width * narrow,
        "inner_width": inner_width * narrow,
        "nose_to_chin": down_chin * flat + nose * deep,
        "nose_to_lower_lip": down_lower * flat + 0.2 * deep,
        "upper_lip": upper_lip * flat,
        "lower_lip": lower_lip * flat,
        "corner_to_nose": 0.5 * (corner_far + corner_near),
    }
    return np.asarray(np.stack([columns[name] for name in GEOMETRY_NAMES], axis=1) / size[:, None])


_TREMBLE: Final = {
    "inner_open": 0.0030, "outer_height": 0.0040, "outer_width": 0.0070, "inner_width": 0.0065, "nose_to_chin": 0.0045,
    "nose_to_lower_lip": 0.0045, "upper_lip": 0.0018, "lower_lip": 0.0008, "corner_to_nose": 0.0045,
}  # fmt: skip
"""Usual noise from picture to picture, eye distances."""
_MOVES_WITH_OPENING: Final = {"inner_open": 0.9, "outer_height": 1.1, "nose_to_lower_lip": 1.1, "lower_lip": 0.18}


def _trembling(count: int, fps: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Noise of the landmarks: a part that the model believes to be opening lips, a common change of size, and the
    rest; each partly carried over from picture to picture."""
    amount = float(np.exp(random.normal(np.log(0.6), 0.5)))
    keep = random.uniform(0.2, 0.8) ** (25.0 / fps)

    def noise(spread: float) -> NDArray[np.float64]:
        white = random.standard_normal(count + 20) * np.sqrt(1 - keep**2)
        for index in range(1, len(white)):
            white[index] += keep * white[index - 1]
        return np.asarray(white[20:] * spread * amount)

    opening, size = noise(0.003), noise(0.004) + 0.006 * _slow(max(count, 1), 0.5 * TRACK_HZ / fps, random)[:count]
    usual = dict(zip(GEOMETRY_NAMES, (0.07, 0.35, 0.86, 0.74, 1.2, 0.6, 0.11, 0.17, 0.65), strict=True))
    columns = [
        noise(_TREMBLE[name]) + _MOVES_WITH_OPENING.get(name, 0.0) * opening + usual[name] * size
        for name in GEOMETRY_NAMES
    ]
    return np.stack(columns, axis=1)
