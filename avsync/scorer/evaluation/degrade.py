"""What harms a clip: pictures and sound as cameras, lines and rooms spoil them, at fixed severities.

Pictures are whole frames, uint8 RGB (H, W, 3), because the face must be found in what was spoiled. Each
condition is a function of (picture, face, number of the picture): the same clip is always spoiled in the same
way. Nothing here moves a picture or a sound in time, but for `at_rate`, which does it as converters do.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.errors import InputError
from avsync.scorer.features.cells import SAMPLE_RATE_HZ, Floats, as_mono_float

Frame = NDArray[np.uint8]

LOW_LIGHT_GAIN: Final = 0.25
"""Of the picture's values (gamma-coded: about 4.5 stops less light)."""
LOW_LIGHT_NOISE: Final = 8.0
"""Standard deviation of the sensor's noise after that, of 255."""
MOTION_BLUR_SHARE: Final = 0.10
"""Length of the blur, down to the right at 45 degrees, in widths of the face: a head that moves by its own width in
0.2 s under an exposure of 20 ms."""
OCCLUSION_SHARE: Final = 1 / 3
"""So much of the mouth's width lies under a microphone that comes in from the side and below, and stays."""
OCCLUSION_GREY: Final = 40
JPEG_QUALITY: Final = 10
NOISE_SNR_DB: Final = 10.0
"""White noise below the level of the speech."""
MUSIC_SNR_DB: Final = 10.0
"""Chords, bass and a beat below the level of the speech."""
SMALL_FACE_PX: Final = 64
"""Width of the face (of its landmarks) in a frame of 1280x720, and in the picture of low resolution."""
LARGE_FRAME: Final = (720, 1280)
SPEECH_PERCENTILE: Final = 95
SPEECH_RANGE_DB: Final = 25.0
"""Speech is what lies within so much of the loud parts: the same rule as for the windows that count."""
RATES: Final = ("29.97", "30", "50", "60", "variable")
VARIABLE_MS: Final = (15.0, 45.0)
"""Distance of pictures at a variable rate, evenly spread."""


class FacePosition(NamedTuple):
    """Where the face is in the picture that is to be spoiled, in pixels."""

    centre_x: float
    centre_y: float
    width: float
    mouth_x: float
    mouth_y: float
    mouth_width: float


def face_at(landmarks: Floats) -> FacePosition | None:
    """landmarks: float32 (468, 2), the mesh's numbering; None where they are NaN."""
    if np.isnan(landmarks).any():
        return None
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    corners = landmarks[[61, 291]]
    mouth = corners.mean(axis=0)
    return FacePosition(
        float(low[0] + high[0]) / 2,
        float(low[1] + high[1]) / 2,
        float(high[0] - low[0]),
        float(mouth[0]),
        float(mouth[1]),
        float(np.linalg.norm(corners[1] - corners[0])),
    )


def typical_face(landmarks: Floats) -> FacePosition | None:
    """The middle of a clip's faces: landmarks (T, 468, 2), NaN where unseen; None where no face ever was."""
    faces = [face for face in map(face_at, landmarks) if face is not None]
    return FacePosition(*(float(number) for number in np.median(np.array(faces), axis=0))) if faces else None


def low_light(picture: Frame, face: FacePosition, number: int) -> Frame:
    """Dark, and grainy as a sensor is then; the grain differs from picture to picture."""
    chance = np.random.default_rng([1, number])
    noise = chance.standard_normal(picture.shape, dtype=np.float32) * np.float32(LOW_LIGHT_NOISE)
    return _as_picture(picture * np.float32(LOW_LIGHT_GAIN) + noise)


def motion_blur(picture: Frame, face: FacePosition, number: int) -> Frame:
    """Smeared along a diagonal, evenly to both sides."""
    steps = max(2, round(MOTION_BLUR_SHARE * face.width / 2**0.5))
    before = (steps - 1) // 2
    padded = np.pad(picture, ((before, steps - 1 - before),) * 2 + ((0, 0),), mode="edge").astype(np.float32)
    height, width = picture.shape[:2]
    total = np.zeros(picture.shape, np.float32)
    for step in range(steps):
        total += padded[step : step + height, step : step + width]
    return _as_picture(total / np.float32(steps))


def occlusion(picture: Frame, face: FacePosition, number: int) -> Frame:
    """A dark microphone over a third of the mouth. It stands still while the face moves behind it."""
    out = picture.copy()
    edge_x = face.mouth_x - face.mouth_width / 2 + face.mouth_width * OCCLUSION_SHARE
    radius = 0.6 * face.mouth_width
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    across, down = columns - (edge_x - radius), rows - (face.mouth_y + 0.2 * radius)
    head = across**2 + down**2 <= radius**2
    handle = (np.abs(across + 0.8 * down) <= 0.4 * radius) & (down > 0)
    out[head | handle] = OCCLUSION_GREY
    return out


def jpeg(picture: Frame, face: FacePosition, number: int) -> Frame:
    """Through JPEG and back."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError("the JPEG condition needs Pillow", remedy="pip install pillow") from error
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(buffer).convert("RGB"))


def low_resolution(picture: Frame, face: FacePosition, number: int) -> Frame:
    """The whole picture made so small that the face is 64 pixels wide (never made larger)."""
    share = min(1.0, SMALL_FACE_PX / face.width)
    return _resized(picture, max(2, round(picture.shape[0] * share)), max(2, round(picture.shape[1] * share)))


def small_face(picture: Frame, face: FacePosition, number: int) -> Frame:
    """A face of 64 pixels in 1280x720: the small picture, somewhere on a wall of even grey with some grain."""
    small = low_resolution(picture, face, number)
    height, width = LARGE_FRAME
    wall = np.random.default_rng(2).integers(104, 120, (height, width, 1), dtype=np.uint8)
    out = np.repeat(wall, 3, axis=2)
    small = small[:height, :width]
    top, left = (height - small.shape[0]) // 3, 2 * (width - small.shape[1]) // 3
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


def white_noise(pcm: NDArray[Any]) -> Floats:
    """Mono 16 kHz speech with white noise 10 dB below it: float32."""
    chance = np.random.default_rng(3)
    return _mixed(pcm, chance.standard_normal(len(pcm)).astype(np.float32), NOISE_SNR_DB)


def music(pcm: NDArray[Any]) -> Floats:
    """Mono 16 kHz speech with music 10 dB below it: a bass, four chords in turn and a beat, 120 to the minute."""
    seconds = np.arange(len(pcm)) / SAMPLE_RATE_HZ
    bar = (seconds / 2.0).astype(np.int64)
    roots = np.array([220.0, 174.61, 261.63, 196.0])[bar % 4]  # A, F, C, G below the middle C
    # The phase runs on over a change of chord, or every bar would begin with a click.
    phase = 2 * np.pi * np.cumsum(roots) / SAMPLE_RATE_HZ
    tune = np.zeros(len(pcm))
    for ratio, loud in ((0.5, 1.0), (1.0, 0.6), (1.26, 0.5), (1.498, 0.5), (2.0, 0.4)):
        for harmonic in range(1, 6):
            tune += loud / harmonic**1.5 * np.sin(phase * (ratio * harmonic))
    since_beat = seconds % 0.5
    swell = 0.6 + 0.4 * np.exp(-since_beat / 0.2)
    hiss = np.random.default_rng(4).standard_normal(len(pcm))
    beat = 2.0 * hiss * np.exp(-since_beat / 0.03)
    return _mixed(pcm, (tune * swell + beat).astype(np.float32), MUSIC_SNR_DB)


def at_rate(start_ns: NDArray[np.int64], end_ns: int, rate: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pictures at another rate ("29.97" ... "variable"), as converters make them: each is shown from the slot nearest
    to its time until the next one's, so that on the whole nothing moves.

    start_ns: (T,) rising. Returns the slots' times, and for each the number of the picture it shows: (S,) both.
    """
    first = int(start_ns[0])
    lasts = end_ns - first
    if rate == "variable":
        chance = np.random.default_rng(5)
        count = int(lasts / (VARIABLE_MS[0] * 1e6)) + 2
        gaps = chance.uniform(*VARIABLE_MS, count) * 1e6
        slots = first + np.concatenate([[0], np.cumsum(gaps)]).astype(np.int64)
    else:
        period_ns = 1001e9 / 30000 if rate == "29.97" else 1e9 / float(rate)
        slots = first + np.round(np.arange(int(lasts / period_ns) + 2) * period_ns).astype(np.int64)
    slots = slots[slots < end_ns]
    after = np.clip(np.searchsorted(slots, start_ns), 1, max(len(slots) - 1, 1))
    nearest = np.where(
        start_ns - slots[after - 1] <= slots[np.minimum(after, len(slots) - 1)] - start_ns, after - 1, after
    )
    shown = np.searchsorted(nearest, np.arange(len(slots)), side="right") - 1
    return slots, np.maximum(shown, 0)


PICTURE_CONDITIONS: Final[dict[str, Callable[[Frame, FacePosition, int], Frame]]] = {
    "low_light": low_light,
    "motion_blur": motion_blur,
    "occlusion": occlusion,
    "jpeg_10": jpeg,
    "small_face": small_face,
    "low_resolution": low_resolution,
}
SOUND_CONDITIONS: Final[dict[str, Callable[[NDArray[Any]], Floats]]] = {"noise_10_db": white_noise, "music": music}


def _as_picture(values: NDArray[np.float32]) -> Frame:
    return np.asarray(np.clip(values + np.float32(0.5), 0, 255), np.uint8)


def _resized(picture: Frame, height: int, width: int) -> Frame:
    """By area, as cameras and converters do: a smaller picture without false patterns."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    made = frame.reformat(width=width, height=height, interpolation="AREA")
    return np.asarray(made.to_ndarray(format="rgb24"), np.uint8)


def _mixed(pcm: NDArray[Any], added: Floats, snr_db: float) -> Floats:
    """`added` at `snr_db` below the speech: below the mean power of the parts that are speech, not of the pauses."""
    x = as_mono_float(pcm)
    if len(x) == 0:
        return x
    block = SAMPLE_RATE_HZ // 25
    whole = x[: max(len(x) // block, 1) * block]
    power = np.square(whole.reshape(-1, min(block, len(whole))), dtype=np.float64).mean(axis=1)
    loud = np.percentile(power, SPEECH_PERCENTILE)
    speech = power[power >= loud * 10 ** (-SPEECH_RANGE_DB / 10)].mean()
    gain = np.sqrt(speech / 10 ** (snr_db / 10) / max(float(np.mean(np.square(added, dtype=np.float64))), 1e-12))
    return np.asarray(x + added * np.float32(gain), np.float32)
