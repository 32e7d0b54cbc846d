"""Jitter buffer: sound in content order, each unit out exactly once, never more than the policy allows.

It sorts, refuses what comes twice or too late, and knows how much sound should be in hand
(``target_ns``) and is (``depth_ns``). It does not decide when to play: the synchronizer does. A lost
packet is a gap in the PTS, no more: nothing waits for it here, and nothing is shifted by it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from avsync.engine.delay_target import DelayTarget
from avsync.errors import UsageError
from avsync.policy import AvSyncPolicy
from avsync.types import MAX_PTS_NS, DropReason, MediaUnit

Refused = list[tuple[MediaUnit, DropReason]]


class JitterBuffer:
    """Sound units by (epoch, PTS). ``delay`` learns from every unit that arrives in order.

    Each pushed unit leaves once: by ``pop``, by ``clear_before``, or in what ``push`` returns.
    With ``policy.epochs`` off (baselines) epochs are not looked at: PTS alone is the order and
    nothing is stale.
    """

    def __init__(self, policy: AvSyncPolicy) -> None:
        self.delay = DelayTarget(policy)
        self.depth_ns = 0
        """Content queued: the sum of the durations, gaps not counted."""
        self._epochs = policy.epochs
        self._capacity = policy.audio_queue_units
        self.units: deque[MediaUnit] = deque()
        self._stale_below: int | None = None
        # The newest unit ever accepted, and the last one that left at the front.
        self._epoch: int | None = None
        self._newest_pts_ns = 0
        self._left: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.units)

    @property
    def end_pts_ns(self) -> int | None:
        """Where the queued content ends; None while nothing is queued."""
        if not self.units:
            return None
        last = self.units[-1]
        return last.pts_ns + last.duration_ns

    def target_ns(self) -> int:
        """How much content should be in hand before playing begins."""
        return self.delay.target_ns()

    def push(self, unit: MediaUnit, now_ns: int, *, in_order: bool = True) -> Refused:
        """Accept a unit, or say why not. Empty: accepted, and nothing had to go for it.

        ``in_order=False``: the transport knows that it was retransmitted or overtaken. What is out
        of order by PTS is noticed here. When full, the oldest unit leaves (``QUEUE_FULL``).
        """
        _, _, epoch, pts_ns, duration_ns, _, _, _, pause, _ = unit
        if epoch != self._epoch or pts_ns <= self._newest_pts_ns:
            return self._push_odd(unit, now_ns, in_order)
        self._newest_pts_ns = pts_ns
        self.units.append(unit)
        self.depth_ns += duration_ns
        self.delay.add(now_ns, pts_ns, in_order=in_order, pause=pause)
        if len(self.units) > self._capacity:
            return [(self.pop(), DropReason.QUEUE_FULL)]
        return []

    def peek(self) -> MediaUnit | None:
        return self.units[0] if self.units else None

    def pop(self) -> MediaUnit:
        """The oldest unit. ``UsageError`` when there is none: ``peek`` first."""
        if not self.units:
            raise UsageError("pop from an empty jitter buffer")
        unit = self.units.popleft()
        self.depth_ns -= unit.duration_ns
        self._left = (unit.epoch if self._epochs else 0, unit.pts_ns)
        return unit

    def clear_before(self, epoch: int) -> list[MediaUnit]:
        """Remove and return the units said before ``epoch``; later ones of these are refused as stale."""
        gone = [unit for unit in self.units if unit.epoch < epoch]
        if gone:
            self.units = deque(unit for unit in self.units if unit.epoch >= epoch)
            self.depth_ns = sum(unit.duration_ns for unit in self.units)
        if self._epochs and (self._stale_below is None or epoch > self._stale_below):
            self._stale_below = epoch
            if self._epoch is None or self._epoch < epoch:
                # All there was is past: the next unit begins the new turn, whatever its PTS.
                self._epoch, self._newest_pts_ns = epoch, -MAX_PTS_NS
                self.delay.on_discontinuity()
        return gone

    def _key(self, unit: MediaUnit) -> tuple[int, int]:
        return (unit.epoch if self._epochs else 0, unit.pts_ns)

    def _push_odd(self, unit: MediaUnit, now_ns: int, in_order: bool) -> Refused:
        """All that is not the next unit of the same turn: a turn's first, and whatever is out of order."""
        if self._stale_below is not None and unit.epoch < self._stale_below:
            return [(unit, DropReason.STALE_EPOCH)]
        key = self._key(unit)
        newest = None if self._epoch is None else (self._epoch if self._epochs else 0, self._newest_pts_ns)
        if newest is None or key > newest:
            self._epoch, self._newest_pts_ns = unit.epoch, unit.pts_ns
            self.units.append(unit)
            self.delay.on_discontinuity()
            self.delay.add(now_ns, unit.pts_ns, in_order=in_order, pause=unit.pause)
        else:
            refusal = self._insert(unit, key)
            if refusal is not None:
                return [(unit, refusal)]
        self.depth_ns += unit.duration_ns
        if len(self.units) > self._capacity:
            return [(self.pop(), DropReason.QUEUE_FULL)]
        return []

    def _insert(self, unit: MediaUnit, key: tuple[int, int]) -> DropReason | None:
        if self._left is not None and key <= self._left:
            return DropReason.DUPLICATE if key == self._left else DropReason.LATE
        place = bisect_left(self.units, key, key=self._key)
        if place < len(self.units) and self._key(self.units[place]) == key:
            return DropReason.DUPLICATE
        self.units.insert(place, unit)
        return None
