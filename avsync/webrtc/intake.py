"""Intake: whatever a source writes becomes what the encoders take.

Sound of any rate, layout and sample format becomes frames of 20 ms at 48 kHz; pictures of any format
and size become yuv420p of one size. Everything is copied: a source may use its buffers again.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from operator import index
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from avsync.errors import UsageError
from avsync.units import NS_PER_S, SLOT_SAMPLES, SOUND_HZ
from avsync.webrtc.encode import Layout

MAX_SIDE = 4096
MAX_CHANNELS = 8
RATES_HZ = (4_000, 384_000)

Sound = Any
"""ndarray int16 or float32, (n,) or (n, channels); bytes of 16 bit mono; av.AudioFrame; av.Packet (Opus)."""
Picture = Any
"""ndarray uint8 (height, width, 3) RGB; av.VideoFrame; av.Packet (VP8 or H.264)."""


class SoundIntake:
    """Sound of one turn on its way to 20 ms frames; at most one unfinished frame is held.

    What comes out lasts as long as what went in, to the sample, whatever rates it came in: how much
    went in is counted, and resamplers that round are held to it.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._given: tuple[str, str, int] | None = None  # (format, layout, rate) of what came last
        self._resampler: av.AudioResampler | None = None
        self._rest = np.zeros((0, 1 if layout == "mono" else 2), np.int16)
        self._in = Fraction(0)  # samples at 48 kHz, exactly
        self._out = 0  # in whole frames

    @property
    def held_ns(self) -> int:
        """What was given and is in no frame yet, a resampler's tail included."""
        return int((self._in - self._out) * NS_PER_S / SOUND_HZ)

    def take(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        """Whole 20 ms frames, as far as they have come together. A change of rate or layout is no matter."""
        given = (frame.format.name, frame.layout.name, frame.sample_rate)
        for piece in _pieces(frame):
            if given != self._given:
                # swr cannot change its input; what the old one still held comes first.
                yield from self._drain()
                self._given = given
                self._resampler = av.AudioResampler(format="s16", layout=self._layout, rate=SOUND_HZ)
            assert self._resampler is not None
            self._in += Fraction(piece.samples * SOUND_HZ, piece.sample_rate)
            for resampled in self._resampler.resample(piece):
                self._add(resampled.to_ndarray())
            yield from self._whole()

    def pause(self, samples: int) -> Iterator[av.AudioFrame]:
        """So much silence, at 48 kHz, after all that was given."""
        yield from self._drain()
        self._in += samples
        self._add(np.zeros((samples, self._rest.shape[1]), np.int16))
        yield from self._whole()

    def finish(self) -> Iterator[av.AudioFrame]:
        """The natural end: the resampler's tail, and the last frame filled up with silence."""
        yield from self._drain()
        if len(self._rest):
            missing = SLOT_SAMPLES - len(self._rest)
            self._in += missing
            self._add(np.zeros((missing, self._rest.shape[1]), np.int16))
            yield from self._whole()

    def _drain(self) -> Iterator[av.AudioFrame]:
        if self._resampler is not None:
            for resampled in self._resampler.resample(None):
                self._add(resampled.to_ndarray())
            self._resampler = self._given = None
            # A resampler rounds its total up; many changes of rate would add that up.
            wanted = round(self._in) - self._out
            self._rest = self._rest[:wanted]
            self._add(np.zeros((wanted - len(self._rest), self._rest.shape[1]), np.int16))
            yield from self._whole()

    def _add(self, samples: np.ndarray) -> None:
        self._rest = np.concatenate([self._rest, samples.reshape(-1, self._rest.shape[1])])

    def _whole(self) -> Iterator[av.AudioFrame]:
        while len(self._rest) >= SLOT_SAMPLES:
            slot, self._rest = self._rest[:SLOT_SAMPLES], self._rest[SLOT_SAMPLES:]
            self._out += SLOT_SAMPLES
            yield sound_frame(slot, self._layout)


def _pieces(frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
    """A second at a time: a minute at once would take 30 ms to resample, and the voice would wait for it."""
    rate = frame.sample_rate
    if frame.samples <= rate:
        yield frame
        return
    samples: Any = frame.to_ndarray()
    width = 1 if frame.format.is_planar else len(frame.layout.channels)
    for at in range(0, frame.samples, rate):
        piece = np.ascontiguousarray(samples[:, at * width : (at + rate) * width])
        part = av.AudioFrame.from_ndarray(piece, format=frame.format.name, layout=frame.layout.name)
        part.sample_rate = rate
        yield part


def sound_frame(samples: np.ndarray, layout: Layout) -> av.AudioFrame:
    """int16 (n, channels) at 48 kHz -> a frame of its own."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = SOUND_HZ
    return frame


def silence(layout: Layout) -> av.AudioFrame:
    """One slot of it."""
    return sound_frame(np.zeros((SLOT_SAMPLES, 1 if layout == "mono" else 2), np.int16), layout)


def audio_frame(sound: Sound, sample_rate: int) -> av.AudioFrame | None:
    """Any kind of raw sound as a frame of its own; None where there is nothing in it. ``UsageError`` names the rule."""
    if isinstance(sound, av.AudioFrame):
        if not sound.samples:
            return None
        try:
            copy = av.AudioFrame.from_ndarray(sound.to_ndarray(), format=sound.format.name, layout=sound.layout.name)
        except ValueError as error:
            raise UsageError(f"not a frame of sound that can be read: {error}") from None
        copy.sample_rate = _checked_rate(sound.sample_rate)
        return copy
    if isinstance(sound, bytes | bytearray | memoryview):
        if len(sound) % 2:
            raise UsageError(f"bytes of sound are 16 bit samples: their number must be even, got {len(sound)}")
        sound = np.frombuffer(sound, np.int16)
    if not isinstance(sound, np.ndarray):
        raise UsageError(f"sound is an ndarray, bytes, av.AudioFrame or av.Packet, got {type(sound).__name__}")
    if sound.dtype not in (np.int16, np.float32):
        raise UsageError(f"samples are int16 or float32 (-1 to 1), got {sound.dtype}")
    if sound.ndim == 1:
        sound = sound[:, None]
    if sound.ndim != 2 or sound.shape[1] > MAX_CHANNELS or not sound.shape[1]:
        raise UsageError(f"sound has the shape (samples,) or (samples, channels <= {MAX_CHANNELS}), got {sound.shape}")
    if not len(sound):
        return None
    rate = _checked_rate(sample_rate)
    if sound.dtype == np.float32:
        # NaN would be anything as an int; a model that diverges must not be heard as a crack.
        sound = (np.nan_to_num(np.clip(sound, -1.0, 1.0)) * 32767).astype(np.int16)
    channels = sound.shape[1]
    if channels > 2:
        sound = sound.mean(axis=1, keepdims=True).astype(np.int16)
    layout = "stereo" if channels == 2 else "mono"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound).reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = rate
    return frame


def size_of(picture: Picture) -> tuple[int, int] | None:
    """(width, height) of a raw picture; None where there is nothing in it. ``UsageError`` names the rule."""
    if isinstance(picture, av.VideoFrame):
        width, height = picture.width, picture.height
    elif isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise UsageError(f"a picture is uint8 (height, width, 3) RGB, got {picture.dtype} {picture.shape}")
        height, width = picture.shape[:2]
    else:
        raise UsageError(f"a picture is an ndarray, av.VideoFrame or av.Packet, got {type(picture).__name__}")
    if not width or not height:
        return None
    if max(width, height) > MAX_SIDE:
        raise UsageError(f"a picture is at most {MAX_SIDE} pixels wide and high, got {width}x{height}")
    return width, height


def video_frame(picture: Picture, size: tuple[int, int]) -> av.VideoFrame:
    """A raw picture as a yuv420p frame of its own, scaled to ``size``. Takes milliseconds; runs in a thread."""
    if isinstance(picture, np.ndarray):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    try:
        frame: av.VideoFrame = picture.reformat(width=size[0], height=size[1], format="yuv420p")
    except (FFmpegError, ValueError) as error:
        raise UsageError(f"not a picture that can be converted: {error}") from None
    if frame is picture:  # nothing to convert: it is still the caller's
        frame = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
    return frame


def even(size: tuple[int, int]) -> tuple[int, int]:
    """The nearest size below that 4:2:0 can have."""
    return max(2, size[0] & ~1), max(2, size[1] & ~1)


def blurred(frame: av.VideoFrame) -> av.VideoFrame:
    """A placeholder in which no lips can be read: what stands in where nobody gave an idle picture."""
    width, height = frame.width, frame.height
    tiny = frame.reformat(width=16, height=max(2, 16 * height // width & ~1), interpolation="AREA")
    return tiny.reformat(width=width, height=height, interpolation="BICUBIC")


def _checked_rate(rate: int) -> int:
    low, high = RATES_HZ
    try:
        if not isinstance(rate, bool) and low <= index(rate) <= high:
            return index(rate)
    except TypeError:
        pass
    raise UsageError(f"sample_rate is a whole number from {low} to {high} Hz, got {rate!r}")
