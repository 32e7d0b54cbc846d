"""Writing: what a source writes becomes stamped units of its turn, and waits while there is no room for more.

An interrupt may come at every await in here; what it made stale is refused after each. A turn begins
with the first that is written for it; what was still on its way to a whole slot of the turn before
is stamped then, and that turn is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from operator import index

import av

from avsync.errors import UsageError
from avsync.timeline.clock import AvSyncClock
from avsync.types import AUDIO, VIDEO, Kind, MediaUnit
from avsync.units import NS_PER_S, SLOT_SAMPLES, SOUND_HZ, ms, ns_to_ticks, ticks_to_ns
from avsync.webrtc.backlog import Backlog
from avsync.webrtc.encode import Layout, picture_packet
from avsync.webrtc.intake import Picture, Sound, SoundIntake, audio_frame, blurred, even, size_of, video_frame

SLOT_NS = ticks_to_ns(SLOT_SAMPLES, SOUND_HZ)
ROUNDED_NS = ms(1)
"""A stamp this much after the end of what came before is a rounded one, not a hole."""


class Writing:
    """One session's write side: units go into ``backlog``, in order.

    ``idle``: what stands in for a picture of nobody speaking; the first one written, blurred, if none was given.
    """

    def __init__(self, clock: AvSyncClock, backlog: Backlog, *, layout: Layout, idle: Picture | None) -> None:
        self.refused = 0
        self._backlog = backlog
        self._size: tuple[int, int] | None = None
        if idle is not None:
            size = size_of(idle)
            if size is None:
                raise UsageError("the idle picture is empty")
            self._size = even(size)
            backlog.idle = video_frame(idle, self._size)
        self._clock, self._gate, self._layout = clock, clock.gate, layout
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="avsync-convert")
        self._converting = asyncio.Lock()
        self._intakes: dict[int, SoundIntake] = {}
        self._begun: int | None = None  # the last turn that a caller began
        self._free: int | None = self._gate.current  # an epoch that no turn has yet

    # ---- turns

    def begin(self) -> int:
        epoch = self._gate.current if self._free is not None else self._gate.begin()
        self._free = None
        self._begun = epoch
        return epoch

    def admits(self, epoch: int) -> bool:
        """Whether what is written for this turn can still be said."""
        return self._backlog.admits(epoch)

    async def end(self, epoch: int | None) -> None:
        """Nothing more comes; what waits for a whole slot is said. Never waits for room: it is less than a slot."""
        epoch = self._epoch(epoch)
        if not self.admits(epoch):
            return
        self._end_sound(epoch)
        async with self._converting:  # behind the picture that is being converted
            if self.admits(epoch):
                self._backlog.finish(VIDEO, epoch)

    def interrupt(self) -> None:
        """The gate has a new epoch. A resampler's tail belongs to what was interrupted, and who waits need not."""
        self._free = self._gate.current
        self._intakes.clear()
        self._backlog.clear()

    def close(self) -> None:
        """Whoever waits is released."""
        self._backlog.close()
        self._intakes.clear()
        self._pool.shutdown(wait=False)

    def _epoch(self, epoch: int | None) -> int:
        """The turn of a write that names none: the last one begun; where nobody begins any, the newest."""
        if epoch is None:
            return self._gate.current if self._begun is None else self._begun
        if type(epoch) is not int:
            raise UsageError(f"epoch is the number of a turn, got {epoch!r}")
        return epoch

    def _enter(self, epoch: int) -> bool:
        """The turn is the one that is written now; False: it is over, another was written since."""
        if self._backlog.knows(epoch):
            return True
        for older in [each for each in self._intakes if each < epoch]:
            self._end_sound(older)
        seam = self._clock.loop_seam(epoch=epoch)
        if seam is None:
            return False
        self._backlog.enter(epoch, seam.pts_ns)
        if epoch == self._free:
            self._free = None
        return True

    def _end_sound(self, epoch: int) -> None:
        intake = self._intakes.pop(epoch, None)
        if intake is not None:
            self._put(intake.finish(), epoch)
        self._backlog.finish(AUDIO, epoch)

    # ---- places

    def skip(self, kind: Kind, pts_ns: int, epoch: int | None) -> bool:
        """The source's next unit of this kind is at ``pts_ns`` from the turn's start."""
        epoch, pts_ns = self._epoch(epoch), _whole(pts_ns)
        if not self.admits(epoch) or not self._enter(epoch):
            return False
        if kind is AUDIO:
            return self._fill_to(pts_ns, epoch)
        self._clock.skip(kind, self._backlog.start_ns(epoch) + pts_ns, epoch=epoch)
        return True

    def _fill_to(self, pts_ns: int, epoch: int) -> bool:
        """Sound goes on at ``pts_ns``: what is missing before it is silence. False: that place is taken.

        Less than a slot of it is put in as samples; of more, the whole slots are left out of the
        content, so that the sound stays on its 20 ms and nothing has to be kept for a long pause.
        """
        clock, target_ns = self._clock, self._backlog.start_ns(epoch) + pts_ns
        intake = self._intakes.get(epoch)
        ahead_ns = target_ns - clock.next_pts_ns(AUDIO) - (0 if intake is None else intake.held_ns)
        if pts_ns < 0 or ahead_ns < -SLOT_NS:
            return False
        if ahead_ns < ROUNDED_NS:
            return True
        if ahead_ns >= SLOT_NS:
            if intake is not None:  # the pause fills its last slot up
                self._put(intake.finish(), epoch)
            slots = (target_ns - clock.next_pts_ns(AUDIO)) // SLOT_NS
            if slots > 0 and not clock.skip(AUDIO, clock.next_pts_ns(AUDIO) + slots * SLOT_NS, epoch=epoch):
                return False
            ahead_ns = target_ns - clock.next_pts_ns(AUDIO)
        if ahead_ns > 0:
            self._put(self._intake(epoch).pause(ns_to_ticks(ahead_ns, SOUND_HZ)), epoch)
        return True

    def _intake(self, epoch: int) -> SoundIntake:
        if epoch not in self._intakes:
            self._intakes[epoch] = SoundIntake(self._layout)
        return self._intakes[epoch]

    # ---- writes

    async def audio(self, sound: Sound, sample_rate: int, pts_ns: int | None, epoch: int | None) -> bool:
        epoch, pts_ns = self._epoch(epoch), None if pts_ns is None else _whole(pts_ns)
        if not self.admits(epoch):
            return self._refuse()
        if isinstance(sound, av.Packet):
            data = bytes(sound)
            unit = None
            if data and self._enter(epoch):
                unit = self._clock.stamp_packet(AUDIO, data, epoch=epoch, pts_ns=pts_ns)
            return self._refuse() if unit is None else await self._take_and_wait(unit)
        frame = audio_frame(sound, sample_rate)
        if frame is None or not self._enter(epoch) or (pts_ns is not None and not self._fill_to(pts_ns, epoch)):
            return self._refuse()
        intake = self._intake(epoch)
        for slot in intake.take(frame):
            unit = self._clock.stamp_audio(slot.samples, epoch=epoch, payload=slot)
            if unit is None:
                return self._refuse()
            if not await self._take_and_wait(unit):
                return False
        return await self._backlog.room(AUDIO, epoch)

    async def video(self, picture: Picture, pts_ns: int | None, epoch: int | None) -> bool:
        epoch, pts_ns = self._epoch(epoch), None if pts_ns is None else _whole(pts_ns)
        if not self.admits(epoch):
            return self._refuse()
        if isinstance(picture, av.Packet):
            data = bytes(picture)
            if not data or not self._enter(epoch):
                return self._refuse()
            is_key = picture.is_keyframe or picture_packet(data).is_key
            unit = self._clock.stamp_frame(
                epoch=epoch, size_bytes=len(data), is_key=is_key, droppable=False, payload=data, pts_ns=pts_ns
            )
            return self._refuse() if unit is None else await self._take_and_wait(unit)
        size = size_of(picture)
        if size is None:
            return self._refuse()
        if self._size is None:
            self._size = even(size)
        # One at a time, so that they keep their order.
        async with self._converting:
            frame = await self._converted(picture, self._size, epoch)
            if frame is None or not self._enter(epoch):
                return self._refuse()
            size_bytes = frame.width * frame.height * 3 // 2
            unit = self._clock.stamp_frame(epoch=epoch, size_bytes=size_bytes, payload=frame, pts_ns=pts_ns)
            if unit is None:
                return self._refuse()
            self._backlog.add(unit)
        return await self._backlog.room(VIDEO, epoch)

    async def _converted(self, picture: Picture, size: tuple[int, int], epoch: int) -> av.VideoFrame | None:
        """In a thread, so that the sound goes on. None: interrupted (or closed) before, or meanwhile."""
        if not self.admits(epoch):  # while it waited for its turn in the thread
            return None
        loop = asyncio.get_running_loop()
        frame = await loop.run_in_executor(self._pool, video_frame, picture, size)
        if self._backlog.idle is None and self.admits(epoch):
            self._backlog.idle = await loop.run_in_executor(self._pool, blurred, frame)
        return frame if self.admits(epoch) else None

    async def _take_and_wait(self, unit: MediaUnit) -> bool:
        self._backlog.add(unit)
        return await self._backlog.room(unit.kind, unit.epoch)

    def _refuse(self) -> bool:
        self.refused += 1
        return False

    def _put(self, frames: Iterable[av.AudioFrame], epoch: int) -> None:
        """Less than two slots: there is always room for that."""
        for frame in frames:
            unit = self._clock.stamp_audio(frame.samples, epoch=epoch, payload=frame)
            if unit is not None:
                self._backlog.add(unit)

    @property
    def buffered_s(self) -> float:
        """Seconds of sound that were written and have not left."""
        held_ns = sum(intake.held_ns for intake in self._intakes.values())
        return (self._backlog.sound_ns + held_ns) / NS_PER_S


def _whole(pts_ns: int) -> int:
    try:
        if not isinstance(pts_ns, bool):
            return index(pts_ns)
    except TypeError:
        pass
    raise UsageError(f"pts_ns is a whole number of nanoseconds from the turn's start, got {pts_ns!r}")
