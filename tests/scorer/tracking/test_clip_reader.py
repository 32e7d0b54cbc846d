"""Clips: sound and pictures lie where their stamps say, whatever the container did to them."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("av")

import av
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import InputError
from avsync.scorer.tracking import clip_reader
from avsync.scorer.tracking.clip_reader import Picture, open_clip, shown_size, whole_sound
from avsync.scorer.tracking.read_ahead import ahead
from avsync.scorer.tracking.sound_placing import Placer
from avsync.units import NS_PER_MS, ms, ticks_to_ns
from tests.scorer.tracking.clip_story import (
    clicks,
    edit_sound_start,
    heard_minus_seen_ms,
    make_clip,
    picture_times,
    remux,
)

CLOSE_MS = 1.5


def all_near(found: list[float], wanted_ms: float, tolerance_ms: float = CLOSE_MS) -> bool:
    return len(found) == 3 and all(abs(value - wanted_ms) <= tolerance_ms for value in found)


@pytest.mark.parametrize(
    ("name", "audio", "rate", "channels"),
    [
        ("a.mp4", "aac", 44_100, 1),
        ("a.mp4", "aac", 48_000, 2),
        ("a.mkv", "libopus", 48_000, 1),
        ("a.mkv", "aac", 16_000, 1),
        ("a.mov", "pcm_s16le", 22_050, 1),
        ("a.ts", "mp2", 48_000, 1),
        ("a.avi", "pcm_s16le", 8_000, 2),
        ("a.mkv", "flac", 96_000, 1),
    ],
)
def test_a_click_is_heard_when_the_picture_flashes(
    tmp_path: Path, name: str, audio: str, rate: int, channels: int
) -> None:
    path = make_clip(tmp_path / name, audio=audio, rate=rate, channels=channels)
    assert all_near(heard_minus_seen_ms(path), 0)
    assert open_clip(path).troubles.words() == ()


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b.mov"])
@pytest.mark.parametrize(("sound_ms", "pictures_ms"), [(80, 0), (0, 80), (200, 0), (40, 120)])
def test_an_offset_that_lies_in_the_stamps_alone_is_kept(
    tmp_path: Path, name: str, sound_ms: int, pictures_ms: int
) -> None:
    path = remux(make_clip(tmp_path / "a.mp4"), tmp_path / name, sound_ms=sound_ms, pictures_ms=pictures_ms)
    assert all_near(heard_minus_seen_ms(path), sound_ms - pictures_ms)


def test_a_transport_stream_starts_anywhere_and_keeps_its_offset(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.ts", audio="aac", rate=48_000)
    moved = remux(path, tmp_path / "b.ts", sound_ms=5080, pictures_ms=5000)
    assert all_near(heard_minus_seen_ms(moved), 80)
    assert next(iter(open_clip(moved).pictures())).pts_ns < ms(100)


@pytest.mark.parametrize("skip_ms", [80, -20])
def test_an_edit_list_that_leaves_out_more_of_the_sound_makes_it_early(tmp_path: Path, skip_ms: int) -> None:
    path = edit_sound_start(make_clip(tmp_path / "a.mp4"), skip_ms)
    assert all_near(heard_minus_seen_ms(path), -skip_ms)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30_000, 1001), Fraction(30), Fraction(50), Fraction(60)])
def test_any_frame_rate_keeps_its_own_times(tmp_path: Path, fps: Fraction) -> None:
    clip = open_clip(make_clip(tmp_path / "a.mp4", fps=fps))
    times = [unit.pts_ns for unit in clip.pictures()]
    wanted = [round(at * 1_000_000_000) for at in picture_times(fps)]
    assert len(times) == len(wanted) and max(abs(a - b) for a, b in zip(times, wanted, strict=True)) < ms(1)
    assert clip.fps == pytest.approx(float(fps), rel=1e-3)


def test_a_variable_rate_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    steps_ms = itertools.cycle((20, 45, 33, 61))
    times = [Fraction(0)]
    while times[-1] < 3:
        times.append(times[-1] + Fraction(next(steps_ms), 1000))
    clip = open_clip(make_clip(tmp_path / "a.mkv", times=times))
    found = [unit.pts_ns for unit in clip.pictures()]
    assert [round(at / NS_PER_MS) for at in found] == [round(at * 1000) for at in times]


def test_lost_packets_leave_silence_and_the_rest_in_its_place(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", audio="libopus", rate=48_000)
    holed = remux(whole, tmp_path / "b.mkv", drop=lambda kind, number: kind == "audio" and 40 <= number < 60)
    clip = open_clip(holed)
    pcm, _ = whole_sound(clip)
    assert all_near(heard_minus_seen_ms(clip), 0)
    assert not np.any(pcm[16 * 860 : 16 * 1150])
    assert abs(clip.troubles.silence_ms - 400) <= 30 and "silence" in clip.troubles.words()[0]
    assert abs(len(pcm) - 16 * 3000) < 16 * 40


def test_one_lost_packet_after_another_does_not_add_up(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", audio="libopus", rate=48_000)
    lost = (5, 15, 33, 34, 55, 77, 90, 102)
    holed = remux(whole, tmp_path / "b.mkv", drop=lambda kind, number: kind == "audio" and number in lost)
    assert all_near(heard_minus_seen_ms(holed), 0)


def test_damaged_packets_are_skipped_counted_and_said(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", audio="mp2", rate=48_000)
    content = bytearray(path.read_bytes())
    first = len(content) // 2
    for at in range(first, first + 3000, 3):
        content[at] ^= 0xA5
    path.write_bytes(content)
    clip = open_clip(path)
    times = [unit.pts_ns for unit in clip.together()]
    assert len(times) > 50
    assert clip.troubles.words()


def test_what_follows_an_undecodable_packet_is_in_its_place_at_once(tmp_path: Path) -> None:
    # A packet of 23 ms is lost just before the second click: too little to be a hole by itself.
    whole = make_clip(tmp_path / "a.mkv", audio="aac")
    spoilt = remux(whole, tmp_path / "b.mkv", spoil=lambda kind, number: kind == "audio" and number == 58)
    clip = open_clip(spoilt)
    assert all_near(heard_minus_seen_ms(clip), 0)
    assert clip.troubles.sound_skipped == 1 and abs(clip.troubles.silence_ms - 23) <= 2


def test_sound_of_which_nothing_can_be_decoded_is_refused(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", audio="mp2", rate=48_000)
    for kind, said in (("audio", "sound"), ("video", "picture")):
        spoilt = remux(whole, tmp_path / "b.mkv", spoil=lambda stream, number, kind=kind: stream == kind)
        with pytest.raises(InputError, match=f"not one.*{said}"):
            list(open_clip(spoilt).together())


def test_sound_alone_or_pictures_alone_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sound"):
        open_clip(make_clip(tmp_path / "mute.mp4", audio=None))
    with pytest.raises(InputError, match="no picture"):
        open_clip(make_clip(tmp_path / "voice.m4a", video=None))


def test_a_songs_cover_is_no_moving_picture(tmp_path: Path) -> None:
    plain = make_clip(tmp_path / "a.mp4")
    covered = tmp_path / "b.mp4"
    with av.open(str(plain)) as old, av.open(str(covered), "w") as new:
        voice = new.add_stream_from_template(old.streams.audio[0])
        cover = new.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        new.mux(cover.encode(av.VideoFrame(64, 48, "yuvj420p")))
        for packet in old.demux(old.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = voice
                new.mux(packet)
    with pytest.raises(InputError, match="no picture"):
        open_clip(covered)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "empty"), (b"\0" * 4096, "cannot be opened"), (b"#EXTM3U\nhttp://127.0.0.1:9/a.ts\n", "cannot|no picture")],
)
def test_what_is_no_media_is_refused_with_its_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as refused:
        open_clip(path)
    assert "odd.mp4" in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            open_clip(path)


def test_a_name_with_a_colon_is_a_file_and_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "plain.mp4").rename(tmp_path / "pipe:0.mp4")
    assert open_clip("pipe:0.mp4").width == 64


@pytest.mark.parametrize("kept", [0.02, 0.4, 0.9])
def test_a_truncated_file_gives_what_is_there_or_says_why_not(tmp_path: Path, kept: float) -> None:
    for name in ("a.mkv", "a.mp4"):
        path = make_clip(tmp_path / name)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        try:
            clip = open_clip(path)
            units = list(clip.together())
        except InputError as refused:
            assert name in str(refused)
        else:
            assert units and name == "a.mkv"


@settings(max_examples=25, deadline=None)
@given(flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=40))
def test_any_damage_ends_in_a_named_error_or_in_rising_times(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = make_clip(folder / "a.mkv", audio="mp2", rate=48_000)
    content = bytearray(path.read_bytes())
    for place, bits in flips:
        content[int(place * len(content))] ^= bits
    path.write_bytes(content)
    try:
        clip = open_clip(path)
        pictures = [picture.pts_ns for picture in itertools.islice(clip.pictures(), 500)]
        pieces = list(itertools.islice(clip.sound(), 2000))
    except InputError:
        return
    assert pictures == sorted(set(pictures))
    assert all(a.pts_ns + ticks_to_ns(len(a.pcm), 16_000) - b.pts_ns in range(-63_000, 63_000) for a, b in
               itertools.pairwise(pieces))  # fmt: skip


def test_large_pictures_come_smaller_and_too_large_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown_size(7680, 4320) == (1920, 1080) and shown_size(1280, 720) == (1280, 720)
    monkeypatch.setattr(clip_reader, "SIDE_MAX", 32)
    path = make_clip(tmp_path / "a.mp4")
    clip = open_clip(path)
    assert (clip.width, clip.height) == (32, 24)
    assert next(iter(clip.pictures())).rgb.shape == (24, 32, 3)
    monkeypatch.setattr(clip_reader, "PIXELS_MAX", 64 * 48 - 1)
    with pytest.raises(InputError, match="64x48 is too large"):
        open_clip(path)


def test_a_phones_picture_stands_upright(tmp_path: Path) -> None:
    def bright_top(at: Fraction, size: tuple[int, int]) -> np.ndarray:
        picture = np.full((size[1], size[0], 3), 20, np.uint8)
        picture[:, -size[0] // 4 :] = 230  # the right side is up once the picture is turned left
        return picture

    clip = open_clip(make_clip(tmp_path / "a.mp4", rotate=90, picture=bright_top))
    rgb = next(iter(clip.pictures())).rgb
    assert (clip.width, clip.height) == (48, 64) and rgb.shape == (64, 48, 3)
    assert rgb[:8].mean() > 180 and rgb[-8:].mean() < 60


@pytest.mark.parametrize(("stored", "aspect", "shown"), [
    ((64, 48), Fraction(2), (128, 48)),  # anamorphic: twice as wide as it is stored
    ((64, 48), Fraction(8, 9), (64, 54)),  # a DVD's: nothing is thrown away, the picture grows
    ((64, 48), Fraction(100), (64, 48)),  # nonsense
])  # fmt: skip
def test_a_disc_is_round_whatever_its_pixels_are(
    tmp_path: Path, stored: tuple[int, int], aspect: Fraction, shown: tuple[int, int]
) -> None:
    """Landmarks are distances: on squeezed pictures every mouth would be open wider than it is."""
    lasting = float(aspect) if aspect < 4 else 1.0

    def disc(at: Fraction, size: tuple[int, int]) -> np.ndarray:
        x, y = np.arange(size[0]) - size[0] / 2 + 0.5, np.arange(size[1])[:, None] - size[1] / 2 + 0.5
        inside = (x * lasting) ** 2 + y**2 < 20**2
        return np.repeat(np.where(inside, 230, 20)[..., None], 3, axis=2).astype(np.uint8)

    clip = open_clip(make_clip(tmp_path / "a.mp4", size=stored, picture=disc, pixel_aspect=aspect))
    rgb = next(iter(clip.pictures())).rgb
    assert (clip.width, clip.height) == shown and rgb.shape == (shown[1], shown[0], 3)
    bright = rgb[..., 1] > 125
    across, down = (np.ptp(np.flatnonzero(bright.any(axis=axis))) for axis in (0, 1))
    assert across == pytest.approx(down, abs=2)


def test_units_come_in_the_order_of_time(tmp_path: Path) -> None:
    units = list(open_clip(make_clip(tmp_path / "a.mp4")).together())
    assert [unit.pts_ns for unit in units] == sorted(unit.pts_ns for unit in units)
    assert sum(isinstance(unit, Picture) for unit in units) == 75


def test_pictures_whose_stamps_begin_again_end_the_clip_there(tmp_path: Path) -> None:
    once, twice = make_clip(tmp_path / "a.ts", audio="mp2", rate=48_000), tmp_path / "b.ts"
    twice.write_bytes(once.read_bytes() * 2)
    clip = open_clip(twice)
    times = [unit.pts_ns for unit in clip.together()]
    assert max(times) < ms(3100)
    assert [said.split(" time")[0] for said in sorted(clip.troubles.ends)] == ["the pictures", "the sound"]
    assert all("begin again" in said for said in clip.troubles.ends)


def frame_of(samples: int, value: int, rate: int = 16_000) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.full((1, samples), value, np.int16), format="s16", layout="mono")
    frame.sample_rate = rate
    return frame


def placed(stamps_ms: list[float | None], samples: int = 320) -> tuple[int, np.ndarray, Placer]:
    placer = Placer()
    pieces = [
        piece
        for number, at_ms in enumerate(stamps_ms)
        for piece in placer.push(frame_of(samples, 1000 + number), None if at_ms is None else ms(at_ms))
    ]
    pieces += placer.flush()
    for a, b in itertools.pairwise(pieces):
        assert a.pts_ns + ticks_to_ns(len(a.pcm), 16_000) - b.pts_ns in (-1, 0, 1)
    return pieces[0].pts_ns, np.concatenate([piece.pcm for piece in pieces]), placer


def test_stamps_that_wobble_like_a_recorders_do_not_tear_the_sound() -> None:
    wobble = [4, -6, 9, -8, 2, -1, 7, -9] * 20
    _, pcm, placer = placed([20 * number + late for number, late in enumerate(wobble)])
    assert placer.silent_samples <= 16 * 8 and abs(len(pcm) - 320 * len(wobble)) <= 16 * 8
    whole = np.bincount(pcm[pcm >= 1000] - 1000, minlength=len(wobble))
    assert np.count_nonzero(whole != 320) <= 1


def test_a_clock_that_drifts_is_followed_by_its_stamps() -> None:
    stamps = [20.02 * number for number in range(1500)]  # 1000 ppm, 30 ms in all
    _, pcm, _ = placed(list(stamps))
    last = np.flatnonzero(pcm == 1000 + 1499)
    assert abs(last[0] / 16 - stamps[-1]) <= 6


def test_a_hole_is_silence_and_an_overlap_is_heard_once() -> None:
    _, pcm, placer = placed([0, 20, 140, 160])
    assert placer.silent_samples == 1600 and not np.any(pcm[640 : 640 + 1600]) and len(pcm) == 320 * 4 + 1600
    _, pcm, placer = placed([0, 20, 40, 0, 20, 40, 60, 80])
    assert placer.silent_samples == 0
    assert np.array_equal(pcm, np.repeat([1000, 1001, 1002, 1006, 1007], 320))


@settings(max_examples=60, deadline=None)
@given(stamps=st.lists(st.one_of(st.none(), st.floats(-5_000, 20_000)), min_size=1, max_size=30))
def test_any_stamps_give_one_gapless_line(stamps: list[float | None]) -> None:
    _, pcm, placer = placed(stamps)
    assert len(pcm) >= 320
    assert len(pcm) <= 320 * len(stamps) + placer.silent_samples


def test_a_rate_that_changes_in_the_middle_goes_on_in_its_place() -> None:
    placer = Placer()
    pieces = list(placer.push(frame_of(1600, 100), 0))
    pieces += placer.push(frame_of(4800, 200, 48_000), ms(100))
    pieces += placer.push(frame_of(1600, 300), ms(200))
    pieces += placer.flush()
    pcm = np.concatenate([piece.pcm for piece in pieces])
    assert len(pcm) == 4800 and pcm[800] == 100 and abs(int(pcm[2400]) - 200) < 5 and pcm[4000] == 300


def test_working_ahead_keeps_order_and_brings_the_exception() -> None:
    def counting():
        yield from range(100)
        raise ValueError("at the end")

    given_out = []
    with pytest.raises(ValueError, match="at the end"):
        for item in ahead(counting(), 3):
            given_out.append(item)
    assert given_out == list(range(100))


def test_who_stops_listening_ends_the_work() -> None:
    closed = []

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    units = ahead(endless(), 2)
    assert [next(units) for _ in range(5)] == [0, 1, 2, 3, 4]
    units.close()
    assert closed == [True]


def test_clicks_without_any_sound_at_their_side_are_found(tmp_path: Path) -> None:
    # The measuring stick itself: sound that is moved by whole samples reads as moved.
    late = np.pad(clicks(), ((0, 0), (44_100 * 80 // 1000, 0)))[:, : 44_100 * 3]
    assert all_near(heard_minus_seen_ms(make_clip(tmp_path / "a.mp4", sound=late)), 80)
