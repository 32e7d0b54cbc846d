"""Feed: a blocking source in a thread of its own, a few frames ahead, awaited from the event loop.

At most ``ahead`` frames are held. What the source raises is raised to whoever awaits. ``close`` never
waits for a source that hangs: its thread is a daemon and is left behind.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import Protocol

from avsync.server.sources import AvatarSource, FrameWithSound

log = logging.getLogger("avsync.server")
LOOK_S = 0.2
"""How often a thread that waits for room looks whether it is still wanted."""


class Feed(Protocol):
    """Where a producer's frames come from."""

    async def next(self) -> FrameWithSound | None:
        """The next frame; None once there are no more. Raises what the source raised."""

    def close(self) -> None: ...


class ThreadFeed:
    """One pass over ``source.frames()`` in a thread."""

    def __init__(self, source: AvatarSource, *, ahead: int = 8) -> None:
        self._source = source
        self._ready: queue.Queue[FrameWithSound | Exception | None] = queue.Queue(maxsize=ahead)
        self._arrived = asyncio.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: Exception | None = None
        self._over = False

    async def next(self) -> FrameWithSound | None:
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._pump, args=(loop,), name="avsync-source", daemon=True)
            self._thread.start()
        while not self._over:
            self._arrived.clear()
            try:
                item = self._ready.get_nowait()
            except queue.Empty:
                await self._arrived.wait()
                continue
            if isinstance(item, FrameWithSound):
                return item
            self._over, self._last = True, item
        if self._last is not None:
            raise self._last
        return None

    def close(self) -> None:
        self._stop.set()

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        end: Exception | None = None
        try:
            for frame in self._source.frames():
                if not self._put(frame, loop):
                    return
        except Exception as error:
            end = error
        self._put(end, loop)

    def _put(self, item: FrameWithSound | Exception | None, loop: asyncio.AbstractEventLoop) -> bool:
        """False once nobody wants it any more."""
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=LOOK_S)
            except queue.Full:
                continue
            try:
                loop.call_soon_threadsafe(self._arrived.set)
            except RuntimeError:  # the loop has closed
                return False
            return True
        return False
