"""Intake: any sound becomes 20 ms at 48 kHz and lasts as long as before; any picture becomes one size."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import UsageError
from avsync.webrtc.intake import SoundIntake, audio_frame, blurred, even, size_of, video_frame

RATES = [8000, 16000, 22050, 24000, 44100, 48000]


def taken(intake: SoundIntake, frames: Any) -> np.ndarray[Any, Any]:
    slots = [slot.to_ndarray().ravel() for slot in frames]
    assert all(len(slot) % 960 == 0 for slot in slots)
    return np.concatenate(slots) if slots else np.zeros(0, np.int16)


def tone(seconds: float, rate: int, dtype: type = np.int16) -> np.ndarray[Any, Any]:
    wave = np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)
    return (wave * 0.5).astype(np.float32) if dtype is np.float32 else (wave * 16000).astype(np.int16)


def frame_of(sound: Any, rate: int) -> av.AudioFrame:
    frame = audio_frame(sound, rate)
    assert frame is not None
    return frame


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(
    ("rate", "chunk"), [(8000, 1), *((rate, chunk) for rate in RATES for chunk in (333, 480, 4410, 10**9))]
)
def test_any_rate_and_chunk_lasts_as_long_as_before_and_is_the_same_sound(rate: int, dtype: type, chunk: int) -> None:
    sound = tone(1.3, rate, dtype)
    intake = SoundIntake("mono")
    parts = [taken(intake, intake.take(frame_of(sound[at : at + chunk], rate))) for at in range(0, len(sound), chunk)]
    whole = np.concatenate([*parts, taken(intake, intake.finish())])
    assert len(whole) == -(-round(1.3 * 48000) // 960) * 960  # filled up to a slot, and no more
    wanted = tone(1.3, 48000)
    middle = slice(2000, 60000)
    assert np.abs(whole[middle].astype(int) - wanted[middle]).max() < 900  # in place: 1 ms off would be 9000
    assert intake.held_ns == 0


def test_a_change_of_rate_and_layout_in_mid_stream_has_no_seam_and_adds_up_to_nothing() -> None:
    intake = SoundIntake("mono")
    out, seconds = [], Fraction(0)
    for number in range(400):
        rate = RATES[number % len(RATES)]
        count = 37 + 11 * (number % 7)
        sound = np.full((count, 2) if number % 3 else count, 1000, np.int16)
        seconds += Fraction(count, rate)
        out.append(taken(intake, intake.take(frame_of(sound, rate))))
        assert abs(intake.held_ns - (seconds - Fraction(sum(map(len, out)), 48000)) * 10**9) < 2
    out.append(taken(intake, intake._drain()))
    assert np.concatenate(out).min() > 900  # what a resampler still held is in its place
    total = sum(map(len, out)) + len(intake._rest)
    assert abs(total - seconds * 48000) <= 1


@pytest.mark.parametrize(("layout", "channels"), [("mono", 1), ("stereo", 2)])
def test_channels_become_the_sessions(layout: Any, channels: int) -> None:
    for given_channels in (1, 2, 4):
        intake = SoundIntake(layout)
        sound = np.full((2000, given_channels), 8000, np.int16)
        slots = list(intake.take(frame_of(sound, 48000)))
        assert len(slots) == 2
        for slot in slots:
            samples = slot.to_ndarray().reshape(-1, channels)
            # One channel is spread over two with the power it had, so each has 0.7 of it.
            assert samples.shape == (960, channels) and 5600 <= int(samples[500].min()) <= 8050


@pytest.mark.parametrize("form", ["u8", "s16", "s16p", "s32", "s32p", "flt", "fltp", "dbl", "dblp"])
@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_frames_of_any_format_are_taken_and_stay_the_callers(form: str, layout: str) -> None:
    frame = av.AudioFrame(format=form, layout=layout, samples=1024)
    frame.sample_rate, frame.pts = 44100, 77
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    intake = SoundIntake("mono")
    list(intake.take(frame_of(frame, 1)))
    assert frame.pts == 77 and intake.held_ns == 1024 * 10**9 // 44100 - 20_000_000


def test_a_format_that_cannot_be_read_is_refused() -> None:
    frame = av.AudioFrame(format="s64", layout="mono", samples=480)
    frame.sample_rate = 48000
    with pytest.raises(UsageError, match="can be read"):
        audio_frame(frame, 48000)


def test_a_model_that_diverges_is_not_heard_as_a_crack() -> None:
    sound = np.array([np.nan, np.inf, -np.inf, 2.0, -2.0, 0.5] * 160, np.float32)
    samples = frame_of(sound, 48000).to_ndarray().ravel()
    assert list(samples[:6]) == [0, 32767, -32767, 32767, -32767, 16383]


def test_a_long_write_is_resampled_a_second_at_a_time() -> None:
    """The voice is sent by the thread that resamples: a minute at once would make it late."""
    intake = SoundIntake("mono")
    frames = intake.take(frame_of(np.zeros((44100 * 30, 2), np.int16), 44100))
    next(frames)
    assert len(intake._rest) <= 48000
    assert 1490 <= sum(1 for _ in frames) <= 1499 and intake.held_ns < 25_000_000


def test_two_writers_of_one_turn_that_take_turns_lose_nothing() -> None:
    intake = SoundIntake("mono")
    one = intake.take(frame_of(np.full(3 * 24000, 5, np.int16), 24000))
    first = next(one)
    other = taken(intake, intake.take(frame_of(np.full(4800, 7, np.int16), 48000)))
    rest = taken(intake, one)
    tail = taken(intake, intake.finish())
    assert abs(first.samples + len(other) + len(rest) + len(tail) - 3 * 48000 - 4800) <= 960


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(RATES), st.integers(1, 3000), st.sampled_from([1, 2]), st.booleans()), max_size=12
    )
)
def test_however_it_is_cut_nothing_is_lost_or_added(writes: list[tuple[int, int, int, bool]]) -> None:
    intake, total, seconds = SoundIntake("mono"), 0, Fraction(0)
    for rate, count, channels, pause in writes:
        if pause:
            total += len(taken(intake, intake.pause(count)))
            seconds += Fraction(count, 48000)
        total += len(taken(intake, intake.take(frame_of(np.ones((count, channels), np.int16), rate))))
        seconds += Fraction(count, rate)
        assert 0 <= intake.held_ns < 20_000_000 + 10_000_000  # a slot, and what a resampler holds
    total += len(taken(intake, intake.finish()))
    assert 0 <= total - seconds * 48000 + 1 <= 961


# ---- pictures


@pytest.mark.parametrize("form", ["rgb24", "bgr24", "yuv420p", "nv12", "rgba", "gray", "yuvj420p", "yuv444p"])
def test_frames_of_any_format_become_one(form: str) -> None:
    frame = av.VideoFrame(64, 48, form)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    made = video_frame(frame, (32, 24))
    assert (made.width, made.height, made.format.name) == (32, 24, "yuv420p")


def test_a_frame_that_needs_no_conversion_is_copied() -> None:
    frame = av.VideoFrame(32, 32, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    made = video_frame(frame, (32, 32))
    for plane in frame.planes:
        plane.update(b"\xff" * plane.buffer_size)
    assert bytes(made.planes[0])[:32] == bytes(32)


def test_a_view_into_a_larger_picture_is_taken_as_it_looks() -> None:
    large = np.zeros((64, 64, 3), np.uint8)
    large[16:48, 16:48] = 255
    made = video_frame(large[16:48, 16:48][::-1, ::-1], (32, 32))
    assert bytes(made.planes[0])[0] > 200


def test_sizes() -> None:
    assert size_of(np.zeros((3, 5, 3), np.uint8)) == (5, 3) and even((5, 3)) == (4, 2) and even((1, 1)) == (2, 2)
    assert size_of(np.zeros((3, 0, 3), np.uint8)) is None


@pytest.mark.parametrize("size", [(2, 2), (2, 4096), (4096, 2), (64, 48)])
def test_a_placeholder_has_the_same_size_and_no_lips(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    made = blurred(video_frame(noise, size))
    assert (made.width, made.height) == size
    if min(size) > 16:
        rows = made.to_ndarray()[: size[1]].astype(int)
        assert np.abs(np.diff(rows, axis=1)).mean() < 10
