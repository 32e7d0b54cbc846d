"""Producer: plays a source into a stream at the pace a model would: faster, slower or burstier than real time.

Sound and pictures are written side by side, each as soon as it is "generated", in pieces of exactly
one frame period, stamped with their place in the turn. The stream's back-pressure holds a fast
producer; nothing piles up here beyond two seconds. A source that raises or ends is reported in
``stats()`` and the log; the stream lives on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from typing import Any

from avsync.errors import AvSyncError, UsageError
from avsync.server.decode import Rgb
from avsync.server.feed import Feed
from avsync.server.sources import FrameWithSound, period_samples, silence
from avsync.server.stream_protocol import StreamTurn, TurnStream
from avsync.types import Request, Want
from avsync.units import NS_PER_S, SOUND_HZ, ticks_to_ns

log = logging.getLogger("avsync.server")

AHEAD_S = 2
"""How far sound may be generated before its pictures: 50 pictures of 512x512 are 39 MB."""
SLACK_NS = NS_PER_S // 2
"""A generator kept waiting this long has not worked ahead meanwhile; a late timer is made up for."""
REFUSED_TURNS = 3
"""So many turns of which the stream took nothing: it is not an interrupt, it does not want them."""
EMPTY_S, EMPTY_WAIT_S = 0.02, 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How the model generates and talks. ``speed``: seconds of sound generated per second (1, 4, 0.9).

    ``picture_speed``: the same for pictures where they are slower or faster than the sound (0.88 is
    22 of 25 fps). ``burst_s``: handed over in lumps of so many seconds. ``talk_s``: a turn's length
    (None: as long as the source lasts), then ``pause_s`` of silence. ``reaction_s``: from an
    interrupt to the next turn.
    """

    speed: float = 1.0
    picture_speed: float | None = None
    burst_s: float = 0.0
    talk_s: float | None = None
    pause_s: float = 2.0
    reaction_s: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("speed", 0.05, 1000), ("picture_speed", 0.05, 1000), ("burst_s", 0, 60),
            ("talk_s", 0.1, 86_400), ("pause_s", 0, 3600), ("reaction_s", 0, 3600),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name} must be between {low} and {high}, got {value}")


class Schedule:
    """When the units of one kind are generated: one per period and speed, handed over in bursts. Sans-IO.

    Counted from the last time it had to wait, so a timer that is late each time does not add up.
    """

    def __init__(self, fps: Fraction, speed: float, burst_s: float) -> None:
        self._cost_ns = round(NS_PER_S / (float(fps) * speed))
        self._group = max(1, round(burst_s * float(fps)))
        self._in_group = 0
        self._due_ns: int | None = None

    def next_due_ns(self, now_ns: int) -> int:
        """Generation of one more unit starts (the last one was taken at ``now_ns``): when is it there?"""
        if self._in_group == 0:
            start_ns = now_ns if self._due_ns is None else max(self._due_ns, now_ns - SLACK_NS)
            self._due_ns = start_ns + self._group * self._cost_ns
        self._in_group = (self._in_group + 1) % self._group
        assert self._due_ns is not None
        return self._due_ns


class _Stale(Exception):
    """The stream refused what belongs to this turn: it was interrupted."""


class Producer:
    """Plays ``feed`` into ``stream``, turn after turn, from ``start`` to ``close``.

    ``fill``: a picture to write, with silence and in real time, while nothing is said; for streams
    that have no idle picture of their own (the baselines). ``now_ns``: a monotonic clock, the
    loop's by default. Hand ``on_request`` to the stream: pictures before a skip are not generated.
    """

    def __init__(
        self, feed: Feed, stream: TurnStream, *, fps: Fraction, pace: Pace | None = None, fill: Rgb | None = None,
        now_ns: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self._feed, self._stream, self._fps, self._pace, self._fill = feed, stream, fps, pace or Pace(), fill
        self._clock = now_ns
        self._task: asyncio.Task[None] | None = None
        self._epoch = -1
        self._skip_to_ns = 0
        self._fps_wanted = 0
        self._over = False
        self.state, self.error = "new", ""
        self.turns = self.interrupted = self.sounds = self.pictures = self.skipped = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="avsync producer")

    async def close(self) -> None:
        self._feed.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self.state = "closed"

    def stats(self) -> dict[str, Any]:
        return {
            "state": self.state, "error": self.error, "turns": self.turns, "interrupted": self.interrupted,
            "sounds": self.sounds, "pictures": self.pictures, "pictures_skipped": self.skipped,
            "fps_wanted": self._fps_wanted or float(self._fps),
        }  # fmt: skip

    def on_request(self, request: Request) -> None:
        """What the engine asks of the source, in the turn's own time. Only pictures are left out, never sound."""
        if request.want is Want.SKIP_TO_PTS and request.epoch == self._epoch:
            self._skip_to_ns = max(self._skip_to_ns, request.value)
        elif request.want is Want.FPS:
            self._fps_wanted = request.value

    # ---- one turn after another

    async def _run(self) -> None:
        refused = 0
        try:
            while not self._over:
                took = self.sounds + self.pictures
                stale = await self._say()
                refused = refused + 1 if took == self.sounds + self.pictures else 0
                if refused >= REFUSED_TURNS:
                    raise AvSyncError("the stream refuses what the source gives: see its log for the reason")
                self.state = "pausing"
                await self._idle(self._pace.reaction_s if stale else self._pace.pause_s, heard_out=not stale)
            self.state = "ended"
        except Exception as error:
            cause = error
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            self.state, self.error = "failed", f"{type(cause).__name__}: {cause}"
            log.error("the producer has failed; the session goes on without it", exc_info=cause)
        if self._fill is not None:
            await self._idle(None, heard_out=False)

    async def _say(self) -> bool:
        """One turn; True if it was interrupted."""
        turn = self._stream.begin_turn()
        self._epoch, self._skip_to_ns = turn.epoch, 0
        self.state, self.turns = "talking", self.turns + 1
        room = max(2, round(AHEAD_S * self._fps))
        sounds: asyncio.Queue[FrameWithSound | None] = asyncio.Queue(room)
        pictures: asyncio.Queue[FrameWithSound | None] = asyncio.Queue(room)
        stale = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._generate(sounds, pictures))
                group.create_task(self._write_sounds(turn, sounds))
                group.create_task(self._write_pictures(turn, pictures))
        except* _Stale:
            stale = True
            self.interrupted += 1
        if not stale:
            await turn.end()
        return stale

    async def _generate(self, *queues: asyncio.Queue[FrameWithSound | None]) -> None:
        talk_s = self._pace.talk_s
        for number in count():
            if talk_s is not None and number >= talk_s * self._fps:
                break
            frame = await self._feed.next()
            if frame is None:
                self._over = True
                break
            for waiting in queues:
                await waiting.put(frame)
        for waiting in queues:
            await waiting.put(None)

    async def _write_sounds(self, turn: StreamTurn, sounds: asyncio.Queue[FrameWithSound | None]) -> None:
        schedule = Schedule(self._fps, self._pace.speed, self._pace.burst_s)
        samples = 0
        while (frame := await sounds.get()) is not None:
            await self._until(schedule.next_due_ns(self._now_ns()))
            if not await turn.write_audio(frame.sound, pts_ns=ticks_to_ns(samples, SOUND_HZ)):
                raise _Stale
            samples += len(frame.sound)
            self.sounds += 1

    async def _write_pictures(self, turn: StreamTurn, pictures: asyncio.Queue[FrameWithSound | None]) -> None:
        schedule = Schedule(self._fps, self._pace.picture_speed or self._pace.speed, self._pace.burst_s)
        last_ns = -1
        for number in count():
            frame = await pictures.get()
            if frame is None:
                return
            pts_ns = ticks_to_ns(number, self._fps)
            if pts_ns < self._skip_to_ns or self._left_out(pts_ns, last_ns):
                self.skipped += 1
                continue
            await self._until(schedule.next_due_ns(self._now_ns()))
            if not await turn.write_video(frame.picture, pts_ns=pts_ns):
                raise _Stale
            self.pictures += 1
            last_ns = pts_ns

    def _left_out(self, pts_ns: int, last_ns: int) -> bool:
        """At a lower fps, only the first picture in each of its periods is generated."""
        wanted = self._fps_wanted
        if not wanted or last_ns < 0:
            return False
        return pts_ns * wanted // NS_PER_S == last_ns * wanted // NS_PER_S

    async def _idle(self, pause_s: float | None, *, heard_out: bool) -> None:
        """Nothing is said for ``pause_s`` (None: for ever), counted from when the turn was heard out."""
        if heard_out:
            waited = 0.0
            while self._stream.buffered > EMPTY_S and waited < EMPTY_WAIT_S:
                await asyncio.sleep(EMPTY_S)
                waited += EMPTY_S
        if self._fill is None:
            if pause_s is not None:
                await asyncio.sleep(pause_s)
            return
        turn = self._stream.begin_turn()
        schedule = Schedule(self._fps, 1.0, 0.0)
        for number in count():
            if pause_s is not None and number >= pause_s * self._fps:
                return
            await self._until(schedule.next_due_ns(self._now_ns()))
            quiet = silence(period_samples(number, self._fps))
            if not (await turn.write_audio(quiet) and await turn.write_video(self._fill)):
                turn = self._stream.begin_turn()  # interrupted while silent

    async def _until(self, at_ns: int) -> None:
        wait_ns = at_ns - self._now_ns()
        await asyncio.sleep(max(0, wait_ns) / NS_PER_S)

    def _now_ns(self) -> int:
        if self._clock is not None:
            return self._clock()
        return round(asyncio.get_running_loop().time() * NS_PER_S)
