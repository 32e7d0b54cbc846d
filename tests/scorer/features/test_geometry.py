"""Numbers of the mouth's shape: free of the face's place, size and tilt; aware of what opens."""

from __future__ import annotations

import numpy as np
import pytest

from avsync.scorer.features.geometry import GEOMETRY_NAMES, LANDMARKS, face_size, geometry


def face(opening: float = 0.2) -> np.ndarray:
    """Random points with eyes 100 px apart, the nose base 85 px below them, and a mouth open by `opening`."""
    points = np.random.default_rng(3).uniform(0, 100, (LANDMARKS, 2))
    for corners, x in (((33, 133), 100.0), ((362, 263), 200.0)):
        for corner, aside in zip(corners, (-10.0, 10.0), strict=True):
            points[corner] = (x + aside, 100.0)
    points[2] = (150.0, 185.0)
    for upper, lower in ((13, 14), (81, 178), (311, 402), (82, 87), (312, 317)):
        points[upper] = (150.0, 220.0 - 50 * opening)
        points[lower] = (150.0, 220.0 + 50 * opening)
    return points[None].astype(np.float32)


def test_a_face_from_the_front_measures_its_eyes() -> None:
    assert face_size(face())[0] == pytest.approx(100.0)


def test_the_opening_is_read_in_eye_distances() -> None:
    column = GEOMETRY_NAMES.index("inner_open")
    assert geometry(face(0.3))[0, column] == pytest.approx(0.3, abs=1e-5)
    assert geometry(face(0.0))[0, column] == pytest.approx(0.0, abs=1e-5)


def test_place_size_and_tilt_of_the_face_change_nothing() -> None:
    here = face()
    turn = np.deg2rad(25.0)
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    there = (here @ rotate.T * 0.37 + np.array([400.0, -20.0])).astype(np.float32)
    assert np.allclose(geometry(here), geometry(there), atol=1e-4)


def test_no_face_is_a_row_of_nan() -> None:
    both = np.concatenate([face(), np.full((1, LANDMARKS, 2), np.nan, np.float32)])
    values = geometry(both)
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()
