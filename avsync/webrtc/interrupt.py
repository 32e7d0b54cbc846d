"""Flushing: what an interrupt found, and the wait until nothing of the old turn is on its way out any more."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import NamedTuple

from avsync.units import to_ms
from avsync.webrtc.tracks import SyncTrack
from avsync.webrtc.writing import InTurn

FLUSH_WITHIN_S = 0.1
"""A frame that aiortc already holds leaves in a fraction of this; ``flush`` never waits longer."""


class Flushed(NamedTuple):
    """``played_ms``: how far the voice had come in ``turn``; None: nothing was said since the last interrupt."""

    epoch: int
    played_ms: float | None
    dropped_units: int
    turn: int | None = None

    @classmethod
    def of(cls, epoch: int, place: InTurn | None, dropped_units: int) -> Flushed:
        if place is None:
            return cls(epoch, None, dropped_units)
        return cls(epoch, to_ms(place.at_ns), dropped_units, place.turn)


class Flushing:
    """``flush`` under way: the old turn is stale already, whether this is awaited or not."""

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
