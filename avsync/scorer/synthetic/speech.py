"""Clean synthetic speech: one utterance of one voice, with the times of its sounds, at the scorer's sample rate.

Everything is drawn from the generator handed in: voice, language, text, rate, pitch, pauses, emphasis, the length of
the vocal tract, a wavering speed. The same generator state gives the same
utterance; to the sample, where espeak-ng has said the same things before (espeak.py).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.features.cells import HOP_SAMPLES, SAMPLE_RATE_HZ, Floats
from avsync.scorer.synthetic.espeak import Phoneme, synthesise
from avsync.scorer.synthetic.phonemes import targets_of
from avsync.scorer.synthetic.texts import sentence

LANGUAGES: Final = (
    *("en-us",) * 8, *("en-gb-x-rp",) * 4, "en", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-us-nyc",
    "de", "de", "fr", "fr", "es", "es", "es-419", "it", "it", "pt", "pt-br", "nl", "sv", "pl", "cs", "fi", "tr",
    "id", "hu", "ro",
)  # fmt: skip
VARIANTS: Final = (
    "", "", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+klatt", "+klatt2",
    "+klatt3", "+klatt4",
)  # fmt: skip
SPEECH_S: Final = (3.0, 9.0)
"""An utterance is at least as long as a number drawn from here."""


class Utterance(NamedTuple):
    """pcm: float32 (n,) at 16 kHz, peak 0.5; `level_db`: its level per 10 ms before sounds were made uneven."""

    pcm: Floats
    phonemes: tuple[Phoneme, ...]
    level_db: Floats
    voice: str

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / SAMPLE_RATE_HZ


def utterance(random: np.random.Generator) -> Utterance:
    """Some sentences by one voice, with silence before and after."""
    while True:
        language = str(random.choice(LANGUAGES))
        voice = language + str(random.choice(VARIANTS))
        rate = int(np.clip(random.normal(165, 30), 105, 255))
        spoken = _sentences(language, voice, rate, random)
        if spoken is not None:
            break
    pcm, phonemes = spoken
    pcm = pcm / max(float(np.abs(pcm).max()), 1e-6) * 0.5
    pcm *= _gain(len(pcm), random.uniform(0.0, 5.0), 1.2, random)
    pcm = _emphasis(pcm, phonemes, random.uniform(0.0, 6.0), random)
    pcm, phonemes = warp(pcm, phonemes, random.uniform(0.0, 0.08), random)
    level_db = level_per_hop(pcm)
    pcm = _uneven_sounds(pcm, phonemes, random.uniform(0.0, 4.0), random)
    return Utterance((pcm / max(float(np.abs(pcm).max()), 1e-6) * 0.5).astype(np.float32), phonemes, level_db, voice)


def _sentences(
    language: str, voice: str, rate: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[Phoneme, ...]] | None:
    """Sentences with pauses between them. A shorter or longer vocal tract is a resampling: pitch, formants and speed
    move together, and the rate asked for makes up for the speed."""
    tract = float(np.exp(random.normal(0.0, 0.07)))
    settings = {
        "words_per_minute": int(np.clip(rate / tract, 90, 300)),
        "pitch": int(random.integers(10, 95)),
        "pitch_range": int(random.integers(10, 100)),
        "gap": int(random.integers(0, 6)) if random.random() < 0.3 else 0,
    }
    wanted = random.uniform(*SPEECH_S)
    silence = random.uniform(0.25, 0.8)
    pieces: list[NDArray[np.float64]] = [np.zeros(int(silence * SAMPLE_RATE_HZ))]
    phonemes: list[Phoneme] = []
    length = len(pieces[0])
    while length < wanted * SAMPLE_RATE_HZ:
        spoken = synthesise(sentence(language, random), voice, **settings)
        samples = round(len(spoken.pcm) * SAMPLE_RATE_HZ / spoken.rate_hz / tract)
        if len(spoken.phonemes) < 4 or samples < SAMPLE_RATE_HZ // 4:
            return None
        at_s = length / SAMPLE_RATE_HZ
        phonemes += [Phoneme(each.ipa, at_s + each.start_s / tract) for each in spoken.phonemes]
        pieces.append(resample(spoken.pcm / 32768.0, samples))
        pieces.append(np.zeros(int(random.exponential(0.15) * SAMPLE_RATE_HZ)))
        length += samples + len(pieces[-1])
    pieces.append(np.zeros(int(random.uniform(0.3, 0.7) * SAMPLE_RATE_HZ)))
    return np.concatenate(pieces), tuple(phonemes)


def resample(x: NDArray[np.float64], samples: int) -> NDArray[np.float64]:
    """All of x in another number of samples, by its spectrum."""
    spectrum = np.fft.rfft(x)
    bins = samples // 2 + 1
    kept = np.zeros(bins, complex)
    kept[: min(bins, len(spectrum))] = spectrum[:bins]
    return np.asarray(np.fft.irfft(kept, samples) * (samples / max(len(x), 1)))


def warp(
    pcm: NDArray[np.float64], phonemes: tuple[Phoneme, ...], amount: float, random: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[Phoneme, ...]]:
    """A wavering speed of spread `amount` (0.05: 5 %); the sounds' times move along."""
    knots = np.arange(0.0, len(pcm) / SAMPLE_RATE_HZ + 0.8, 0.4)
    speed = np.clip(1.0 + amount * random.standard_normal(len(knots)), 0.8, 1.25)
    old_s = np.concatenate([[0.0], np.cumsum(speed[:-1] * 0.4)])  # where in the old sound each knot of the new one is
    samples = int(np.interp(len(pcm) / SAMPLE_RATE_HZ, old_s, knots) * SAMPLE_RATE_HZ)
    at = np.interp(np.arange(samples) / SAMPLE_RATE_HZ, knots, old_s) * SAMPLE_RATE_HZ
    moved = tuple(Phoneme(each.ipa, float(np.interp(each.start_s, old_s, knots))) for each in phonemes)
    return np.interp(at, np.arange(len(pcm)), pcm), moved


def level_per_hop(pcm: NDArray[np.float64]) -> Floats:
    """Level in dB per 10 ms, over 30 ms."""
    power = np.add.reduceat(pcm**2, np.arange(0, max(len(pcm) - HOP_SAMPLES, 1), HOP_SAMPLES)) / HOP_SAMPLES
    return (10.0 * np.log10(np.convolve(power, np.ones(3) / 3, "same") + 1e-7)).astype(np.float32)


def _gain(samples: int, spread_db: float, every_s: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Emphasis: a gain that wanders by `spread_db` with a new value each `every_s` or less."""
    knots = np.arange(0.0, samples / SAMPLE_RATE_HZ + 2 * every_s, 0.25 * every_s)
    gain_db = np.convolve(random.normal(0.0, spread_db, len(knots)), np.ones(2) / np.sqrt(2.0), "same")
    return np.asarray(10.0 ** (np.interp(np.arange(samples) / SAMPLE_RATE_HZ, knots, gain_db) / 20.0))


def _emphasis(
    pcm: NDArray[np.float64], phonemes: tuple[Phoneme, ...], spread_db: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Every syllable somewhat louder or weaker; espeak-ng speaks all of them alike. The mouth opens accordingly."""
    vowels_s = [each.start_s + 0.04 for each in phonemes if any(target.vowel for target in targets_of(each.ipa))]
    if not vowels_s:
        return pcm
    gain_db = random.normal(0.0, spread_db, len(vowels_s))
    curve_db = np.interp(np.arange(len(pcm)) / SAMPLE_RATE_HZ, vowels_s, gain_db)
    return np.asarray(pcm * 10.0 ** (curve_db / 20.0))


def _uneven_sounds(
    pcm: NDArray[np.float64], phonemes: tuple[Phoneme, ...], spread_db: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """Every sound somewhat louder or weaker than espeak-ng makes it, consonants more so than vowels."""
    starts_s = np.array([each.start_s for each in phonemes])
    vowel = np.array([any(target.vowel for target in targets_of(each.ipa)) for each in phonemes])
    gain_db = random.normal(0.0, spread_db, len(phonemes)) * np.where(vowel, 0.5, 1.0)
    edges_s = np.stack([starts_s - 0.005, np.append(starts_s[1:], starts_s[-1] + 0.1) - 0.006], axis=1).ravel()
    curve_db = np.interp(np.arange(len(pcm)) / SAMPLE_RATE_HZ, edges_s, np.repeat(gain_db, 2))
    return np.asarray(pcm * 10.0 ** (curve_db / 20.0))
