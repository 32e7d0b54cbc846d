"""Decode: files to RGB pictures and 48 kHz mono sound, a few at a time, whatever rate and layout they have.

Everything PyAV does for the server is here. A file that cannot be opened is an ``InputError``; one
that breaks in the middle ends there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.error import FFmpegError

from avsync.errors import InputError
from avsync.units import NS_PER_S, SOUND_HZ, ns_to_ticks

log = logging.getLogger("avsync.server")
LONGEST_SIDE = 1280
"""Larger clips are scaled down to this: a talking head gains nothing, an encoder per viewer loses much."""
GAP_SAMPLES = SOUND_HZ * 40 // 1000
"""A hole in the sound's timestamps above this is filled with silence; below it, it is a container's rounding."""
MAX_GAP_SAMPLES = SOUND_HZ * 600
SOUND_RATES = range(4_000, 768_001)

Rgb = np.ndarray[Any, np.dtype[np.uint8]]
Sound16 = np.ndarray[Any, np.dtype[np.int16]]


class MediaInfo(NamedTuple):
    width: int
    height: int
    fps: Fraction
    has_sound: bool


def media_info(path: Path) -> MediaInfo:
    """What a media file has. Raises ``InputError`` where it cannot be read or has no picture."""
    with closing(_open(path)) as file:
        if not file.streams.video:
            raise InputError("it has no picture", file=str(path), remedy="give a clip with video")
        stream = file.streams.video[0]
        rate = Fraction(stream.average_rate or 25)
        # Slides at 1 fps and a 1000 fps "time base" rate alike are sampled at 25.
        fps = rate if 10 <= rate <= 60 else Fraction(25)
        return MediaInfo(stream.width, stream.height, fps, bool(file.streams.audio))


def picture_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) with even sides, as encoders need them, and neither above 1280."""
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    return max(16, round(width * scale / 2) * 2), max(16, round(height * scale / 2) * 2)


def pictures_of(path: Path, size: tuple[int, int]) -> Iterator[tuple[int, Rgb]]:
    """(ns since the file's start, (H, W, 3) RGB) of each picture, in growing order."""
    with closing(_open(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "NONE"  # one decoding thread beside a sender is enough; more only hold more frames
        start = _start_ns(file)
        last_ns = -1
        try:
            for frame in file.decode(stream):
                at_ns = last_ns + 1 if frame.pts is None else _ns(frame.pts, frame.time_base) - start
                if at_ns <= last_ns:
                    continue  # a rewinding pts: the newest picture stays
                last_ns = at_ns
                yield at_ns, to_rgb(frame, size)
        except FFmpegError as error:
            log.warning("%s: the picture breaks off (%s)", path.name, error)


def sound_of(path: Path) -> Iterator[Sound16]:
    """The sound from the file's start: (n,) int16 mono 48 kHz pieces; silence where a stamp says there is none."""
    with closing(_open(path)) as file:
        if not file.streams.audio:
            return
        stream = file.streams.audio[0]
        start = _start_ns(file)
        given = 0
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_HZ)
        try:
            for frame in file.decode(stream):
                at = given if frame.pts is None else ns_to_ticks(_ns(frame.pts, frame.time_base) - start, SOUND_HZ)
                if given + GAP_SAMPLES < at <= given + MAX_GAP_SAMPLES:
                    yield np.zeros(at - given, dtype=np.int16)
                    given = at
                frame.pts = None  # the resampler counts for itself
                for piece in _resampled(resampler, frame):
                    given += len(piece)
                    yield piece
            for piece in _resampled(resampler, None):
                yield piece
        except (FFmpegError, ValueError) as error:
            log.warning("%s: the sound breaks off (%s)", path.name, error)


def to_rgb(picture: av.VideoFrame | Rgb, size: tuple[int, int]) -> Rgb:
    """Any picture -> (H, W, 3) uint8 RGB of ``size`` (width, height)."""
    width, height = size
    if isinstance(picture, np.ndarray):
        if picture.shape[:2] == (height, width):
            return picture
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return _bytes_of(picture.reformat(width=width, height=height, format="rgb24"))


def _bytes_of(frame: av.VideoFrame) -> Rgb:
    array: Rgb = frame.to_ndarray(format="rgb24")  # type: ignore[assignment]
    return array


def to_sound(sound: Any, rate: int, *, who: str) -> Sound16:
    """int16 or float samples, (n,) or (n, channels), of any rate -> (n,) int16 mono 48 kHz.

    A piece is converted by itself: a model that gives short pieces should give them at 48 kHz.
    """
    array = np.asarray(sound)
    if array.ndim not in (1, 2) or array.dtype.str.lstrip("<|=") not in ("i2", "f4", "f8"):
        raise InputError(f"{who}: sound is int16 or float32 of shape (n,) or (n, channels), got {array.dtype}")
    if rate not in SOUND_RATES:
        raise InputError(f"{who}: a sample rate of {rate} cannot be")
    if array.dtype.kind == "f":
        array = np.nan_to_num(np.clip(array, -1.0, 1.0)) * 32767
    if array.ndim == 2:
        array = array.astype(np.float32).mean(axis=1)
    array = np.ascontiguousarray(array.astype(np.int16))
    if rate == SOUND_HZ or not len(array):
        return array
    frame = av.AudioFrame.from_ndarray(array.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_HZ)
    return np.concatenate([*_resampled(resampler, frame), *_resampled(resampler, None)])


def load_jpeg(file: Path) -> Rgb:
    """One picture file -> (H, W, 3) uint8 RGB."""
    try:
        with closing(_open(file)) as container:
            frame = next(container.decode(video=0), None)
    except FFmpegError as error:
        raise InputError(f"it cannot be decoded ({error})", file=str(file)) from None
    if frame is None:
        raise InputError("there is no picture in it", file=str(file))
    return _bytes_of(frame)


def _open(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path), metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        raise InputError(f"it cannot be opened ({error.strerror or error})", file=str(path)) from None


def _start_ns(file: av.container.InputContainer) -> int:
    """The earliest stamp of either stream: both are counted from there, so their relation is kept."""
    starts = [
        _ns(stream.start_time, stream.time_base)
        for stream in (*file.streams.video[:1], *file.streams.audio[:1])
        if stream.start_time is not None
    ]
    return min(starts, default=0)


def _ns(pts: int, time_base: Any) -> int:
    time_ns: int = pts * time_base.numerator * NS_PER_S // time_base.denominator
    return time_ns


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> list[Sound16]:
    return [piece.to_ndarray().reshape(-1).astype(np.int16, copy=False) for piece in resampler.resample(frame)]
