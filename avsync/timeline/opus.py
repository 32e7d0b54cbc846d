"""Opus: how long a packet lasts, read from its first bytes, as RFC 6716 section 3 says.

Nothing is decoded. A packet that breaks one of the RFC's rules R1 to R7 is refused with an
``InputError`` naming the rule. Work and memory are bounded whatever the bytes are: at most 48
frame lengths are read and at most ``MAX_PACKET_BYTES`` looked at.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from avsync.errors import InputError
from avsync.units import ms

MAX_DURATION_NS: Final = ms(120)
"""RFC 6716, R5."""

MAX_FRAME_BYTES: Final = 1275
"""RFC 6716, R2: what a frame length can express."""

MAX_PACKET_BYTES: Final = 65_535
"""No RTP packet over UDP is larger; 48 frames of 1275 bytes fit."""

_SILK: Final = (ms(10), ms(20), ms(40), ms(60))
_HYBRID: Final = (ms(10), ms(20))
_CELT: Final = (ms(2.5), ms(5), ms(10), ms(20))
# RFC 6716 table 2: configurations 0-11 are SILK in three bandwidths, 12-15 hybrid in two, 16-31 CELT in four.
FRAME_NS: Final = 3 * _SILK + 2 * _HYBRID + 4 * _CELT
"""Duration of one frame, by the configuration number (the TOC byte's top five bits)."""


class OpusPacket(NamedTuple):
    """``dtx``: it carries next to no sound; the encoder has gone quiet (libopus: no need to send it)."""

    config: int
    stereo: bool
    frames: int
    frame_ns: int
    duration_ns: int
    dtx: bool


def parse_opus(packet: bytes | bytearray | memoryview) -> OpusPacket:
    """What the packet's header says. ``InputError`` when it is malformed."""
    size = len(packet)
    if not 1 <= size <= MAX_PACKET_BYTES:
        raise _broken(f"R1: a packet has at least one byte; over {MAX_PACKET_BYTES} it cannot have come by UDP")
    toc = packet[0]
    config, code = toc >> 3, toc & 3
    if code == 0:
        frames, sound_bytes = 1, size - 1
        largest = sound_bytes
    elif code == 1:
        frames, sound_bytes = 2, size - 1
        if sound_bytes % 2:
            raise _broken("R3: two frames of equal size need an odd packet length")
        largest = sound_bytes // 2
    elif code == 2:
        first, at = _frame_length(packet, 1, size, "R4")
        frames, sound_bytes = 2, size - at
        if first > sound_bytes:
            raise _broken("R4: the first frame is longer than the packet")
        largest = sound_bytes - first
    else:
        frames, sound_bytes, largest = _many(packet, size)
    if largest > MAX_FRAME_BYTES:
        raise _broken(f"R2: a frame is longer than {MAX_FRAME_BYTES} bytes")
    frame_ns = FRAME_NS[config]
    if frames * frame_ns > MAX_DURATION_NS:
        raise _broken("R5: a packet lasts at most 120 ms")
    return OpusPacket(config, bool(toc & 4), frames, frame_ns, frames * frame_ns, sound_bytes <= 1)


def _many(packet: bytes | bytearray | memoryview, size: int) -> tuple[int, int, int]:
    """Code 3 -> (frames, bytes of sound, the longest frame whose length is implied)."""
    if size < 2:
        raise _broken("R6: no frame count byte")
    count = packet[1]
    frames, varied, padded = count & 0x3F, count & 0x80, count & 0x40
    if not 1 <= frames <= 48:
        raise _broken("R5: 1 to 48 frames of 2.5 ms fit into 120 ms")
    at, end = 2, size
    if padded:
        # Each 255 stands for 254 bytes and "go on"; counted in C, or 64 KiB of them would cost milliseconds.
        rest = bytes(packet[2:])
        full = len(rest) - len(rest.lstrip(b"\xff"))
        if full == len(rest):
            raise _broken("R6, R7: the padding length does not end")
        at, end = 3 + full, size - (254 * full + rest[full])
        if at > end:
            raise _broken("R6, R7: the padding is longer than the packet")
    if not varied:
        sound_bytes = end - at
        if sound_bytes % frames:
            raise _broken("R6: the bytes do not divide into frames of equal size")
        return frames, sound_bytes, sound_bytes // frames
    known = 0
    for _ in range(frames - 1):
        length, at = _frame_length(packet, at, end, "R7")
        known += length
    if at + known > end:
        raise _broken("R7: the frames are longer than the packet")
    return frames, end - at, end - at - known


def _frame_length(packet: bytes | bytearray | memoryview, at: int, end: int, rule: str) -> tuple[int, int]:
    """(frame length, index behind it): one byte up to 251, else ``4 * second + first``."""
    if at >= end:
        raise _broken(f"{rule}: a frame length is missing")
    first = packet[at]
    if first < 252:
        return first, at + 1
    if at + 1 >= end:
        raise _broken(f"{rule}: a frame length is cut off")
    return 4 * packet[at + 1] + first, at + 2


def _broken(rule: str) -> InputError:
    return InputError(f"RFC 6716 {rule}", place="opus packet")
