"""The lag search: sign, edges, holes, fractions of a cell, and what the margin looks at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.scorer.matching.lag_search import DRIFT_CELLS, best_lag, lag_scores, search_offsets, without_drift

RNG = np.random.default_rng(7)
SOUND = RNG.standard_normal((200, 8)).astype(np.float32)


def smooth(rows: np.ndarray) -> np.ndarray:
    kernel = np.hanning(9)[:, None]
    return np.stack([np.convolve(rows[:, d], kernel[:, 0], "same") for d in range(rows.shape[1])], axis=1).astype(
        np.float32
    )


@pytest.mark.parametrize("late_cells", [-9, -4, 0, 1, 7])
def test_lips_that_move_after_their_sound_mean_a_voice_ahead(late_cells: int) -> None:
    """The lips at cell 80 do what is heard at cell 80 - late_cells: the voice is ahead by late_cells x 20 ms."""
    lips = SOUND[80 - late_cells : 110 - late_cells]
    scores = lag_scores(lips, SOUND, 80, search_offsets())
    peak = best_lag(scores.offsets_ms, scores.rho)
    assert peak is not None
    assert peak.offset_ms == 20.0 * late_cells
    assert peak.best == pytest.approx(1.0)
    assert not peak.at_edge


def test_the_best_at_either_end_is_said() -> None:
    for late_cells in (-10, 10):
        lips = SOUND[80 - late_cells : 110 - late_cells]
        scores = lag_scores(lips, SOUND, 80, search_offsets())
        peak = best_lag(scores.offsets_ms, scores.rho)
        assert peak is not None
        assert peak.at_edge


def test_the_margin_does_not_look_at_neighbours() -> None:
    offsets = search_offsets()
    rho = np.full(21, 0.1)
    rho[8:13] = 0.8
    rho[10] = 0.9
    peak = best_lag(offsets, rho)
    assert peak is not None
    assert peak.margin == pytest.approx(0.8)


def test_steps_of_a_picture_at_30_fps_read_sound_between_cells() -> None:
    """Voice ahead by one picture of 33 ms: the nearest of the 20 ms steps is wrong by 7, the 33 ms step is right."""
    fine = smooth(np.repeat(RNG.standard_normal((400, 4)), 1, axis=0))
    lips = np.stack([np.interp(np.arange(60, 100) - 5 / 3, np.arange(400), fine[:, d]) for d in range(4)], axis=1)
    offsets = search_offsets(200.0, 100 / 3)
    scores = lag_scores(lips.astype(np.float32), fine, 60, offsets)
    peak = best_lag(offsets, scores.rho)
    assert peak is not None
    assert peak.offset_ms == pytest.approx(100 / 3)


def test_sound_that_ends_with_the_pictures_is_compared_over_what_overlaps() -> None:
    lips = SOUND[20:50]
    scores = lag_scores(lips, SOUND[20:50], 0, search_offsets())
    assert scores.overlap[10] == 1.0
    assert scores.overlap[0] == pytest.approx(20 / 30)
    peak = best_lag(scores.offsets_ms, scores.rho)
    assert peak is not None
    assert peak.offset_ms == 0.0


def test_too_little_overlap_is_not_scored() -> None:
    scores = lag_scores(SOUND[:12], SOUND[:12], 0, search_offsets())
    assert np.isnan(scores.rho[0])
    assert np.isfinite(scores.rho[10])
    nothing = lag_scores(SOUND[:12], SOUND[:0], 0, search_offsets())
    assert best_lag(nothing.offsets_ms, nothing.rho) is None


def test_cells_without_a_face_do_not_count() -> None:
    lips = SOUND[80:110].copy()
    lips[10:20] = 99.0
    seen = np.ones(30, bool)
    seen[10:20] = False
    scores = lag_scores(lips, SOUND, 80, search_offsets(), seen=seen)
    assert scores.rho[10] == pytest.approx(1.0, abs=1e-5)


def test_cells_without_a_face_do_not_count_in_a_long_window_either() -> None:
    """Nor do they in the running mean of those beside them."""
    seen = np.ones(100, bool)
    seen[40:50] = False
    spoiled = SOUND[50:150].copy()
    spoiled[~seen] = 99.0
    plain, other = (lag_scores(lips, SOUND, 50, search_offsets(), seen=seen) for lips in (SOUND[50:150], spoiled))
    np.testing.assert_allclose(plain.rho, other.rho, atol=1e-6)
    assert plain.rho.argmax() == 10 and plain.rho[10] > 0.98


def test_to_start_at_the_same_time_is_not_to_belong_together() -> None:
    """Two strangers fall silent until half a second into the window, then both speak: their step alone is no match."""
    started = (np.arange(140) >= 45)[:, None] * 6.0
    lips, sound = (smooth(rng.standard_normal((140, 8))) + started for rng in map(np.random.default_rng, (1, 2)))
    scores = lag_scores(lips[20:120].astype(np.float32), sound.astype(np.float32), 20, search_offsets())
    stepped, both = lips[20:120] - lips[20:120].mean(axis=0), sound[20:120] - sound[20:120].mean(axis=0)
    assert (stepped * both).sum() / np.sqrt((stepped**2).sum() * (both**2).sum()) > 0.5
    assert scores.rho.max() < 0.35


def test_a_running_mean_is_that_of_the_cells_that_are_there() -> None:
    rows = RNG.standard_normal((60, 3)).astype(np.float32)
    seen = RNG.random(60) < 0.7
    freed = without_drift(rows, seen)
    for at in (0, 10, 30, 59):
        near = slice(max(0, at - 15), at + 16)
        np.testing.assert_allclose(freed[at], rows[at] - rows[near][seen[near]].mean(axis=0), atol=1e-5)


def test_constant_lips_agree_with_nothing() -> None:
    scores = lag_scores(np.ones((30, 8), np.float32), SOUND, 80, search_offsets())
    assert np.all(scores.rho == 0.0)


@given(
    seed=st.integers(0, 500),
    n=st.integers(4, DRIFT_CELLS),
    at=st.integers(-20, 180),
    step=st.sampled_from([20.0, 40.0, 1000 / 30]),
)
@settings(max_examples=80, deadline=None)
def test_against_the_definition_written_out(seed: int, n: int, at: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    lips, sound = rng.standard_normal((n, 3)).astype(np.float32), rng.standard_normal((170, 3)).astype(np.float32)
    offsets = search_offsets(200.0, step)
    scores = lag_scores(lips, sound, at, offsets)
    for offset, rho in zip(offsets, scores.rho, strict=True):
        pairs = []
        for i in range(n):
            place = at + i - offset / 20
            low, part = int(np.floor(place + 1e-9)), place - np.floor(place + 1e-9)
            part = 0.0 if part < 1e-6 else part
            if low < 0 or low + (part > 0) >= len(sound):
                continue
            pairs.append((lips[i], (1 - part) * sound[low] + part * sound[min(low + 1, len(sound) - 1)]))
        if len(pairs) < n * 0.5:
            assert np.isnan(rho)
            continue
        v, a = (np.array(side) for side in zip(*pairs, strict=True))
        v, a = v - v.mean(axis=0), a - a.mean(axis=0)
        assert rho == pytest.approx((v * a).sum() / np.sqrt((v**2).sum() * (a**2).sum()), abs=1e-4)
