"""Mouth crops stand on the skull: the head may turn, move and come nearer, only the lips move in them."""

from __future__ import annotations

import pytest

pytest.importorskip("numpy")
pytest.importorskip("cv2")

import numpy as np
from numpy.typing import NDArray

from avsync.scorer.tracking.mouth_crops import mouth_crop, mouth_square

EYES = {33: (-1, 0), 133: (-0.4, 0), 362: (0.4, 0), 263: (1, 0)}
NOSE = {2: (0, 1.1), 98: (-0.25, 1.1), 327: (0.25, 1.1)}


def landmarks(
    *, x: float = 300, y: float = 200, size: float = 40, turn: float = 0.0, opening: float = 0.0, nose: float = 0.0
) -> NDArray:
    """A face of which only eyes, nose and lips are there; `size`: half the distance of the outer eye corners; `nose`:
    how far to the right it points."""
    points = np.zeros((468, 2), np.float32)
    drop = 0.15 * opening
    lips = {
        13: (0, 1.6), 14: (0, 1.6 + opening), 17: (0, 1.8 + opening), 152: (0, 2.4 + opening),
        61: (-0.4, 1.7 + drop), 291: (0.4, 1.7 + drop),
    }  # fmt: skip
    for index, place in {**EYES, **NOSE, **lips}.items():
        points[index] = place
    points[list(NOSE), 0] += nose
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (points @ rotation.T * size + (x, y)).astype(np.float32)


def test_the_crop_stays_where_it_is_while_the_mouth_opens() -> None:
    assert mouth_square(landmarks(opening=0.0)) == mouth_square(landmarks(opening=0.7))


def test_the_crop_stays_on_the_mouth_when_the_nose_points_aside() -> None:
    """A head that is turned: the line from the eyes to the nose's base swings off the mouth."""
    ahead, aside = mouth_square(landmarks()), mouth_square(landmarks(nose=0.3, turn=0.2))
    lips = landmarks(nose=0.3, turn=0.2)[[61, 291]].mean(axis=0)
    across, down = np.array([np.cos(0.2), np.sin(0.2)]), np.array([-np.sin(0.2), np.cos(0.2)])
    off = np.array([aside.x, aside.y]) - lips
    assert off @ across == pytest.approx(0, abs=0.01)
    assert off @ down == pytest.approx(ahead.y - landmarks()[[61, 291], 1].mean(), abs=0.5)


def test_the_crop_follows_turn_distance_and_place_of_the_head() -> None:
    still = mouth_square(landmarks())
    assert (still.x, still.angle) == pytest.approx((300, 0), abs=1e-4) and 200 + 1.5 * 40 < still.y < 200 + 1.9 * 40
    near = mouth_square(landmarks(size=80))
    assert near.side == pytest.approx(2 * still.side) and near.y - 200 == pytest.approx(2 * (still.y - 200))
    turned = mouth_square(landmarks(turn=0.3))
    assert turned.angle == pytest.approx(0.3, abs=1e-3) and turned.side == pytest.approx(still.side)
    down = still.y - 200
    assert (turned.x, turned.y) == pytest.approx((300 - np.sin(0.3) * down, 200 + np.cos(0.3) * down), abs=0.1)


def test_the_same_mouth_gives_the_same_crop_however_the_head_is_held() -> None:
    def painted(**how: float) -> NDArray[np.uint8]:
        """A bright spot where the lips are: what the crop shows of it must not depend on the pose."""
        points = landmarks(**how)
        rows, columns = np.mgrid[:480, :640] + 0.5
        lips = (points[13] + points[17]) / 2
        spot = np.hypot(columns - lips[0], rows - lips[1]) < 0.2 * how.get("size", 40)
        return mouth_crop(np.repeat(np.where(spot, 255, 30)[..., None], 3, axis=2).astype(np.uint8), points)

    crops = [painted(), painted(x=350, y=120), painted(turn=0.4), painted(size=60)]
    middles = [np.argwhere(crop[..., 0] > 140).mean(axis=0) for crop in crops]
    areas = [np.count_nonzero(crop[..., 0] > 140) for crop in crops]
    assert all(middle == pytest.approx(middles[0], abs=0.8) for middle in middles)
    assert max(areas) < 1.1 * min(areas) and areas[0] > 50
