"""The renderer: moving mouths whose shape is known, and nothing else that is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from avsync.scorer.synthetic import render_camera, render_face, renderer
from avsync.scorer.synthetic.mouths import COLUMNS

pytestmark = pytest.mark.lab


def mouths(batch: int = 3, frames: int = 6, **columns: float | np.ndarray) -> np.ndarray:
    """Mouths at rest, facing the camera, but for the columns given (numbers or (frames,) arrays)."""
    values = np.zeros((batch, frames, len(COLUMNS)), np.float32)
    rest = {"outer_height": 0.26, "outer_width": 0.85, "inner_width": 0.7, "scale": 1.0}
    for name, value in {**rest, **columns}.items():
        values[:, :, COLUMNS.index(name)] = value
    return values


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_seed_gives_the_same_pictures_and_another_gives_others():
    first, again = (renderer.render(mouths(), rng(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, renderer.render(mouths(), rng(2)))


def test_grey_pictures_are_48_pixels_wide_and_within_their_range():
    pictures = renderer.render(mouths(2, 4), rng())
    assert pictures.shape == (2, 4, 48, 48)
    assert torch.isfinite(pictures).all() and float(pictures.min()) >= 0 and float(pictures.max()) <= 1


def test_crops_are_what_a_tracker_gives():
    crops = renderer.crops(mouths(1, 5, inner_open=0.1)[0], rng())
    assert crops.shape == (5, 96, 96, 3) and crops.dtype == np.uint8
    assert crops.std() > 5


def test_a_still_mouth_before_a_perfect_camera_does_not_move():
    pictures = renderer.render(mouths(4, 5), rng(), strength=0.0)
    assert float((pictures - pictures[:, :1]).abs().max()) < 1e-5


def test_what_moves_is_the_mouth_and_it_moves_more_the_wider_it_opens():
    opening = np.array([0.0, 0.05, 0.1, 0.2], np.float32)
    values = mouths(12, 4, inner_open=opening, outer_height=0.26 + opening, jaw=4 * opening)
    pictures = renderer.render(values, rng(), strength=0.0)
    change = (pictures - pictures[:, :1]).abs()
    by_opening = change.mean((0, 2, 3))
    assert (by_opening.diff() > 0).all()
    moved = change[:, -1].mean(0)
    assert float(moved[20:36, 14:34].mean()) > 5 * float(moved[:8].mean())  # the nose stays


@pytest.mark.parametrize(("column", "value"), [("outer_width", 0.6), ("round", 1.0), ("smile", 1.0), ("tuck", 1.0)])
def test_every_part_of_the_mouth_can_be_seen_to_move(column, value):
    before = mouths(6, 1, inner_open=0.04)
    after = mouths(6, 1, inner_open=0.04, **{column: value})
    both = np.concatenate([before, before, after], axis=1)
    pictures = renderer.render(both, rng(3), strength=0.0)
    assert float((pictures[:, 2] - pictures[:, 1]).abs().mean()) > 1e-3


def test_pictures_catch_the_mean_of_their_time_on_the_screen():
    track = np.arange(100, dtype=np.float32)[:, None].repeat(len(COLUMNS), 1)
    seen = renderer.at_pictures(track, [0.0, 0.04, 0.5], 0.04)
    assert np.allclose(seen[:, 0], [1.5, 5.5, 51.5])


def test_pictures_past_the_end_repeat_the_end():
    track = np.arange(100, dtype=np.float32)[:, None].repeat(len(COLUMNS), 1)
    assert renderer.at_pictures(track, [5.0], 0.04)[0, 0] == pytest.approx(97.5)


def test_a_picture_without_detail_survives_the_codec():
    flat = torch.full((2, 1, 3, 48, 48), 0.5)
    assert float((render_camera.compress(rng(), flat, 1.0) - flat).abs().max()) < 0.1


def test_blocks_that_hardly_change_stay_as_they_were():
    pictures = torch.full((1, 1, 3, 48, 48), 0.5)
    pictures[:, :, 1:, :24] += 0.001
    pictures[:, :, 1:, 24:] += 0.3
    stuck = render_camera.stick(rng(), pictures, 1.0)
    assert torch.equal(stuck[:, :, 2, :24], pictures[:, :, 0, :24])
    assert torch.equal(stuck[:, :, 2, 24:], pictures[:, :, 2, 24:])


def test_no_fault_strikes_where_none_is_asked_for():
    pictures = renderer.render(mouths(4, 3), rng(), strength=0.0)
    for fault in (render_camera.compress, render_camera.stick, render_camera.shrink, render_camera.occlude):
        assert torch.allclose(fault(rng(), pictures[:, None], 0.0), pictures[:, None], atol=1e-6)


def test_slow_motion_is_slow():
    path = render_camera.wander(rng(), 50, 200, 20)
    assert path.shape == (50, 200)
    assert float(path.diff(dim=1).std()) < 0.2 * float(path.std())


@pytest.mark.parametrize(("column", "value", "moves"), [("yaw_deg", 35.0, "right"), ("inner_open", 0.2, "down")])
def test_some_crops_swing_with_the_head_or_follow_the_lips_and_most_stand(column: str, value: float, moves: str):
    """Other people's trackers cut them so."""
    turned = np.linspace(0.0, value, 5).astype(np.float32)
    mouth = torch.from_numpy(mouths(200, 5, **{column: turned}))
    random = rng(3)
    face = render_face.draw_face(random, 200, colour=False, mouth=renderer.rest_of(mouth))
    motion = renderer.motion_of(random, mouth, face, 0.0)
    gone = {name: (getattr(motion, name)[:, -1] - getattr(motion, name)[:, 0]).abs() for name in ("right", "down")}
    share = float((gone[moves] > 0.02).float().mean())
    assert 0.1 < share < 0.5
    other = ({"right", "down"} - {moves}).pop()
    assert float(gone[other].max()) < 1e-6
