"""What the server's tests share: clips whose pictures and sound say where they are, and a stream that writes down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from avsync.server.sources import FrameWithSound, period_samples, silence
from avsync.units import SOUND_HZ
from avsync.webrtc import InterruptResult

STEP = 8
"""Brightness per frame: 30 frames can be told apart after any codec used here."""


def grey(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    width, height = size
    return np.full((height, width, 3), 8 + STEP * (number % 30), dtype=np.uint8)


def number_of(picture: np.ndarray[Any, Any]) -> int:
    return round((float(picture.mean()) - 8) / STEP)


def make_clip(
    path: Path, *, frames: int, sound_s: float | None, fps: Fraction = Fraction(25), rate: int = 48_000,
    layout: str = "mono", times_ms: list[int] | None = None, size: tuple[int, int] = (64, 48),
) -> Path:  # fmt: skip
    """Frame n has the brightness of n; the sound during frame n has the level 100 * (n + 1). Lossless."""
    with av.open(str(path), "w", format="matroska") as file:
        video = file.add_stream("ffv1", rate=fps)
        video.width, video.height, video.pix_fmt = *size, "yuv444p"
        audio = None if sound_s is None else file.add_stream("pcm_s16le", rate=rate, layout=layout)
        if times_ms is not None:
            video.time_base = Fraction(1, 1000)
            video.codec_context.time_base = Fraction(1, 1000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(grey(number, size), format="rgb24")
            frame.pts = number if times_ms is None else times_ms[number]
            frame.time_base = 1 / fps if times_ms is None else Fraction(1, 1000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None and sound_s is not None:
            places = np.arange(round(sound_s * rate))
            level = (100 * (1 + np.floor(places / rate * float(fps)))).astype(np.int16)
            channels = 1 if layout == "mono" else 2
            for at in range(0, len(level), 1024):
                piece = np.repeat(level[at : at + 1024], channels).reshape(1, -1)
                sound = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
                sound.sample_rate, sound.pts, sound.time_base = rate, at, Fraction(1, rate)
                file.mux(audio.encode(sound))
            file.mux(audio.encode(None))
    return path


def heard(sound: np.ndarray[Any, Any]) -> int:
    """Which frame's sound this is, read in its middle; -1: silence."""
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    return round(float(np.median(middle)) / 100) - 1


class CountingSource:
    """Frames that say their number; ``fails_at`` raises, ``ends_at`` ends."""

    name = "counting"

    def __init__(
        self, fps: Fraction = Fraction(25), *, ends_at: int | None = None, fails_at: int | None = None
    ) -> None:
        self.fps, self._ends_at, self._fails_at = fps, ends_at, fails_at
        self.closed = False

    def idle(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        return grey(0)

    def frames(self) -> Iterator[FrameWithSound]:
        number = 0
        while number != self._ends_at:
            if number == self._fails_at:
                raise RuntimeError("the model has run out of memory")
            yield FrameWithSound(grey(number), np.full(period_samples(number, self.fps), number % 30_000, np.int16))
            number += 1


class IterFeed:
    """A feed without a thread, for virtual time."""

    def __init__(self, source: CountingSource) -> None:
        self._frames = source.frames()
        self.taken = 0

    async def next(self) -> FrameWithSound | None:
        self.taken += 1
        return next(self._frames, None)

    def close(self) -> None:
        pass


class Write(NamedTuple):
    kind: str
    at_s: float
    pts_ns: int | None
    value: int
    samples: int
    epoch: int


class ListeningStream:
    """Takes everything at once, or at ``rate`` times real time; writes it down."""

    def __init__(self, *, room_s: float | None = None) -> None:
        self.writes: list[Write] = []
        self.epoch = 0
        self.ended: list[int] = []
        self.refuse_all = False
        self.plays_s = 0.0  # how long the last write takes to be heard
        self._room_s = room_s
        self._began: float | None = None
        self._told: dict[str, float] = {"audio": 0.0, "video": 0.0}

    def begin_turn(self) -> ListeningTurn:
        self.epoch += 1
        return ListeningTurn(self, self.epoch)

    def interrupt(self) -> Any:
        self.epoch += 1
        done = asyncio.get_running_loop().create_future()
        done.set_result(InterruptResult(self.epoch, None, 0))
        return done

    async def take(self, kind: str, pts_ns: int | None, value: int, samples: int, epoch: int, seconds: float) -> bool:
        now: Callable[[], float] = asyncio.get_running_loop().time
        if self._room_s is not None:
            self._began = now() if self._began is None else self._began
            self._told[kind] += seconds
            await asyncio.sleep(max(0.0, self._began + self._told[kind] - self._room_s - now()))
        if epoch != self.epoch or self.refuse_all:
            return False
        self.writes.append(Write(kind, now(), pts_ns, value, samples, epoch))
        return True

    def of(self, kind: str) -> list[Write]:
        return [write for write in self.writes if write.kind == kind]

    @property
    def buffered(self) -> float:
        last = self.writes[-1].at_s if self.writes else 0.0
        return max(0.0, last + self.plays_s - asyncio.get_running_loop().time())


class ListeningTurn:
    def __init__(self, stream: ListeningStream, epoch: int) -> None:
        self._stream, self.epoch = stream, epoch

    async def write_audio(self, sound: Any, *, sample_rate: int = SOUND_HZ, pts_ns: int | None = None) -> bool:
        value = int(sound[0]) if len(sound) else -1
        return await self._stream.take("audio", pts_ns, value, len(sound), self.epoch, len(sound) / sample_rate)

    async def write_video(self, picture: Any, *, pts_ns: int | None = None) -> bool:
        return await self._stream.take("video", pts_ns, number_of(picture), 0, self.epoch, 0.04)

    async def end(self) -> None:
        self._stream.ended.append(self.epoch)


def quiet(seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    return silence(round(seconds * SOUND_HZ))
