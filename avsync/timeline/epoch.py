"""Epochs: what an interruption means.

An epoch is a number carried by every unit, one per turn. ``interrupt`` makes every older one
stale: such units may still arrive, but no queue lets them through. A new turn alone makes
nothing stale; it queues behind the tail of the last. PTS never restarts, so RTP stays happy.
"""

from __future__ import annotations

from avsync.errors import UsageError


class EpochGate:
    """Which turn is being written, and which ones no longer count.

    ``current``: the epoch that new units get. ``oldest``: the oldest epoch that is not stale.
    One gate may be shared by everything in a session: asking it (after every ``await``, in a
    resampler, before an encoder) is two comparisons.
    """

    def __init__(self, epoch: int = 0) -> None:
        if type(epoch) is not int or epoch < 0:
            raise UsageError("epoch must be a whole number >= 0")
        self.current = epoch
        self.oldest = epoch

    def admits(self, epoch: int) -> bool:
        """False for what was said before an interrupt, and for an epoch that nobody began."""
        return self.oldest <= epoch <= self.current

    def begin(self) -> int:
        """A new turn, behind the tail of the last: nothing becomes stale."""
        self.current += 1
        return self.current

    def interrupt(self) -> int:
        """A new epoch; everything before it is stale."""
        self.current += 1
        self.oldest = self.current
        return self.current
