"""Bad input: a named error or a null score with its label, never a confident number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import InputError, UsageError
from avsync.scorer.calibration import TERMS, curve_of, read_calibration
from avsync.scorer.matching.input_checks import LOUDEST, fps_of, landmarks_of, pcm_of, picture_pts_of
from avsync.scorer.scorer import LipSyncScorer
from avsync.scorer.signal import LipSyncSignal
from avsync.scorer.stream import LipSyncStream
from tests.scorer.talking_story import FakeBackend, Talk

TALK = Talk(1.0)
SCORER = LipSyncScorer("heuristic")


def scored(**changes: Any) -> LipSyncSignal:
    given: dict[str, Any] = {
        "pcm": TALK.pcm, "rois": TALK.rois, "fps": 25, "pcm_start_ms": -500, "landmarks": TALK.landmarks, **changes
    }  # fmt: skip
    return SCORER.score_window(given.pop("pcm"), **given)


def test_the_story_itself_is_scored() -> None:
    assert scored().label == "in_sync" and scored().confidence == 0.5


# ---- named errors


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pcm": TALK.pcm.astype(np.int32)}, "pcm must be int16, or float32/float64 .* got int32"),
        ({"pcm": TALK.pcm.astype(np.float16)}, "got float16"),
        ({"pcm": TALK.pcm.astype(complex)}, "got complex128"),
        ({"pcm": [1, 2, 3]}, "got int64"),
        ({"pcm": None}, "got object"),
        ({"pcm": np.stack([TALK.pcm, TALK.pcm], axis=1)}, r"one channel at 16 kHz, .n,., got shape .* mix the"),
        ({"rois": TALK.rois.astype(np.float32)}, "rois must be uint8 RGB in 0..255, got float32"),
        ({"rois": TALK.rois[:, :48]}, r"shape \(T, 96, 96, 3\), got \(25, 48, 96, 3\)"),
        ({"rois": TALK.rois[..., :1]}, "got .25, 96, 96, 1"),
        ({"rois": TALK.rois[0]}, r"got \(96, 96, 3\)"),
        ({"rois": np.zeros((2, 4320, 7680, 3), np.uint8)}, r"got \(2, 4320, 7680, 3\)"),
        ({"landmarks": TALK.landmarks.astype(np.int64)}, "landmarks must be float32 pixels"),
        ({"landmarks": TALK.landmarks[:, :68]}, r"shape \(T, 468, 2\), got \(25, 68, 2\)"),
        ({"landmarks": np.zeros((25, 468, 3), np.float32)}, r"got \(25, 468, 3\)"),
        ({"landmarks": TALK.landmarks[:20]}, "of the same pictures, got 25 and 20"),
        ({"rois": None, "landmarks": None}, "pictures are needed"),
        ({"fps": 0}, "fps must be 1 to 250, got 0"),
        ({"fps": float("nan")}, "fps must be 1 to 250, got nan"),
        ({"fps": float("inf")}, "fps"),
        ({"fps": "25"}, "fps must be a number, got str"),
        ({"fps": True}, "fps must be a number, got bool"),
        ({"pcm_start_ms": float("nan")}, "pcm_start_ms"),
        ({"pcm_start_ms": 1e9}, "within ±60 s"),
        ({"pcm_start_ms": "0"}, "pcm_start_ms must be a number"),
        ({"pts_ns": 0.5}, "pts_ns must be an int of nanoseconds, got float"),
        ({"epoch": -1}, "epoch must be a whole number >= 0"),
        ({"rois": np.repeat(TALK.rois[:1], 800, axis=0), "landmarks": None}, "800 pictures are more than 30 s"),
    ],
)  # fmt: skip
def test_a_wrong_type_or_shape_or_number_is_an_error_that_names_it(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        scored(**changes)


@pytest.mark.parametrize(
    ("push", "says"),
    [
        (lambda one: one.push_audio(TALK.pcm, 0.02), "pts_ns must be an int"),
        (lambda one: one.push_audio(TALK.pcm, 1 << 62), "more than a year away"),
        (lambda one: one.push_audio(TALK.pcm, 0, -1), "epoch"),
        (lambda one: one.push_audio(TALK.pcm.reshape(2, -1), 0), "one channel"),
        (lambda one: one.push_video(TALK.rois, 0), "one int of ns for each of 25 pictures"),
        (lambda one: one.push_video(TALK.rois, TALK.pts_ns[:-1]), "got 24 for 25"),
        (lambda one: one.push_video(TALK.rois[:2], [0, 0.04]), "got float"),
        (lambda one: one.push_video(TALK.rois[:2], "ab"), "pts_ns must hold one int"),
        (lambda one: one.push_video(None, []), "pictures are needed"),
    ],
)
def test_the_stream_refuses_by_name_and_goes_on(push: Callable[[LipSyncStream], Any], says: str) -> None:
    one = SCORER.stream()
    with pytest.raises(UsageError, match=says):
        push(one)
    one.push_audio(TALK.pcm, TALK.pcm_pts_ns)
    assert one.push_video(TALK.rois, TALK.pts_ns) + one.flush()


# ---- content: null scores


def null(signal: LipSyncSignal, label: str) -> bool:
    nothing = (signal.score, signal.offset_ms, signal.score_best, signal.score_margin)
    return nothing == (None,) * 4 and signal.confidence == 0.0 and signal.label == label


def with_samples(value: float, where: slice) -> Any:
    pcm = TALK.pcm.copy()
    pcm[where] = value
    return pcm


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 20_000.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_that_are_no_sound(value: float, dtype: Any) -> None:
    assert null(scored(pcm=with_samples(value, slice(16_000, 16_001)).astype(dtype)), "bad_input")
    assert null(scored(pcm=np.full(32_000, value, dtype)), "bad_input")


def test_int16_samples_in_a_float_array_are_no_sound_in_unit_range() -> None:
    assert null(scored(pcm=TALK.pcm * 32768), "bad_input")


def test_clipped_sound() -> None:
    assert null(scored(pcm=np.clip(TALK.pcm * 50, -1, 1)), "bad_input")
    assert null(scored(pcm=np.clip(TALK.pcm * 50 * 32768, -32768, 32767).astype(np.int16)), "bad_input")
    loud = TALK.pcm / np.abs(TALK.pcm).max() * 1.02
    assert scored(pcm=np.clip(loud, -1, 1)).score is not None, "a loud master is fine"


@pytest.mark.parametrize("dc", [0.0, 0.3, -0.9])
def test_silence_and_a_constant_are_silence(dc: float) -> None:
    assert null(scored(pcm=np.full(32_000, dc, np.float32)), "silence")


def test_sound_below_the_threshold_is_silence_and_the_threshold_can_be_moved() -> None:
    quiet = TALK.pcm * 10 ** (-50 / 20)
    assert null(scored(pcm=quiet), "silence")
    sensitive = LipSyncScorer("heuristic", silence_dbfs=-85)
    assert sensitive.score_window(quiet, TALK.rois, fps=25, pcm_start_ms=-500).score is not None


@pytest.mark.parametrize("pictures", [0, 1])
def test_no_picture_or_a_single_one(pictures: int) -> None:
    assert null(scored(rois=TALK.rois[:pictures], landmarks=TALK.landmarks[:pictures]), "bad_input")
    assert null(scored(rois=TALK.rois[:1], landmarks=None, fps=1), "bad_input")


def test_too_few_pictures_to_move() -> None:
    assert null(scored(rois=TALK.rois[:3], landmarks=TALK.landmarks[:3]), "bad_input")


def test_no_sound() -> None:
    assert null(scored(pcm=TALK.pcm[:0]), "bad_input")
    assert null(scored(pcm=TALK.pcm[:100]), "bad_input")


@pytest.mark.parametrize("start_ms", [-5000, 900, 5000, 60_000])
def test_sound_and_pictures_of_different_times(start_ms: int) -> None:
    assert null(scored(pcm=TALK.pcm[:16_000], pcm_start_ms=start_ms), "bad_input")


def test_sound_at_another_rate_is_never_sure() -> None:
    at_48k = np.repeat(TALK.pcm, 3)
    assert scored(pcm=at_48k, pcm_start_ms=-1500).confidence < 0.5


def test_constant_pictures() -> None:
    assert null(scored(rois=np.repeat(TALK.rois[5:6], 25, axis=0)), "still")
    assert null(scored(landmarks=np.repeat(TALK.landmarks[5:6], 25, axis=0)), "still")
    assert null(scored(rois=None, landmarks=np.repeat(TALK.landmarks[5:6], 25, axis=0)), "still")
    for value in (0, 128, 255):
        assert null(scored(rois=np.full((25, 96, 96, 3), value, np.uint8), landmarks=None), "still")


def test_no_face() -> None:
    lost = np.full_like(TALK.landmarks, np.nan)
    by_pixels = LipSyncScorer(FakeBackend()).score_window(
        TALK.pcm, TALK.rois, fps=25, pcm_start_ms=-500, landmarks=lost
    )
    assert null(by_pixels, "no_face"), "whatever the crop shows"
    signal = scored(landmarks=lost)
    assert null(signal, "no_face") and signal.occluded
    lost[:10] = TALK.landmarks[:10]
    assert null(scored(landmarks=lost), "no_face"), "less than half of it shows one"
    some = TALK.landmarks.copy()
    some[10:13] = np.nan
    assert scored(landmarks=some).label == "in_sync" and not scored(landmarks=some).occluded
    some[10:19] = np.nan
    assert scored(landmarks=some).occluded, "a good part of it shows none"


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30, np.nan])
def test_a_landmark_that_is_no_place_is_a_face_that_was_not_found(value: float) -> None:
    points = TALK.landmarks.copy()
    points[:, 77, 1] = value
    found = landmarks_of(points)
    assert found is not None and np.isnan(found).all()
    assert null(scored(landmarks=points.astype(np.float64)), "no_face")


def test_all_landmarks_in_one_place_is_a_face_that_does_not_move() -> None:
    assert null(scored(rois=None, landmarks=np.zeros_like(TALK.landmarks)), "still")


def test_noise_for_pictures_and_noise_for_sound_are_never_sure() -> None:
    rng, fused_like = np.random.default_rng(2), []
    for _ in range(20):
        pcm = rng.normal(0, 0.1, 32_000).astype(np.float32)
        rois = rng.integers(0, 256, (25, 96, 96, 3), dtype=np.uint8)
        fused_like.append(scored(pcm=pcm, rois=rois, landmarks=None).confidence)
    assert np.median(fused_like) < 0.4 and max(fused_like) <= 0.5


def test_bad_samples_in_a_stream_spoil_what_they_touch_and_nothing_else() -> None:
    talk, one = Talk(4.0), SCORER.stream()
    pcm = talk.pcm.copy()
    pcm[16_000 * 2 + 8000] = np.nan  # at 2 s of the pictures
    one.push_audio(pcm, talk.pcm_pts_ns)
    found = [each.signal for each in one.push_video(talk.rois, talk.pts_ns) + one.flush() if each.kind == "block"]
    spoilt = [each.pts_ns // 1_000_000 for each in found if each.label == "bad_input"]
    assert spoilt == [1600, 2000], "200 ms of search around the sample"


# ---- anything at all

PCM = st.sampled_from([np.int16, np.float32, np.float64])


@settings(max_examples=40)
@given(
    PCM,
    st.integers(0, 20_000),
    st.integers(0, 20),
    st.sampled_from([1, 5, 24.0, 29.97, 60, 250]),
    st.floats(-3000, 3000),
    st.sampled_from(["rois", "landmarks", "both"]),
    st.integers(0, 2**32 - 1),
)
def test_any_content_gives_a_signal_of_the_promised_form(
    dtype: Any, samples: int, pictures: int, fps: float, start_ms: float, which: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pcm = np.resize(rng.choice([0, 1, 3000, -32768, 32767], 97), samples).astype(np.int16)
    given_pcm = pcm if dtype is np.int16 else (pcm / 16384).astype(dtype)
    rois = (
        rng.integers(0, rng.integers(1, 257), (pictures, 96, 96, 3)).astype(np.uint8) if which != "landmarks" else None
    )
    points = rng.choice([0.0, 50.0, 300.0, np.nan, 9e4], (pictures, 468, 2), p=[0.3, 0.3, 0.39, 0.0, 0.01])
    landmarks = points.astype(np.float32) if which != "rois" else None
    signal = SCORER.score_block(
        given_pcm, None if which == "landmarks" else rois, fps=fps, pcm_start_ms=start_ms, landmarks=landmarks
    )
    assert 0.0 <= signal.confidence <= 0.5
    if signal.score_best is None:
        assert signal.offset_ms is None and signal.confidence == 0.0 and signal.score_margin is None
    else:
        assert signal.offset_ms is not None and -200 <= signal.offset_ms <= 200
        assert 0.0 <= (signal.score or 0.0) <= signal.score_best <= 1.0


def test_what_the_checks_give_back() -> None:
    assert pcm_of(np.array([16384], np.int16)).tolist() == [0.5]
    assert np.isnan(pcm_of(np.array([LOUDEST * 1.01]))).all()
    assert fps_of(29.97) == fps_of(np.float64(29.97))
    assert picture_pts_of(40, 1) == [40] and picture_pts_of(np.array([1, 2]), 2) == [1, 2]


# ---- the file of numbers

GOOD: dict[str, Any] = {"bias_ms": 12.5, "curve": dict.fromkeys(TERMS, 1.0), "unrelated": {"peak": 0.1, "margin": 0.05}}


def test_the_calibration_is_read(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"fused": GOOD, "heuristic": GOOD}))
    fused, heuristic = curve_of("fused", file), curve_of("heuristic", file)
    assert (fused.bias_ms, fused.most, fused.unrelated_peak) == (12.5, 1.0, 0.1)
    assert heuristic.most == 0.5, "whatever was fitted"
    assert curve_of("pixels", file).bias_ms == 0.0 and read_calibration(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not readable as JSON"),
        ("[]", "must be an object by method"),
        ('{"magic": {}}', "magic: no such method"),
        ('{"fused": {"bias_ms": 1}}', "fused: needs bias_ms and curve"),
        ('{"fused": {"curve": {}}}', "bias_ms must be a finite number, got None"),
        ('{"fused": {"bias_ms": 1, "curve": {"intercept": 1}}}', "margin must be a finite number"),
        ('{"fused": {"bias_ms": 1, "curve": {}, "unrelated": 3}}', "unrelated must hold"),
    ],
)
def test_a_broken_calibration_is_named_with_the_remedy(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(text)
    with pytest.raises(InputError, match=says) as error:
        read_calibration(file)
    assert "avsync scorer calibrate" in str(error.value) and str(file) in str(error.value)
