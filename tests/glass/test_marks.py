"""Marked media: read back right or not at all, whatever a codec does to it."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.glass.marked_sound import CHUNK
from avsync.glass.marks import NUMBER_LIMIT, Mark, idle_picture, number_of, picture, read_levels, read_strip, sound
from avsync.glass.strip import crc16, write_strip
from avsync.units import ms, seconds

U8 = np.uint8


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (512, 512), (321, 181)])
@pytest.mark.parametrize("number", [0, 40, 123_456, NUMBER_LIMIT - 1])
def test_a_picture_says_which_millisecond_it_is(size, number):
    shown = picture(ms(number), width=size[0], height=size[1])
    assert shown.shape == (size[1], size[0], 3)
    assert read_strip(shown) == Mark(number, False)


def test_an_idle_picture_is_no_position():
    assert read_strip(idle_picture()) == Mark(0, True)


def test_numbers_are_rounded_and_wrap_after_two_hours():
    assert number_of(33_366_667) == 33
    assert number_of(ms(NUMBER_LIMIT) + ms(40)) == 40
    assert number_of(-ms(40)) == NUMBER_LIMIT - 40


@pytest.mark.parametrize("level", [0, 16, 128, 235, 255])
def test_a_picture_of_one_grey_is_unreadable(level):
    assert read_strip(np.full((360, 640, 3), level, U8)) is None


def test_one_wrong_block_makes_it_unreadable():
    good = picture(ms(777))
    for column in range(20):
        for row in range(2):
            torn = good.copy()
            block = torn[row * 24 : row * 24 + 24, column * 32 : column * 32 + 32]
            block[:] = 251 - block
            assert read_strip(torn) is None


def test_two_pictures_mixed_into_one_are_unreadable():
    """A frame torn or blended between two numbers never reads as a third."""
    one, other = picture(ms(5000)), picture(ms(5040))
    assert read_strip(((one.astype(int) + other) // 2).astype(U8)) is None


def levels_of(payload, check):
    """The 40 blocks of 24 bits of payload and 16 of check."""
    return np.where([(payload << 16 | check) >> (39 - place) & 1 for place in range(40)], 235.0, 16.0)


@settings(max_examples=200)
@given(
    payload=st.integers(0, (1 << 24) - 1),
    wrong=st.sets(st.integers(0, 39), max_size=3),
    noise=st.lists(st.floats(0, 60), min_size=40, max_size=40),
)
def test_what_is_read_is_what_was_written_and_up_to_three_wrong_blocks_are_seen(payload, wrong, noise):
    """Half of what is drawn at random here reads; of 40 blocks drawn at random, one in 65 536 would."""
    levels = levels_of(payload, crc16(payload.to_bytes(3, "big")))
    for place in wrong:
        levels[place] = 251 - levels[place]
    mark = read_levels(np.where(levels > 128, levels - noise, levels + noise))
    assert (mark is None) == bool(wrong)
    if mark is not None:
        assert mark == Mark(payload & (NUMBER_LIMIT - 1), payload >= NUMBER_LIMIT)
        canvas = np.zeros((60, 80, 3), U8)
        write_strip(canvas, mark)
        assert read_strip(canvas) == mark


@pytest.mark.parametrize("payload", [0, 0x5A5A5A, (1 << 24) - 1])
def test_of_all_checks_one_alone_passes(payload):
    passed = [check for check in range(1 << 16) if read_levels(levels_of(payload, check)) is not None]
    assert passed == [crc16(payload.to_bytes(3, "big"))]


@pytest.mark.parametrize("bitrate", [60_000, 400_000])
def test_the_number_survives_vp8(bitrate):
    shown = list(_through_vp8([picture(ms(100_000 + 40 * i)) for i in range(50)], bitrate))
    read = [read_strip(frame) for frame in shown]
    right = [Mark(100_000 + 40 * i, False) for i in range(50)]
    assert all(mark in (None, wanted) for mark, wanted in zip(read, right, strict=True))
    assert sum(mark is not None for mark in read) >= 48


def _through_vp8(pictures, bitrate):
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.bit_rate = 640, 360, "yuv420p", bitrate
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0", "qmax": "56"}
    decoder = av.CodecContext.create("libvpx", "r")
    for number, image in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        for packet in encoder.encode(frame):
            for decoded in decoder.decode(packet):
                yield decoded.to_ndarray(format="rgb24")


def test_sound_is_the_same_from_wherever_it_is_asked_for():
    whole = sound(CHUNK - 5000, 10_000)
    pieces = np.concatenate([sound(CHUNK - 5000 + at, 960) for at in range(0, 9600, 960)])
    assert np.array_equal(whole[:9600], pieces)
    assert whole.dtype == np.int16


def test_before_the_content_there_is_silence():
    lead = sound(-480, 960)
    assert not lead[:480].any()
    assert np.array_equal(lead[480:], sound(0, 480))


def test_sound_never_falls_silent_nor_clips():
    """A digital silence in a recording is always inserted by somebody, and pauses are shorter than a window."""
    loud = np.sqrt(np.mean(np.square(sound(0, 20 * 48_000).astype(float).reshape(-1, 480)), axis=1))
    assert loud.min() > 32768 * 10 ** (-50 / 20)
    quiet = loud < 32768 * 10 ** (-40 / 20)
    assert max(len(run) for run in "".join("q" if q else " " for q in quiet).split(" ")) <= 6
    assert np.abs(sound(0, 20 * 48_000).astype(int)).max() < 20_000


def test_no_tenth_of_a_second_is_like_another():
    """Otherwise the voice could be found one pitch period, or one repetition, away from where it is."""
    speech = sound(0, 30 * 48_000)[::3].astype(float)
    rng = np.random.default_rng(3)
    for start in rng.integers(0, len(speech) - 2000, 20):
        window = speech[start : start + 2000]
        size = 1 << (len(speech) + 2000).bit_length()
        product = np.fft.irfft(np.fft.rfft(speech, size) * np.conj(np.fft.rfft(window, size)), size)[
            : len(speech) - 2000
        ]
        power = np.concatenate([[0.0], np.cumsum(np.square(speech))])
        score = product / np.sqrt((power[2000:-1] - power[:-2001]) * np.square(window).sum())
        score[max(0, start - 16) : start + 17] = 0
        assert score.max() < 0.9


def test_the_mouth_opens_with_the_voice():
    open_mouth = [picture(seconds(s))[200:].astype(int).sum() for s in (0.3, 1.1, 2.6, 3.3)]
    assert len(set(open_mouth)) > 1
