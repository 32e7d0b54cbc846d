"""ReceiverBalance: where sound and pictures are differently late for good, the earlier one is held longer.

A browser moves them against each other once a second, in steps, and stops 30 ms short by its own reckoning, which
leaves out the screen: it needs 20 s for the 30 ms of its sound device, and leaves 45 of a way that is 120 ms longer for
pictures. A target of one receiver is there at once, and the browser's loop finds nothing left to do.

It acts on what two reports say alike, and only where the browser's own reckoning says nearly the same: where sender
reports are wrong, the browser would work against it for ever.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from avsync.units import FAR_NS, ms, seconds

ACT_BEYOND_NS: Final = ms(20)
"""As the trim: half of what can be seen at all (BT.1359: 45 ms)."""
AGREE_NS: Final = ms(45)
"""The browser leaves out the screen (10 ms), and is asked between two ticks; a wrong report worth the name is more."""
WAIT_NS: Final = seconds(4)
"""A voice is stretched by 50 ms a second, and reports are a second old."""
WAIT_MAX_NS: Final = seconds(64)
"""Each time it acts it waits twice as long: what it cannot mend it does not chase."""


class Seen(NamedTuple):
    """What a report says of sound against pictures. ``offset_ns`` > 0: the voice is ahead of the lips.

    ``claim_ns``: the same by the browser's own reckoning. ``sound_held_ns``, ``picture_held_ns``: for how long each
    buffer holds now. None: not told.
    """

    offset_ns: int | None
    claim_ns: int | None
    sound_held_ns: int | None
    picture_held_ns: int | None


class ReceiverBalance:
    """``sound_ns`` and ``picture_ns``: what each receiver is asked for by itself; one of them is 0."""

    def __init__(self, most_ns: int) -> None:
        self._most_ns = most_ns
        self.sound_ns = self.picture_ns = 0
        self._before_ns: int | None = None
        self._at_ns = -FAR_NS
        self._wait_ns = WAIT_NS

    def reset(self, now_ns: int) -> None:
        """Both receivers are asked for the same now: what was needed before says nothing."""
        self.sound_ns = self.picture_ns = 0
        self._before_ns, self._at_ns, self._wait_ns = None, now_ns, WAIT_NS

    def take(self, seen: Seen, now_ns: int) -> bool:
        """Whether it moved one of them."""
        offset_ns, before_ns = seen.offset_ns, self._before_ns
        self._before_ns = offset_ns
        if offset_ns is None or seen.claim_ns is None or abs(offset_ns - seen.claim_ns) > AGREE_NS:
            return False
        if (
            before_ns is None
            or min(abs(offset_ns), abs(before_ns)) <= ACT_BEYOND_NS
            or (offset_ns > 0) != (before_ns > 0)
        ):
            return False
        if now_ns - self._at_ns < self._wait_ns:
            return False
        before = self.sound_ns, self.picture_ns
        self._move(offset_ns, seen)
        if before == (self.sound_ns, self.picture_ns):
            return False
        self._at_ns, self._wait_ns = now_ns, min(2 * self._wait_ns, WAIT_MAX_NS)
        self._before_ns = None
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
            self.picture_ns = min(max(self.picture_ns, seen.picture_held_ns) - offset_ns, self._most_ns)
