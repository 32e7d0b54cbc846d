"""Playing: the engine on the loop's clock. Units come out of the backlog, packets leave, and what left is observed.

Output time begins when the first viewer is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from avsync.adapters.asyncio_driver import AsyncioDriver, DriverClosed
from avsync.engine.engine import Interrupted
from avsync.engine.synchronizer import AvSynchronizer
from avsync.monitor.monitor import AvSyncMonitor
from avsync.types import (
    AUDIO,
    Alert,
    Answer,
    Degrade,
    Drop,
    Heard,
    InsertSilence,
    Kind,
    Present,
    Presented,
    Reason,
    Repeat,
    Request,
    Want,
)
from avsync.units import ms
from avsync.webrtc.backlog import Backlog
from avsync.webrtc.encode import Layout
from avsync.webrtc.host_lateness import HostLateness
from avsync.webrtc.output_clock import OutputClock
from avsync.webrtc.picture_out import PictureOut
from avsync.webrtc.requests import Requests
from avsync.webrtc.sent_log import SentLog
from avsync.webrtc.sound_out import SoundOut
from avsync.webrtc.tracks import SyncTrack
from avsync.webrtc.viewers.trim_loop import TrimLoop

logger = logging.getLogger("avsync.webrtc")

HEAD_START_STEP_NS = ms(1)
"""Smaller changes of how long a picture takes to the wire are left alone."""


class Playing:
    """One session's output side. ``monitor``, ``sent_log`` and ``lateness`` know what left.

    Units come out of ``backlog``. The engine's requests and alerts go to ``requests``; ``trim`` says after each slot
    of sound where the trim should go. ``failed`` is called when the output cannot go on. A ``TrackOwner``: the first
    track that is connected starts the output, named ``name`` in logs and tasks.
    """

    def __init__(
        self,
        engine: AvSynchronizer,
        clock: OutputClock,
        backlog: Backlog,
        requests: Requests,
        trim: TrimLoop,
        *,
        layout: Layout,
        fps: float,
        bitrate_bps: int | None,
        failed: Callable[[], object],
        name: str,
    ) -> None:
        self.engine = engine
        self.monitor = AvSyncMonitor(engine.policy, point="output")
        self.sent_log = SentLog()
        self.lateness = HostLateness()
        self.driver: AsyncioDriver | None = None
        self.degraded = False
        """The idle picture stands in for lips."""
        self._stalled = False  # pictures are missing that should be there
        self._clock, self._backlog, self._requests, self._trim = clock, backlog, requests, trim
        self._failed, self._name = failed, name
        self._idle_at_start = backlog.idle  # given by the application: shown before there is anything else
        self._head_start_ns = 0  # how much before they are due the engine answers pictures
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self.sound = SoundOut(backlog.gate, layout, start_ns=clock.start_ns, observed=self._observed)
        self.pictures = PictureOut(
            backlog.gate, start_ns=clock.start_ns, now_ns=clock.now_ns, fps=fps, bitrate_bps=bitrate_bps,
            observed=self._observed, ask_source=self._ask_key_frame,
        )  # fmt: skip

    # ---- tracks

    @property
    def tracks(self) -> list[SyncTrack]:
        """Of all viewers who are connected."""
        return self.sound.tracks + self.pictures.tracks

    def report_now(self, kind: Kind) -> tuple[int, int]:
        return self._clock.report_now(kind)

    def track_connected(self, track: SyncTrack) -> None:
        self._out(track).add(track)
        self._start()

    def key_frame_wanted(self, track: SyncTrack) -> None:
        if track.media is not AUDIO:
            self.pictures.want_key(track)

    def track_stopped(self, track: SyncTrack) -> None:
        self._out(track).remove(track)

    def _out(self, track: SyncTrack) -> SoundOut | PictureOut:
        return self.sound if track.media is AUDIO else self.pictures

    # ---- begin, interrupt, end

    def interrupt(self, epoch: int) -> Interrupted:
        """All before ``epoch`` is dropped, wherever it is: in the backlog, in the engine, in the viewers' tracks."""
        held = self._backlog.drop_held()
        found = Interrupted(epoch, None, 0)
        if self.driver is not None and not self._closed:
            found = self.driver.interrupt(epoch)
            self.monitor.interrupt(epoch)
        purged = sum(track.purge() for track in self.tracks)
        return found._replace(dropped_units=found.dropped_units + held + purged)

    def _start(self) -> None:
        """The first viewer is there: output time begins."""
        if self.driver is not None:
            return
        driver = self.driver = AsyncioDriver(
            self.engine, on_answer=self._on_answer, pull_sound=True, clock=self._clock.now_ns
        )
        if self._idle_at_start is not None:
            self.pictures.show_idle(self._idle_at_start, 0)
        self._backlog.start(driver)

        def on_done(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                # Our own fault: better a session that ends, and says why, than writers that wait for ever.
                logger.error("%s stopped, the session is closed: %r", task.get_name(), error, exc_info=error)
                self._failed()

        for what, doing in (("sound", self._play(driver)), ("pictures", self.pictures.run())):
            task = asyncio.get_running_loop().create_task(doing, name=f"{self._name} {what}")
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

    async def _play(self, driver: AsyncioDriver) -> None:
        """The sound, slot by slot, for ever."""
        clock = self._clock
        while True:
            try:
                sound = await driver.pull()
            except DriverClosed:
                return
            now = clock.now_ns()
            self.lateness.add(now - sound.at_ns)
            if isinstance(sound, Present):
                self._backlog.left(sound.unit)
            self.sound.play(sound, now)
            self.monitor.count(sound)
            self._give_head_start(driver)
            trim_ns = self._trim.after_slot(
                sound, stalled=self._stalled, trim_ns=self.engine.trim_ns, now_ns=clock.now_ns()
            )
            if trim_ns is not None:
                driver.trim(trim_ns)
            while (alert := self.monitor.poll(clock.now_ns())) is not None:
                self._requests.alert(alert, by="monitor")

    def _give_head_start(self, driver: AsyncioDriver) -> None:
        """Pictures are answered as much earlier as they take to the wire, so that they leave with their sound."""
        head_start_ns = min(self.pictures.encode_ns, self.engine.policy.picture_head_start_max_ns)
        if abs(head_start_ns - self._head_start_ns) >= HEAD_START_STEP_NS:
            self._head_start_ns = head_start_ns
            driver.picture_head_start(head_start_ns)

    def _on_answer(self, answer: Answer, now_ns: int) -> None:
        self.monitor.count(answer)
        match answer:
            case Present():
                self.degraded = self._stalled = False
                self._backlog.left(answer.unit)
                self.pictures.show(answer.unit, answer.stamp_ns, Heard.CONTENT)
            case Repeat():
                if not self.degraded:
                    self.pictures.show(answer.unit, answer.stamp_ns, Heard.REPEAT)
            case Degrade(level=level, reason=reason):
                self._stalled = level > 0 and reason is not Reason.INTERRUPTED
                idle = self._backlog.idle
                if level >= 2 and idle is not None:
                    self.degraded = True
                    self.pictures.show_idle(idle, answer.epoch)
            case InsertSilence():  # slots that were missed whole
                self.sound.play(answer, now_ns)
            case Drop():
                self._backlog.left(answer.unit)
            case Request():
                self._requests.ask(answer)
            case Alert():
                self._requests.alert(answer, by="engine")

    def _ask_key_frame(self) -> None:
        now = self._clock.now_ns()
        self._requests.ask(Request(Want.KEYFRAME, 0, now, self.engine.epoch, Reason.DEPENDENCY))

    def _observed(self, presented: Presented, stamp_ns: int) -> None:
        """What really left: the only thing that the monitor believes."""
        self.monitor.observe(presented, self._clock.now_ns())
        kind, epoch, pts_ns, duration_ns, at_ns, _, what = presented
        start_ns, log = self._clock.start_ns, self.sent_log
        if kind is AUDIO:
            log.add_audio(stamp_ns - start_ns, duration_ns, epoch, pts_ns, what)
        else:
            log.add_video(stamp_ns - start_ns, duration_ns, epoch, pts_ns, what, at_ns - start_ns)
