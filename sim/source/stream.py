"""Streams: where one kind's production is in its content, and when its next unit is ready.

A stream runs on its own. It knows the content position of its next unit and when that unit can be
ready (its own speed, never earlier than it may run ahead); stalls, blocks, pauses, skips and rate
changes only move these two numbers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from avsync.types import Kind
from avsync.units import NS_PER_S, Rate, ns_to_ticks, ticks_to_ns
from sim.virtual_time import VirtualTime


class SourceTurn:
    """One turn of talk: where it starts in true time and in content, and where it should end."""

    __slots__ = ("content_ns", "end_ns", "index", "start_ns", "stop_at_ns")

    def __init__(self, index: int, start_ns: int, content_ns: int, length_ns: int) -> None:
        self.index, self.start_ns, self.content_ns = index, start_ns, content_ns
        self.end_ns = content_ns + length_ns
        self.stop_at_ns: int | None = None  # an interrupted turn is pushed until then


class Maker(Protocol):
    """Whose stream it is: makes a unit of each piece of content, and hears when a turn has no more of it."""

    def make(self, stream: GeneratorStream, turn: SourceTurn, content: int, duration: int, now: int) -> None: ...

    def stream_done(self, kind: Kind, turn: SourceTurn) -> None: ...


class GeneratorStream:
    """One kind's production: ``content_ns`` of the next unit, ``free_ns`` when the last was done.

    ``loop_ns``: (length of the loop, its period), where the source plays one for ever.
    """

    def __init__(
        self,
        env: VirtualTime,
        maker: Maker,
        kind: Kind,
        *,
        rate: Rate,
        step: int,
        speed: float,
        ahead_ns: int,
        ppm: int,
        loop_ns: tuple[int, int] | None,
    ) -> None:
        self._env, self._maker, self.kind = env, maker, kind
        self.rate: Rate = rate
        self.step = step  # ticks of ``rate`` per unit
        self._speed = Fraction(str(speed)).as_integer_ratio()
        self.ahead_ns = ahead_ns if speed > 1 else 0
        self.ppm = ppm
        self.set_nominal(ticks_to_ns(step, rate))
        self.not_before_ns = 0  # a block of frames begins late
        self.late_ns = 0  # handed over this much after (before: negative) its plan
        self.turn: SourceTurn | None = None
        self.content_ns = 0
        self.free_ns = 0
        self.stall: tuple[int, int, str] | None = None
        self.jumped = False
        self._origin_ns = 0  # content of tick 0 at the present rate
        self._ticks = 0
        self._made_ns = 0  # how much of this turn was made
        self._on_time_ns = 0  # content from which its own pace (ppm) has run
        self._token = 0
        self._fires = self._fire  # bound once
        self._loop_ns = loop_ns
        self._loop_end_ns: int | None = None

    # ---- where and when

    def begin(self, turn: SourceTurn, now_ns: int) -> None:
        self.turn = turn
        self.free_ns = now_ns
        self.jump_to(turn.content_ns)
        self.jumped = False
        self._on_time_ns = turn.content_ns
        self._made_ns = 0
        self._loop_end_ns = None if self._loop_ns is None else turn.content_ns + self._loop_ns[0]
        self.arm()

    def jump_to(self, content_ns: int) -> None:
        self.jumped = True
        self.content_ns = self._origin_ns = content_ns
        self._ticks = 0

    def skip_units_to(self, content_ns: int) -> None:
        """Leave out whole units until the next one begins at or after ``content_ns``."""
        if content_ns <= self.content_ns:
            return
        before, silent_ns = self.content_ns, self._enter_loop_of(content_ns)
        if content_ns > self.content_ns:
            ticks = ns_to_ticks(content_ns - self._origin_ns, self.rate)
            self._ticks = -(-ticks // self.step) * self.step
            self.content_ns = self._origin_ns + ticks_to_ns(self._ticks, self.rate)
        self._made_ns += self.content_ns - before - silent_ns
        self.jumped = True

    def _enter_loop_of(self, content_ns: int) -> int:
        """A loop that ends before ``content_ns`` is over: go to the start of the one it lies in, or that comes next.

        Answers how much of the way there no loop of this stream has, where the other stream's is longer.
        """
        if self._loop_ns is None or self._loop_end_ns is None or content_ns < self._loop_end_ns:
            return 0
        length, period = self._loop_ns
        loops = (content_ns - self._loop_end_ns) // period + 1
        self._loop_end_ns += loops * period
        self.jump_to(self._loop_end_ns - length)
        return loops * (period - length)

    def units_every(self, every_ns: int, until_ns: int) -> list[tuple[int, int, int]]:
        """The next unit, and then one at least so often, up to ``until_ns``: (content, length, when it would come)."""
        ticks, content_ns = self._ticks, self.content_ns
        units: list[tuple[int, int, int]] = []
        while content_ns < until_ns:
            length_ns = self._origin_ns + ticks_to_ns(ticks + self.step, self.rate) - content_ns
            units.append((content_ns, length_ns, self.plan_ns(content_ns) + self.late_ns - self.ahead_ns))
            ticks += max(1, every_ns // self.nominal_ns) * self.step
            content_ns = self._origin_ns + ticks_to_ns(ticks, self.rate)
        return units

    def catch_up_to(self, content_ns: int) -> None:
        """Skip as asked: from there on it is on time again, at its own pace."""
        self.skip_units_to(content_ns)
        self._on_time_ns = self.content_ns

    def set_rate(self, rate: Rate, step: int) -> None:
        self._origin_ns, self._ticks = self.content_ns, 0
        self.rate, self.step = rate, step

    def set_nominal(self, nominal_ns: int) -> None:
        """The length of a unit as its rate says it, and with it how long one takes to make."""
        self.nominal_ns = nominal_ns
        work_ns = nominal_ns * self._speed[1] // self._speed[0]
        self._work_ns = work_ns * 1_000_000 // (1_000_000 + self.ppm) if self.ppm > 0 else work_ns

    def plan_ns(self, content_ns: int) -> int:
        """When a generator on time hands this content over."""
        assert self.turn is not None
        if self._loop_end_ns is not None:
            # A looping source plays on, whatever the other stream does.
            return self.turn.start_ns + self._made_ns + content_ns - self.content_ns
        on_time = self.turn.start_ns + content_ns - self.turn.content_ns
        if not self.ppm:
            return on_time
        since = content_ns - self._on_time_ns
        return on_time - since + since * 1_000_000 // (1_000_000 + self.ppm)

    def _ready_ns(self, now_ns: int) -> int:
        content_ns, ready_ns, turn = self.content_ns, self.free_ns, self.turn
        if self._ticks or self.jumped:
            ready_ns += self._work_ns
        if self.ppm or self._loop_end_ns is not None or turn is None:
            plan_ns = self.plan_ns(content_ns)
        else:
            plan_ns = turn.start_ns + content_ns - turn.content_ns
        plan_ns += self.late_ns - self.ahead_ns
        if ready_ns < plan_ns:
            ready_ns = plan_ns
        if ready_ns < now_ns:
            ready_ns = now_ns
        return ready_ns if ready_ns > self.not_before_ns else self.not_before_ns

    def arm(self) -> None:
        """Set the one timer that counts; an older one finds its token stale."""
        self._token += 1
        if self.turn is None:
            return
        env = self._env
        now = env.now
        env.after(self._ready_ns(now) - now, self._fires, self._token)

    # ---- making

    def _fire(self, token: int) -> None:
        turn = self.turn
        if token != self._token or turn is None:
            return
        now = self._env.now
        if turn.stop_at_ns is not None and now >= turn.stop_at_ns:
            self.turn = None
            return
        stall = self.stall
        if stall is not None and now >= stall[0]:
            if now < stall[1]:
                self._env.after(stall[1] - now, self._fires, self._token)
                return
            self.stall = None
            self._resume(stall[2], now)
        self._make(turn, now)
        if self.turn is not None:
            self.arm()

    def _resume(self, mode: str, now_ns: int) -> None:
        turn = self.turn
        assert turn is not None
        if mode == "burst":
            while self.turn is not None and self.plan_ns(self.content_ns) + self.late_ns + self.nominal_ns <= now_ns:
                self._make(turn, now_ns)
        elif mode == "live":
            # Where it would be now without the stall.
            behind = now_ns - self.plan_ns(self.content_ns) - self.late_ns
            self.skip_units_to(self.content_ns + max(0, behind))

    def _make(self, turn: SourceTurn, now_ns: int) -> None:
        content = self.content_ns
        if content >= turn.end_ns:
            self.turn = None
            self._maker.stream_done(self.kind, turn)
            return
        self._ticks += self.step
        rate = self.rate
        since_ns = self._ticks * NS_PER_S // rate if type(rate) is int else ticks_to_ns(self._ticks, rate)
        after = self._origin_ns + since_ns
        self._made_ns += after - content
        self.free_ns, self.content_ns, self.jumped = now_ns, after, False
        self._maker.make(self, turn, content, after - content, now_ns)
        if self._loop_end_ns is not None and self.content_ns >= self._loop_end_ns:
            assert self._loop_ns is not None
            length, period = self._loop_ns
            self.jump_to(self._loop_end_ns - length + period)
            self._loop_end_ns += period
