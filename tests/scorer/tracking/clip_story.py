"""Clips made for tests: at some moments the picture flashes and the sound clicks, at the same time unless shifted."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avsync.scorer.tracking.clip_reader import MediaClip, Picture, open_clip
from avsync.units import NS_PER_MS

EVENTS_MS = (600, 1400, 2200)
SECONDS = 3
SIZE = (64, 48)
SAMPLE = 44_100


def picture_times(fps: Fraction, seconds: float = SECONDS) -> list[Fraction]:
    return [Fraction(number) / fps for number in range(int(seconds * fps))]


def clicks(rate: int = SAMPLE, seconds: float = SECONDS, channels: int = 1) -> NDArray[np.int16]:
    """(channels, n): 4 ms of 1 kHz from each event on, quiet between."""
    sound = np.zeros(int(rate * seconds), np.int16)
    tone = (20_000 * np.sin(2 * np.pi * 1000 * np.arange(rate * 4 // 1000) / rate)).astype(np.int16)
    for event_ms in EVENTS_MS:
        sound[rate * event_ms // 1000 :][: len(tone)] = tone
    return np.tile(sound, (channels, 1))


def flashing(at: Fraction, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    bright = any(0 <= at * 1000 - event_ms < 120 for event_ms in EVENTS_MS)
    return np.full((size[1], size[0], 3), 230 if bright else 20, np.uint8)


def make_clip(
    path: Path,
    *,
    times: Sequence[Fraction] | None = None,
    fps: Fraction = Fraction(25),
    rate: int = SAMPLE,
    channels: int = 1,
    video: str | None = "mpeg4",
    audio: str | None = "aac",
    size: tuple[int, int] = SIZE,
    picture: Callable[[Fraction, tuple[int, int]], NDArray[np.uint8]] = flashing,
    sound: NDArray[np.int16] | None = None,
    rotate: int = 0,
    pixel_aspect: Fraction = Fraction(1),
) -> Path:
    """A file by PyAV; the container follows from the name. Returns `path`."""
    times = picture_times(fps) if times is None else times
    with closing(av.open(str(path), "w")) as file:
        pictures = file.add_stream(video, rate=fps) if video else None
        voice = file.add_stream(audio, rate=rate, layout="stereo" if channels == 2 else "mono") if audio else None
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
            pictures.codec_context.time_base = Fraction(1, 1000) if len(set(np.diff(times))) > 1 else 1 / fps
            pictures.codec_context.sample_aspect_ratio = pixel_aspect
            if rotate:
                pictures.set_display_rotation(rotate)
        if voice is not None:
            samples = clicks(rate, channels=channels) if sound is None else sound
            _encode_sound(file, voice, samples, rate, channels)
        if pictures is not None:
            for at in times:
                frame = av.VideoFrame.from_ndarray(picture(at, size), format="rgb24")
                frame.time_base = pictures.codec_context.time_base
                frame.pts = round(at / frame.time_base)
                file.mux(pictures.encode(frame))
            file.mux(pictures.encode(None))
    return path


def _encode_sound(file: Any, voice: Any, samples: NDArray[np.int16], rate: int, channels: int) -> None:
    for first in range(0, samples.shape[1], 1024):
        piece = np.ascontiguousarray(samples[:, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(piece, format="s16p", layout="stereo" if channels == 2 else "mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), first
        file.mux(voice.encode(frame))
    file.mux(voice.encode(None))


def remux(
    source: Path,
    target: Path,
    *,
    sound_ms: int = 0,
    pictures_ms: int = 0,
    drop: Callable[[str, int], bool] | None = None,
    spoil: Callable[[str, int], bool] | None = None,
) -> Path:
    """The same packets with other stamps; `drop(kind, number)` leaves some out, `spoil` makes some undecodable."""
    with closing(av.open(str(source))) as old, closing(av.open(str(target), "w")) as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        numbers = dict.fromkeys(streams, 0)
        for packet in old.demux():
            if packet.dts is None:
                continue
            index, kind = packet.stream.index, packet.stream.type
            numbers[index] += 1
            if drop is not None and drop(kind, numbers[index] - 1):
                continue
            if spoil is not None and spoil(kind, numbers[index] - 1):
                packet = _spoilt(packet)
            shift = round(Fraction(sound_ms if kind == "audio" else pictures_ms, 1000) / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[index]
            new.mux(packet)
    return target


def _spoilt(packet: av.Packet) -> av.Packet:
    spoilt = av.Packet(b"\x55" * packet.size)
    spoilt.pts, spoilt.dts, spoilt.time_base, spoilt.duration = (
        packet.pts,
        packet.dts,
        packet.time_base,
        packet.duration,
    )
    return spoilt


def edit_sound_start(path: Path, skip_ms: int) -> Path:
    """Moves the start of the sound's edit list inside an MP4: so much more of the sound is left out at its front."""
    content = bytearray(path.read_bytes())
    for first, last in _boxes(content, 0, len(content), b"moov"):
        for start, end in _boxes(content, first, last, b"trak"):
            trak = bytes(content[start:end])
            if b"soun" not in trak:
                continue
            timescale = struct.unpack_from(">I", trak, trak.index(b"mdhd") + 16)[0]
            entry = start + trak.index(b"elst") + 12  # version and flags, count, then (duration, media_time, rate)
            duration, media_time, speed = struct.unpack_from(">iiI", content, entry)
            assert media_time >= 0, "the sound starts with an empty edit"
            struct.pack_into(">iiI", content, entry, duration, media_time + skip_ms * timescale // 1000, speed)
            path.write_bytes(content)
            return path
    raise AssertionError("no sound in this file")


def _boxes(content: bytearray, first: int, last: int, kind: bytes) -> Iterator[tuple[int, int]]:
    while first + 8 <= last:
        size = struct.unpack_from(">I", content, first)[0]
        if content[first + 4 : first + 8] == kind:
            yield first + 8, first + size
        first += max(8, size)


def heard_minus_seen_ms(path: Path | MediaClip) -> list[float]:
    """For every event, the time of the click minus that of the flash; positive: the sound is late."""
    clip = path if isinstance(path, MediaClip) else open_clip(path)
    flashes, bright = [], False
    pieces = []
    for unit in clip.together():
        if isinstance(unit, Picture):
            was, bright = bright, float(unit.rgb.mean()) > 120
            if bright and not was:
                flashes.append(unit.pts_ns / NS_PER_MS)
        else:
            pieces.append(unit)
    pcm = np.abs(np.concatenate([piece.pcm for piece in pieces]).astype(np.float64))
    start_ms = pieces[0].pts_ns / NS_PER_MS
    heard = []
    for flash_ms in flashes:
        near = np.arange(
            max(0, int((flash_ms - start_ms - 300) * 16)), min(len(pcm), int((flash_ms - start_ms + 300) * 16))
        )
        loud = near[pcm[near] > 0.5 * pcm[near].max()]
        heard.append((loud[0] + loud[-1]) / 2 / 16 + start_ms - 2.0 - flash_ms)  # the click's middle is 2 ms after it
    return heard
