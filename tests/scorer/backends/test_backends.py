"""What a backend thinks of what it is given, before any network."""

from __future__ import annotations

import numpy as np
import pytest

from avsync.scorer.features.geometry import GEOMETRY_NAMES
from avsync.scorer.features.normalising import TRUST_LEAST, trust_columns, trust_in

USUAL = np.linspace(0.01, 0.05, len(GEOMETRY_NAMES)).astype(np.float32)


def moving(share: float) -> np.ndarray:
    """A mouth whose every number moves by `share` of what is usual."""
    wave = np.sqrt(2) * np.sin(np.arange(400) * 2 * np.pi / 40)
    return (0.3 + share * USUAL * wave[:, None]).astype(np.float32)


@pytest.mark.parametrize(("share", "trust"), [(2.0, 1.0), (0.9, 1.0), (0.45, 0.25), (0.01, TRUST_LEAST**2)])
def test_landmarks_are_trusted_as_far_as_the_mouth_moves(share: float, trust: float) -> None:
    assert trust_in(moving(share), USUAL) == pytest.approx(trust, rel=1e-3)


def test_only_the_opening_counts_and_no_face_is_no_error() -> None:
    widths = moving(1.0)
    widths[:, trust_columns()] = 0.3
    assert trust_in(widths, USUAL) == pytest.approx(TRUST_LEAST**2)
    assert trust_in(np.zeros((0, len(USUAL)), np.float32), USUAL) == pytest.approx(TRUST_LEAST**2)
