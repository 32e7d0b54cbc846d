"""The two baselines: what avatar servers commonly do, written again from their behaviour, faults included.

``naive``: blocking queues of 100 units per track; each track starts a clock of its own at its first
``recv`` and sends unit n at ``start + n * ptime`` of the wall clock. ``naive-valve``: one monotonic
clock lets sound and pictures through at the strict media rate, the sound some frames early, so
that the voice "never runs dry". Both stamp by counting units, use aiortc's own encoders and its own
sender reports, and an interrupt only stops what has not been queued yet.

Nothing here compares sound with pictures. Measured in a real browser: a stall of one stream is never
repaired; what the valve sends early arrives as a voice half a second ahead of the lips, for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import count
from typing import Any, NamedTuple

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender
from aiortc.mediastreams import MediaStreamError

from avsync.errors import UsageError
from avsync.monitor.sync_report import SyncReport
from avsync.server.decode import Rgb, Sound16, to_sound
from avsync.types import AUDIO, VIDEO, Heard, Kind
from avsync.units import NS_PER_S, PICTURE_HZ, SLOT_SAMPLES, SOUND_HZ, ticks_to_ns
from avsync.webrtc.aiortc_sender import newest_rtp_time
from avsync.webrtc.host_lateness import HostLateness
from avsync.webrtc.sent_log import SentLog
from avsync.webrtc.viewers.observer import ViewerObserver

SLOT_NS = ticks_to_ns(SLOT_SAMPLES, SOUND_HZ)
QUEUE_UNITS = 100
"""Two seconds of sound, four of pictures at 25 fps: as LiveTalking has it."""
VIDEO_BACKPRESSURE = 5
"""With more pictures waiting than this, the generator sleeps for most of them: LiveTalking's only brake."""
VALVE_FRAMES = 12
"""So many frames early it sends the voice: 480 ms at 25 fps, as such valves are shipped."""
FILL_FRAMES, FILL_WITHIN_S = 2, 2.0
"""The valve opens once what it sends early (at least so many frames) has been generated, or after so long."""
_MASK = 0xFFFFFFFF


class Unit(NamedTuple):
    """20 ms of sound or one picture, with its place in the content (for those who look on; never read here)."""

    data: Any
    pts_ns: int
    epoch: int


class NaiveInterrupted(NamedTuple):
    """How far the voice had come nobody knows here."""

    epoch: int
    played_ms: float | None = None
    turn: int | None = None


class NaiveStats(NamedTuple):
    values: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return dict(self.values)


class NaiveTrack(MediaStreamTrack):
    """A queue as a track. ``paced``: by a clock of its own; else a unit leaves when it comes."""

    def __init__(
        self, kind: Kind, fps: Fraction, *, paced: bool, clock: Callable[[], float],
        left: Callable[[int, Unit], object], connected: asyncio.Event,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kind = kind.value
        self.queue: asyncio.Queue[Unit | None] = asyncio.Queue(QUEUE_UNITS)
        self.sent = 0
        self._connected = connected
        self.lateness = HostLateness()
        self.sender: RTCRtpSender | None = None
        self.rtp_origin: int | None = None
        self._is_audio, self._fps, self._paced, self._clock, self._left = kind is AUDIO, fps, paced, clock, left
        self._start: float | None = None

    def stamp_ns(self, number: int) -> int:
        return ticks_to_ns(number * SLOT_SAMPLES, SOUND_HZ) if self._is_audio else ticks_to_ns(number, self._fps)

    async def recv(self) -> av.AudioFrame | av.VideoFrame:
        self._note_origin()
        self._connected.set()
        unit = await self.queue.get() if self.readyState == "live" else None
        if unit is None:
            raise MediaStreamError("the track has ended")
        if self._paced:
            await self._wait_for_turn()
        frame = self._frame(unit.data)
        self._left(self.stamp_ns(self.sent), unit)
        self.sent += 1
        return frame

    async def _wait_for_turn(self) -> None:
        """Its own clock from its own first unit; a unit that comes late is sent at once, and so is the next."""
        if self._start is None:
            self._start = self._clock()
            return
        due = self._start + self.stamp_ns(self.sent) / NS_PER_S
        wait = due - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
            self.lateness.add(round((self._clock() - due) * NS_PER_S))

    def _frame(self, data: Any) -> av.AudioFrame | av.VideoFrame:
        if self._is_audio:
            sound = av.AudioFrame.from_ndarray(data.reshape(1, -1), format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = SOUND_HZ, self.sent * SLOT_SAMPLES, Fraction(1, SOUND_HZ)
            return sound
        picture = av.VideoFrame.from_ndarray(data, format="rgb24")
        picture.pts, picture.time_base = self._video_ticks(self.sent), Fraction(1, PICTURE_HZ)
        return picture

    def _video_ticks(self, number: int) -> int:
        return number * PICTURE_HZ * self._fps.denominator // self._fps.numerator

    def _note_origin(self) -> None:
        """aiortc asks for the next unit when the last one has left: its RTP time is then the sender's newest.

        Only for those who look on.
        """
        if self.rtp_origin is None and self.sender is not None and self.sent:
            newest = newest_rtp_time(self.sender)
            if newest:
                last = (self.sent - 1) * SLOT_SAMPLES if self._is_audio else self._video_ticks(self.sent - 1)
                self.rtp_origin = (newest - last) & _MASK

    def stop(self) -> None:
        super().stop()
        while not self.queue.empty():  # writers that wait for room go on
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class NaiveViewer:
    """One viewer's two tracks, which know nothing of each other."""

    def __init__(
        self, fps: Fraction, *, paced: bool, clock: Callable[[], float], gone: Callable[[NaiveViewer], None],
        connected: asyncio.Event,
    ) -> None:  # fmt: skip
        self.sent_log = SentLog()
        self._gone = gone
        self._observer: ViewerObserver | None = None
        self.audio_track, self.video_track = (
            NaiveTrack(kind, fps, paced=paced, clock=clock, left=left, connected=connected)
            for kind, left in ((AUDIO, self._sound_left), (VIDEO, self._picture_left))
        )
        self._period_ns = ticks_to_ns(1, fps)

    def add_to(self, connection: RTCPeerConnection) -> None:
        for track in (self.audio_track, self.video_track):
            track.sender = connection.addTrack(track)

    @property
    def rtp_origins(self) -> tuple[int | None, int | None]:
        return self.audio_track.rtp_origin, self.video_track.rtp_origin

    def on_report(self, data: bytes) -> None:
        """What the page says it got. Only looked at: nothing here acts on it."""
        if self._observer is not None:
            self._observer.take(data, _now_ns())

    def answer(self) -> None:
        """Such a server has nothing to say."""

    def report(self, now_ns: int) -> SyncReport | None:
        """What this viewer's reports say of the offset; None while it has sent none."""
        observer = self._observer
        return observer.report(now_ns) if observer is not None and observer.gate.accepted else None

    def _sound_left(self, stamp_ns: int, unit: Unit) -> None:
        if self._observer is None:
            self._observer = ViewerObserver(self.sent_log, start_ns=_now_ns(), origins=lambda: self.rtp_origins)
        self.sent_log.add_audio(stamp_ns, SLOT_NS, unit.epoch, unit.pts_ns, Heard.CONTENT)

    def _picture_left(self, stamp_ns: int, unit: Unit) -> None:
        self.sent_log.add_video(stamp_ns, self._period_ns, unit.epoch, unit.pts_ns, Heard.CONTENT)

    def close(self) -> None:
        for track in (self.audio_track, self.video_track):
            if track.readyState == "live":
                track.stop()
        self._gone(self)


class NaiveTurn:
    """Only a number: what was queued in an older one is still sent."""

    def __init__(self, stream: NaiveStream, epoch: int) -> None:
        self._stream, self.epoch = stream, epoch

    async def write_audio(self, sound: Any, *, sample_rate: int = SOUND_HZ, pts_ns: int | None = None) -> bool:
        return await self._stream.write_audio(sound, sample_rate=sample_rate, pts_ns=pts_ns, epoch=self.epoch)

    async def write_video(self, picture: Any, *, pts_ns: int | None = None) -> bool:
        return await self._stream.write_video(picture, pts_ns=pts_ns, epoch=self.epoch)

    async def end(self) -> None:
        pass


class NaiveStream:
    """``AvatarStream`` as commonly shipped. ``voice_ahead_frames``: the valve's; None: no valve (mode ``naive``)."""

    def __init__(
        self, *, fps: Fraction, voice_ahead_frames: int | None = None, clock: Callable[[], float] = time.time,
        now: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self._fps, self._ahead, self._clock = fps, voice_ahead_frames, clock
        self._now = now or asyncio.get_running_loop().time
        self._viewers: list[NaiveViewer] = []
        self._somebody, self._connected = asyncio.Event(), asyncio.Event()
        self._closed = False
        self._epoch = 0
        self._turn_start_ns = 0
        self._next_ns = {AUDIO: 0, VIDEO: 0}
        self._rest: Sound16 = np.zeros(0, dtype=np.int16)
        self._valve: dict[Kind, asyncio.Queue[Unit]] = {kind: asyncio.Queue(QUEUE_UNITS) for kind in (AUDIO, VIDEO)}
        self._valve_lateness = HostLateness()
        self._tasks: list[asyncio.Task[None]] = []
        self._starved = 0

    # ---- viewers

    def viewer(self) -> NaiveViewer:
        """Its queues begin empty: it sees what is written from now on. A slow viewer slows everybody down."""
        if self._closed:
            raise UsageError("the stream is closed")
        viewer = NaiveViewer(
            self._fps, paced=self._ahead is None, clock=self._clock, gone=self._left, connected=self._connected
        )
        self._viewers.append(viewer)
        self._somebody.set()
        if self._ahead is not None and not self._tasks:
            self._tasks = [asyncio.create_task(self._run_valve(), name="avsync valve")]
        return viewer

    def _left(self, viewer: NaiveViewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
        if not self._viewers:
            self._somebody.clear()

    # ---- writing

    def begin_turn(self) -> NaiveTurn:
        self._epoch += 1
        self._turn_start_ns = max(self._next_ns.values())
        return NaiveTurn(self, self._epoch)

    def interrupt(self) -> asyncio.Future[NaiveInterrupted]:
        """Barge-in as shipped: nothing more of the turn is accepted; all that is queued is still said."""
        self._epoch += 1
        found: asyncio.Future[NaiveInterrupted] = asyncio.get_running_loop().create_future()
        found.set_result(NaiveInterrupted(self._epoch))
        return found

    async def write_audio(
        self, sound: Any, *, sample_rate: int = SOUND_HZ, pts_ns: int | None = None, epoch: int | None = None
    ) -> bool:
        epoch = self._epoch if epoch is None else epoch
        if epoch != self._epoch or self._closed:
            return False
        data = np.frombuffer(sound, dtype=np.int16) if isinstance(sound, bytes) else sound
        samples = np.concatenate([self._rest, to_sound(data, sample_rate, who="write_audio")])
        for at in range(0, len(samples) - SLOT_SAMPLES + 1, SLOT_SAMPLES):
            unit = Unit(samples[at : at + SLOT_SAMPLES], self._place(AUDIO, pts_ns, SLOT_NS), epoch)
            pts_ns = None
            if not await self._put(AUDIO, unit):
                return False
        self._rest = samples[len(samples) - len(samples) % SLOT_SAMPLES :]
        return True

    async def write_video(self, picture: Rgb, *, pts_ns: int | None = None, epoch: int | None = None) -> bool:
        epoch = self._epoch if epoch is None else epoch
        if epoch != self._epoch or self._closed:
            return False
        unit = Unit(np.ascontiguousarray(picture), self._place(VIDEO, pts_ns, ticks_to_ns(1, self._fps)), epoch)
        if not await self._put(VIDEO, unit):
            return False
        waiting = self._depth(VIDEO)
        if self._ahead is None and waiting >= VIDEO_BACKPRESSURE:
            await asyncio.sleep(0.8 * waiting / float(self._fps))
        return True

    def _place(self, kind: Kind, pts_ns: int | None, duration_ns: int) -> int:
        at_ns = self._next_ns[kind] if pts_ns is None else self._turn_start_ns + pts_ns
        self._next_ns[kind] = at_ns + duration_ns
        return at_ns

    async def _put(self, kind: Kind, unit: Unit) -> bool:
        """Into every viewer's queue, or the valve's; waits for room. False: interrupted or closed."""
        await self._somebody.wait()
        if unit.epoch != self._epoch or self._closed:
            return False
        if self._ahead is not None:
            await self._valve[kind].put(unit)
        else:
            for viewer in tuple(self._viewers):
                track = _track(viewer, kind)
                if track.readyState == "live":
                    await track.queue.put(unit)
        return not self._closed

    # ---- the valve

    async def _run_valve(self) -> None:
        await self._connected.wait()
        # A valve that opened at once would find nothing every few ticks, and each such tick is lost.
        fill = max(self._ahead or 0, FILL_FRAMES)
        opens_by = self._now() + FILL_WITHIN_S
        while self._valve[VIDEO].qsize() < fill and self._now() < opens_by:  # noqa: ASYNC110  # a queue has no such event
            await asyncio.sleep(0.01)
        start = self._now()
        pictures_from = start + (self._ahead or 0) / float(self._fps)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._let_through(AUDIO, start, Fraction(SOUND_HZ, SLOT_SAMPLES)))
            group.create_task(self._let_through(VIDEO, pictures_from, self._fps))

    async def _let_through(self, kind: Kind, start: float, rate: Fraction) -> None:
        """One unit per tick of the one clock; a tick that finds nothing is lost."""
        waiting = self._valve[kind]
        for tick in count():
            due = start + ticks_to_ns(tick, rate) / NS_PER_S
            await asyncio.sleep(max(0.0, due - self._now()))
            if kind is AUDIO:
                self._valve_lateness.add(round((self._now() - due) * NS_PER_S))
            if waiting.empty():
                self._starved += 1
                continue
            unit = waiting.get_nowait()
            for viewer in self._viewers:
                track = _track(viewer, kind)
                if track.readyState == "live" and not track.queue.full():
                    track.queue.put_nowait(unit)

    # ---- what is known

    @property
    def buffered(self) -> float:
        return self._depth(AUDIO) * SLOT_SAMPLES / SOUND_HZ

    def _depth(self, kind: Kind) -> int:
        behind = max((_track(viewer, kind).queue.qsize() for viewer in self._viewers), default=0)
        return behind + self._valve[kind].qsize()

    def stats(self) -> NaiveStats:
        tracks = [viewer.audio_track for viewer in self._viewers]
        lateness = self._valve_lateness if self._ahead is not None else tracks[0].lateness if tracks else HostLateness()
        return NaiveStats({
            "running": bool(tracks) and not self._closed,
            "epoch": self._epoch,
            "buffered_ms": self.buffered * 1000,
            "pictures_queued": self._depth(VIDEO),
            "lateness_p50_ms": lateness.percentile_ms(50),
            "lateness_p95_ms": lateness.percentile_ms(95),
            "sent_sound": max((track.sent for track in tracks), default=0),
            "sent_pictures": max((viewer.video_track.sent for viewer in self._viewers), default=0),
            "starved_ticks": self._starved,
        })  # fmt: skip

    async def close(self) -> None:
        self._closed = True
        for viewer in tuple(self._viewers):
            viewer.close()
        self._somebody.set()  # writers that wait for a viewer go on, and are refused
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._valve.values():
            while not waiting.empty():
                waiting.get_nowait()
        self._tasks = []


def _track(viewer: NaiveViewer, kind: Kind) -> NaiveTrack:
    return viewer.audio_track if kind is AUDIO else viewer.video_track


def _now_ns() -> int:
    return round(asyncio.get_running_loop().time() * NS_PER_S)
