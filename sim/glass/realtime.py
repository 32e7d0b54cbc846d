"""Real time: a virtual time runs in the time of an event loop, event by event, never early.

What the lab's generator and steps do at 3.04 s of virtual time happens 3.04 s after ``run`` began. How late each
event was is counted: on a busy host a reading says nothing, and ``late_ms`` is how one knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from avsync.monitor.percentiles import OffsetHistogram
from avsync.units import NS_PER_S, to_ms
from sim.virtual_time import VirtualTime

EVENTS_AT_ONCE = 100
"""A backlog of events lets the loop do something else this often."""


class Lateness:
    """How late things were, in bounded memory."""

    def __init__(self) -> None:
        self._histogram = OffsetHistogram()

    def add(self, late_ns: int) -> None:
        self._histogram.add_all((max(late_ns, 0),))

    def ms(self, pct: int) -> float | None:
        """That percentile; None (UNKNOWN) below 20 values."""
        (value,) = self._histogram.abs_percentiles_ns(pct)
        return None if value is None else to_ms(value)

    def as_dict(self) -> dict[str, float | None]:
        return {"p50_ms": self.ms(50), "p95_ms": self.ms(95), "max_ms": to_ms(self._histogram.max_lead_ns)}


class RealTime:
    """Runs ``env`` once. The clock is the running loop's own, so a loop in virtual time runs it in virtual time."""

    def __init__(self, env: VirtualTime) -> None:
        self.env = env
        self.late = Lateness()
        self._loop = asyncio.get_running_loop()
        self._begun_s = self._loop.time()
        self._woken = asyncio.Event()

    @property
    def begun_s(self) -> float:
        """The loop's time at which this time is 0."""
        return self._begun_s

    def now_ns(self) -> int:
        """Time since ``run`` began."""
        return round((self._loop.time() - self._begun_s) * NS_PER_S)

    def call(self, what: Callable[[], Any], after_ns: int = 0) -> None:
        """From outside of ``env``: ``what`` happens so long after the real now, as an event of its own."""
        at_ns = self.now_ns() + after_ns
        self.env.timeout(max(at_ns - self.env.now, 0)).callbacks.append(lambda _event: what())
        self._woken.set()

    async def run(self, until_ns: int) -> None:
        """Everything that happens before ``until_ns``; returns at that time. What an event raises comes out here."""
        self._begun_s = self._loop.time()
        at_once = 0
        while True:
            # Infinity, a float, where nothing is planned: then only somebody outside can wake us.
            due_ns = min(self.env.peek(), until_ns)
            now_ns = self.now_ns()
            if due_ns > now_ns:
                at_once = 0
                await self._sleep_until(int(due_ns))
            elif due_ns >= until_ns:
                return
            else:
                self.late.add(now_ns - int(due_ns))
                self.env.step()
                at_once += 1
                if at_once % EVENTS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _sleep_until(self, due_ns: int) -> None:
        timer = self._loop.call_at(self._begun_s + due_ns / NS_PER_S, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
            self._woken.clear()
