"""AvSyncSession: frames and PCM in, two aiortc tracks per viewer out, lips and voice together.

    async with AvSyncSession(video_rate=25) as session:
        peer.addTrack(session.audio_track)
        peer.addTrack(session.video_track)
        ...
        async with session.begin_turn() as turn:
            await turn.write_audio(pcm)            # as fast as the model makes it
            await turn.write_video(picture)
        ...
        await session.interrupt()                  # the listener broke in: all of it stops now

The engine decides (``avsync.synchronizer``); this gives it a clock, codecs and a connection. One
session may have many viewers (``viewer()``); everything is encoded once. All calls belong to the
event loop that made the session.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from types import TracebackType
from typing import NamedTuple, Self

from avsync.adapters.asyncio_driver import AsyncioDriver, DriverClosed
from avsync.clock import AvSyncClock
from avsync.errors import UsageError
from avsync.monitor import AvSyncMonitor
from avsync.policy import AvSyncPolicy
from avsync.synchronizer import AvSynchronizer
from avsync.types import (
    AUDIO,
    VIDEO,
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
from avsync.units import NS_PER_S, Rate, ms, ns_to_ticks, seconds, to_ms
from avsync.webrtc import aiortc_sender
from avsync.webrtc.encode import PICTURE_HZ, SOUND_HZ, Layout
from avsync.webrtc.host_lateness import HostLateness
from avsync.webrtc.intake import Picture, Sound
from avsync.webrtc.picture_out import PictureOut
from avsync.webrtc.sent_log import SentLog
from avsync.webrtc.session_stats import SessionStats, ViewerStats
from avsync.webrtc.sound_out import SoundOut
from avsync.webrtc.tracks import SyncTrack
from avsync.webrtc.turn import Turn
from avsync.webrtc.viewer import Viewer
from avsync.webrtc.viewer_trim import ViewerTrim
from avsync.webrtc.writing import SLOT_NS, Writing

logger = logging.getLogger("avsync.webrtc")

FLUSH_WITHIN_S = 0.1
"""A frame that aiortc already holds leaves in a fraction of this; ``flush`` never waits longer."""
LEAD_STEP_NS = ms(1)
TRIM_EVERY_NS = seconds(1)
REQUESTS_KEPT = 64
NTP_1970 = 2_208_988_800


class Flushed(NamedTuple):
    """What an interrupt found. ``played_ms``: how far the voice had come in ``turn``; None: nothing was said since
    the last interrupt."""

    epoch: int
    played_ms: float | None
    dropped_units: int
    turn: int | None = None


class Flushing:
    """``flush`` under way: the old turn is stale already; awaited, nothing of it is on its way out any more."""

    def __init__(self, flushed: Flushed, tracks: list[SyncTrack]) -> None:
        self._flushed, self._tracks = flushed, tracks

    def __await__(self) -> Generator[object, None, Flushed]:
        return self._drained().__await__()

    async def _drained(self) -> Flushed:
        waits = [asyncio.ensure_future(track.drained()) for track in self._tracks]
        try:
            if waits:
                await asyncio.wait(waits, timeout=FLUSH_WITHIN_S)
        finally:
            for each in waits:
                each.cancel()
        return self._flushed


class AvSyncSession:
    """Sends one avatar. ``audio_track`` and ``video_track`` are the first viewer's; ``viewer()`` makes more.

    ``video_rate``: frames per second of pictures written without ``pts_ns``. ``idle``: the picture
    shown when nobody speaks (RGB ndarray or ``av.VideoFrame``); without one, the first picture
    written, blurred so that no lips can be read. ``levers``: what the source can be asked for
    (``"skip_to_pts"``, ``"fps"``, ``"keyframe"``); the requests come to ``on_request`` or out of
    ``requests()``. A source that encodes its pictures itself is also told when a viewer needs a key
    frame. ``audio_queue_s`` and ``video_queue_s`` bound what waits to be played: a write waits for
    room, so a turn's sound and pictures are written side by side. ``bitrate_bps``: of the pictures;
    None: by their size.
    """

    def __init__(
        self,
        *,
        policy: AvSyncPolicy | None = None,
        video_rate: Rate = 25,
        idle: Picture | None = None,
        levers: Iterable[str | Want] = (),
        on_request: Callable[[Request], object] | None = None,
        on_alert: Callable[[Alert], object] | None = None,
        bitrate_bps: int | None = None,
        layout: Layout = "mono",
        audio_queue_s: float = 10.0,
        video_queue_s: float = 2.0,
        name: str = "avsync",
    ) -> None:
        aiortc_sender.install()
        self._loop = asyncio.get_running_loop()
        self.policy = policy if policy is not None else AvSyncPolicy()
        if self.policy.slot_ns != SLOT_NS:
            raise UsageError(f"slot_ns must be {SLOT_NS}, as aiortc sends it, got {self.policy.slot_ns}")
        self.clock = AvSyncClock(audio_rate=SOUND_HZ, video_rate=video_rate)
        self._gate = self.clock.gate
        self._engine = AvSynchronizer(self.policy, levers=[Want(lever) for lever in levers])
        self.monitor = AvSyncMonitor(self.policy, point="output")
        self._name = name
        self._on_request, self._on_alert = on_request, on_alert
        self._requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)
        self._request_came = asyncio.Event()
        self._held: list[MediaUnit] = []  # written before there was a viewer
        self._ended: dict[Kind, int] = {}  # and the newest turns that ended
        self._writing = Writing(
            self.clock, layout=layout, idle=idle,
            limits_ns={AUDIO: seconds(audio_queue_s), VIDEO: seconds(video_queue_s)},
            push=self._push, finish=self._finish, playing=lambda: self._engine.epoch,
        )  # fmt: skip
        self._own_idle = idle is not None
        # One anchor, read once: a step of the wall clock changes nothing.
        self._start_ns = self._now_ns()
        self._ntp_anchor = ((time.time_ns() + NTP_1970 * NS_PER_S) << 32) // NS_PER_S
        self.sent_log = SentLog()
        self.lateness = HostLateness()
        self._trimming = ViewerTrim(self.policy)
        self._trim_at_ns = 0
        self._stalled = False  # at our own output, in a turn: nothing a viewer reports then is to be corrected
        self._sound = SoundOut(self._gate, layout, start_ns=self._start_ns, observed=self._observed)
        self._pictures = PictureOut(
            self._gate, start_ns=self._start_ns, now_ns=self._now_ns, fps=float(video_rate), bitrate_bps=bitrate_bps,
            observed=self._observed, ask_source=self._ask_key,
        )  # fmt: skip
        self._degraded = False
        self._lead_ns = 0
        self._driver: AsyncioDriver | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._viewers: list[Viewer] = []
        self._first = self.viewer()

    # ---- viewers

    @property
    def audio_track(self) -> SyncTrack:
        return self._current_viewer().audio_track

    @property
    def video_track(self) -> SyncTrack:
        return self._current_viewer().video_track

    def _current_viewer(self) -> Viewer:
        """The viewer of ``audio_track`` and ``video_track``; when it has gone, the next one."""
        if not self._first.live and not self._closed:
            self._first = self.viewer()
        return self._first

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        return tuple(self._viewers)

    def viewer(self) -> Viewer:
        """A pair of tracks for one more viewer; it gets what all get, encoded once."""
        if self._closed:
            raise UsageError("the session is closed")
        viewer = Viewer(self)
        self._viewers.append(viewer)
        return viewer

    # ---- turns

    def begin_turn(self) -> Turn:
        """The next thing that is said; it queues behind the tail of the last one."""
        return Turn(self, self._writing.begin())

    def admits(self, epoch: int) -> bool:
        """Whether what is written for this turn can still be said."""
        return self._writing.admits(epoch)

    async def end_turn(self, epoch: int | None = None) -> None:
        """Nothing more comes in this turn (None: the newest); what was written is still said."""
        await self._writing.end(epoch)

    def flush(self) -> Flushing:
        """Barge-in. The old turn is stale as soon as this is called; awaited, nothing of it is under way any more."""
        epoch = self._gate.interrupt()
        dropped, place = len(self._held), None
        self._held.clear()
        self._ended.clear()
        if self._driver is not None and not self._closed:
            interrupted = self._driver.interrupt(epoch)
            dropped += interrupted.dropped_units
            place = self._writing.in_turn(interrupted.played_pts_ns)
            self.monitor.interrupt(epoch)
            for viewer in self._viewers:
                viewer.watch.interrupt(epoch)
        self._writing.interrupt()
        for track in self._tracks():
            dropped += track.purge()
        flushed = Flushed(epoch, None, dropped)
        if place is not None:
            flushed = Flushed(epoch, to_ms(place.at_ns), dropped, place.turn)
        return Flushing(flushed, self._tracks())

    interrupt = flush

    # ---- writing

    async def write_audio(
        self, sound: Sound, *, sample_rate: int = SOUND_HZ, pts_ns: int | None = None, epoch: int | None = None
    ) -> bool:
        """Sound of this turn; waits while ``audio_queue_s`` of it are queued. False: not taken, it is too late for it.

        ``pts_ns``: where it belongs, counted from the turn's start; without, it follows what came before.
        What is no sound at all raises ``UsageError``. An Opus packet is sent as it is.
        """
        return await self._writing.audio(sound, sample_rate, pts_ns, epoch)

    async def write_video(self, picture: Picture, *, pts_ns: int | None = None, epoch: int | None = None) -> bool:
        """One picture of this turn; waits while ``video_queue_s`` of them are queued. As ``write_audio`` otherwise.

        All pictures of a session leave in the size of the first. A VP8 or H.264 (Annex B) packet is sent as it
        is, to the viewers who agreed on that codec; what depends on a packet that was not sent is not sent either.
        """
        return await self._writing.video(picture, pts_ns, epoch)

    def _push(self, unit: MediaUnit) -> None:
        if self._driver is None:
            self._held.append(unit)
        else:
            self._driver.push(unit)

    def _finish(self, kind: Kind, epoch: int) -> None:
        if self._driver is None:
            self._ended[kind] = max(epoch, self._ended.get(kind, epoch))
        elif not self._closed:
            self._driver.finish(kind, epoch)

    # ---- requests

    async def requests(self) -> AsyncIterator[Request]:
        """What the source is asked for, as it comes; ends with the session. Of too many, the oldest are forgotten."""
        while not self._closed:
            while self._requests:
                yield self._requests.popleft()
            self._request_came.clear()
            await self._request_came.wait()

    def _ask(self, request: Request) -> None:
        if request.want is Want.SKIP_TO_PTS:
            # A source counts from its turn's start, as in its own ``pts_ns``.
            request = request._replace(value=max(0, request.value - self._writing.start_ns(request.epoch)))
        self._requests.append(request)
        self._request_came.set()
        if self._on_request is not None:
            try:
                self._on_request(request)
            except Exception:  # a source's callback must not stop the voice
                logger.exception("%s: on_request raised", self._name)

    def _ask_key(self) -> None:
        self._ask(Request(Want.KEYFRAME, 0, self._now_ns(), self._engine.epoch, Reason.DEPENDENCY))

    def note_skipped(self, kind: Kind, pts_ns: int, *, epoch: int | None = None) -> None:
        """A source that obeys ``skip_to_pts``: its next unit of this kind is at ``pts_ns`` from the turn's start."""
        self._writing.skip(kind, pts_ns, epoch)

    # ---- what is known

    @property
    def buffered(self) -> float:
        """Seconds of sound that were written and have not left."""
        return self._writing.buffered_s

    def stats(self) -> SessionStats:
        """Everything that is believed now; offsets are UNKNOWN (None) where too little was seen."""
        now = self._now_ns()
        pictures, sound = self._pictures, self._sound
        return SessionStats(
            running=self._driver is not None and not self._closed,
            epoch=self._engine.epoch,
            output=self.monitor.report(now),
            viewers=tuple(ViewerStats.of(viewer, now) for viewer in self._viewers if viewer.connected),
            buffered_ms=self.buffered * 1000,
            pictures_queued=self._engine.queued_pictures,
            lateness_p50_ms=self.lateness.percentile_ms(50),
            lateness_p95_ms=self.lateness.percentile_ms(95),
            encode_ms=pictures.encode_ns / 1e6,
            key_frames=pictures.key_frames,
            refused_writes=self._writing.refused,
            suppressed_pictures=pictures.stale + pictures.overtaken,
            pts_violations=sound.violations + pictures.violations,
            sent_sound=sound.packets,
            sent_pictures=pictures.packets,
            idle=self._degraded,
            trim_ms=to_ms(self._engine.trim_ns),
        )

    # ---- running

    def _now_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    @property
    def start_ns(self) -> int:
        """Local time at which output time is 0."""
        return self._start_ns

    def now_ns(self) -> int:
        """The session's clock: the loop's own, monotonic."""
        return self._now_ns()

    def report_now(self, kind: Kind) -> tuple[int, int]:
        """(NTP, ticks from the session's start) of now: what a sender report says."""
        since_ns = self._now_ns() - self._start_ns
        ticks = ns_to_ticks(since_ns, SOUND_HZ if kind is AUDIO else PICTURE_HZ)
        return self._ntp_anchor + (since_ns << 32) // NS_PER_S, ticks

    def track_connected(self, track: SyncTrack) -> None:
        """A viewer's connection is up: the first one starts the clock."""
        (self._sound if track.kind == AUDIO.value else self._pictures).tracks.append(track)
        if track.kind != AUDIO.value and track.mime:
            self._pictures.want_key(track.mime)
        if self._driver is None and not self._closed:
            self._start()

    def track_stopped(self, track: SyncTrack) -> None:
        out = self._sound if track.kind == AUDIO.value else self._pictures
        if track in out.tracks:
            out.tracks.remove(track)
        self._viewers = [viewer for viewer in self._viewers if viewer.live]

    def key_wanted(self, track: SyncTrack) -> None:
        if track.mime and track.kind != AUDIO.value:
            self._pictures.want_key(track.mime)

    def _tracks(self) -> list[SyncTrack]:
        return self._sound.tracks + self._pictures.tracks

    def _start(self) -> None:
        driver = self._driver = AsyncioDriver(
            self._engine, on_answer=self._on_answer, pull_sound=True, clock=self._now_ns
        )
        if self._own_idle and self._writing.idle is not None:
            self._pictures.show_idle(self._writing.idle, 0)
        for unit in self._held:
            driver.push(unit)
        for kind, epoch in self._ended.items():
            driver.finish(kind, epoch)
        self._held.clear()
        self._ended.clear()
        self._tasks = [
            self._loop.create_task(self._play(), name=f"{self._name} sound"),
            self._loop.create_task(self._pictures.run(), name=f"{self._name} pictures"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._on_task_done)

    async def _play(self) -> None:
        """The sound, slot by slot, for ever."""
        assert self._driver is not None
        while True:
            try:
                sound = await self._driver.pull()
            except DriverClosed:
                return
            now = self._now_ns()
            self.lateness.add(now - sound.at_ns)
            if isinstance(sound, Present):
                self._writing.left(sound.unit)
            self._sound.play(sound, now)
            self.monitor.count(sound)
            self._lead_pictures()
            self._trim_pictures(sound, self._now_ns())
            while (alert := self.monitor.poll(self._now_ns())) is not None:
                self._tell(alert)

    def _lead_pictures(self) -> None:
        """Pictures are answered as much earlier as they take to the wire, so that they leave with their sound."""
        lead_ns = min(self._pictures.encode_ns, self.policy.picture_lead_max_ns)
        if self._driver is not None and abs(lead_ns - self._lead_ns) >= LEAD_STEP_NS:
            self._lead_ns = lead_ns
            self._driver.picture_lead(lead_ns)

    def _trim_pictures(self, sound: Present | InsertSilence, now_ns: int) -> None:
        """What viewers report, once a second: a constant error that is left of the way to them is taken up, slowly."""
        stands = isinstance(sound, InsertSilence) and sound.reason in (Reason.UNDERRUN, Reason.HOLD)
        steady = not (stands or self._stalled)
        if self._driver is None or (steady and now_ns < self._trim_at_ns):
            return
        self._trim_at_ns = now_ns + TRIM_EVERY_NS
        recent = [viewer.watch.recent(now_ns) for viewer in self._viewers if viewer.reports]
        goal_ns = self._trimming.update(recent, trim_ns=self._engine.trim_ns, now_ns=now_ns, steady=steady)
        if goal_ns is not None:
            self._driver.trim(goal_ns)

    def _on_answer(self, answer: Answer, now_ns: int) -> None:
        self.monitor.count(answer)
        match answer:
            case Present():
                self._degraded = self._stalled = False
                self._writing.left(answer.unit)
                self._pictures.show(answer.unit, answer.stamp_ns, Heard.CONTENT)
            case Repeat():
                if not self._degraded:
                    self._pictures.show(answer.unit, answer.stamp_ns, Heard.REPEAT)
            case Degrade(level=level, reason=reason):
                self._stalled = level > 0 and reason is not Reason.INTERRUPTED
                if level >= 2 and self._writing.idle is not None:
                    self._degraded = True
                    self._pictures.show_idle(self._writing.idle, answer.epoch)
            case InsertSilence():  # slots that were missed whole
                self._sound.play(answer, now_ns)
            case Drop():
                self._writing.left(answer.unit)
            case Request():
                self._ask(answer)
            case Alert():
                self._tell(answer)

    def _tell(self, alert: Alert) -> None:
        logger.info("%s: %s %s", self._name, alert.name, "began" if alert.active else "is over")
        if self._on_alert is not None:
            try:
                self._on_alert(alert)
            except Exception:  # nor must whoever listens to alerts
                logger.exception("%s: on_alert raised", self._name)

    def _observed(self, presented: Presented, stamp_ns: int) -> None:
        """What really left: the only thing that the monitor believes."""
        now = self._now_ns()
        self.monitor.observe(presented, now)
        log = self.sent_log
        since_ns = stamp_ns - self._start_ns
        if presented.kind is AUDIO:
            log.add_audio(since_ns, presented.duration_ns, presented.epoch, presented.pts_ns, presented.what)
        else:
            log.add_video(since_ns, presented.duration_ns, presented.epoch, presented.pts_ns, presented.what)

    # ---- the end

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """Our own fault: better a session that ends, and says why, than writers that wait for ever."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s stopped, the session is closed: %r", task.get_name(), error, exc_info=error)
            self._end()

    async def close(self) -> None:
        """Tracks end, writers are released, no task is left. Twice is once."""
        await asyncio.shield(self._end())

    def _end(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closed = True
            self._writing.close()
            if self._driver is not None:
                self._driver.close()
            for viewer in tuple(self._viewers):
                viewer.close()
            self._request_came.set()
            for task in self._tasks:
                task.cancel()
            self._closing = self._loop.create_task(self._ended_tasks(), name=f"{self._name} close")
        return self._closing

    async def _ended_tasks(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pictures.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
