"""ViewerTrim: a slow correction of what viewers see, by what they report.

What it corrects is the rest that the browser's own loop leaves (nothing inside 30 ms, see
``sim/browser/lip_sync.py``), and what that loop cannot know: a constant error of the path behind it. It
never runs against that loop: a trim moves the content under the stamps, while the browser aligns
stamps, so neither sees what the other does. It goes by the *untrimmed* offset (what would be seen
without any trim), so that its own work, seen ten seconds later, is not taken for news.

It acts only where the median of ten seconds is beyond 20 ms in both of its halves; towards less trim
from 10 ms on, so that a trim that the browser's loop has made superfluous is taken back. It never
looks at a viewer's first 20 s, nor at stalls. UNKNOWN, or a stall: it stays where it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from avsync.errors import check_now
from avsync.policy import AvSyncPolicy
from avsync.types import InsertSilence, Present, Reason
from avsync.units import FAR_NS, ms, seconds
from avsync.webrtc.viewers.observer import Recent

ACT_BEYOND_NS = ms(20)
"""Half of what can be seen at all (BT.1359: 45 ms), and well above what such a reading is wrong by (3 ms)."""
TAKE_BACK_BEYOND_NS = ms(10)
"""Less trim is always the safer side: nobody knows whether what it was for still holds."""
DONE_WITHIN_NS = ms(2)
HISTORY_NS = seconds(40)
"""Trims are remembered for as long as a sample may be under way, and then some."""
HOLD_AFTER_STALL_NS = seconds(20)
"""After a stall the browser's buffers are on the move again, for as long as after a start."""
EVERY_NS = seconds(1)


class ViewerTrim:
    """``update`` once a second; what it answers goes to ``AvSynchronizer.trim``, which takes it there slowly."""

    def __init__(self, policy: AvSyncPolicy | None = None) -> None:
        self.policy = policy if policy is not None else AvSyncPolicy()
        self.active = False
        self._now_ns = -FAR_NS
        self._trims: deque[tuple[int, int]] = deque()
        self._stalled_ns = -FAR_NS

    def update(self, viewers: Iterable[Recent | None], *, trim_ns: int, now_ns: int, steady: bool = True) -> int | None:
        """Where the trim should go now; None: leave it to what was asked last.

        ``viewers``: ``ViewerObserver.recent`` of each viewer that is connected. ``trim_ns``: the engine's
        trim now. ``steady``: False while our own output is in a stall, or degraded.
        """
        self._now_ns = check_now(now_ns, self._now_ns)
        self._trims.append((now_ns, trim_ns))
        while self._trims[0][0] < now_ns - HISTORY_NS:
            self._trims.popleft()
        viewers = list(viewers)
        if not viewers:
            self.active = False
            return 0 if trim_ns else None  # it was for those who have gone
        known = [viewer for viewer in viewers if viewer is not None]
        if not steady:
            self._stalled_ns = now_ns
        if not known or now_ns - self._stalled_ns < HOLD_AFTER_STALL_NS:
            return self._stay(trim_ns)
        seen_ns = fewest([viewer.median_ns for viewer in known])
        untrimmed_ns = fewest([viewer.median_ns + self._trim_between(viewer) for viewer in known])
        limit_ns = self.policy.trim_max_ns
        goal_ns = max(-limit_ns, min(limit_ns, untrimmed_ns))
        if self.active:
            if abs(goal_ns - trim_ns) <= DONE_WITHIN_NS:
                return self._stay(trim_ns)
            return goal_ns
        less = abs(goal_ns) < abs(trim_ns) and seen_ns * trim_ns < 0
        beyond_ns = TAKE_BACK_BEYOND_NS if less else ACT_BEYOND_NS
        halves = fewest([viewer.older_ns for viewer in known]), fewest([viewer.newer_ns for viewer in known])
        sign = 1 if seen_ns > 0 else -1
        if all(sign * each > beyond_ns for each in (seen_ns, *halves)) and abs(goal_ns - trim_ns) > DONE_WITHIN_NS:
            self.active = True
            return goal_ns
        return None

    def _stay(self, trim_ns: int) -> int | None:
        """On its way, it stops where it is; where it stands, there is nothing to say."""
        if not self.active:
            return None
        self.active = False
        return trim_ns

    def _trim_between(self, viewer: Recent) -> int:
        """The trim under which these samples were seen, on the average."""
        trims = [trim for at, trim in self._trims if viewer.from_ns <= at <= viewer.until_ns]
        return sum(trims) // len(trims) if trims else self._trims[0][1]


class TrimLoop:
    """``after_slot`` with each slot of sound; once a second it looks at what the viewers report.

    ``recent(now_ns)``: ``ViewerObserver.recent`` of each viewer that is connected and has reported.
    """

    def __init__(self, policy: AvSyncPolicy, recent: Callable[[int], list[Recent | None]]) -> None:
        self._trim, self._recent = ViewerTrim(policy), recent
        self._at_ns = 0
        self._steady = True  # since the last look our own output had no stall

    def after_slot(self, sound: Present | InsertSilence, *, stalled: bool, trim_ns: int, now_ns: int) -> int | None:
        """Where the engine's trim should go now; None: leave it. ``stalled``: pictures are missing."""
        stands = isinstance(sound, InsertSilence) and sound.reason in (Reason.UNDERRUN, Reason.HOLD)
        self._steady &= not (stands or stalled)
        if now_ns < self._at_ns:
            return None
        self._at_ns, steady, self._steady = now_ns + EVERY_NS, self._steady, True
        return self._trim.update(self._recent(now_ns), trim_ns=trim_ns, now_ns=now_ns, steady=steady)


def fewest(values: list[int]) -> int:
    """The median; of an even number the middle one that is nearer to 0, and 0 between two that disagree on the sign."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    if low < 0 < high:
        return 0
    return low if abs(low) < abs(high) else high
