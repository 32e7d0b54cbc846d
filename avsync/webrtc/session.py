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

The engine decides (``avsync.engine.synchronizer``); this gives it a clock, codecs and a connection. One
session may have many viewers (``viewer()``); everything is encoded once. All calls belong to the
event loop that made the session.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Self

from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.timeline.clock import AvSyncClock
from avsync.types import AUDIO, VIDEO, Alert, InsertSilence, Kind, Present, Reason, Request, Want
from avsync.units import NS_PER_S, PICTURE_HZ, SOUND_HZ, Rate, ns_to_ticks, seconds, to_ms
from avsync.webrtc import aiortc_sender
from avsync.webrtc.encode import Layout
from avsync.webrtc.intake import Picture, Sound
from avsync.webrtc.interrupt import Flushed, Flushing
from avsync.webrtc.playing import Playing
from avsync.webrtc.requests import Asking
from avsync.webrtc.session_stats import SessionStats, ViewerStats
from avsync.webrtc.tracks import SyncTrack
from avsync.webrtc.turn import Turn
from avsync.webrtc.viewers.trim import ViewerTrim
from avsync.webrtc.viewers.viewer import Viewer
from avsync.webrtc.writing import SLOT_NS, Writing

TRIM_EVERY_NS = seconds(1)
NTP_1970 = 2_208_988_800


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
        self._name = name
        self._asking = Asking(name, on_request, on_alert)
        # One anchor, read once: a step of the wall clock changes nothing.
        self.start_ns = self.now_ns()
        self._ntp_anchor = ((time.time_ns() + NTP_1970 * NS_PER_S) << 32) // NS_PER_S
        self._playing = Playing(
            self._engine, self._gate, layout=layout, fps=float(video_rate), bitrate_bps=bitrate_bps,
            start_ns=self.start_ns, now_ns=self.now_ns, left=lambda unit: self._writing.left(unit),
            idle=lambda: self._writing.idle, ask=self._ask, tell=self._asking.tell, slot_left=self._trim_pictures,
        )  # fmt: skip
        self.monitor, self.sent_log = self._playing.monitor, self._playing.sent_log
        self.lateness = self._playing.lateness
        self._writing = Writing(
            self.clock, layout=layout, idle=idle,
            limits_ns={AUDIO: seconds(audio_queue_s), VIDEO: seconds(video_queue_s)},
            push=self._playing.push, finish=self._playing.finish, playing=lambda: self._engine.epoch,
        )  # fmt: skip
        self._own_idle = idle is not None
        self._trimming = ViewerTrim(self.policy)
        self._trim_at_ns = 0
        self._steady = True  # since the trim was looked at last, our own output had no stall
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
        found = self._playing.interrupt(epoch)
        place = self._writing.in_turn(found.played_pts_ns)
        for viewer in self._viewers:
            viewer.watch.interrupt(epoch)
        self._writing.interrupt()
        return Flushing(Flushed.of(epoch, place, found.dropped_units), self._playing.tracks)

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

    # ---- requests

    async def requests(self) -> AsyncIterator[Request]:
        """What the source is asked for, as it comes; ends with the session. Of too many, the oldest are forgotten."""
        async for request in self._asking.requests():
            yield request

    def _ask(self, request: Request) -> None:
        if request.want is Want.SKIP_TO_PTS:
            # A source counts from its turn's start, as in its own ``pts_ns``.
            request = request._replace(value=max(0, request.value - self._writing.start_ns(request.epoch)))
        self._asking.ask(request)

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
        now = self.now_ns()
        playing = self._playing
        pictures, sound = playing.pictures, playing.sound
        return SessionStats(
            running=playing.driver is not None and not self._closed,
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
            idle=playing.degraded,
            trim_ms=to_ms(self._engine.trim_ns),
        )

    # ---- running

    def now_ns(self) -> int:
        """The session's clock: the loop's own, monotonic. Output time is 0 at ``start_ns``."""
        return round(self._loop.time() * NS_PER_S)

    def report_now(self, kind: Kind) -> tuple[int, int]:
        """(NTP, ticks from the session's start) of now: what a sender report says."""
        since_ns = self.now_ns() - self.start_ns
        ticks = ns_to_ticks(since_ns, SOUND_HZ if kind is AUDIO else PICTURE_HZ)
        return self._ntp_anchor + (since_ns << 32) // NS_PER_S, ticks

    def track_connected(self, track: SyncTrack) -> None:
        """A viewer's connection is up: the first one starts the clock."""
        self._out(track).append(track)
        if track.kind != AUDIO.value and track.mime:
            self._playing.pictures.want_key(track.mime)
        self._playing.start(self._name, show_idle=self._own_idle, failed=self._end)

    def track_stopped(self, track: SyncTrack) -> None:
        out = self._out(track)
        if track in out:
            out.remove(track)
        self._viewers = [viewer for viewer in self._viewers if viewer.live]

    def key_wanted(self, track: SyncTrack) -> None:
        if track.mime and track.kind != AUDIO.value:
            self._playing.pictures.want_key(track.mime)

    def _out(self, track: SyncTrack) -> list[SyncTrack]:
        playing = self._playing
        return playing.sound.tracks if track.kind == AUDIO.value else playing.pictures.tracks

    def _trim_pictures(self, sound: Present | InsertSilence, now_ns: int) -> None:
        """What viewers report, once a second: a constant error that is left of the way to them is taken up, slowly."""
        stands = isinstance(sound, InsertSilence) and sound.reason in (Reason.UNDERRUN, Reason.HOLD)
        self._steady &= not (stands or self._playing.stalled)
        driver = self._playing.driver
        if driver is None or now_ns < self._trim_at_ns:
            return
        self._trim_at_ns, steady, self._steady = now_ns + TRIM_EVERY_NS, self._steady, True
        recent = [viewer.watch.recent(now_ns) for viewer in self._viewers if viewer.reports]
        goal_ns = self._trimming.update(recent, trim_ns=self._engine.trim_ns, now_ns=now_ns, steady=steady)
        if goal_ns is not None:
            driver.trim(goal_ns)

    # ---- the end

    async def close(self) -> None:
        """Tracks end, writers are released, no task is left. Twice is once."""
        await asyncio.shield(self._end())

    def _end(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closed = True
            self._writing.close()
            self._playing.stop()
            for viewer in tuple(self._viewers):
                viewer.close()
            self._asking.close()
            self._closing = self._loop.create_task(self._playing.ended(), name=f"{self._name} close")
        return self._closing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
