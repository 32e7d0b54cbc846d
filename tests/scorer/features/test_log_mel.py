"""Log-mel on the grid: constants that follow from each other, levels, and where in time a frame lies."""

from __future__ import annotations

import numpy as np
import pytest

from avsync.scorer.features.cells import CELL_MS, CELL_SAMPLES, HOP_SAMPLES, MEL_PER_CELL, SAMPLE_RATE_HZ
from avsync.scorer.features.log_mel import FFT_SAMPLES, MEL_BANDS, POWER_FLOOR, WINDOW_SAMPLES, log_mel, mel_filters


def sine(hertz: float, n: int = SAMPLE_RATE_HZ, level: float = 1.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(n) / SAMPLE_RATE_HZ)).astype(np.float32)


def test_the_constants_follow_from_rate_and_cell() -> None:
    assert CELL_SAMPLES * 1000 == CELL_MS * SAMPLE_RATE_HZ
    assert HOP_SAMPLES * MEL_PER_CELL == CELL_SAMPLES
    assert FFT_SAMPLES >= WINDOW_SAMPLES > FFT_SAMPLES // 2
    assert mel_filters().shape == (FFT_SAMPLES // 2 + 1, MEL_BANDS)


def test_a_second_of_sound_is_a_hundred_frames_of_forty_bands() -> None:
    assert log_mel(np.zeros(SAMPLE_RATE_HZ, np.float32)).shape == (100, MEL_BANDS)
    assert log_mel(np.zeros(HOP_SAMPLES - 1, np.float32)).shape == (0, MEL_BANDS)


def test_silence_reads_the_floor_in_every_band() -> None:
    assert np.allclose(log_mel(np.zeros(1600, np.float32)), np.log(POWER_FLOOR))


def test_a_full_scale_sine_reads_about_its_power_in_one_band_and_int16_reads_the_same() -> None:
    x = sine(1000.0)
    mel = log_mel(x)[50]
    assert np.exp(mel.max()) == pytest.approx(0.5, rel=0.2)
    assert np.allclose(log_mel((x * 32767).astype(np.int16))[50], mel, atol=0.01)


@pytest.mark.parametrize("hertz", [100.0, 500.0, 1000.0, 3000.0, 7000.0])
def test_every_tone_has_its_loudest_band_where_the_filters_say(hertz: float) -> None:
    band = int(log_mel(sine(hertz))[50].argmax())
    centre_hz = np.average(
        np.arange(FFT_SAMPLES // 2 + 1) * SAMPLE_RATE_HZ / FFT_SAMPLES, weights=mel_filters()[:, band]
    )
    assert abs(centre_hz - hertz) < 0.12 * hertz + 60


def test_a_click_is_loudest_in_the_frame_whose_centre_is_nearest() -> None:
    """Frame k is centred on sample 160 k + 80: an error of one frame here would be 10 ms of lip sync."""
    for k in (10, 11, 37):
        x = np.zeros(8000, np.float32)
        x[HOP_SAMPLES * k + HOP_SAMPLES // 2] = 1.0
        energy = log_mel(x).sum(axis=1)
        assert int(energy.argmax()) == k
        # Even to either side but for half a sample (the window has an even length): 0.1 nat in each band.
        assert energy[k - 1] == pytest.approx(energy[k + 1], abs=0.1 * MEL_BANDS + 1)
