"""Interrupt: what a barge-in found, and the wait until nothing of the old turn is on its way out any more."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import NamedTuple

from avsync.units import to_ms
from avsync.webrtc.backlog import PlaceInTurn
from avsync.webrtc.tracks import SyncTrack

INTERRUPT_WITHIN_S = 0.1
"""A frame that aiortc already holds leaves in a fraction of this; ``interrupt`` never waits longer."""


class InterruptResult(NamedTuple):
    """``played_ms``: how far the voice had come in ``turn``; None: nothing was said since the last interrupt."""

    epoch: int
    played_ms: float | None
    dropped_units: int
    turn: int | None = None

    @classmethod
    def of(cls, epoch: int, place: PlaceInTurn | None, dropped_units: int) -> InterruptResult:
        if place is None:
            return cls(epoch, None, dropped_units)
        return cls(epoch, to_ms(place.at_ns), dropped_units, place.turn)


class PendingInterrupt:
    """``interrupt`` under way: the old turn is stale already, whether this is awaited or not."""

    def __init__(self, result: InterruptResult, tracks: list[SyncTrack]) -> None:
        self._result, self._tracks = result, tracks

    def __await__(self) -> Generator[object, None, InterruptResult]:
        return self._drained().__await__()

    async def _drained(self) -> InterruptResult:
        waits = [asyncio.ensure_future(track.drained()) for track in self._tracks]
        try:
            if waits:
                await asyncio.wait(waits, timeout=INTERRUPT_WITHIN_S)
        finally:
            for each in waits:
                each.cancel()
        return self._result
