"""Alerts: a person hears of a trouble once, then of its end; in between a summary now and then.

A value must stay above its level for the dwell before it is told, and below 80 % of it for the
dwell before it is taken back. A value nobody knows neither raises nor clears.
"""

from __future__ import annotations

from typing import Final

from avsync.types import Alert
from avsync.units import seconds

SUMMARY_NS: Final = seconds(60)
"""While it lasts, one summary per minute: enough to see that it lasts, few enough to be read."""


class Alarm:
    """One named condition. ``update`` it at every evaluation; it answers an ``Alert`` when there is news.

    ``Alert.times`` is the number of evaluations that found it above the level since the last message.
    """

    def __init__(self, name: str, level: int, *, dwell_ns: int, clear_ns: int) -> None:
        self.name = name
        self.active = False
        self._level = level
        self._dwell_ns = dwell_ns
        self._clear_ns = clear_ns
        self._since_ns: int | None = None  # when what would change ``active`` began
        self._told_ns = 0
        self._count = 0

    def update(self, value: int | None, now_ns: int, epoch: int, *, tell: int | None = None) -> Alert | None:
        """``value`` >= 0 in the level's unit, None where unknown. ``tell``: what the alert says, if not that."""
        if value is None:
            self._since_ns = None
            return None
        over = value > self._level
        self._count += over
        turning = 5 * value <= 4 * self._level if self.active else over
        if not turning:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns
        if self._since_ns is not None and now_ns - self._since_ns >= (
            self._clear_ns if self.active else self._dwell_ns
        ):
            self.active = not self.active
            self._since_ns = None
        elif not (self.active and now_ns - self._told_ns >= SUMMARY_NS):
            self._count = self._count if self.active or over else 0
            return None
        count, self._count, self._told_ns = self._count, 0, now_ns
        return Alert(self.name, self.active, now_ns, epoch, value if tell is None else tell, count)
