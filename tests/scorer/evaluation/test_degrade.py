"""Spoiled clips: as strong as documented, always the same, and moved in time by nothing but what says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avsync.scorer.evaluation import degrade
from avsync.scorer.evaluation.degrade import (
    PICTURE_CONDITIONS,
    RATES,
    SOUND_CONDITIONS,
    FacePosition,
    at_rate,
    face_at,
    typical_face,
)

RATE = 16_000
FACE = FacePosition(centre_x=100, centre_y=90, width=120, mouth_x=100, mouth_y=130, mouth_width=40)


def picture(seed: int = 0) -> NDArray[np.uint8]:
    """A smooth face-like picture, 200x240."""
    rows, columns = np.mgrid[:200, :240]
    wave = 128 + 60 * np.sin(rows / 17 + seed) * np.cos(columns / 23)
    return np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)


def speech() -> NDArray[np.float32]:
    """Four seconds: half a second of sound, half a second of pause, and so on."""
    at_s = np.arange(4 * RATE) / RATE
    return (0.2 * np.sin(2 * np.pi * 300 * at_s) * (at_s % 1 < 0.5)).astype(np.float32)


@pytest.mark.parametrize("name", PICTURE_CONDITIONS)
def test_a_clip_is_spoiled_in_the_same_way_each_time(name: str) -> None:
    spoil = PICTURE_CONDITIONS[name]
    pytest.importorskip({"jpeg_10": "PIL", "small_face": "av", "low_resolution": "av"}.get(name, "numpy"))
    before = picture()
    once, again = spoil(before, FACE, 7), spoil(before, FACE, 7)
    assert np.array_equal(once, again) and once.dtype == np.uint8 and once.shape[2] == 3
    assert np.array_equal(before, picture())  # the given one is left alone
    assert once.shape != before.shape or not np.array_equal(once, before)


def test_low_light_is_dark_and_its_grain_differs_from_picture_to_picture() -> None:
    dark, next_one = (degrade.low_light(picture(), FACE, number).astype(float) for number in (0, 1))
    assert dark.mean() == pytest.approx(picture().mean() * degrade.LOW_LIGHT_GAIN, rel=0.05)
    assert (dark - next_one).std() == pytest.approx(degrade.LOW_LIGHT_NOISE * 2**0.5, rel=0.1)


def test_motion_blur_is_as_long_as_it_says_and_moves_nothing() -> None:
    point = np.zeros((200, 240, 3), np.uint8)
    point[100, 120] = 255
    blurred = degrade.motion_blur(point, FACE, 0)[..., 0].astype(float)
    rows, columns = np.nonzero(blurred)
    length = np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert length == pytest.approx(degrade.MOTION_BLUR_SHARE * FACE.width, abs=1.5)
    assert abs(rows.mean() - 100) <= 0.5 and abs(columns.mean() - 120) <= 0.5


def test_the_microphone_hides_a_third_of_the_mouth() -> None:
    hidden = (degrade.occlusion(picture(), FACE, 0) != picture()).any(axis=2)
    mouth = hidden[int(FACE.mouth_y), int(FACE.mouth_x - 20) : int(FACE.mouth_x + 20)]
    assert mouth.mean() == pytest.approx(degrade.OCCLUSION_SHARE, abs=0.05)
    assert mouth[0] and not mouth[-1]
    assert np.array_equal(hidden, (degrade.occlusion(picture(3), FACE, 9) != picture(3)).any(axis=2))


def test_a_small_face_is_64_pixels_in_a_large_frame() -> None:
    pytest.importorskip("av")
    marked = picture()
    marked[90, 40:160] = 255  # the face's width: 120 of 240
    small = degrade.low_resolution(marked, FACE, 0)
    assert small.shape[1] * 120 / 240 == pytest.approx(64, abs=1)
    framed = degrade.small_face(picture(), FACE, 0)
    assert framed.shape == (720, 1280, 3)
    outside = (framed.max(axis=2) > 130) | (framed.min(axis=2) < 100)
    assert np.ptp(np.nonzero(outside)[1]) + 1 == pytest.approx(small.shape[1], abs=3)
    tiny = FACE._replace(width=40)
    assert degrade.low_resolution(picture(), tiny, 0).shape == picture().shape  # never made larger


def test_jpeg_has_its_blocks() -> None:
    pytest.importorskip("PIL")
    spoiled = degrade.jpeg(picture(), FACE, 0).astype(float)[..., 0]
    steps = np.abs(np.diff(spoiled, axis=1)).mean(axis=0)
    assert steps[7::8].mean() > 2 * steps[3::8].mean()


@pytest.mark.parametrize("name", SOUND_CONDITIONS)
def test_noise_lies_10_db_below_the_speech_not_below_its_mean_with_pauses(name: str) -> None:
    clean = speech()
    added = SOUND_CONDITIONS[name](clean).astype(float) - clean
    spoken = np.arange(len(clean)) / RATE % 1 < 0.5
    ratio_db = 10 * np.log10(np.mean(clean[spoken].astype(float) ** 2) / np.mean(added**2))
    assert ratio_db == pytest.approx(10.0, abs=0.5)
    assert np.array_equal(SOUND_CONDITIONS[name](clean), SOUND_CONDITIONS[name](clean))
    assert len(SOUND_CONDITIONS[name](clean[:0])) == 0 and len(SOUND_CONDITIONS[name](clean[:100])) == 100


def test_music_has_no_clicks_between_its_chords() -> None:
    """A click at every bar would be a mark that a scorer could follow."""
    tune = degrade.music(np.zeros(0, np.float32))
    assert len(tune) == 0
    long = degrade.music(speech()).astype(float) - speech()
    bar = 2 * RATE
    steps = np.abs(np.diff(long))
    assert steps[bar - 2 : bar + 2].max() < 3 * np.percentile(steps, 99.9)


def test_faces_are_measured_where_there_are_any() -> None:
    points = np.random.default_rng(0).uniform(10, 50, (4, 468, 2)).astype(np.float32)
    points[:, 61], points[:, 291] = (20, 40), (30, 40)
    points[2] = np.nan
    assert face_at(points[2]) is None and typical_face(points[2:3]) is None
    found: Any = typical_face(points)
    assert (found.mouth_x, found.mouth_y, found.mouth_width) == (25.0, 40.0, 10.0)
    assert found.width == pytest.approx(40, abs=1)


# ---- other picture rates


@pytest.mark.parametrize("rate", RATES)
def test_on_the_whole_no_picture_moves(rate: str) -> None:
    """A picture is first shown at the slot nearest to its time: early as often as late."""
    start_ns = np.arange(250, dtype=np.int64) * 40_000_000
    slots, shown = at_rate(start_ns, 10_000_000_000, rate)
    assert (np.diff(slots) > 0).all() and (np.diff(shown) >= 0).all() and slots[0] == 0
    first = np.searchsorted(shown, np.unique(shown))
    late_ms = (slots[first] - start_ns[np.unique(shown)]) / 1e6
    assert abs(late_ms).max() <= 45 / 2 + 1e-6
    assert abs(late_ms.mean()) < 2.0
    if rate in ("50", "60"):
        assert set(shown) == set(range(250))


def test_a_faster_rate_only_repeats() -> None:
    start_ns = np.arange(25, dtype=np.int64) * 40_000_000
    slots, shown = at_rate(start_ns, 1_000_000_000, "50")
    assert np.array_equal(slots, np.arange(50) * 20_000_000)
    assert np.array_equal(shown, np.arange(50) // 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.sampled_from(RATES), st.integers(0, 10**9))
def test_any_clip_can_be_converted(gaps_ms: list[int], rate: str, begins_ns: int) -> None:
    start_ns = begins_ns + np.cumsum([0, *gaps_ms]).astype(np.int64) * 1_000_000
    end_ns = int(start_ns[-1]) + 40_000_000
    slots, shown = at_rate(start_ns, end_ns, rate)
    assert len(slots) == len(shown) > 0
    assert slots[0] == begins_ns and slots[-1] < end_ns
    assert shown.min() >= 0 and shown.max() < len(start_ns)
    assert (np.diff(shown) >= 0).all()
