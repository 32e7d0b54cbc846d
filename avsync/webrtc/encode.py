"""Encoders: 20 ms of sound become Opus, a picture becomes VP8 or H.264, each with the stamp it is given.

PyAV does the work. What is ours: an encoder that is asked for a key frame, that keeps its rate for
as long as nobody asks for another, and labels that are exact: Opus codes ahead, so the sound of a
packet begins 6.5 ms before the frame that was put in, and its stamp says so.

What a source encoded itself is looked at only as far as its first bytes: which codec, a key frame or not.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, NamedTuple, cast

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from avsync.errors import UsageError
from avsync.units import PICTURE_HZ, SOUND_HZ

SOUND_BASE, PICTURE_BASE = Fraction(1, SOUND_HZ), Fraction(1, PICTURE_HZ)
SOUND_BPS = 64_000
CODED_AHEAD = 312
"""Ticks by which libopus is ahead at 48 kHz (6.5 ms): the end of each frame leaves with the next packet."""

Layout = Literal["mono", "stereo"]

OPUS, VP8, H264 = "audio/opus", "video/vp8", "video/h264"
OPUS_SILENCE = b"\xf8\xff\xfe"
"""20 ms of nothing as a packet (CELT, full band, mono): goes with sound that a source encoded itself."""

# For a live encoder that must answer at once. VP8: as libwebrtc runs it, without lookahead; H.264: what every
# browser decodes, and the preset that measured fastest (0.7 ms per 512x512 frame against aiortc's 5 to 10).
_OPTIONS = {
    VP8: {
        "deadline": "realtime",
        "cpu-used": "-6",
        "lag-in-frames": "0",
        "static-thresh": "1",
        "max-intra-rate": "300",
    },
    H264: {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"},
}
_LIBRARY = {VP8: "libvpx", H264: "libx264"}
NEVER = 100_000  # key frames come when asked for


class SoundEncoder:
    """Opus. Made anew at an interrupt: it holds the last 6.5 ms it was given."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.format = "s16"
        self._codec.layout = layout
        self._codec.sample_rate = SOUND_HZ
        self._codec.time_base = SOUND_BASE
        self._codec.bit_rate = SOUND_BPS
        self._codec.options = {"application": "voip", "frame_duration": "20"}

    def encode(self, frame: av.AudioFrame, ticks: int) -> list[tuple[int, bytes]]:
        """(stamp, packet) of ``SLOT_SAMPLES`` samples, the first at ``ticks``; the stamp is ``CODED_AHEAD`` earlier."""
        frame.pts, frame.time_base = ticks, SOUND_BASE
        # Not the packet's own pts: after slots that were missed, FFmpeg labels it by the sound before the hole.
        return [(ticks - CODED_AHEAD, bytes(packet)) for packet in self._codec.encode(frame)]


class PictureEncoder:
    """VP8 or H.264 at one size and one rate. Called from one thread at a time; it takes milliseconds."""

    def __init__(self, mime: str, width: int, height: int, bits_per_s: int) -> None:
        if mime not in _LIBRARY:
            raise UsageError(f"pictures are sent as {' or '.join(_LIBRARY)}, not {mime!r}")
        self.size = width, height
        codec = self._codec = cast(VideoCodecContext, av.CodecContext.create(_LIBRARY[mime], "w"))
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.time_base = PICTURE_BASE
        codec.framerate = Fraction(30)
        codec.bit_rate = bits_per_s
        codec.gop_size = NEVER
        codec.thread_count = 1  # sessions run beside each other; threads would only wait for each other
        codec.options = {**_OPTIONS[mime], "maxrate": str(bits_per_s), "bufsize": str(bits_per_s)}

    def encode(self, frame: av.VideoFrame, ticks: int, *, key: bool) -> tuple[bytes, bool]:
        """The coded picture, and whether it can be decoded alone. ``ticks`` must rise."""
        frame.pts, frame.time_base = ticks, PICTURE_BASE
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = self._codec.encode(frame)
        return b"".join(bytes(packet) for packet in packets), any(packet.is_keyframe for packet in packets)


def bits_per_s(width: int, height: int, fps: float) -> int:
    """A rate at which a talking head of this size looks right: 0.15 bit a pixel, 0.3 to 4 Mbit/s."""
    return round(min(4e6, max(3e5, 0.15 * width * height * fps)))


class PacketKind(NamedTuple):
    mime: str
    is_key: bool


def picture_packet(data: bytes) -> PacketKind:
    """What a coded picture says of itself: H.264 begins with a start code, all else is taken for VP8."""
    if not data.startswith((b"\0\0\1", b"\0\0\0\1")):
        return PacketKind(VP8, not data[:1] or not data[0] & 1)
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        unit = data[at + 3] & 31
        if 1 <= unit <= 5:  # the first slice says it for the picture
            return PacketKind(H264, unit == 5)
        at = data.find(b"\0\0\1", at + 3)
    return PacketKind(H264, False)
