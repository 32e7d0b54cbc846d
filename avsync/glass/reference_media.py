"""Reference media: marked pictures and sound, encoded ahead of time, so that encoding can delay nothing.

Between voice and picture lies a shift that is known at each moment: the calibration's yardstick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import av

from avsync.glass import marks
from avsync.units import NS_PER_S, SLOT_SAMPLES, SOUND_HZ, ms, ticks_to_ns

"""Samples of one Opus packet: 20 ms."""
OPUS_LOOKAHEAD = 312
"""libopus looks ahead by 6.5 ms: decoded sound comes this many samples after what was encoded. What is encoded is
therefore taken that much later in the content, and a packet's stamp is the position of what it decodes to."""
FPS = 25
KEY_EVERY = 25
BITRATE_BPS = 1_500_000


class Shift(NamedTuple):
    """From ``from_ns`` on, pictures lie ``shift_ns`` behind the voice (positive: the voice is ahead)."""

    from_ns: int
    shift_ns: int


@dataclass(frozen=True, slots=True)
class ReferenceMedia:
    """``audio``: an Opus packet for each 20 ms; ``video``: a VP8 frame for each 40 ms; from stamp 0 on."""

    audio: tuple[bytes, ...]
    video: tuple[bytes, ...]
    shifts: tuple[Shift, ...]
    duration_ns: int

    def shift_ns(self, stamp_ns: int) -> int:
        return shift_at(self.shifts, stamp_ns)


def shift_at(shifts: Sequence[Shift], stamp_ns: int) -> int:
    """The last shift begun at ``stamp_ns``; 0 before the first."""
    return next((shift.shift_ns for shift in reversed(shifts) if shift.from_ns <= stamp_ns), 0)


def reference_media(
    seconds: float, shifts: Sequence[Shift] = (), *, width: int = 640, height: int = 360
) -> ReferenceMedia:
    """Encode ``seconds`` of it: about a tenth of that in CPU time at 640x360. Call it outside of any event loop."""
    frames = round(seconds * FPS)
    return ReferenceMedia(
        _opus(frames * SOUND_HZ // FPS // SLOT_SAMPLES),
        _vp8(frames, tuple(shifts), width, height),
        tuple(shifts),
        ticks_to_ns(frames, FPS),
    )


def _opus(slots: int) -> tuple[bytes, ...]:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.bit_rate, encoder.format, encoder.layout, encoder.sample_rate = 64_000, "s16", "mono", SOUND_HZ
    encoder.options = {"application": "voip"}
    encoder.time_base = Fraction(1, SOUND_HZ)
    packets: list[bytes] = []
    for slot in range(slots):
        samples = marks.sound(slot * SLOT_SAMPLES + OPUS_LOOKAHEAD, SLOT_SAMPLES)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = SOUND_HZ, slot * SLOT_SAMPLES
        for packet in encoder.encode(frame):
            if not packets and packet.pts != -OPUS_LOOKAHEAD:
                raise RuntimeError(f"this libopus looks ahead by {-(packet.pts or 0)} samples, not {OPUS_LOOKAHEAD}")
            packets.append(bytes(packet))
    return tuple(packets)


def _vp8(frames: int, shifts: Sequence[Shift], width: int, height: int) -> tuple[bytes, ...]:
    encoder = av.CodecContext.create("libvpx", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.bit_rate, encoder.gop_size, encoder.time_base = BITRATE_BPS, KEY_EVERY, Fraction(1, FPS)
    encoder.options = {"deadline": "realtime", "cpu-used": "-6", "lag-in-frames": "0", "error-resilient": "1"}
    packets: list[bytes] = []
    for number in range(frames):
        stamp_ns = number * NS_PER_S // FPS
        content_ns = stamp_ns - shift_at(shifts, stamp_ns)
        image = marks.picture(content_ns, width=width, height=height)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    if len(packets) != frames:
        raise RuntimeError(f"libvpx made {len(packets)} packets of {frames} frames")
    return tuple(packets)


PLAIN = (Shift(0, 0),)
SLOT_NS, FRAME_NS = ms(20), ms(40)
