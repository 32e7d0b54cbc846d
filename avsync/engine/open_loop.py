"""Open loops: when others release a picture, by algorithm. The baselines every study needs.

None of them looks at a PTS or measures an offset: due is fixed when the picture is pushed.
Read from the shipping synchronizers (Vision Agents', LiveKit's), written anew.
"""

from __future__ import annotations

from typing import Final

from avsync.policy import Pacing
from avsync.units import ms

REBASE_NS: Final = ms(300)  # LiveKit's AVSynchronizer, _max_delay_tolerance_ms


class OpenLoop:
    """``due_ns`` is called once a picture, in the order they are pushed."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._next_ns: int | None = None
        self._origin_ns: int | None = None

    def due_ns(self, now_ns: int, pts_ns: int, period_ns: int, sound_buffered_ns: int) -> int:
        """now: when it was pushed; period: the nominal frame period; buffered: sound not yet played."""
        if self._pacing is Pacing.ON_ARRIVAL:
            return now_ns
        next_ns = now_ns if self._next_ns is None else self._next_ns
        if self._pacing is Pacing.FPS_PACED:
            # Releases at the nominal rate; catches up at once when little behind, and gives
            # the lost time up for ever when far behind.
            if now_ns - next_ns > REBASE_NS:
                next_ns = now_ns
            due_ns = max(now_ns, next_ns)
        elif self._pacing is Pacing.ARRIVAL_DELAY:
            # Stamped on arrival with what the sound still has to play; one picture a tick.
            due_ns = next_ns = max(now_ns + sound_buffered_ns, next_ns)
        else:  # TWO_CLOCKS: its own start + its own stamps, late ones at once, nothing ever dropped
            if self._origin_ns is None:
                self._origin_ns = now_ns - pts_ns
            return max(now_ns, self._origin_ns + pts_ns)
        self._next_ns = next_ns + period_ns
        return due_ns

    def flush(self) -> None:
        """An interrupt: these pacers begin again with the next picture."""
        self._next_ns = self._origin_ns = None
