"""Envelopes: lips that open with the sound agree with it, at the right offset; the same numbers from any part."""

from __future__ import annotations

import numpy as np
import pytest

from avsync.scorer.backends.envelopes import (
    ANTICIPATION_CELLS,
    ENVELOPES,
    WEIGHTS,
    lip_columns,
    lip_envelopes,
    sound_envelopes,
)
from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.features.log_mel import MEL_BANDS, log_mel
from avsync.scorer.matching.lag_search import best_lag, lag_scores, search_offsets

RANDOM = np.random.default_rng(2)
LOUDNESS = np.clip(np.convolve(RANDOM.standard_normal(200), np.hanning(9), "same") * 0.2 + 0.4, 0.02, 1.0)
"""Of 4 s of sound, cell by cell."""


def speech() -> np.ndarray:
    noise = RANDOM.standard_normal(200 * 320) * 0.1
    return (noise * np.interp(np.arange(200 * 320) / 320 - 0.5, np.arange(200), LOUDNESS)).astype(np.float32)


def lips(late_cells: int) -> np.ndarray:
    """Normal lip values of a mouth as open as the sound was `late_cells` before, and their slopes."""
    height = np.roll(np.log(LOUDNESS), late_cells - ANTICIPATION_CELLS)
    values = np.zeros((200, len(GEOMETRY_NAMES)), np.float32)
    values[:, GEOMETRY_NAMES.index("outer_height")] = height
    values[:, GEOMETRY_NAMES.index("outer_width")] = -height
    return np.concatenate([values, 2 * np.gradient(values, axis=0)], axis=1).astype(np.float32)


@pytest.mark.parametrize("late_cells", [-5, 0, 4])
def test_lips_that_open_with_the_sound_are_found_where_they_are(late_cells: int) -> None:
    window = slice(60, 110)
    scores = lag_scores(
        lip_envelopes(lips(late_cells), window),
        sound_envelopes(log_mel(speech()), slice(40, 130)),
        20,
        search_offsets(),
    )
    peak = best_lag(scores.offsets_ms, scores.rho)
    assert peak is not None
    assert peak.offset_ms == 20.0 * late_cells
    assert peak.best > 0.8


def test_each_envelope_weighs_what_the_table_says() -> None:
    rows = sound_envelopes(log_mel(speech()), slice(20, 120))
    moving = rows - rows.mean(axis=0)
    assert np.allclose(np.sqrt((moving**2).mean(axis=0)), WEIGHTS, rtol=1e-3)
    assert (WEIGHTS < 1).all()


def test_the_columns_are_the_ones_that_are_named() -> None:
    names = [*GEOMETRY_NAMES, *(f"slope of {name}" for name in GEOMETRY_NAMES)]
    assert [names[column] for column in lip_columns()] == ["outer_height", "slope of outer_height", "outer_width"]


def test_a_single_cell_and_silence_are_no_error() -> None:
    silent = np.full((2, MEL_BANDS), -16.0, np.float32)
    assert sound_envelopes(silent, slice(0, 1)).shape == (1, len(ENVELOPES))
    assert np.isfinite(lip_envelopes(np.zeros((1, 2 * len(GEOMETRY_NAMES)), np.float32), slice(0, 1))).all()
