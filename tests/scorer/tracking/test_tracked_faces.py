"""Faces of a clip: streamed with its sound, or whole in memory."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("av")
pytest.importorskip("PIL")
pytest.importorskip("cv2")

import numpy as np

from avsync.errors import InputError
from avsync.scorer.tracking import tracked_faces
from avsync.scorer.tracking.clip_reader import Picture, open_clip, whole_sound
from avsync.scorer.tracking.sound_placing import SoundPiece
from avsync.scorer.tracking.tracked_faces import PictureFaces, follow, track_clip
from tests.scorer.tracking.clip_story import make_clip
from tests.scorer.tracking.drawn_face import draw_face, needs_models, scene


class Everywhere:
    """A tracker that sees one face in every picture, a second one in bright ones."""

    def track(self, picture: np.ndarray) -> tuple:
        low = [_face(1, 20.0)]
        return tuple([*low, _face(2, 40.0)] if picture.mean() > 120 else low)


def _face(number: int, x: float):
    from avsync.scorer.tracking.face_tracker import FaceLandmarks

    points = np.tile(np.array([x, 20], np.float32), (468, 1))
    points[[33, 133, 362, 263]] = [(x - 8, 15), (x - 3, 15), (x + 3, 15), (x + 8, 15)]
    points[[2, 98, 327]] = [(x, 22), (x - 2, 22), (x + 2, 22)]
    return FaceLandmarks(number, points, 0.9)


@pytest.fixture
def clip(tmp_path: Path):
    return open_clip(make_clip(tmp_path / "a.mp4"))


def test_a_clip_is_followed_with_its_sound_in_the_order_of_time(clip) -> None:
    units = list(follow(clip, tracker=Everywhere()))
    assert [unit.pts_ns for unit in units] == sorted(unit.pts_ns for unit in units)
    seen = [unit for unit in units if isinstance(unit, PictureFaces)]
    assert len(seen) == 75 and seen[0].faces[0].roi.shape == (96, 96, 3)
    pcm, _ = whole_sound(clip)
    assert np.array_equal(np.concatenate([unit.pcm for unit in units if isinstance(unit, SoundPiece)]), pcm)


def test_who_stops_reading_leaves_no_thread_behind(clip) -> None:
    import threading

    units = follow(clip, tracker=Everywhere())
    next(units)
    units.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "avsync-scorer-ahead"]


def test_a_whole_clip_has_nan_where_a_face_is_not_seen(clip) -> None:
    tracked = track_clip(clip, tracker=Everywhere())
    assert [face.number for face in tracked.faces] == [1, 2]
    first, second = tracked.faces
    assert first.seen.all() and first.landmarks.shape == (75, 468, 2) and first.rois.shape == (75, 96, 96, 3)
    assert np.array_equal(np.flatnonzero(second.seen), [*range(15, 18), *range(35, 38), *range(55, 58)])
    assert np.isnan(second.landmarks[0]).all() and not second.rois[0].any()
    assert tracked.pts_ns[1] - tracked.pts_ns[0] == 40_000_000 and tracked.pcm_start_ns == 0


def test_pictures_can_be_changed_before_they_are_tracked(clip) -> None:
    dark = track_clip(clip, tracker=Everywhere(), change=lambda picture: Picture(picture.pts_ns, picture.rgb // 8))
    assert [face.number for face in dark.faces] == [1]


def test_a_clip_too_long_for_memory_is_refused(clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracked_faces, "IN_MEMORY_MAX", 20)
    with pytest.raises(InputError, match="more than 20"):
        track_clip(clip, tracker=Everywhere())


@needs_models
def test_a_drawn_clip_gives_a_mouth_that_opens_when_it_was_drawn_open(tmp_path: Path) -> None:
    def talking(at: Fraction, size: tuple[int, int]) -> np.ndarray:
        return scene((60, 20, draw_face(110, opening=0.8 if int(at * 2) % 2 else 0.0)), size=size)

    path = make_clip(tmp_path / "a.mp4", size=(320, 240), picture=talking)
    (face,) = track_clip(open_clip(path)).faces
    assert face.seen.all()
    opening = np.linalg.norm(face.landmarks[:, 13] - face.landmarks[:, 14], axis=1)
    drawn = np.array([int(Fraction(n, 25) * 2) % 2 for n in range(75)], bool)
    assert np.median(opening[drawn]) > 2 * np.median(opening[~drawn])
    assert opening[drawn].min() > opening[~drawn].max()
    middle = face.rois[:, 40:72, 32:64].astype(float).mean(axis=(1, 2, 3))
    assert middle[drawn].max() < middle[~drawn].min()
