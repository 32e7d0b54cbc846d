"""Lag: by how much pictures come too late again and again, so that only a longer common delay helps.

One picture that is late is a stall's, or a retransmission's. Lateness that returns in half second after half second
is the way the pictures come: made 240 ms after their sound, twelve at a time, or sent again on a long way wherever a
packet is lost. That is delay, and no source can be asked to make up for it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from avsync.units import FAR_NS, ms

PERIOD_NS: Final = ms(500)
"""Lateness is looked at in half seconds, each by its worst picture, as NetEq does for jitter."""
PERIODS: Final = 10
"""The last 5 s: one stall and the heap behind it spoil two to four half seconds, not more."""
RETURNS: Final = 5
"""In so many of them lateness has to come back before it is called the pictures' way."""

IN_A_ROW: Final = 3
"""So many running are enough where each was late by a lot: a stall and its heap spoil one or two by that much."""


class Lag:
    """``add`` how late each picture was when it fell due; ``needed_ns`` is what the voice would have to wait."""

    def __init__(self, least_ns: int, large_ns: int) -> None:
        self._least_ns = least_ns  # what is late by less is not worth waiting for
        self._large_ns = large_ns
        self._worst_ns: deque[int] = deque(maxlen=PERIODS)  # of each half second that had pictures
        self._open_ns = -1
        self._until_ns = -FAR_NS

    def reset(self) -> None:
        """Another turn, or the voice waits: what was measured is over."""
        self._worst_ns.clear()
        self._open_ns, self._until_ns = -1, -FAR_NS

    def add(self, late_ns: int, now_ns: int) -> None:
        """A picture fell due ``late_ns`` >= 0 ago and was answered now."""
        if now_ns >= self._until_ns:
            if self._open_ns >= 0:
                self._worst_ns.append(self._open_ns)
            self._open_ns, self._until_ns = -1, now_ns + PERIOD_NS
        if late_ns > self._open_ns:
            self._open_ns = late_ns

    def needed_ns(self) -> int:
        """The lateness that came back often enough, or is large and came back at once; 0 where there is none."""
        late = sorted((worst for worst in self._worst_ns if worst >= self._least_ns), reverse=True)
        if len(late) >= RETURNS:
            return late[RETURNS - 2]  # but for the least of them
        last = sorted(list(self._worst_ns)[-IN_A_ROW:])
        return last[1] if len(last) == IN_A_ROW and last[0] >= self._large_ns else 0
