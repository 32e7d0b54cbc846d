"""ReceiverBalance: where sound and pictures are differently late for good, the earlier one is held longer.

A browser moves them against each other once a second, in steps, and stops 30 ms short by its own reckoning, which
leaves out the screen: it needs 20 s for the 30 ms of its sound device, and leaves 45 of a way that is 120 ms longer for
pictures. A target of one receiver is there at once, and the browser's loop finds nothing left to do.

It acts on what three reports say alike (a queue that fills, or a voice that catches up, moves on), and only where the
browser's own reckoning says nearly the same: where sender reports are wrong, it would work against it for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from avsync.units import FAR_NS, ms, seconds

ACT_BEYOND_NS: Final = ms(20)
"""As the trim: half of what can be seen at all (BT.1359: 45 ms)."""
AGREE_NS: Final = ms(45)
"""The browser leaves out the screen (10 ms), and is asked between two ticks; a wrong report worth the name is more."""
ALIKE: Final = 3
STEADY_NS: Final = ms(20)
"""So many reports, within a refresh of the screen."""
WAIT_NS: Final = seconds(4)
"""A voice is stretched by 50 ms a second, and reports are a second old."""
WAIT_MAX_NS: Final = seconds(64)
"""Each time it acts it waits twice as long: what it cannot mend it does not chase."""

VOICE_LATER_NS: Final = ms(12)
"""After a stall a browser holds pictures some 30 ms longer for a while, and of the two a voice that is ahead is seen
sooner (BT.1359): pictures are left this much too early."""
PICTURE_MOST_NS: Final = ms(80)
"""A sound device needs 20 to 50 ms. A voice that is later still has a buffer that it will give back by itself."""


class Seen(NamedTuple):
    """What a report says of sound against pictures. ``offset_ns`` > 0: the voice is ahead of the lips.

    ``claim_ns``: the same by the browser's own reckoning. ``sound_held_ns``, ``picture_held_ns``: for how long each
    buffer holds now. None: not told.
    """

    offset_ns: int | None
    claim_ns: int | None
    sound_held_ns: int | None
    picture_held_ns: int | None


def offset_of(seen_after_ns: Iterable[int], heard_after_ns: int) -> int:
    """How much the voice is ahead for good, by how long after their output times pictures were seen and it is heard.

    Ahead of the quickest pictures, or behind most of them; 0 between: what varies is no difference of ways.
    """
    after_ns = sorted(seen_after_ns)
    quick_ns, most_ns = after_ns[len(after_ns) // 10] - heard_after_ns, after_ns[len(after_ns) // 2] - heard_after_ns
    return quick_ns if quick_ns > 0 else min(most_ns, 0)


class ReceiverBalance:
    """``sound_ns`` and ``picture_ns``: what each receiver is asked for by itself; one of them is 0."""

    def __init__(self, most_ns: int) -> None:
        self._most_ns = most_ns
        self.sound_ns = self.picture_ns = 0
        self._offsets: deque[int] = deque(maxlen=ALIKE)
        self._at_ns = -FAR_NS
        self._wait_ns = WAIT_NS

    def reset(self, now_ns: int) -> None:
        """Both receivers are asked for the same now: what was needed before says nothing."""
        self.sound_ns = self.picture_ns = 0
        self._offsets.clear()
        self._at_ns, self._wait_ns = now_ns, WAIT_NS

    def take(self, seen: Seen, now_ns: int) -> bool:
        """Whether it moved one of them."""
        offset_ns, offsets = seen.offset_ns, self._offsets
        if offset_ns is None or seen.claim_ns is None or abs(offset_ns - seen.claim_ns) > AGREE_NS:
            offsets.clear()
            return False
        offsets.append(offset_ns)
        low_ns, high_ns = min(offsets), max(offsets)
        beyond = low_ns > ACT_BEYOND_NS or high_ns < -ACT_BEYOND_NS
        if len(offsets) < ALIKE or high_ns - low_ns > STEADY_NS or not beyond:
            return False
        gives_back = bool(self.picture_ns if low_ns > 0 else self.sound_ns)
        if now_ns - self._at_ns < (WAIT_NS if gives_back else self._wait_ns):
            return False
        before = self.sound_ns, self.picture_ns
        self._move(low_ns if low_ns > 0 else high_ns, seen)
        if before == (self.sound_ns, self.picture_ns):
            return False
        self._at_ns, self._wait_ns = now_ns, min(2 * self._wait_ns, WAIT_MAX_NS)
        offsets.clear()
        return True

    def _move(self, offset_ns: int, seen: Seen) -> None:
        """What holds the later one back goes first: less delay is the better way to be in sync."""
        if offset_ns > 0:
            if self.picture_ns:
                self.picture_ns = max(0, self.picture_ns - offset_ns)
            elif seen.sound_held_ns is not None:
                self.sound_ns = min(max(self.sound_ns, seen.sound_held_ns) + offset_ns, self._most_ns)
        elif self.sound_ns:
            self.sound_ns = max(0, self.sound_ns + offset_ns)
        elif seen.picture_held_ns is not None:
            held_ns = max(self.picture_ns, seen.picture_held_ns)
            wanted_ns = held_ns - offset_ns - VOICE_LATER_NS
            self.picture_ns = min(wanted_ns, self._most_ns, max(held_ns, PICTURE_MOST_NS))
