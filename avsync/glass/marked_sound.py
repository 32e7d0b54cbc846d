"""Marked sound: speech-like, and every tenth of a second of it is like no other for hours.

A pure function of the sample number, so that any sender can emit any position at any time. Syllables of a
glottal pulse train through three formants, with breath and consonants of noise: NetEq stretches speech by whole
pitch periods and leaves pure noise alone, so noise would meet another jitter buffer than speech does. Pitch,
formants and noise are drawn anew for each chunk of 2 s. It never falls silent: a pause is some 60 ms at most, and a
floor of noise runs through, so digital silence is always somebody else's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.units import SOUND_HZ

I16 = npt.NDArray[np.int16]
F64 = npt.NDArray[np.float64]

CHUNK = 2 * SOUND_HZ
ENVELOPE_STEP = 480
"""The mouth is told every 10 ms how loud it is."""
FLOOR = 0.006  # -44 dBFS
PEAK = 0.5
SEED = 20_260_117
# First three formants of a, e, i, o, u and schwa of a man's voice, Hz; bandwidths below (Peterson and Barney, rounded).
VOWELS = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
    (490, 1350, 1690),
)
BANDWIDTHS_HZ = (80.0, 110.0, 170.0)
LOUDNESS = (1.0, 0.6, 0.35)


class Chunk(NamedTuple):
    """``samples``: (CHUNK,) int16; ``mouth``: (CHUNK / 480,) float64, 0 closed to 1 wide open."""

    samples: I16
    mouth: F64


def sound(from_sample: int, count: int) -> I16:
    """``count`` samples of content, mono at 48 kHz, from sample ``from_sample`` on; before 0 there is silence."""
    out = np.zeros(count, np.int16)
    done = max(0, -from_sample)
    while done < count:
        index, place = divmod(from_sample + done, CHUNK)
        part = chunk(index).samples[place : place + count - done]
        out[done : done + len(part)] = part
        done += len(part)
    return out


def mouth(content_ns: int) -> float:
    """How wide the mouth is open at a content position, 0 to 1."""
    if content_ns < 0:
        return 0.0
    index, place = divmod(content_ns * SOUND_HZ // 1_000_000_000, CHUNK)
    return float(chunk(index).mouth[place // ENVELOPE_STEP])


@lru_cache(maxsize=64)  # 12 MB, two minutes
def chunk(index: int) -> Chunk:
    """Chunk number ``index``, made on first use in about 10 ms; never changed after."""
    rng = np.random.default_rng([SEED, index])
    voice = np.zeros(CHUNK)
    at = int(rng.integers(240, 960))
    while at < CHUNK:
        length = int(rng.integers(SOUND_HZ // 9, SOUND_HZ // 4))
        if CHUNK - at - length < SOUND_HZ // 6:  # no room for one more after it
            length = CHUNK - at - 240
        voice[at : at + length] += _syllable(rng, length)
        at += length + int(rng.integers(240, 1440))
    voice += rng.normal(0.0, FLOOR, CHUNK)
    samples = np.round(np.clip(voice, -1.0, 1.0) * 32767).astype(np.int16)
    samples.setflags(write=False)
    loud = np.sqrt(np.mean(np.square(voice.reshape(-1, ENVELOPE_STEP)), axis=1))
    smooth = np.convolve(loud, np.ones(3) / 3, mode="same")
    return Chunk(samples, np.clip(smooth / 0.15, 0.0, 1.0))


def _syllable(rng: np.random.Generator, length: int) -> F64:
    """A consonant of noise that runs into a vowel; (length,) float64, peak at most ``PEAK``."""
    consonant = int(rng.integers(960, 2400))
    excitation = np.zeros(length)
    at, pitch_hz, glide = float(consonant), rng.uniform(95, 210), rng.uniform(-0.35, 0.35)
    while at < length:
        excitation[int(at)] = rng.uniform(0.6, 1.4)
        # Four per cent from pulse to pulse, more than a larynx does, so that no two stretches of voice repeat.
        at += SOUND_HZ / (pitch_hz * (1 + glide * at / length)) * rng.uniform(0.96, 1.04)
    excitation += rng.normal(0.0, 0.02, length)
    formants = np.array(VOWELS[int(rng.integers(len(VOWELS)))]) * rng.uniform(0.9, 1.12)
    size = 1 << (length + 1024 - 1).bit_length()
    vowel = np.fft.irfft(np.fft.rfft(excitation, size) * np.fft.rfft(_resonance(formants), size), size)[:length]
    hiss = np.diff(rng.normal(0.0, 1.0, consonant + 1))  # a difference leaves the high tones
    vowel[:consonant] += hiss * np.hanning(consonant) * np.abs(vowel).max() * rng.uniform(0.08, 0.2)
    rise, fall = 480, 960
    vowel[:rise] *= np.sin(np.linspace(0, np.pi / 2, rise)) ** 2
    vowel[-fall:] *= np.cos(np.linspace(0, np.pi / 2, fall)) ** 2
    return np.asarray(vowel * (PEAK * rng.uniform(0.5, 1.0) / np.abs(vowel).max()))


def _resonance(formants_hz: F64) -> F64:
    """Impulse response of three resonators side by side: damped sines over 20 ms."""
    t = np.arange(960) / SOUND_HZ
    waves = [
        loud * np.exp(-np.pi * wide * t) * np.sin(2 * np.pi * hz * t)
        for hz, wide, loud in zip(formants_hz, BANDWIDTHS_HZ, LOUDNESS, strict=True)
    ]
    return np.asarray(np.sum(waves, axis=0))
