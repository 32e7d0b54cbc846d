"""Backlog: what was written and has not left. The writing and the playing side of a session share it.

Until the first viewer is there units wait in here, and none is late for it; from ``start`` on they go straight on
to the engine's driver, and this counts how much of them is still queued there. It also remembers where each turn
that is queued or played begins in the content, so that both sides can speak of places in a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import av

from avsync.timeline.epoch import EpochGate
from avsync.types import AUDIO, VIDEO, Kind, MediaUnit


class PlaceInTurn(NamedTuple):
    """A place in what was said: which turn, how far into it."""

    turn: int
    at_ns: int


class UnitSink(Protocol):
    """Where units go once there is an output: an ``AsyncioDriver``."""

    def push(self, unit: MediaUnit) -> None: ...
    def finish(self, kind: Kind, epoch: int) -> None: ...


class Voiced(Protocol):
    """Whose turn is heard: an ``AvSynchronizer``."""

    @property
    def epoch(self) -> int: ...


class Backlog:
    """``limits_ns``: how much of each kind may be queued before a writer has to wait."""

    def __init__(self, gate: EpochGate, engine: Voiced, *, limits_ns: Mapping[Kind, int]) -> None:
        self.gate = gate
        self.idle: av.VideoFrame | None = None
        """The picture of nobody speaking."""
        self._engine = engine
        self._limits_ns = limits_ns
        self._output: UnitSink | None = None
        self._held: list[MediaUnit] = []  # written before there was an output
        self._ended: dict[Kind, int] = {}  # and the newest turns that ended
        self._queued_ns = {AUDIO: 0, VIDEO: 0}
        self._starts_ns: dict[int, int] = {}  # of the turns that are played or queued
        self._room = asyncio.Event()
        self._closed = False

    # ---- from the writing side

    def admits(self, epoch: int) -> bool:
        """Whether what is written for this turn can still be said."""
        return not self._closed and self.gate.admits(epoch)

    def add(self, unit: MediaUnit) -> None:
        """Never waits; ``room`` does."""
        self._queued_ns[unit.kind] += unit.duration_ns
        if self._output is None:
            self._held.append(unit)
        else:
            self._output.push(unit)

    def finish(self, kind: Kind, epoch: int) -> None:
        """Nothing more of this kind comes in this turn."""
        if self._output is None:
            self._ended[kind] = max(epoch, self._ended.get(kind, epoch))
        elif not self._closed:
            self._output.finish(kind, epoch)

    async def room(self, kind: Kind, epoch: int) -> bool:
        """Back-pressure: wait until the queue is below its bound. False: nobody waits for this turn any more."""
        while self._queued_ns[kind] > self._limits_ns[kind]:
            if not self.admits(epoch):
                return False
            self._room.clear()
            await self._room.wait()
        return self.admits(epoch)

    def clear(self) -> None:
        """An interrupt: all that is queued is stale, its turns are forgotten, and who waits for room need not."""
        self._starts_ns.clear()
        self._queued_ns = {AUDIO: 0, VIDEO: 0}
        self._room.set()

    def close(self) -> None:
        """Whoever waits is released, and refused."""
        self._closed = True
        self._room.set()

    # ---- from the playing side

    def start(self, output: UnitSink) -> None:
        """The output is there: what was held goes to it, and all that comes."""
        self._output = output
        for unit in self._held:
            output.push(unit)
        for kind, epoch in self._ended.items():
            output.finish(kind, epoch)
        self.drop_held()

    def drop_held(self) -> int:
        """How many units were waiting for an output: none is any more."""
        held = len(self._held)
        self._held.clear()
        self._ended.clear()
        return held

    def left(self, unit: MediaUnit) -> None:
        """A queued unit is on its way, or never will be: there is room for another."""
        if unit.epoch >= self.gate.oldest:
            self._queued_ns[unit.kind] = max(0, self._queued_ns[unit.kind] - unit.duration_ns)
        self._room.set()

    @property
    def sound_ns(self) -> int:
        """How much sound is queued."""
        return self._queued_ns[AUDIO]

    # ---- turns

    def knows(self, epoch: int) -> bool:
        """Something was written for this turn, and it is not over."""
        return epoch in self._starts_ns

    def enter(self, epoch: int, start_ns: int) -> None:
        """A turn begins at this place in the content; those before it are over, also where nobody said so."""
        for older in [each for each in self._starts_ns if each < epoch]:
            self.finish(AUDIO, older)
            self.finish(VIDEO, older)
            if older < self._engine.epoch:
                del self._starts_ns[older]
        self._starts_ns[epoch] = start_ns

    def start_ns(self, epoch: int) -> int:
        """Where a turn begins in the content; 0: not known."""
        return self._starts_ns.get(epoch, 0)

    def place(self, pts_ns: int | None) -> PlaceInTurn | None:
        """Which turn this content belongs to. None: to none that is remembered (an interrupt forgets them)."""
        starts = [(start, epoch) for epoch, start in self._starts_ns.items() if pts_ns is not None and start <= pts_ns]
        if pts_ns is None or not starts:
            return None
        start, turn = max(starts)
        return PlaceInTurn(turn, pts_ns - start)
