"""Playing: the engine on the loop's clock. Units go in, packets leave, and what left is observed.

Output time begins when the first viewer is there. Until then units wait here, and none is late for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import av

from avsync.adapters.asyncio_driver import AsyncioDriver, DriverClosed
from avsync.engine.synchronizer import AvSynchronizer, Interrupted
from avsync.monitor.monitor import AvSyncMonitor
from avsync.timeline.epoch import EpochGate
from avsync.types import (
    AUDIO,
    Alert,
    Answer,
    Degrade,
    Drop,
    Heard,
    InsertSilence,
    Kind,
    MediaUnit,
    Present,
    Presented,
    Reason,
    Repeat,
    Request,
    Want,
)
from avsync.units import ms
from avsync.webrtc.encode import Layout
from avsync.webrtc.host_lateness import HostLateness
from avsync.webrtc.picture_out import PictureOut
from avsync.webrtc.sent_log import SentLog
from avsync.webrtc.sound_out import SoundOut
from avsync.webrtc.tracks import SyncTrack

logger = logging.getLogger("avsync.webrtc")

LEAD_STEP_NS = ms(1)


class Playing:
    """One session's output side. ``monitor``, ``sent_log`` and ``lateness`` know what left.

    It calls: ``left(unit)`` when a queued unit is on its way or never will be; ``idle()`` for the picture
    of nobody speaking; ``ask`` and ``tell`` with requests and alerts; ``slot_left(sound, now_ns)``
    after each slot of sound.
    """

    def __init__(
        self,
        engine: AvSynchronizer,
        gate: EpochGate,
        *,
        layout: Layout,
        fps: float,
        bitrate_bps: int | None,
        start_ns: int,
        now_ns: Callable[[], int],
        left: Callable[[MediaUnit], None],
        idle: Callable[[], av.VideoFrame | None],
        ask: Callable[[Request], None],
        tell: Callable[[Alert], None],
        slot_left: Callable[[Present | InsertSilence, int], None],
    ) -> None:
        self.engine = engine
        self.monitor = AvSyncMonitor(engine.policy, point="output")
        self.sent_log = SentLog()
        self.lateness = HostLateness()
        self.driver: AsyncioDriver | None = None
        self.degraded = False
        """The idle picture stands in for lips."""
        self.stalled = False
        """Pictures are missing that should be there."""
        self._start_ns, self._now_ns = start_ns, now_ns
        self._left, self._idle, self._ask, self._tell, self._slot_left = left, idle, ask, tell, slot_left
        self._held: list[MediaUnit] = []  # written before there was a viewer
        self._ended: dict[Kind, int] = {}  # and the newest turns that ended
        self._lead_ns = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self.sound = SoundOut(gate, layout, start_ns=start_ns, observed=self._observed)
        self.pictures = PictureOut(
            gate, start_ns=start_ns, now_ns=now_ns, fps=fps, bitrate_bps=bitrate_bps,
            observed=self._observed, ask_source=self._ask_key,
        )  # fmt: skip

    @property
    def tracks(self) -> list[SyncTrack]:
        """Of all viewers who are connected."""
        return self.sound.tracks + self.pictures.tracks

    # ---- in

    def push(self, unit: MediaUnit) -> None:
        if self.driver is None:
            self._held.append(unit)
        else:
            self.driver.push(unit)

    def finish(self, kind: Kind, epoch: int) -> None:
        """Nothing more of this kind comes in this turn."""
        if self.driver is None:
            self._ended[kind] = max(epoch, self._ended.get(kind, epoch))
        elif not self._closed:
            self.driver.finish(kind, epoch)

    def interrupt(self, epoch: int) -> Interrupted:
        """All before ``epoch`` is dropped, wherever it is: here, in the engine, in the viewers' tracks."""
        held = len(self._held)
        self._held.clear()
        self._ended.clear()
        found = Interrupted(epoch, None, 0)
        if self.driver is not None and not self._closed:
            found = self.driver.interrupt(epoch)
            self.monitor.interrupt(epoch)
        purged = sum(track.purge() for track in self.tracks)
        return found._replace(dropped_units=found.dropped_units + held + purged)

    def start(self, name: str, *, show_idle: bool, failed: Callable[[], object]) -> None:
        """The first viewer is there: output time begins. ``failed``: called when it cannot go on."""
        if self.driver is not None:
            return
        driver = self.driver = AsyncioDriver(
            self.engine, on_answer=self._on_answer, pull_sound=True, clock=self._now_ns
        )
        idle = self._idle()
        if show_idle and idle is not None:
            self.pictures.show_idle(idle, 0)
        for unit in self._held:
            driver.push(unit)
        for kind, epoch in self._ended.items():
            driver.finish(kind, epoch)
        self._held.clear()
        self._ended.clear()

        def on_done(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                # Our own fault: better a session that ends, and says why, than writers that wait for ever.
                logger.error("%s stopped, the session is closed: %r", task.get_name(), error, exc_info=error)
                failed()

        for what, doing in (("sound", self._play()), ("pictures", self.pictures.run())):
            task = asyncio.get_running_loop().create_task(doing, name=f"{name} {what}")
            task.add_done_callback(on_done)
            self._tasks.append(task)

    def stop(self) -> None:
        """No more output; ``ended`` waits for the rest of it."""
        self._closed = True
        if self.driver is not None:
            self.driver.close()
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.pictures.close()

    # ---- out

    async def _play(self) -> None:
        """The sound, slot by slot, for ever."""
        assert self.driver is not None
        while True:
            try:
                sound = await self.driver.pull()
            except DriverClosed:
                return
            now = self._now_ns()
            self.lateness.add(now - sound.at_ns)
            if isinstance(sound, Present):
                self._left(sound.unit)
            self.sound.play(sound, now)
            self.monitor.count(sound)
            self._lead_pictures(self.driver)
            self._slot_left(sound, self._now_ns())
            while (alert := self.monitor.poll(self._now_ns())) is not None:
                self._tell(alert)

    def _lead_pictures(self, driver: AsyncioDriver) -> None:
        """Pictures are answered as much earlier as they take to the wire, so that they leave with their sound."""
        lead_ns = min(self.pictures.encode_ns, self.engine.policy.picture_head_start_max_ns)
        if abs(lead_ns - self._lead_ns) >= LEAD_STEP_NS:
            self._lead_ns = lead_ns
            driver.picture_head_start(lead_ns)

    def _on_answer(self, answer: Answer, now_ns: int) -> None:
        self.monitor.count(answer)
        match answer:
            case Present():
                self.degraded = self.stalled = False
                self._left(answer.unit)
                self.pictures.show(answer.unit, answer.stamp_ns, Heard.CONTENT)
            case Repeat():
                if not self.degraded:
                    self.pictures.show(answer.unit, answer.stamp_ns, Heard.REPEAT)
            case Degrade(level=level, reason=reason):
                self.stalled = level > 0 and reason is not Reason.INTERRUPTED
                idle = self._idle()
                if level >= 2 and idle is not None:
                    self.degraded = True
                    self.pictures.show_idle(idle, answer.epoch)
            case InsertSilence():  # slots that were missed whole
                self.sound.play(answer, now_ns)
            case Drop():
                self._left(answer.unit)
            case Request():
                self._ask(answer)
            case Alert():
                self._tell(answer)

    def _ask_key(self) -> None:
        self._ask(Request(Want.KEYFRAME, 0, self._now_ns(), self.engine.epoch, Reason.DEPENDENCY))

    def _observed(self, presented: Presented, stamp_ns: int) -> None:
        """What really left: the only thing that the monitor believes."""
        self.monitor.observe(presented, self._now_ns())
        add = self.sent_log.add_audio if presented.kind is AUDIO else self.sent_log.add_video
        add(stamp_ns - self._start_ns, presented.duration_ns, presented.epoch, presented.pts_ns, presented.what)
