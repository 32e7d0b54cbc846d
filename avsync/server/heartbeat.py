"""Heartbeat: once a second, a line that says how the stream goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("avsync.server")


class Heartbeat:
    """Once a second: one line in the log, and the rate for those who ask. ``look`` gives the numbers of now."""

    def __init__(self, look: Callable[[], dict[str, Any]]) -> None:
        self._look = look
        self._task: asyncio.Task[None] | None = None
        self.pictures_per_s: float | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="avsync heartbeat")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        beat = loop.time()
        last_at, last = beat, self._look()
        while True:
            # From the beat, not from when we woke: a line a second, also after hours. Missed ones are not made up.
            beat = max(beat + 1, loop.time())
            await asyncio.sleep(beat - loop.time())
            at, now = loop.time(), self._look()
            sent = max(0, now.get("sent_pictures", 0) - last.get("sent_pictures", 0))
            self.pictures_per_s = sent / max(0.001, at - last_at)
            log.info("%s", heartbeat_line(now, self.pictures_per_s))
            last_at, last = at, now


def heartbeat_line(now: dict[str, Any], pictures_per_s: float) -> str:
    """The numbers of a stream's ``stats().as_dict()`` that a person wants to see go by."""
    output = now.get("output") or {}
    parts = [
        f"queued {now.get('buffered_ms', 0):.0f} ms of sound, {now.get('pictures_queued', 0)} pictures",
        f"{pictures_per_s:.1f} fps",
        f"late p50 {_ms(now.get('lateness_p50_ms'))} p95 {_ms(now.get('lateness_p95_ms'))}",
        f"offset at our output {_ms(output.get('offset_ms'), signed=True)} (p95 {_ms(output.get('abs_p95_ms'))})",
    ]
    return ", ".join(parts)


def _ms(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "unknown"
    return f"{value:+.0f} ms" if signed else f"{value:.1f} ms"
