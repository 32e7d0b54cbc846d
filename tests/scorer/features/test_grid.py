"""Pictures on the grid of cells: the same answer whatever the rate, nothing invented where nothing was seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.scorer.features.cells import CELL_NS
from avsync.scorer.features.grid import HOLD_MAX_NS, on_grid

MS = 1_000_000


def starts(count: int, every_ns: float) -> np.ndarray:
    return np.round(np.arange(count) * every_ns).astype(np.int64)


def test_pictures_repeated_to_50_fps_give_the_cells_of_25() -> None:
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    once, seen_once = on_grid(starts(50, 40 * MS), values, 0, 100)
    twice, seen_twice = on_grid(starts(100, 20 * MS), np.repeat(values, 2, axis=0), 0, 100)
    assert np.allclose(once, twice, atol=1e-6)
    assert (seen_once == seen_twice).all()


def test_a_step_lies_where_the_picture_changed_at_any_rate() -> None:
    """A value that rises at 1000 ms crosses one half there, whatever the rate: no half picture early or late."""
    for fps in (25, 29.97, 30, 50, 60):
        at = starts(int(2 * fps), 1e9 / fps)
        values = (at >= 1000 * MS).astype(np.float32)[:, None]
        first_ns = int(at[values[:, 0] > 0][0])
        cells, _ = on_grid(at, values, 0, 95)
        centres_ns = (np.arange(95) + 0.5) * CELL_NS
        crossing_ns = np.interp(0.5, cells[30:70, 0], centres_ns[30:70])
        assert abs(crossing_ns - first_ns) < 1 * MS, fps


def test_a_missing_face_leaves_a_hole_and_no_value() -> None:
    values = np.ones((50, 2), np.float32)
    values[20:30] = np.nan
    cells, seen = on_grid(starts(50, 40 * MS), values, 0, 100)
    assert not seen[42:58].any()
    assert seen[:39].all()
    assert np.all(cells[seen] == 1.0)
    assert np.all(cells[~seen] == 0.0)


def test_a_picture_is_believed_for_a_tenth_of_a_second_only() -> None:
    at = np.array([0, 40 * MS, 1000 * MS], np.int64)
    _, seen = on_grid(at, np.ones((3, 1), np.float32), 0, 50)
    last_believed_ns = 40 * MS + HOLD_MAX_NS
    assert seen[: last_believed_ns // CELL_NS].all()
    assert not seen[last_believed_ns // CELL_NS + 1 : 48].any()


def test_nothing_given_nothing_seen() -> None:
    cells, seen = on_grid(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), 5, 7)
    assert cells.shape == (7, 4)
    assert not seen.any()


@given(
    steps=st.lists(st.integers(1 * MS, 90 * MS), min_size=3, max_size=40),
    cut=st.integers(0, 20),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_any_part_of_the_grid_reads_as_it_does_in_the_whole(steps: list[int], cut: int, seed: int) -> None:
    """Chunks of a stream ask for parts: a cell's value must not depend on where the asking began."""
    at = np.cumsum([0, *steps]).astype(np.int64)
    values = np.random.default_rng(seed).standard_normal((len(at), 2)).astype(np.float32)
    whole, seen = on_grid(at, values, 0, 60)
    part, seen_part = on_grid(at, values, cut, 60 - cut)
    assert (seen[cut:] == seen_part).all()
    assert np.allclose(whole[cut:], part, atol=1e-4)
    assert whole.min() >= min(values.min(), 0) - 1e-4
    assert whole.max() <= max(values.max(), 0) + 1e-4
