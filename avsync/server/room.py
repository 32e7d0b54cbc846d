"""Room: one stream, its producer, and the viewers who share it.

All viewers see and interrupt the same avatar; everything is encoded once (in avsync mode). The room
opens with the first viewer and closes a few seconds after the last one has gone, so that a page
reloaded finds the same talk going on, and an empty server does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from avsync.errors import UsageError
from avsync.server.feed import ThreadFeed
from avsync.server.heartbeat import Heartbeat
from avsync.server.modes import MAX_VOICE_AHEAD, MODES, hold_pictures, make_stream
from avsync.server.producer import Pace, Producer
from avsync.server.sources import AvatarSource
from avsync.server.stream_protocol import AvatarStream, StreamViewer
from avsync.types import Request
from avsync.units import NS_PER_MS, ticks_to_ns

log = logging.getLogger("avsync.server")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How to serve. ``voice_ahead_frames``: the voice is sent so early.

    ``hold_voice``: its receiver is asked to hold an early voice for as long. ``buffer_ms``: what both receivers are
    asked to hold (None: as they like), the voice's on top of that.
    """

    mode: str = "avsync"
    voice_ahead_frames: int = 0
    hold_voice: bool = False
    buffer_ms: int | None = None
    max_viewers: int = 8
    linger_s: float = 5.0
    host: str = "127.0.0.1"
    port: int = 8080
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        for name, low, high in (
            ("voice_ahead_frames", 0, MAX_VOICE_AHEAD), ("buffer_ms", 0, 4000), ("max_viewers", 1, 1000),
            ("port", 0, 65535),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name} must be between {low} and {high}, got {value}")


class Room:
    """Give it a source; it makes stream and producer when somebody comes. All calls on one event loop."""

    def __init__(self, source: AvatarSource, settings: ServerSettings) -> None:
        self.source, self.settings = source, settings
        self.stream: AvatarStream | None = None
        self.producer: Producer | None = None
        self._heartbeat: Heartbeat | None = None
        self._viewers: list[StreamViewer] = []
        self._linger: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()

    @property
    def fps(self) -> Fraction:
        return self.source.fps

    async def join(self) -> StreamViewer:
        """A pair of tracks for one more viewer."""
        async with self._busy:
            if self._linger is not None:
                self._linger.cancel()
                self._linger = None
            if self.stream is None:
                await self._open()
            assert self.stream is not None
            try:
                viewer = self.stream.viewer()
            except UsageError:  # a session that met a fault of its own has closed itself
                log.warning("%s: the stream had closed; a new one is made", self.source.name)
                await self._shut()
                await self._open()
                viewer = self.stream.viewer()
            hold_pictures(viewer, voice_ahead_frames=self.settings.voice_ahead_frames, fps=self.fps)
            self._viewers.append(viewer)
            return viewer

    async def leave(self, viewer: StreamViewer) -> None:
        """The viewer has gone; twice is once."""
        if viewer not in self._viewers:
            return
        self._viewers.remove(viewer)
        viewer.close()
        if not self._viewers and self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(self.settings.linger_s, self._nobody_came)

    async def interrupt(self) -> int | None:
        """Barge-in for everybody; the new epoch, or None where nobody is being talked to."""
        if self.stream is None:
            return None
        return (await self.stream.interrupt()).epoch

    def stats(self) -> dict[str, Any]:
        """JSON-able; ``stream`` is what the stream says of itself."""
        heartbeat = self._heartbeat
        return {
            "running": self.stream is not None,
            "viewers": len(self._viewers),
            "pictures_per_s": heartbeat.pictures_per_s if heartbeat is not None else None,
            "producer": self.producer.stats() if self.producer is not None else None,
            "stream": self.stream.stats().as_dict() if self.stream is not None else None,
        }

    def about(self) -> dict[str, Any]:
        """What never changes."""
        settings = self.settings
        ahead_ms, buffer_ms = ticks_to_ns(settings.voice_ahead_frames, self.fps) / NS_PER_MS, settings.buffer_ms
        hold_ms = None
        if buffer_ms is not None or settings.hold_voice:
            picture_ms = buffer_ms or 0
            hold_ms = {"audio": picture_ms + (ahead_ms if settings.hold_voice else 0), "video": picture_ms}
        return {
            "mode": settings.mode,
            "source": self.source.name,
            "fps": float(self.fps),
            "voice_ahead_frames": settings.voice_ahead_frames,
            "voice_ahead_ms": ahead_ms,
            "hold_ms": hold_ms,
        }

    async def close(self) -> None:
        """Everything ends; nothing is left running."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        async with self._busy:
            await self._shut()

    async def _open(self) -> None:
        settings = self.settings
        idle = await asyncio.to_thread(self.source.idle)

        def on_request(request: Request) -> None:
            if self.producer is not None:
                self.producer.on_request(request)

        stream = make_stream(
            settings.mode, fps=self.fps, voice_ahead_frames=settings.voice_ahead_frames, idle=idle,
            on_request=on_request,
        )  # fmt: skip
        self.producer = Producer(
            ThreadFeed(self.source), stream, fps=self.fps, pace=settings.pace,
            fill=None if settings.mode == "avsync" else idle,
        )  # fmt: skip
        self.stream = stream
        self._heartbeat = Heartbeat(lambda: stream.stats().as_dict())
        self.producer.start()
        self._heartbeat.start()
        log.info("%s: somebody watches (mode %s)", self.source.name, settings.mode)

    def _nobody_came(self) -> None:
        self._linger = None
        self._closing = asyncio.get_running_loop().create_task(self._close_if_empty(), name="avsync room closes")

    async def _close_if_empty(self) -> None:
        async with self._busy:
            if not self._viewers:
                await self._shut()
                log.info("%s: nobody watches any more", self.source.name)

    async def _shut(self) -> None:
        for viewer in tuple(self._viewers):
            await self.leave(viewer)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._heartbeat is not None:
            await self._heartbeat.close()
        if self.producer is not None:
            await self.producer.close()
        if self.stream is not None:
            await self.stream.close()
        self.stream = self.producer = self._heartbeat = None
