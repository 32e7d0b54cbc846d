"""Encoders: exact labels, key frames when asked for, and what is read off packets that others encoded."""

from __future__ import annotations

import av
import numpy as np
import pytest

from avsync.errors import UsageError
from avsync.timeline.opus import parse_opus
from avsync.units import SLOT_SAMPLES, ms
from avsync.webrtc.encode import (
    CODED_AHEAD,
    H264,
    OPUS_SILENCE,
    VP8,
    PictureEncoder,
    SoundEncoder,
    bits_per_s,
    picture_packet,
)
from avsync.webrtc.intake import silence, sound_frame, video_frame


def decoded(packets: list[bytes], layout: str = "mono") -> np.ndarray:
    codec = av.CodecContext.create("libopus", "r")
    codec.sample_rate, codec.layout = 48000, layout
    return np.concatenate([f.to_ndarray().ravel() for data in packets for f in codec.decode(av.Packet(data))])


def test_the_label_is_where_the_sound_of_a_packet_begins() -> None:
    """A click put in at a known tick comes out at that tick, counted from the packets' own labels."""
    encoder = SoundEncoder("mono")
    click = np.zeros((SLOT_SAMPLES * 20, 1), np.int16)
    click[SLOT_SAMPLES * 10 + 123 : SLOT_SAMPLES * 10 + 163] = 20000
    packets: list[tuple[int, bytes]] = []
    for slot in range(20):
        ticks = 5000 + slot * SLOT_SAMPLES
        frame = sound_frame(click[slot * SLOT_SAMPLES : (slot + 1) * SLOT_SAMPLES], "mono")
        packets += encoder.encode(frame, ticks)
    assert [stamp for stamp, _ in packets] == [5000 - CODED_AHEAD + slot * SLOT_SAMPLES for slot in range(len(packets))]
    samples = decoded([data for _, data in packets])
    heard = int(np.abs(samples).argmax()) + packets[0][0]
    assert abs(heard - (5000 + SLOT_SAMPLES * 10 + 143)) < 60


def test_after_missed_slots_the_label_is_of_the_sound_after_them() -> None:
    """Else a packet a second old says to every jitter buffer that the network is a second slow."""
    encoder = SoundEncoder("mono")
    ticks = [0, 960, 1920, 50 * 960, 51 * 960]
    stamps = [stamp for each in ticks for stamp, _ in encoder.encode(silence("mono"), each)]
    assert stamps == [each - CODED_AHEAD for each in ticks]


def test_silence_as_a_packet_is_20_ms_of_nothing() -> None:
    assert parse_opus(OPUS_SILENCE).duration_ns == ms(20)
    assert np.abs(decoded([OPUS_SILENCE] * 5)).max() == 0


@pytest.mark.parametrize("mime", [VP8, H264])
def test_a_key_frame_when_asked_for_and_never_else(mime: str) -> None:
    encoder = PictureEncoder(mime, 64, 48, 500_000)
    noise = np.random.default_rng(1)
    keys = []
    for number in range(60):
        frame = video_frame(noise.integers(0, 255, (48, 64, 3), np.uint8), (64, 48))  # every one a cut
        data, is_key = encoder.encode(frame, number * 3600, key=number in (0, 7, 31))
        assert data and picture_packet(data) == (mime, is_key)
        keys.append(is_key)
    assert [number for number, key in enumerate(keys) if key] == [0, 7, 31]


@pytest.mark.parametrize(("mime", "decoder"), [(VP8, "vp8"), (H264, "h264")])
def test_what_was_encoded_can_be_decoded_from_a_key_frame_on(mime: str, decoder: str) -> None:
    encoder, codec = PictureEncoder(mime, 64, 48, 2_000_000), av.CodecContext.create(decoder, "r")
    for number in range(20):
        grey = np.full((48, 64, 3), 40 + 8 * number, np.uint8)
        data, _ = encoder.encode(video_frame(grey, (64, 48)), number * 3600, key=number == 10)
        if number >= 10:
            for frame in codec.decode(av.Packet(data)):  # type: ignore[attr-defined]
                assert frame.width == 64
    assert codec.decode(None) is not None  # type: ignore[attr-defined]


def test_a_codec_that_is_not_sent_is_refused() -> None:
    with pytest.raises(UsageError, match="video/vp8 or video/h264"):
        PictureEncoder("video/av1", 64, 48, 500_000)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x10\0\0\x9d\x01\x2a", (VP8, True)),
        (b"\x11", (VP8, False)),
        (b"", (VP8, True)),
        (b"\0\0\1\x65x", (H264, True)),
        (b"\0\0\0\1\x41x", (H264, False)),
        (b"\0\0\0\1\x09\x10\0\0\0\1\x67a\0\0\1\x68b\0\0\1\x65c", (H264, True)),
        (b"\0\0\0\1\x09\x10\0\0\1\x06sei\0\0\1\x21c", (H264, False)),
        (b"\0\0\1", (H264, False)),
        (b"\0\0\1\0\0\1\0\0\1", (H264, False)),
    ],
)
def test_a_coded_picture_is_known_by_its_first_bytes(data: bytes, kind: tuple[str, bool]) -> None:
    assert picture_packet(data) == kind


def test_rates_are_bounded() -> None:
    assert bits_per_s(16, 16, 1) == 300_000 and bits_per_s(4096, 4096, 60) == 4_000_000
    assert 500_000 < bits_per_s(512, 512, 25) < 1_500_000
