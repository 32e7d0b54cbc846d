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
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Self

from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.timeline.clock import AvSyncClock
from avsync.types import AUDIO, VIDEO, Alert, Kind, Request, Want
from avsync.units import SOUND_HZ, Rate, seconds, to_ms
from avsync.webrtc import aiortc_sender
from avsync.webrtc.backlog import Backlog
from avsync.webrtc.encode import Layout
from avsync.webrtc.intake import Picture, Sound
from avsync.webrtc.interrupt import InterruptResult, PendingInterrupt
from avsync.webrtc.output_clock import OutputClock
from avsync.webrtc.playing import Playing
from avsync.webrtc.requests import Requests
from avsync.webrtc.session_stats import SessionStats, ViewerStats
from avsync.webrtc.tracks import SyncTrack
from avsync.webrtc.turn import Turn
from avsync.webrtc.viewers.observer import Recent
from avsync.webrtc.viewers.trim_loop import TrimLoop
from avsync.webrtc.viewers.viewer import Viewer
from avsync.webrtc.writing import SLOT_NS, Writing


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
        # A source of coded pictures is told in any case that only a key frame helps; whether it can is its own affair.
        self._engine = AvSynchronizer(self.policy, levers={Want.KEYFRAME, *(Want(lever) for lever in levers)})
        self._name = name
        self._output_clock = OutputClock()
        limits_ns = {AUDIO: seconds(audio_queue_s), VIDEO: seconds(video_queue_s)}
        self._backlog = Backlog(self._gate, self._engine, limits_ns=limits_ns)
        self._writing = Writing(self.clock, self._backlog, layout=layout, idle=idle)
        self._requests = Requests(name, self._backlog, on_request, on_alert)
        self._playing = Playing(
            self._engine, self._output_clock, self._backlog, self._requests, TrimLoop(self.policy, self._recent),
            layout=layout, fps=float(video_rate), bitrate_bps=bitrate_bps, failed=self._end, name=name,
        )  # fmt: skip
        self.monitor, self.sent_log = self._playing.monitor, self._playing.sent_log
        self.lateness = self._playing.lateness
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
        self._viewers = [viewer for viewer in self._viewers if viewer.live]
        return tuple(self._viewers)

    def viewer(self) -> Viewer:
        """A pair of tracks for one more viewer; it gets what all get, encoded once."""
        if self._closed:
            raise UsageError("the session is closed")
        viewer = Viewer(self._playing, self._gate, self.sent_log, self._output_clock, policy=self.policy)
        self._viewers = [*self.viewers, viewer]
        return viewer

    def _recent(self, now_ns: int) -> list[Recent | None]:
        """What may be corrected for the viewers who report."""
        return [viewer.recent(now_ns) for viewer in self.viewers if viewer.reports]

    # ---- turns

    def begin_turn(self) -> Turn:
        """The next thing that is said; it queues behind the tail of the last one."""
        return Turn(self._writing, self._writing.begin())

    async def end_turn(self, epoch: int | None = None) -> None:
        """Nothing more comes in this turn (None: the newest); what was written is still said."""
        await self._writing.end(epoch)

    def interrupt(self) -> PendingInterrupt:
        """Barge-in. The old turn is stale as soon as this is called; awaited, nothing of it is under way any more."""
        epoch = self._gate.interrupt()
        found = self._playing.interrupt(epoch)
        place = self._backlog.place(found.played_pts_ns)
        for viewer in self.viewers:
            viewer.observer.interrupt(epoch)
        self._writing.interrupt()
        return PendingInterrupt(InterruptResult.of(epoch, place, found.dropped_units), self._playing.tracks)

    flush = interrupt
    """``interrupt`` under the name that it has in other SDKs' synchronizers."""

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
        async for request in self._requests.each():
            yield request

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
            viewers=tuple(ViewerStats.of(viewer, now) for viewer in self.viewers if viewer.connected),
            buffered_ms=self.buffered * 1000,
            pictures_queued=self._engine.queued_pictures,
            lateness_p50_ms=self.lateness.percentile_ms(50),
            lateness_p95_ms=self.lateness.percentile_ms(95),
            encode_ms=pictures.encode_ns / 1e6,
            key_frames=pictures.key_frames.sent,
            refused_writes=self._writing.refused,
            suppressed_pictures=pictures.stale + pictures.overtaken,
            pts_violations=sound.violations + pictures.violations,
            sent_sound=sound.packets,
            sent_pictures=pictures.packets,
            idle=playing.degraded,
            trim_ms=to_ms(self._engine.trim_ns),
        )

    @property
    def start_ns(self) -> int:
        """When output time was 0, on the session's clock."""
        return self._output_clock.start_ns

    def now_ns(self) -> int:
        """The session's clock: the loop's own, monotonic."""
        return self._output_clock.now_ns()

    # ---- the end

    async def close(self) -> None:
        """Tracks end, writers are released, no task is left. Twice is once."""
        await asyncio.shield(self._end())

    def _end(self) -> asyncio.Task[None]:
        if self._closing is None:
            self._closed = True
            self._writing.close()
            self._playing.stop()
            for viewer in self.viewers:
                viewer.close()
            self._requests.close()
            self._closing = self._loop.create_task(self._playing.ended(), name=f"{self._name} close")
        return self._closing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
