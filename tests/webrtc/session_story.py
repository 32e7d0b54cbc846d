"""A session in virtual time: threads that take as long as one likes, encoders whose packets name their content.

Sound is written in slots that say (turn, number) in their samples, pictures say it in grey blocks;
what leaves is read back by a viewer that takes packets as aiortc's sender does.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from avsync.units import NS_PER_S, ms, ticks_to_ns
from avsync.webrtc import AvSyncSession, Turn, Viewer
from avsync.webrtc.encode import CODED_AHEAD, OPUS, VP8
from avsync.webrtc.tracks import SyncTrack
from tests.virtual_loop import VirtualLoop

T = TypeVar("T")
SLOT, FRAME = ms(20), ms(40)
IDLE_TURN, IDLE_LUMA = 31, 229


class StoryLoop(VirtualLoop):
    """``takes`` says how long a function in a thread takes; it is done at once and answered that much later."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: Callable[[str], int] = lambda name: 0

    def run_in_executor(self, executor: Executor | None, func: Any, *args: Any) -> Any:
        if cast(ThreadPoolExecutor, executor)._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = self.create_future()
        try:
            done, result = future.set_result, func(*args)
        except Exception as error:
            done, result = future.set_exception, error

        def answer() -> None:
            if not future.done():
                done(result)

        took_ns = self.takes(func.__name__)
        if took_ns:
            self.call_later(took_ns / NS_PER_S, answer)
        else:
            self.call_soon(answer)
        return future


def run(main: Callable[[StoryLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a story to its end; a task or an error that it leaves behind fails it."""
    loop = StoryLoop()
    try:
        result = loop.run_until_complete(asyncio.wait_for(main(loop), 3600))
        left = asyncio.all_tasks(loop)
        assert not left, f"left running: {left}"
        assert not loop.errors, f"raised in callbacks: {loop.errors}"
        return result
    finally:
        loop.close()


# ---- content that names itself


class Name(NamedTuple):
    turn: int
    number: int


SILENT = Name(0, -1)
IDLE = Name(IDLE_TURN, 0)


def slots(turn: int, first: int, count: int = 1) -> np.ndarray[Any, np.dtype[np.int16]]:
    """``count`` slots of 20 ms at 48 kHz."""
    return np.repeat(np.arange(turn * 1000 + first + 1, turn * 1000 + first + 1 + count, dtype=np.int16), 960)


def picture(turn: int, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    blocks = np.array([turn, number // 32, number % 32], np.uint8) * 8
    return np.repeat(np.repeat(blocks[None, :, None], 16, axis=1), 16, axis=0).repeat(3, axis=2)


def idle_picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return picture(IDLE_TURN, 0)


def _name_of_picture(frame: av.VideoFrame) -> Name:
    row = frame.to_ndarray()[4, 8:48:16].astype(float)
    turn, high, low = (round((luma - 16) / 219 * 255 / 8) for luma in row)
    return Name(turn, high * 32 + low)


class NamingSoundEncoder:
    """Packets that say the first and the last sample; like Opus it is ``CODED_AHEAD``."""

    def __init__(self, layout: str) -> None:
        pass

    def encode(self, frame: av.AudioFrame, ticks: int) -> list[tuple[int, bytes]]:
        samples = frame.to_ndarray().ravel()
        assert frame.samples == 960 and frame.sample_rate == 48000
        return [(ticks - CODED_AHEAD, struct.pack("<hh", samples[0], samples[-1]))]


class NamingPictureEncoder:
    """Packets that say which picture it was, and whether it is a key frame."""

    def __init__(self, mime: str, width: int, height: int, bits_per_s: int) -> None:
        self.size = width, height
        self._fresh = True

    def encode(self, frame: av.VideoFrame, ticks: int, *, key: bool) -> tuple[bytes, bool]:
        key, self._fresh = key or self._fresh, False
        return struct.pack("<hh?", *_name_of_picture(frame), key), key


@pytest.fixture
def naming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avsync.webrtc.sound_out.SoundEncoder", NamingSoundEncoder)
    monkeypatch.setattr("avsync.webrtc.picture_out.PictureEncoder", NamingPictureEncoder)


# ---- a viewer


class Got(NamedTuple):
    """One packet: when it was handed over, the output time it is stamped with, what it names."""

    at_ns: int
    stamp_ns: int
    ticks: int
    name: Name
    is_key: bool
    data: bytes


class Watching:
    """Takes what one viewer's tracks give, as two senders do."""

    def __init__(self, viewer: Viewer | AvSyncSession, *, mime: str = VP8, sound: bool = True) -> None:
        self.sounds: list[Got] = []
        self.pictures: list[Got] = []
        self.ended: list[str] = []
        self.viewer = viewer
        self._loop = cast(StoryLoop, asyncio.get_running_loop())
        video = asyncio.ensure_future(self._take(viewer.video_track, mime))
        self.tasks = [video]
        if sound:
            self.tasks.append(asyncio.ensure_future(self._take(viewer.audio_track, OPUS)))

    async def _take(self, track: SyncTrack, mime: str) -> None:
        try:
            while True:
                packet, ticks = await track.next_packet(mime)
                data = bytes(packet)
                if mime == OPUS:
                    self.sounds.append(sound_got(self._loop.now_ns, ticks, data))
                else:
                    self.pictures.append(picture_got(self._loop.now_ns, ticks, data))
        except MediaStreamError:
            self.ended.append(track.kind)

    async def vanish(self) -> None:
        """What aiortc does when a connection is gone."""
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        self.viewer.audio_track.stop()
        self.viewer.video_track.stop()

    def said(self, turn: int) -> list[int]:
        return [got.name.number for got in self.sounds if got.name != SILENT and got.name.turn == turn]

    def shown(self, turn: int) -> list[int]:
        return [got.name.number for got in self.pictures if got.name.turn == turn]


def sound_got(now_ns: int, ticks: int, data: bytes) -> Got:
    name = SILENT
    if len(data) == 4:
        first, _ = struct.unpack("<hh", data)
        name = Name(first // 1000, first % 1000 - 1) if first > 0 else SILENT
    return Got(now_ns, ticks_to_ns(ticks + CODED_AHEAD, 48000), ticks, name, True, data)


def picture_got(now_ns: int, ticks: int, data: bytes) -> Got:
    name, key = Name(-1, -1), False
    if len(data) == 5:
        turn, number, key = struct.unpack("<hh?", data)
        name = Name(turn, number)
    return Got(now_ns, ticks_to_ns(ticks, 90000), ticks, name, key, data)


def assert_rising(got: list[Got]) -> None:
    for before, after in zip(got, got[1:], strict=False):
        assert after.ticks > before.ticks, f"{before} then {after}"


# ---- a source


async def say(turn: Turn, number: int, seconds: float, *, first: int = 0, end: bool = True) -> None:
    """As fast as it is taken: sound and pictures of ``seconds``, side by side."""
    for frame in range(first, first + round(seconds * 25)):
        await turn.write_video(picture(number, frame))
        await turn.write_audio(slots(number, 2 * frame, 2))
    if end:
        await turn.end()


async def until_ns(loop: StoryLoop, at_ns: int) -> None:
    await asyncio.sleep(max(0, at_ns - loop.now_ns) / NS_PER_S)
