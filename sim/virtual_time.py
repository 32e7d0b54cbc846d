"""Virtual time: SimPy's environment in whole ns, with a short cut for what happens per packet.

``after`` plans one call with one item: an entry in SimPy's own queue instead of an event object, in the same order
among all others. Whatever else SimPy has (processes, timeouts) works beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

import simpy
from simpy.events import NORMAL

_PLANNED: Final = 5  # an entry of ours: (at, priority, number, call, item); SimPy's have four


class VirtualTime(simpy.Environment):
    """``now`` is an int, as long as nobody schedules a float."""

    now: int = 0  # an attribute where SimPy has a property: it is asked for several times per packet

    def after(self, delay_ns: int, call: Callable[[Any], None], item: Any = None) -> None:
        """``call(item)`` happens so much later. ``delay_ns`` is at least 0."""
        heappush(self._queue, (self.now + delay_ns, NORMAL, next(self._eid), call, item))  # type: ignore[misc]

    def step(self) -> None:
        """What is next happens."""
        queue: list[Any] = self._queue  # SimPy's entries have four parts, ours five
        entry: Any = queue[0] if queue else None
        if entry is None or len(entry) != _PLANNED:
            if entry is not None:
                self.now = entry[0]
            super().step()
            return
        heappop(queue)
        self.now = self._now = entry[0]
        entry[3](entry[4])

    def run_until(self, end_ns: int) -> None:
        """All that happens before ``end_ns``; then it is ``end_ns``. As ``run(until=end_ns)``, twice as fast."""
        queue: list[Any] = self._queue
        while queue and queue[0][0] < end_ns:
            try:
                self.now, _, _, call, item = queue[0]
            except ValueError:  # four: an event of SimPy's
                self.step()
                continue
            heappop(queue)
            self._now = self.now
            call(item)
        self.now = self._now = end_ns

    def is_whole(self) -> bool:
        """Whether all that is still to come lies at a whole ns: whoever schedules a float passes it on to what follows.

        ``now`` at a run's end says nothing: ``run_until`` puts its own int there.
        """
        queue: list[Any] = self._queue
        return all(type(entry[0]) is int for entry in queue)
