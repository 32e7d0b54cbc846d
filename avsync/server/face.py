"""The generated talking face: what ``avsync serve`` shows when nobody gave it anything.

numpy only and the same every time. The sound is speech-like (a glottal source through the formants
of vowels, noise for consonants, a falling pitch in each sentence); the mouth follows *that sound*: its
opening is the loudness of the frame's own samples, its width the vowel. So eyes and ears can tell
whether they belong together.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from avsync.server.decode import Rgb, Sound16
from avsync.server.sources import FrameWithSound, period_samples
from avsync.units import SOUND_HZ

Grey = np.ndarray[Any, np.dtype[np.float32]]

SIDE = 512
SWAY = 8
"""Pixels that the picture wanders: an encoder gets some work, and it looks alive."""
LEVELS, WIDTHS, LIDS = 12, 4, 4
PHRASE_S = 24
"""After so long the same sentences come again."""
VOWELS = {  # first three formants in Hz (textbook values for a male voice), and how wide the mouth is, 0..1
    "a": (730, 1090, 2440, 0.55),
    "e": (530, 1840, 2480, 0.8),
    "i": (270, 2290, 3010, 1.0),
    "o": (570, 840, 2410, 0.25),
    "u": (300, 870, 2240, 0.05),
    "@": (500, 1500, 2500, 0.5),
}
LOUD = 9000.0
"""Peak of the voice in int16 steps: about -11 dBFS."""

SKY_TOP, SKY_LOW = (226, 236, 245), (246, 243, 238)
SKIN, SKIN_SHADE, HAIR, LIP = (238, 200, 172), (222, 176, 148), (84, 60, 52), (186, 92, 88)
WHITE, IRIS, PUPIL, MOUTH, SHIRT = (250, 250, 250), (74, 116, 140), (34, 34, 40), (92, 34, 40), (76, 122, 150)


class FaceSource:
    """A head that talks in sentences, blinks and sways a little. ``size``: (width, height), square inside."""

    name = "generated face"

    def __init__(self, *, fps: Fraction = Fraction(25), size: tuple[int, int] | None = None, loop: bool = True) -> None:
        self.fps = fps
        self._size = size or (SIDE, SIDE)
        self._loop = loop

    def idle(self) -> Rgb:
        return self._picture(SWAY // 2, SWAY // 2, 0, 2, 0)

    def frames(self) -> Iterator[FrameWithSound]:
        voice, widths = _speech()
        number = at = 0
        while self._loop or at < len(voice):
            samples = period_samples(number, self.fps)
            places = np.arange(at, at + samples) % len(voice)
            sound = voice[places]
            if not self._loop:
                sound = np.where(np.arange(at, at + samples) < len(voice), sound, 0).astype(np.int16)
            yield FrameWithSound(self._frame(number, sound, float(widths[places[samples // 2]])), sound)
            at += samples
            number += 1

    def _frame(self, number: int, sound: Sound16, width: float) -> Rgb:
        time_s = float(number / self.fps)
        loudness = float(np.sqrt(np.mean(sound.astype(np.float32) ** 2))) / LOUD
        level = min(LEVELS - 1, round(3.2 * loudness * (LEVELS - 1)))
        since_blink = (time_s + 1.9) % 3.7
        lid = LIDS - 1 if since_blink < 0.09 else 2 if since_blink < 0.16 else 0
        dx = round(SWAY / 2 * (1 + np.sin(time_s * 0.9)))
        dy = round(SWAY / 2 * (1 + np.sin(time_s * 1.31 + 1)))
        return self._picture(dx, dy, level, round(width * (WIDTHS - 1)), lid)

    def _picture(self, dx: int, dy: int, level: int, width: int, lid: int) -> Rgb:
        canvas = _base().copy()
        for box, patch in ((EYES, _eyes(lid)), (MOUTH_BOX, _mouth(level, width))):
            top, bottom, left, right = box
            canvas[top:bottom, left:right] = patch
        picture = canvas[dy : dy + SIDE, dx : dx + SIDE]
        if self._size == (SIDE, SIDE):
            return np.ascontiguousarray(picture)
        return _fitted(picture, self._size)


def _fitted(picture: Rgb, size: tuple[int, int]) -> Rgb:
    """A square picture in the middle of any size, the nearest pixel of each; the edges go on to the sides."""
    width, height = size
    side = min(width, height)
    across = np.clip((np.arange(width) - (width - side) // 2) * SIDE // side, 0, SIDE - 1)
    down = np.clip((np.arange(height) - (height - side) // 2) * SIDE // side, 0, SIDE - 1)
    return picture[down[:, None], across]


# ---- the drawing: shapes are signed distances, edges one pixel soft

Box = tuple[int, int, int, int]
WHOLE: Box = (0, SIDE + SWAY, 0, SIDE + SWAY)
EYES: Box = (220, 268, 176, 344)
MOUTH_BOX: Box = (308, 408, 196, 324)
"""First and past-last row, first and past-last column of the canvas (which has SWAY pixels more than shown)."""


class _Canvas:
    """A part of the picture being drawn, in floats."""

    def __init__(self, box: Box, start: Grey) -> None:
        top, bottom, left, right = box
        down, across = np.mgrid[top:bottom, left:right].astype(np.float32)
        self.across, self.down = across - SWAY / 2, down - SWAY / 2
        self.pixels = start.copy()

    def ellipse(self, cx: float, cy: float, rx: float, ry: float) -> Grey:
        """How much of each pixel is inside, 0..1."""
        radius = np.hypot((self.across - cx) / rx, (self.down - cy) / ry)
        return np.asarray(np.clip((1 - radius) * min(rx, ry) + 0.5, 0, 1), dtype=np.float32)

    def paint(self, cover: Any, colour: tuple[int, int, int]) -> None:
        self.pixels += cover[..., None] * (np.asarray(colour, dtype=np.float32) - self.pixels)

    def finished(self) -> Rgb:
        return np.round(self.pixels).astype(np.uint8)


@lru_cache(maxsize=1)
def _still() -> Grey:
    """Everything that never moves: the canvas (SIDE + SWAY,) * 2."""
    side = SIDE + SWAY
    blend = np.broadcast_to(np.linspace(0, 1, side, dtype=np.float32)[:, None, None], (side, side, 1))
    canvas = _Canvas(WHOLE, np.asarray(SKY_TOP, np.float32) * (1 - blend) + np.asarray(SKY_LOW, np.float32) * blend)
    oval, paint = canvas.ellipse, canvas.paint
    paint(oval(256, 205, 142, 160), HAIR)
    paint(oval(256, 560, 215, 135), SHIRT)
    paint(oval(256, 420, 50, 70), SKIN_SHADE)
    for side in (-1, 1):
        paint(oval(256 + side * 122, 262, 20, 32), SKIN_SHADE)
    paint(oval(256, 258, 120, 152), SKIN)
    paint(oval(256, 120, 122, 66) * (canvas.down < 176), HAIR)
    paint(oval(200, 148, 62, 34), HAIR)
    paint(oval(312, 148, 62, 34), HAIR)
    for side in (-1, 1):
        paint(oval(256 + side * 78, 300, 28, 19) * 0.35, LIP)
        paint(oval(256 + side * 48, 205, 26, 5), HAIR)
    paint(oval(256, 290, 15, 9) * 0.7, SKIN_SHADE)
    paint(oval(249, 270, 5, 22) * 0.35, SKIN_SHADE)
    return canvas.pixels


@lru_cache(maxsize=1)
def _base() -> Rgb:
    return np.round(_still()).astype(np.uint8)


@lru_cache(maxsize=LIDS)
def _eyes(lid: int) -> Rgb:
    canvas, shut = _on(EYES), lid / (LIDS - 1)
    oval, paint = canvas.ellipse, canvas.paint
    for side in (-1, 1):
        x = 256 + side * 48
        eye = oval(x, 240, 23, max(2.0, 14 * (1 - shut)))
        paint(oval(x, 240, 25, max(3.0, 16 * (1 - shut))) * 0.8, SKIN_SHADE)
        if shut > 0.9:
            paint(oval(x, 241, 22, 2.5), HAIR)
            continue
        paint(eye, WHITE)
        paint(np.minimum(oval(x, 241, 11, 11), eye), IRIS)
        paint(np.minimum(oval(x, 241, 5, 5), eye), PUPIL)
        paint(np.minimum(oval(x + 4, 236, 3, 3), eye), WHITE)
    return canvas.finished()


@lru_cache(maxsize=LEVELS * WIDTHS)
def _mouth(level: int, width: int) -> Rgb:
    """``level``: how far the lips are apart; ``width``: from a round 'u' to a broad 'i'."""
    canvas, opened, wide = _on(MOUTH_BOX), level / (LEVELS - 1), width / (WIDTHS - 1)
    oval, paint = canvas.ellipse, canvas.paint
    rx, ry, y = 26 + 18 * wide + (1 - opened) * 6, 2 + 28 * opened * (1.1 - 0.3 * wide), 352 + 6 * opened
    paint(oval(256, y, rx + 7, ry + 8), LIP)
    inside = oval(256, y, rx, ry)
    paint(inside, MOUTH)
    if opened > 0.2:
        paint(inside * np.clip(y - ry * 0.45 - canvas.down + 0.5, 0, 1), WHITE)
        paint(np.minimum(inside, oval(256, y + ry, rx * 0.7, ry * 0.7)) * 0.8, LIP)
    return canvas.finished()


def _on(box: Box) -> _Canvas:
    top, bottom, left, right = box
    return _Canvas(box, _still()[top:bottom, left:right])


# ---- the sound


@lru_cache(maxsize=1)
def _speech() -> tuple[Sound16, Grey]:
    """(voice (n,) int16 48 kHz, mouth width (n,) 0..1), n = 24 s. Made at 12 kHz, where speech has all it needs."""
    rate = 12_000
    length = PHRASE_S * rate
    chance = np.random.default_rng(20)
    pitch, amount, noise, width = (np.zeros(length, np.float32) for _ in range(4))
    formants = np.zeros((3, length), np.float32)
    at = 0
    while at < length - rate:
        syllables = int(chance.integers(5, 10))
        for number in range(syllables):
            at = _syllable(chance, at, rate, number / syllables, pitch, amount, noise, width, formants)
        at += int(rate * chance.uniform(0.45, 0.8))  # a breath between sentences
    voiced = _voiced(_smooth(pitch, 400), formants, rate) * _smooth(amount, 240)
    hiss = np.diff(chance.standard_normal(length + 1)).astype(np.float32) * _smooth(noise, 160)
    mixed = voiced / (np.abs(voiced).max() + 1e-9) + 0.05 * hiss
    mixed *= LOUD / np.abs(mixed).max()
    places = np.arange(PHRASE_S * SOUND_HZ, dtype=np.float32) * rate / SOUND_HZ
    voice = np.interp(places, np.arange(length), mixed).astype(np.int16)
    return voice, np.repeat(_smooth(width, 900), SOUND_HZ // rate)


def _syllable(
    chance: np.random.Generator, at: int, rate: int, through: float,
    pitch: Grey, amount: Grey, noise: Grey, width: Grey, formants: Grey,
) -> int:  # fmt: skip
    """A consonant's noise, then a vowel; writes the tracks in place and returns where the next begins."""
    first, second, third, wide = VOWELS[str(chance.choice(list(VOWELS)))]
    consonant, vowel = int(rate * chance.uniform(0.03, 0.08)), int(rate * chance.uniform(0.11, 0.22))
    end = min(at + consonant + vowel, len(pitch))
    noise[at : at + consonant] = chance.uniform(0.2, 0.8)
    amount[at + consonant : end] = chance.uniform(0.6, 1.0)
    width[at:end] = wide
    pitch[at:end] = 138 - 34 * through + chance.uniform(-6, 6)
    for row, hz in enumerate((first, second, third)):
        formants[row, at:end] = hz
    return end


def _voiced(pitch: Grey, formants: Grey, rate: int) -> Grey:
    """Harmonics of ``pitch``, each as loud as the formants make it."""
    phase = np.cumsum(pitch) * (2 * np.pi / rate)
    smooth = [_smooth(row, 500) for row in formants]
    total: Grey = np.zeros(len(pitch), np.float32)
    for harmonic in range(1, 31):
        hz = pitch * harmonic
        gain = np.full(len(pitch), 0.02, np.float32)
        for weight, row in zip((1.0, 0.5, 0.25), smooth, strict=True):
            gain += weight / (1 + ((hz - row) / 90) ** 2)
        total += gain / harmonic**0.5 * np.sin(harmonic * phase)
    return total


def _smooth(track: Grey, samples: int) -> Grey:
    """A running mean, so that nothing clicks."""
    total = np.cumsum(np.concatenate([np.zeros(1), np.pad(track, (samples // 2, samples - samples // 2 - 1), "edge")]))
    mean: Grey = ((total[samples:] - total[:-samples]) / samples).astype(np.float32)
    return mean
