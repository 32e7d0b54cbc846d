"""Occlusion and stillness: a hand, a cut, a freeze, a dark room."""

from __future__ import annotations

import numpy as np
import pytest

from avsync.scorer.features.occlusion import hidden, still, thumbnails
from avsync.scorer.scorer import LipSyncScorer
from tests.scorer.talking_story import Talk

TALK = Talk(4.0)


def covered(first: int, last: int) -> np.ndarray:
    """A hand over most of the crop, with fingers."""
    rois = TALK.rois.copy()
    fingers = (120 + 60 * np.sin(np.arange(96) / 4.0))[None, None, :, None]
    rois[first:last, 10:] = np.broadcast_to(fingers, rois[first:last, 10:].shape).astype(np.uint8)
    return rois


def test_thumbnails_are_means_of_blocks() -> None:
    rois = np.zeros((1, 96, 96, 3), np.uint8)
    rois[:, 0:8, 8:16] = 200
    thumbs = thumbnails(rois)
    assert thumbs.shape == (1, 144) and thumbs[0, 1] == 200 and thumbs.sum() == 200


def test_a_hand_before_the_mouth_is_hidden_and_speech_is_not() -> None:
    thumbs = thumbnails(covered(40, 50))
    assert hidden(thumbs[25:50], thumbs[:50]).tolist() == [False] * 15 + [True] * 10
    assert not hidden(thumbnails(TALK.rois), thumbnails(TALK.rois)).any()


def test_flat_pictures_and_no_pictures_are_not_hidden_by_this_rule() -> None:
    flat = np.full((5, 144), 77.0, np.float32)
    assert not hidden(flat, flat).any() and len(hidden(flat[:0], flat)) == 0


@pytest.mark.parametrize("light", [1.0, 0.25, 0.08])
def test_speech_in_a_dark_room_is_not_still(light: float) -> None:
    assert not still(thumbnails((TALK.rois[:10] * light).astype(np.uint8)), None)


def test_a_freeze_is_still_even_with_the_noise_of_a_codec() -> None:
    rng = np.random.default_rng(0)
    frozen = np.repeat(TALK.rois[5:6], 12, axis=0).astype(int)
    assert still(thumbnails(frozen.astype(np.uint8)), None)
    assert still(thumbnails(np.clip(frozen + rng.integers(-1, 2, frozen.shape), 0, 255).astype(np.uint8)), None)
    assert not still(None, None) and not still(thumbnails(TALK.rois[:1]), None)


def test_a_mouth_that_is_covered_is_said_and_does_not_count() -> None:
    scorer = LipSyncScorer("heuristic")
    one = scorer.stream()
    one.push_audio(TALK.pcm, TALK.pcm_pts_ns)
    found = [each.signal for each in one.push_video(covered(30, 45), TALK.pts_ns) + one.flush()]
    blocks = [each for each in found if each.duration_ns == 400_000_000]
    assert [each.label for each in blocks if each.occluded] == ["occluded", blocks[4].label]
    assert blocks[3].pts_ns == 1_200_000_000 and blocks[3].score is None and blocks[3].confidence == 0
    window = next(each for each in found if each.duration_ns == 10**9 and each.pts_ns == 10**9)
    assert window.label == "occluded" and window.score is None


def test_a_mouth_covered_for_a_moment_is_scored_on_what_is_seen() -> None:
    scorer = LipSyncScorer("heuristic")
    clean = scorer.score_window(TALK.pcm, TALK.rois[:50], fps=25, pcm_start_ms=-500)
    brief = scorer.score_window(TALK.pcm, covered(20, 26)[:50], fps=25, pcm_start_ms=-500)
    longer = scorer.score_window(TALK.pcm, covered(20, 38)[:50], fps=25, pcm_start_ms=-500)
    assert not clean.occluded and not brief.occluded and longer.occluded
    assert brief.offset_ms == longer.offset_ms == clean.offset_ms
    assert brief.confidence <= clean.confidence


def test_after_a_cut_the_new_picture_is_the_usual_one_within_a_second() -> None:
    mirrored = np.concatenate([TALK.rois[:50], 255 - TALK.rois[50:]])
    thumbs = thumbnails(mirrored)
    assert hidden(thumbs[50:60], thumbs[25:60]).all(), "at the cut it looks like a hand"
    assert not hidden(thumbs[75:100], thumbs[50:100]).any()
