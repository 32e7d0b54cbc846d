"""Trim: how much earlier (> 0) pictures leave than the sound of the same content, and its way to what was asked.

It takes up what is wrong on the way after us, so it changes slower than anybody sees, never by a step.
"""

from __future__ import annotations

from typing import Final

from avsync.units import ms

STEP_MAX_NS: Final = ms(100)  # a driver that slept does not find its trim changed at once


class Trim:
    """``ns`` is the trim now, ``goal_ns`` where it goes; ``slew`` takes it there, at most ``slew_ppm``.

    ``slew`` only with a slot of sound: between slots due times must not move under a timer.
    """

    def __init__(self, slew_ppm: int) -> None:
        self._slew_ppm = slew_ppm
        self._at_ns = 0
        self.ns = self.goal_ns = 0

    def go_to(self, goal_ns: int, now_ns: int) -> None:
        if self.ns == self.goal_ns:
            self._at_ns = now_ns
        self.goal_ns = goal_ns

    def slew(self, now_ns: int) -> None:
        elapsed = min(now_ns - self._at_ns, STEP_MAX_NS)
        self._at_ns = now_ns
        limit = elapsed * self._slew_ppm // 1_000_000
        self.ns += max(-limit, min(limit, self.goal_ns - self.ns))
