"""Hosts: what makes an engine or a viewer tick in virtual time: push, poll until None, one timer.

A host has its own oscillator (it runs fast or slow) and may sleep; what arrives while it sleeps is
handed over when it wakes. Everything here takes true time (``env.now``) and gives local time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from avsync.engine.engine import Interrupted
from avsync.policy import AvSyncPolicy
from avsync.types import Answer, Kind, MediaUnit
from sim.virtual_time import VirtualTime


class Host:
    """Local time of one machine, and whether it is awake. ``ppm`` > 0: its clock runs fast."""

    __slots__ = ("_late", "asleep_until_ns", "env", "ppm")

    def __init__(self, env: VirtualTime, ppm: int = 0) -> None:
        self.env, self.ppm = env, ppm
        self.asleep_until_ns = 0
        self._late: list[Callable[[], None]] = []

    def local_ns(self, true_ns: int) -> int:
        return true_ns + true_ns * self.ppm // 1_000_000 if self.ppm else true_ns

    def true_ns(self, local_ns: int) -> int:
        """The first true time at which this host's clock reads ``local_ns`` or later."""
        if not self.ppm:
            return local_ns
        return -(-local_ns * 1_000_000 // (1_000_000 + self.ppm))

    def now_ns(self) -> int:
        now = self.env.now
        return now + now * self.ppm // 1_000_000 if self.ppm else now

    def sleep(self, for_ns: int) -> None:
        self.asleep_until_ns = self.env.now + for_ns
        self.env.after(for_ns, self._wake)

    def awake(self, otherwise: Callable[[], None]) -> bool:
        """True now, or False and ``otherwise`` is called on waking up."""
        if self.env.now >= self.asleep_until_ns:
            return True
        self._late.append(otherwise)
        return False

    def _wake(self, _nothing: None) -> None:
        if self.env.now >= self.asleep_until_ns:
            late, self._late = self._late, []
            for call in late:
                call()


class Timer:
    """At most one live timer: arming it again makes the one before it stale."""

    __slots__ = ("_at_ns", "_call", "_fires", "_host", "_token")

    def __init__(self, host: Host, call: Callable[[], None]) -> None:
        self._host, self._call = host, call
        self._fires = self._fire  # bound once
        self._at_ns = -1  # -1: none is set
        self._token = 0

    def arm(self, local_ns: int | None) -> None:
        if local_ns is None:
            return
        host = self._host
        now = host.env.now
        at = host.true_ns(local_ns) if host.ppm else local_ns
        if now < self._at_ns <= at:
            return  # the one that is set fires first and arms again
        if at < now:
            at = now
        self._at_ns = at
        self._token = token = self._token + 1
        host.env.after(at - now, self._fires, token)

    def _fire(self, token: int) -> None:
        if token != self._token:
            return
        self._at_ns = -1
        if not self._host.asleep_until_ns or self._host.awake(self._call):
            self._call()


class DrivenEngine(Protocol):
    """An ``Engine``, because the lab's times are ints; or an ``AvSynchronizer``, perhaps in a ``Recorder``."""

    @property
    def policy(self) -> AvSyncPolicy: ...
    @property
    def queued_units(self) -> int: ...
    @property
    def jitter_buffer_ns(self) -> int: ...
    def push(self, unit: MediaUnit, now_ns: int) -> None: ...
    def finish(self, kind: Kind, epoch: int, now_ns: int) -> None: ...
    def interrupt(self, epoch: int, now_ns: int) -> Interrupted: ...
    def poll(self, now_ns: int) -> Answer | None: ...
    def next_wakeup_ns(self) -> int | None: ...


class EngineDriver:
    """Polls one engine dry after each push and each timer, and gives every answer to ``on_answer``."""

    __slots__ = ("_on_answer", "_timer", "engine", "host", "peak_units")

    def __init__(self, host: Host, engine: DrivenEngine, on_answer: Callable[[Answer, int], None]) -> None:
        self.host, self.engine = host, engine
        self._on_answer = on_answer
        self._timer = Timer(host, self.pump)
        self.peak_units = 0

    def push(self, unit: MediaUnit, now_ns: int) -> None:
        """Push, then as ``pump``. ``now_ns`` is the host's."""
        engine = self.engine
        engine.push(unit, now_ns)
        wake_ns = engine.next_wakeup_ns()
        if wake_ns is None or wake_ns <= now_ns:
            self._poll_dry(now_ns)
        else:
            self._timer.arm(wake_ns)
        queued = engine.queued_units  # only a push makes it grow
        if queued > self.peak_units:
            self.peak_units = queued

    def pump(self) -> None:
        """Poll until None, then arm the timer."""
        self._poll_dry(self.host.now_ns())

    def _poll_dry(self, now_ns: int) -> None:
        engine, on_answer = self.engine, self._on_answer
        while (answer := engine.poll(now_ns)) is not None:
            on_answer(answer, now_ns)
            wake_ns = engine.next_wakeup_ns()
            if wake_ns is not None and wake_ns > now_ns:
                break  # until then the answer is None
        else:
            wake_ns = engine.next_wakeup_ns()
        self._timer.arm(wake_ns)
