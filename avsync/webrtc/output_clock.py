"""OutputClock: one session's time: the event loop's own, monotonic, and what a sender report says of now.

Output time is 0 at ``start_ns``. The wall clock is read once, as an anchor: a step of it changes nothing.
"""

from __future__ import annotations

import asyncio
import time

from avsync.types import AUDIO, Kind
from avsync.units import NS_PER_S, PICTURE_HZ, SOUND_HZ, ns_to_ticks

NTP_1970 = 2_208_988_800


class OutputClock:
    """Belongs to the event loop that runs when it is made; ``start_ns`` is that moment."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.start_ns = self.now_ns()
        self._ntp_anchor = ((time.time_ns() + NTP_1970 * NS_PER_S) << 32) // NS_PER_S

    def now_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)

    def report_now(self, kind: Kind) -> tuple[int, int]:
        """(NTP, ticks from the session's start) of now: what a sender report says."""
        since_ns = self.now_ns() - self.start_ns
        ticks = ns_to_ticks(since_ns, SOUND_HZ if kind is AUDIO else PICTURE_HZ)
        return self._ntp_anchor + (since_ns << 32) // NS_PER_S, ticks
