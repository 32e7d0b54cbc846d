"""Log-mel features of speech, two frames a cell (`cells`).

Every constant below follows from the sample rate, the cell, and the three choices marked as such.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import HOP_SAMPLES, SAMPLE_RATE_HZ, Floats, as_mono_float

WINDOW_SAMPLES: Final = SAMPLE_RATE_HZ * 25 // 1000
"""25 ms, the usual analysis window of speech recognition (choice)."""
FFT_SAMPLES: Final = 1 << (WINDOW_SAMPLES - 1).bit_length()
MEL_BANDS: Final = 40
"""Enough to tell vowels apart, few enough to be smooth over the voice's harmonics (choice)."""
LOWEST_HZ: Final = 80.0
HIGHEST_HZ: Final = 7600.0
"""Below the 8 kHz that a 16 kHz signal can hold, where resamplers roll off (choice)."""
POWER_FLOOR: Final = 1e-7
"""Added to every band's power (full-scale sine: 0.5) before the logarithm: about -67 dBFS a band, above the rounding
of 16-bit samples, so that digital silence and a quiet room look alike."""
SILENT_DBFS: Final = -120.0
"""The level of no signal at all."""


def log_mel(pcm: NDArray[Any]) -> Floats:
    """The natural logarithm of the mel band powers of mono 16 kHz sound.

    pcm: (n,) int16, or float in [-1, 1]. Returns float32 (n // 160, 40): frame ``k`` is centred on sample 160 k + 80;
    samples before the first and after the last count as zero.
    """
    x = as_mono_float(pcm)
    frames = len(x) // HOP_SAMPLES
    if frames == 0:
        return np.zeros((0, MEL_BANDS), np.float32)
    before = (WINDOW_SAMPLES - HOP_SAMPLES) // 2
    padded = np.zeros(before + len(x) + WINDOW_SAMPLES, np.float32)
    padded[before : before + len(x)] = x
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES][:frames]
    spectrum = np.fft.rfft(windows * _hann(), FFT_SAMPLES, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(
        np.log(power.astype(np.float32, copy=False) @ mel_filters() + np.float32(POWER_FLOOR)), np.float32
    )


@lru_cache(maxsize=1)
def mel_filters() -> Floats:
    """Triangular filters on the mel scale (O'Shaughnessy: 2595 log10(1 + f / 700)), float32 (257, 40).

    Scaled so that a full-scale sine in the middle of a band reads about its power, 0.5.
    """
    edges = _hertz(np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), MEL_BANDS + 2))
    bins = np.arange(FFT_SAMPLES // 2 + 1) * SAMPLE_RATE_HZ / FFT_SAMPLES
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - low) / (middle - low)
    falling = (high - bins[:, None]) / (high - middle)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / np.sum(_hann()) ** 2), np.float32)


@lru_cache(maxsize=1)
def _hann() -> Floats:
    return np.asarray(np.hanning(WINDOW_SAMPLES + 2)[1:-1], np.float32)


def _mel(hertz: float) -> float:
    return 2595.0 * float(np.log10(1.0 + hertz / 700.0))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
