"""Opus packets: how long they last, and what hostile bytes can do (nothing)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.errors import InputError
from avsync.timeline.opus import FRAME_NS, MAX_DURATION_NS, MAX_PACKET_BYTES, parse_opus
from avsync.units import ms


def toc(config: int, code: int, *, stereo: bool = False) -> int:
    return config << 3 | stereo << 2 | code


def length_bytes(length: int) -> bytes:
    """RFC 6716 section 3.2.1, written from the encoder's side."""
    return bytes([length]) if length < 252 else bytes([252 + length % 4, (length - 252 - length % 4) // 4])


def test_the_frame_sizes_of_rfc_6716_table_2() -> None:
    spoken_ms = {
        0: 10, 1: 20, 2: 40, 3: 60, 4: 10, 7: 60, 8: 10, 9: 20, 11: 60,
        12: 10, 13: 20, 14: 10, 15: 20,
        16: 2.5, 17: 5, 18: 10, 19: 20, 20: 2.5, 23: 20, 24: 2.5, 28: 2.5, 29: 5, 30: 10, 31: 20,
    }  # fmt: skip
    assert len(FRAME_NS) == 32
    assert {config: FRAME_NS[config] for config in spoken_ms} == {config: ms(v) for config, v in spoken_ms.items()}


@pytest.mark.parametrize(
    ("packet", "frames", "duration_ms"),
    [
        (bytes([toc(31, 0)]) + bytes(80), 1, 20),  # what WebRTC sends
        (bytes([toc(31, 1)]) + bytes(80), 2, 40),
        (bytes([toc(31, 2), 10]) + bytes(40), 2, 40),
        (bytes([toc(31, 2)]) + length_bytes(300) + bytes(300 + 7), 2, 40),
        (bytes([toc(9, 3), 3]) + bytes(30), 3, 60),
        (bytes([toc(9, 3), 0x80 | 3, 5, 6]) + bytes(5 + 6 + 7), 3, 60),
        (bytes([toc(16, 3), 48]) + bytes(48), 48, 120),
        (bytes([toc(31, 3), 0x40 | 2, 255, 3]) + bytes(40) + bytes(254 + 3), 2, 40),
        (bytes([toc(31, 3), 0xC0 | 2, 4, 9]) + bytes(9 + 30) + bytes(4), 2, 40),
    ],
)
def test_packets_of_any_framing_say_how_long_they_last(packet: bytes, frames: int, duration_ms: float) -> None:
    opus = parse_opus(packet)
    assert (opus.frames, opus.duration_ns, opus.dtx) == (frames, ms(duration_ms), False)
    assert parse_opus(memoryview(bytearray(packet))) == opus


def test_a_packet_without_sound_is_dtx() -> None:
    for quiet in ([toc(31, 0)], [toc(31, 0), 0], [toc(1, 1)], [toc(31, 2, stereo=True), 0], [toc(31, 3), 1]):
        assert parse_opus(bytes(quiet)).dtx, quiet
    assert not parse_opus(bytes([toc(31, 0), 0, 0])).dtx


@pytest.mark.parametrize(
    ("rule", "packet"),
    [
        ("R1", b""),
        ("R1", bytes(MAX_PACKET_BYTES + 1)),
        ("R2", bytes([toc(31, 0)]) + bytes(1276)),
        ("R2", bytes([toc(31, 1)]) + bytes(2 * 1276)),
        ("R2", bytes([toc(31, 2), 1]) + bytes(1 + 1276)),
        ("R2", bytes([toc(31, 3), 2]) + bytes(2 * 1276)),
        ("R2", bytes([toc(31, 3), 0x80 | 2, 1]) + bytes(1 + 1276)),
        ("R3", bytes([toc(31, 1)]) + bytes(3)),
        ("R4", bytes([toc(31, 2)])),
        ("R4", bytes([toc(31, 2), 252])),
        ("R4", bytes([toc(31, 2), 9]) + bytes(8)),
        ("R5", bytes([toc(31, 3), 0])),
        ("R5", bytes([toc(31, 3), 7]) + bytes(7)),
        ("R5", bytes([toc(16, 3), 49]) + bytes(49)),
        ("R6", bytes([toc(31, 3)])),
        ("R6", bytes([toc(31, 3), 3]) + bytes(4)),
        ("R6, R7", bytes([toc(31, 3), 0x40 | 1, 4]) + bytes(3)),
        ("R6, R7", bytes([toc(31, 3), 0x40 | 1])),
        ("R6, R7", bytes([toc(31, 3), 0x40 | 1]) + b"\xff" * 60_000),
        ("R7", bytes([toc(31, 3), 0x80 | 3, 1])),
        ("R7", bytes([toc(31, 3), 0x80 | 3, 5, 5]) + bytes(9)),
    ],
)
def test_malformed_packets_are_refused_by_the_rule_they_break(rule: str, packet: bytes) -> None:
    with pytest.raises(InputError, match=f"RFC 6716 {rule}:"):
        parse_opus(packet)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 3))
def test_arbitrary_bytes_are_refused_or_last_between_2_5_and_120_ms(tail: bytes, code: int) -> None:
    packet = bytes([tail[0] & 0xFC | code]) + tail[1:] if tail else tail
    try:
        opus = parse_opus(packet)
    except InputError:
        return
    assert 0 < opus.duration_ns <= MAX_DURATION_NS and opus.duration_ns % ms(2.5) == 0
    assert opus.duration_ns == opus.frames * FRAME_NS[packet[0] >> 3]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1275), min_size=1, max_size=48), st.integers(0, 1000), st.integers(16, 31))
def test_frames_of_any_lengths_and_padding_are_read_back(lengths: list[int], padding: int, config: int) -> None:
    header = bytes([toc(config, 3), 0xC0 | len(lengths)]) + b"\xff" * (padding // 254) + bytes([padding % 254])
    packet = header + b"".join(map(length_bytes, lengths[:-1])) + bytes(sum(lengths) + padding)
    if len(lengths) * FRAME_NS[config] > MAX_DURATION_NS:
        with pytest.raises(InputError, match="R5"):
            parse_opus(packet)
        return
    assert parse_opus(packet).frames == len(lengths)
    with pytest.raises(InputError, match="R"):
        parse_opus(packet[: -(lengths[-1] + 1)])  # only the last frame may be shorter than said
