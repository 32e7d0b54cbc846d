"""What happens to a voice before it reaches the scorer: room, microphone, line, noise. Nothing here moves it in time.

Each effect is drawn with a chance of its own; `through_channel` draws the same causes in the same order for everyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import SAMPLE_RATE_HZ, Floats

Samples = NDArray[np.float64]
NOISES: Final = ("white", "pink", "hum", "babble", "music")


def through_channel(pcm: Floats, random: np.random.Generator, others: Sequence[Floats] = ()) -> NDArray[np.int16]:
    """One voice as it may be recorded: (n,) float -> (n,) int16. `others`: voices to make babble of."""
    x = pcm.astype(np.float64)
    if random.random() < 0.55:
        x = room(x, random)
    x = equalised(x, random)
    if random.random() < 0.35:
        x = compressed(x, random.uniform(0.2, 0.6))
    if random.random() < 0.75:
        snr_db = float(np.clip(random.normal(25.0, 12.0), 0.0, 60.0))
        x = with_noise(x, str(random.choice(NOISES)), snr_db, random, others)
    if random.random() < 0.35:
        x = band_limited(x, random)
    x = x / max(float(np.abs(x).max()), 1e-9)
    if random.random() < 0.10:
        x = np.clip(x * random.uniform(1.3, 4.0), -1.0, 1.0)
    return np.asarray(x * 10.0 ** (random.uniform(-26.0, -0.5) / 20.0) * 32767.0, np.int16)


def room(x: Samples, random: np.random.Generator) -> Samples:
    """Reverberation of 0.1 to 0.8 s: a decaying noise after the direct sound, darker the later."""
    seconds = random.uniform(0.1, 0.8)
    samples = int(seconds * SAMPLE_RATE_HZ)
    decay = np.exp(-6.9 * np.arange(samples) / samples)
    tail = random.standard_normal(samples) * decay
    tail = 0.6 * tail + 0.4 * np.convolve(tail, np.ones(6) / 2.4, "same")
    tail *= 10.0 ** (-random.uniform(2.0, 18.0) / 20.0) / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    return filtered(x, np.fft.rfft(tail, _fft_length(len(x) + samples)))


def equalised(x: Samples, random: np.random.Generator) -> Samples:
    """A tilt of up to 5 dB an octave and a few broad bumps of microphone and place."""
    length = _fft_length(len(x))
    octave = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ), 50.0) / 1000.0)
    gain_db = random.normal(0.0, 2.0) * octave
    for _ in range(4):
        centre, width = random.uniform(-3.5, 3.0), random.uniform(0.3, 1.2)
        gain_db = gain_db + random.normal(0.0, 4.0) * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    return filtered(x, 10.0 ** (np.clip(gain_db, -24.0, 18.0) / 20.0))


def band_limited(x: Samples, random: np.random.Generator) -> Samples:
    """A telephone, a codec at low rate, a small speaker."""
    length = _fft_length(len(x))
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    high = random.uniform(3200.0, 7500.0)
    low = random.uniform(50.0, 350.0)
    edge = 1.0 / (1.0 + np.exp((hertz - high) / (0.03 * high))) / (1.0 + np.exp((low - hertz) / (0.15 * low)))
    return filtered(x, edge)


def compressed(x: Samples, amount: float) -> Samples:
    """Level differences made smaller: 0.5 leaves half of them (in dB); the level is looked at over 50 ms."""
    span = SAMPLE_RATE_HZ // 20
    total = np.concatenate([np.zeros(1), np.cumsum(x**2)])
    at = np.arange(len(x))
    power = (total[np.minimum(at + span // 2, len(x))] - total[np.maximum(at - span // 2, 0)]) / span
    return np.asarray(x * (power + 1e-2 * float(power.mean()) + 1e-12) ** (-0.5 * amount))


def with_noise(
    x: Samples, kind: str, snr_db: float, random: np.random.Generator, others: Sequence[Floats] = ()
) -> Samples:
    """Noise of one of `NOISES` at so many dB below the voice's mean power."""
    noise = _noise(kind, len(x), random, others)
    power = float(np.mean(x**2)) + 1e-12
    return np.asarray(x + noise * np.sqrt(power / (float(np.mean(noise**2)) + 1e-12) * 10.0 ** (-snr_db / 10.0)))


def _noise(kind: str, n: int, random: np.random.Generator, others: Sequence[Floats]) -> Samples:
    if kind == "music":
        return _music(n, random)
    if kind == "babble" and len(others):
        mixed = np.zeros(n)
        for _ in range(int(random.integers(1, 6))):
            voice = others[int(random.integers(len(others)))]
            mixed += np.roll(np.resize(voice, n), int(random.integers(n)))
        return mixed
    white = random.standard_normal(n)
    if kind == "white":
        return white
    length = _fft_length(n)
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    slope = 0.5 if kind != "hum" else 1.0
    return filtered(white, (np.maximum(hertz, 40.0) / 40.0) ** -slope)


def _music(n: int, random: np.random.Generator) -> Samples:
    """Notes of a few harmonics that begin at once and fade, on a beat."""
    out = np.zeros(n)
    beat = int(random.uniform(0.15, 0.5) * SAMPLE_RATE_HZ)
    for start in range(0, n, beat):
        for _ in range(int(random.integers(1, 4))):
            hertz = 110.0 * 2.0 ** (int(random.integers(0, 36)) / 12.0)
            length = min(n - start, int(random.uniform(0.5, 3.0) * beat))
            time_s = np.arange(length) / SAMPLE_RATE_HZ
            note = sum(np.sin(2 * np.pi * hertz * k * time_s) / k for k in range(1, 6) if hertz * k < 7500)
            out[start : start + length] += note * np.exp(-time_s * random.uniform(1.0, 6.0)) * random.uniform(0.2, 1.0)
    return out


def filtered(x: Samples, response: NDArray[np.complexfloating] | Samples) -> Samples:
    """x through a response given at the bins of `_fft_length(len(x))` or of a longer transform."""
    length = 2 * (len(response) - 1)
    return np.asarray(np.fft.irfft(np.fft.rfft(x, length) * response, length)[: len(x)])


def _fft_length(n: int) -> int:
    """An even length of at least n whose transform is fast."""
    step = 1 << max(n.bit_length() - 4, 1)
    return -(-n // step) * step
