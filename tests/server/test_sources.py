"""Sources: any clip, folder or callable becomes pictures with exactly their frame period of sound."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import InputError
from avsync.server import decode
from avsync.server.demo_media import write_demo_media
from avsync.server.face import LOUD, FaceSource
from avsync.server.open_source import open_source
from avsync.server.sources import (
    CallableSource,
    ClipSource,
    FolderSource,
    FrameWithSound,
    one_pass,
    period_samples,
)
from avsync.units import SOUND_HZ, ms, ns_to_ticks, ticks_to_ns
from tests.server.server_story import grey, heard, make_clip, number_of

MS = Fraction(1, 1000)
NTSC = Fraction(30_000, 1001)


# ---- clips


def test_each_picture_of_a_clip_comes_with_its_own_sound(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=20, sound_s=0.8)
    pairs = list(ClipSource(clip, loop=False).frames())
    assert [number_of(pair.picture) for pair in pairs] == list(range(20))
    assert [heard(pair.sound) for pair in pairs] == list(range(20))
    assert {len(pair.sound) for pair in pairs} == {1920}


@pytest.mark.parametrize(
    ("rate", "layout"), [(44_100, "stereo"), (16_000, "mono"), (48_000, "stereo"), (8_000, "mono")]
)
def test_any_rate_and_layout_is_brought_to_48_khz_mono_without_a_shift(tmp_path: Path, rate: int, layout: str) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=20, sound_s=0.8, rate=rate, layout=layout)
    pairs = list(ClipSource(clip, loop=False).frames())
    assert [heard(pair.sound) for pair in pairs] == list(range(20))


def test_a_loop_of_mismatched_lengths_starts_together_each_time(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=25, sound_s=0.93)  # as short clips are: 70 ms less sound
    pairs = list(islice(ClipSource(clip).frames(), 100))
    for number, pair in enumerate(pairs):
        assert number_of(pair.picture) == number % 25
        if number % 25 < 23:
            assert heard(pair.sound) == number % 25
        assert len(pair.sound) == 1920


def test_sound_longer_than_the_pictures_is_played_over_the_last_one(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=10, sound_s=0.6)
    pairs = list(islice(ClipSource(clip).frames(), 30))
    assert [number_of(pair.picture) for pair in pairs[:15]] == [*range(10), 9, 9, 9, 9, 9]
    assert [heard(pair.sound) for pair in pairs] == [*range(15), *range(15)]


@pytest.mark.parametrize(("sound_s", "pairs"), [(0.41, 10), (0.419, 10), (0.43, 11)])
def test_a_tail_of_sound_below_half_a_frame_is_cut_and_a_longer_one_filled_up(
    tmp_path: Path, sound_s: float, pairs: int
) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=10, sound_s=sound_s)
    assert len(list(ClipSource(clip, loop=False).frames())) == pairs


def test_pictures_without_or_with_a_rewinding_pts_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SimpleNamespace(streams=SimpleNamespace(video=[SimpleNamespace(start_time=0, time_base=MS)], audio=[]))
    frames = []
    for pts in (0, 40, 20, 80, None, 120):
        frame = av.VideoFrame.from_ndarray(grey(1), format="rgb24")
        frame.pts, frame.time_base = pts, MS
        frames.append(frame)
    file.decode, file.close = lambda _stream: iter(frames), lambda: None
    monkeypatch.setattr(decode, "_open", lambda _path: file)
    times = [at_ns for at_ns, _ in decode.pictures_of(tmp_path, (64, 48))]
    assert times == [0, ms(40), ms(80), ms(80) + 1, ms(120)]


def test_a_clip_without_sound_is_silent_and_one_without_pictures_is_refused(tmp_path: Path) -> None:
    silent = make_clip(tmp_path / "a.mkv", frames=5, sound_s=None)
    pairs = list(ClipSource(silent, loop=False).frames())
    assert len(pairs) == 5 and not any(pair.sound.any() for pair in pairs)
    tone = tmp_path / "tone.wav"
    write_demo_media(make_clip(tmp_path / "b.mkv", frames=5, sound_s=0.2), tmp_path / "out")
    (tmp_path / "out" / "audio.wav").rename(tone)
    with pytest.raises(InputError, match="no picture"):
        ClipSource(tone)


def test_a_variable_rate_is_sampled_at_the_frame_rate(tmp_path: Path) -> None:
    times = [0, 40, 80, 400, 440, 441, 480]  # a pause of 320 ms, then two frames in one period
    clip = make_clip(tmp_path / "a.mkv", frames=7, sound_s=0.6, times_ms=times)
    pairs = list(ClipSource(clip, fps=Fraction(25), loop=False).frames())
    seen = [number_of(pair.picture) for pair in pairs]
    assert seen == [0, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 5, 6, 6, 6]
    assert [heard(pair.sound) for pair in pairs] == list(range(15))


def test_fps_and_size_can_be_chosen(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=25, sound_s=1.0)
    pairs = list(ClipSource(clip, fps=Fraction(50), size=(32, 24), loop=False).frames())
    assert len(pairs) == 50 and pairs[0].picture.shape == (24, 32, 3) and len(pairs[0].sound) == 960


@pytest.mark.parametrize("size", [(65, 49), (33, 32)])
def test_odd_sizes_become_even(tmp_path: Path, size: tuple[int, int]) -> None:
    pair = next(ClipSource(make_clip(tmp_path / "a.mkv", frames=3, sound_s=None, size=size)).frames())
    assert pair.picture.shape[0] % 2 == pair.picture.shape[1] % 2 == 0


def test_a_clip_that_breaks_off_ends_there(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", frames=20, sound_s=0.8).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    pairs = list(ClipSource(tmp_path / "cut.mkv", loop=False).frames())
    assert 0 < len(pairs) <= 20 and all(len(pair.sound) == 1920 for pair in pairs)


@pytest.mark.parametrize("content", [b"", b"this is no clip", bytes(1000)])
def test_what_is_no_clip_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.mp4"):
        open_source(str(tmp_path / "x.mp4"))
    with pytest.raises(InputError, match="no such file"):
        open_source(str(tmp_path / "y.mp4"))


# ---- lengths that add up


def pictures_at(fps: Fraction, frames: int) -> Iterator[tuple[int, Any]]:
    return ((ticks_to_ns(number, fps), grey(number)) for number in range(frames))


@pytest.mark.parametrize(
    "fps", [Fraction(25), Fraction(24), NTSC, Fraction(30_000, 1001) / 2, Fraction(7), Fraction(60)]
)
def test_after_a_day_the_sound_still_ends_where_the_picture_does(fps: Fraction) -> None:
    day = round(86_400 * fps)
    per_frame = sum(period_samples(number, fps) for number in range(day - 2000, day))
    start, end = (ns_to_ticks(ticks_to_ns(number, fps), SOUND_HZ) for number in (day - 2000, day))
    assert per_frame == end - start
    assert abs(end - 86_400 * SOUND_HZ) <= float(SOUND_HZ / fps)


@settings(max_examples=40)
@given(
    fps=st.sampled_from([Fraction(25), NTSC, Fraction(24), Fraction(30)]),
    frames=st.integers(1, 12),
    pieces=st.lists(st.integers(0, 5000), max_size=12),
    passes=st.integers(1, 3),
)
def test_a_pass_loses_no_sound_and_adds_only_the_rest_of_a_frame(
    fps: Fraction, frames: int, pieces: list[int], passes: int
) -> None:
    first, written = 0, 0
    for _ in range(passes):
        sound = (np.ones(length, np.int16) for length in pieces)
        pairs = list(one_pass(pictures_at(fps, frames), sound, fps, first=first))
        for number, pair in enumerate(pairs, start=first):
            assert len(pair.sound) == period_samples(number, fps)
        given_samples = sum(pieces)
        taken = sum(int(pair.sound.sum()) for pair in pairs)
        assert len(pairs) >= frames
        assert given_samples - taken <= SOUND_HZ / fps / 2 + 1
        first += len(pairs)
        written += sum(len(pair.sound) for pair in pairs)
    assert written == ns_to_ticks(ticks_to_ns(first, fps), SOUND_HZ)


def test_an_hour_of_a_short_loop_with_mismatched_lengths_has_no_offset_that_grows() -> None:
    fps, pictures, still = Fraction(25), 75, grey(0)
    level = (100 * (1 + np.arange(round(2.9518 * SOUND_HZ)) // 1920)).astype(np.int16)  # 2.98 s of pictures
    number = samples = 0
    while number < 3600 * fps:
        pairs = list(
            one_pass(((ticks_to_ns(n, fps), still) for n in range(pictures)), iter([level]), fps, first=number)
        )
        assert len(pairs) == pictures
        assert heard(pairs[0].sound) == 0 and heard(pairs[40].sound) == 40
        number += len(pairs)
        samples += sum(len(pair.sound) for pair in pairs)
    assert samples == ns_to_ticks(ticks_to_ns(number, fps), SOUND_HZ)


# ---- folders


def test_demo_media_can_be_served_again_in_sync(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=12, sound_s=0.48)
    frames, seconds = write_demo_media(clip, tmp_path / "out")
    assert (frames, seconds) == (12, 0.48)
    assert sorted(file.name for file in (tmp_path / "out" / "frames").iterdir())[0] == "frame_0001.jpg"
    pairs = list(FolderSource(tmp_path / "out", loop=False).frames())
    assert [number_of(pair.picture) for pair in pairs] == list(range(12))
    assert [heard(pair.sound) for pair in pairs] == list(range(12))
    with pytest.raises(InputError, match="already"):
        write_demo_media(clip, tmp_path / "out")


def test_a_folder_with_a_hole_or_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frame_0001"):
        FolderSource(tmp_path)
    write_demo_media(make_clip(tmp_path / "a.mkv", frames=4, sound_s=0.16), tmp_path)
    (tmp_path / "frames" / "frame_0003.jpg").unlink()
    with pytest.raises(InputError, match=r"frame_0003\.jpg is missing"):
        FolderSource(tmp_path)


# ---- callables


MODEL = '''
import numpy as np

def picture(n):
    return np.full((48, 64, 3), 8 + 8 * (n % 30), np.uint8)

def uneven():
    """Pictures one by one, sound in lumps of 100 ms, at 16 kHz float."""
    for n in range(10):
        sound = None
        if n % 5 == 0:
            sound = np.repeat((np.arange(n, n + 5) + 1) * 100 / 32767, 640).astype(np.float32)
        yield picture(n), sound, 16_000

def at_once():
    return [picture(n) for n in range(5)], np.zeros(5 * 1920, np.int16)

def wrong_picture():
    yield np.zeros((48, 64), np.uint8), np.zeros(1920, np.int16)

def wrong_item():
    yield 7

def no_sound():
    while True:
        yield picture(0), None

def nothing():
    return None
'''


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "a_model_of_mine.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "a_model_of_mine"
    sys.modules.pop("a_model_of_mine", None)


def test_a_callable_may_give_sound_in_lumps(model: str) -> None:
    source = open_source(f"{model}:uneven", loop=False)
    pairs = list(source.frames())
    assert [number_of(pair.picture) for pair in pairs] == list(range(10))
    assert [heard(pair.sound) for pair in pairs] == list(range(10))
    assert len(list(islice(CallableSource(f"{model}:uneven").frames(), 25))) == 25  # called again


def test_a_callable_may_return_all_at_once(model: str) -> None:
    pairs = list(open_source(f"{model}:at_once", loop=False).frames())
    assert len(pairs) == 5 and isinstance(pairs[0], FrameWithSound)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("wrong_picture", "uint8 of shape"),
        ("wrong_item", "must yield"),
        ("no_sound", "no sound"),
        ("nothing", "NoneType"),
    ],
)
def test_a_callable_that_gives_something_else_is_told_what_is_wanted(model: str, name: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        list(islice(open_source(f"{model}:{name}").frames(), 300))


def test_a_callable_that_is_not_there_is_refused(model: str) -> None:
    with pytest.raises(InputError, match="no function"):
        open_source(f"{model}:missing")
    with pytest.raises(InputError, match="no module"):
        open_source("not_a_module_at_all:talk")


# ---- the face


def test_the_face_opens_its_mouth_with_its_own_sound() -> None:
    pairs = list(islice(FaceSource().frames(), 300))
    loud = np.array([np.sqrt(np.mean(pair.sound.astype(float) ** 2)) for pair in pairs])
    # The dark inside of the mouth, anywhere in the lower middle of the picture.
    dark = np.array([(pair.picture[300:410, 200:320].sum(axis=2) < 200).sum() for pair in pairs])
    assert np.corrcoef(loud, dark)[0, 1] > 0.8
    assert all(len(pair.sound) == 1920 for pair in pairs)
    assert np.abs(np.concatenate([pair.sound for pair in pairs])).max() <= LOUD


def test_the_face_is_the_same_every_time_and_fits_any_size() -> None:
    one, two = (next(FaceSource(size=(640, 360)).frames()) for _ in range(2))
    assert one.picture.shape == (360, 640, 3)
    assert (one.picture == two.picture).all() and (one.sound == two.sound).all()
    once = list(FaceSource(loop=False, size=(64, 64)).frames())
    assert len(once) == 24 * 25
