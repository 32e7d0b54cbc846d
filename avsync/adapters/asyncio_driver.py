"""AsyncioDriver: one engine on an event loop. The only place that reads a real clock for the core.

It does what every driver does: push, poll until None, set one timer at ``next_wakeup_ns``. The
clock is the loop's own monotonic one; the wall clock is never read, so its steps change nothing.
Due times are absolute, so late callbacks do not add up, and a loop that stalls finds the whole
slots it missed as one silence, never as a burst.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Self

from avsync.engine.engine import Interrupted
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import AvSyncError, UsageError
from avsync.recording.recorder import Recorder
from avsync.types import (
    AUDIO,
    Answer,
    Drop,
    DropReason,
    InsertSilence,
    Kind,
    MediaUnit,
    Present,
    Presented,
    Reason,
)
from avsync.units import FAR_NS, NS_PER_S, stretched_ns, us

SNAP_NS = us(1)
"""A loop keeps seconds in a float: a timer may fire, and the clock read, this much before its time."""


class DriverClosed(AvSyncError):
    """``pull`` after ``close``, or during it: there will be no more sound."""


class AsyncioDriver:
    """Drives one engine; all calls from the loop's own thread.

    ``on_answer(answer, now_ns)`` gets every answer, in order, at once; it must not block, and may
    call ``push``, ``interrupt`` or ``close`` itself. What it raises stops the driver and
    reaches whoever made the call it happened in (a waiting ``pull`` included); where that was a
    timer, the loop's exception handler at once, and then the next call or the end of
    ``async with``. Calls after that are refused.

    A sink that pushes (a canvas) takes everything from ``on_answer``; output time begins with
    ``async with`` or the first push. A sink that pulls (``pull_sound=True``; an aiortc audio
    track) awaits ``pull()`` for each slot, and output time begins with the first pull; pictures
    and all else still go to ``on_answer``.
    """

    def __init__(
        self,
        engine: AvSynchronizer | Recorder,
        *,
        on_answer: Callable[[Answer, int], object],
        clock: Callable[[], int] | None = None,
        pull_sound: bool = False,
    ) -> None:
        """``clock``: monotonic ns; by default the running loop's."""
        if inspect.iscoroutinefunction(on_answer):
            raise UsageError("on_answer is called, not awaited: it must be a plain function")
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._on_answer = on_answer
        self._clock = clock or self._loop_ns
        self._now_ns = -FAR_NS
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns = 0
        self._pumping = False
        self._closed = False
        self._failure: Exception | None = None
        self._surfaced = False
        # Only where the sound is pulled: when the next slot begins, and who waits for it.
        self._pull_sound = pull_sound
        self._slot_ns: int | None = None
        self._pulling = False
        self._waiter: asyncio.Future[None] | None = None
        self._oldest_epoch = -FAR_NS

    async def __aenter__(self) -> Self:
        self._tell()
        self._pump()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self._failure is not None and not self._surfaced:
            self._raise_failure()

    # ---- in

    def push(self, unit: MediaUnit, *, in_order: bool = True) -> None:
        """Take one stamped unit; whatever follows from it is answered before this returns."""
        self._engine.push(unit, self._tell(), in_order=in_order)
        self._pump()

    def finish(self, kind: Kind, epoch: int) -> None:
        """Nothing more of this kind in this turn."""
        self._engine.finish(kind, epoch, self._tell())
        self._pump()

    def interrupt(self, epoch: int) -> Interrupted:
        """Barge-in: when this returns, nothing older than ``epoch`` will be answered."""
        interrupted = self._engine.interrupt(epoch, self._tell())
        if self._engine.policy.epochs:
            self._oldest_epoch = epoch
        self._pump()
        return interrupted

    def on_presented(self, presented: Presented) -> None:
        """What a sink really did."""
        self._engine.on_presented(presented, self._tell())
        self._pump()

    def trim(self, trim_ns: int) -> None:
        """Pictures earlier (> 0) or later against the voice, slowly; see the engine."""
        self._engine.trim(trim_ns, self._tell())
        self._pump()

    def picture_head_start(self, head_start_ns: int) -> None:
        """Pictures answered so much before they are due; see the engine."""
        self._engine.picture_head_start(head_start_ns, self._tell())
        self._pump()

    def close(self) -> None:
        """No more output: what is queued is answered as dropped, a waiting ``pull`` is released. Twice is once."""
        if self._closed:
            return
        self._closed = True
        self._wake()
        if self._failure is None:
            self._engine.close(self._tell())
            self._pump()

    # ---- out

    def now_ns(self) -> int:
        """The driver's clock: the one that ``Presented.at_ns`` is told in."""
        return self._clock()

    async def pull(self) -> Present | InsertSilence:
        """The sound of one slot. Too early, it waits for the slot; late by less than a slot, it still gets it.

        Slots that were missed whole go to ``on_answer`` as one silence, and ``stamp_ns`` tells how
        far output time has come. Cancelled, it has taken nothing.
        """
        if not self._pull_sound:
            raise UsageError("pull needs a driver made with pull_sound=True")
        if self._pulling:
            raise UsageError("the slot is already waited for: one pull at a time")
        self._pulling = True
        try:
            while True:
                if self._closed:
                    raise DriverClosed("the driver is closed")
                self._tell()
                sound = self._pump(take=True)
                if sound is not None:
                    return sound
                if not self._closed:
                    # Woken, it polls for itself: were the answer handed over by the timer, a
                    # cancellation in between would lose it.
                    self._waiter = self._loop.create_future()
                    await self._waiter
        finally:
            self._pulling = False
            self._waiter = None

    # ---- inside

    def _loop_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    def _tell(self) -> int:
        """The time of a call; refused if the driver has failed."""
        if self._failure is not None:
            self._raise_failure()
        now_ns = self._clock()
        if not self._now_ns - SNAP_NS <= now_ns < self._now_ns:
            self._now_ns = now_ns  # if it went further back than that, the engine refuses it
        return self._now_ns

    def _pump(self, *, take: bool = False) -> Present | InsertSilence | None:
        """Poll until None, then arm the timer. ``take``: return the sound of the slot that has come."""
        if self._pumping:
            return None  # called out of on_answer: the loop that called it goes on with this
        taken: Present | InsertSilence | None = None
        self._pumping = True
        try:
            while self._may_poll(take and taken is None):
                answer = self._engine.poll(self._now_ns)
                if answer is None:
                    break
                if self._pull_sound and (sound := self._slot_of(answer)) is not None:
                    taken = sound
                else:
                    self._on_answer(answer, self._now_ns)
            if taken is not None and taken.epoch < self._oldest_epoch:
                taken = self._recall(taken)
        except Exception as error:
            self._failure, self._surfaced = error, True
            self._disarm()
            raise
        finally:
            self._pumping = False
        self._arm()
        return taken

    def _may_poll(self, take: bool) -> bool:
        """A pulled slot is only asked for when it is pulled: until then nothing may leave in it."""
        if not self._pull_sound or self._closed or take:
            return True
        return self._slot_ns is not None and self._now_ns < self._slot_ns

    def _slot_of(self, answer: Answer) -> Present | InsertSilence | None:
        """The answer if it is the sound of the slot under way; and when the next one begins."""
        if type(answer) is InsertSilence:
            self._slot_ns = answer.at_ns + answer.duration_ns
            # Ended already: these are slots that nobody pulled.
            return answer if self._slot_ns > self._now_ns else None
        if type(answer) is Present and answer.unit.kind is AUDIO:
            self._slot_ns = answer.at_ns + lasts_ns(answer, self._engine.policy.slot_ns)
            return answer
        return None

    def _recall(self, taken: Present | InsertSilence) -> InsertSilence:
        """A picture's ``on_answer`` interrupted while the slot's old sound was in hand: it does not leave."""
        now_ns, epoch = self._now_ns, self._oldest_epoch
        if type(taken) is InsertSilence:
            return taken._replace(epoch=epoch)
        assert type(taken) is Present
        lasts = lasts_ns(taken, self._engine.policy.slot_ns)
        self._on_answer(Drop(taken.unit, now_ns, taken.epoch, DropReason.STALE_EPOCH), now_ns)
        return InsertSilence(taken.at_ns, taken.stamp_ns, lasts, epoch, Reason.INTERRUPTED)

    def _arm(self) -> None:
        """At most one timer; one that is set earlier fires first and arms again."""
        wake_ns = None if self._closed else self._engine.next_wakeup_ns()
        if wake_ns is None or self._failure is not None:
            self._disarm()
            return
        if self._pull_sound and not self._pulling and (self._slot_ns is None or wake_ns >= self._slot_ns):
            self._disarm()  # the next pull goes on
            return
        if self._timer is not None:
            if self._armed_ns <= wake_ns:
                return
            self._timer.cancel()
        self._armed_ns = wake_ns
        # Read anew: what on_answer took must not make the timer late.
        self._timer = self._loop.call_at(self._loop.time() + (wake_ns - self._clock()) / NS_PER_S, self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        try:
            now_ns = self._tell()
            if 0 < self._armed_ns - now_ns <= SNAP_NS:
                self._now_ns = self._armed_ns
            if self._waiter is not None and (self._slot_ns is None or self._now_ns >= self._slot_ns):
                self._wake()
            else:
                self._pump()
        except Exception as error:
            self._failure, self._surfaced = error, False
            if self._waiter is None:
                raise  # to the loop's exception handler
            self._wake()  # to whoever pulls

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _raise_failure(self) -> None:
        assert self._failure is not None
        if self._surfaced:
            raise AvSyncError(f"the driver has stopped: {self._failure!r}") from self._failure
        self._surfaced = True
        raise self._failure


def lasts_ns(sound: Present, slot_ns: int) -> int:
    """How long a presented sound takes to leave: stretched as asked for; a pause's mark at most a slot."""
    duration_ns = sound.unit.duration_ns
    if sound.unit.pause:
        return min(duration_ns, slot_ns) or slot_ns
    return stretched_ns(duration_ns, sound.stretch_ppm)
