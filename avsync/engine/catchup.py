"""CatchUp: what a source that falls behind is asked to do, and when it is given its rate back.

Pictures that are late with nothing newer behind them mean that the source, not the network's
order, is behind. First it is asked to skip to where the voice will be when it can obey; when
lateness comes back soon after, it is too slow for its rate and is asked for fewer frames. A
source that stays clean gets its rate back, later each time it relapses.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from avsync.policy import AvSyncPolicy
from avsync.types import Reason, Request, Want
from avsync.units import FAR_NS, NS_PER_S, ms, seconds

RATE_WINDOW_NS: Final = seconds(2)  # how far back the source's own rate is measured
RATE_SHARE_PCT: Final = 90  # of what it was measured to manage: 22 fps -> 20, as in the first trial
CATCH_UP_NS: Final = seconds(3)  # a backlog that only a lower fps can work off should be gone in about this
LOWEST_FPS: Final = 8  # below 5 fps lip sync is meaningless (Perkins); stay clear of it
BITRATE_SHARE_PCT: Final = 70
LESS_PCT: Final = 8  # a new wish must be this much below the last one
SILENT_AFTER_NS: Final = ms(100)  # a source without a picture for this long, and two frames, has stopped
UNMOVED: Final = 2  # skips in a row after which the first picture was hardly less late: it is made that late
IN_VAIN: Final = 2  # skips in a row after which it was late again within a relapse
REFUSALS: Final = 3  # skips asked for and not taken, until the source is believed not to be able to
RESTORE_MAX_NS: Final = seconds(120)
LATENCY_MAX_NS: Final = seconds(1)
CREEP_NS: Final = ms(15)  # late by this for as long as a relapse: a slow drift, not a stall


class CatchUp:
    """``on_arrival`` for each picture pushed; ``on_late`` / ``on_time`` as they fall due."""

    def __init__(self, policy: AvSyncPolicy, levers: frozenset[Want]) -> None:
        self._policy = policy
        self._levers = levers
        self._latency_ns = policy.request_latency_ns
        self._arrivals: deque[tuple[int, int]] = deque(maxlen=512)  # (when, bytes)
        self._restore_after_ns = policy.recover_after_ns
        self._lowered: Want | None = None
        self._asked_value = 0
        self._newest_pts_ns = -1
        self._step_ns = ms(50)
        self.reset()

    def reset(self) -> None:
        """A new turn: nobody is behind yet. What was learned about the source stays."""
        self._asked_at_ns: int | None = None
        self._alive_since_ns: int | None = None  # first arrival since it was last asked
        self._skip_target_ns: int | None = None
        self._skip_done_ns: int | None = None
        self._clean_since_ns: int | None = None
        self._creeping_since_ns: int | None = None
        self._refused = 0
        self._in_vain = 0
        self._unmoved = 0
        self._late_at_ask_ns = 0
        self._obeys_by_ns = -FAR_NS  # until then what was asked for may still be on its way
        self._arrivals.clear()

    def on_arrival(self, pts_ns: int, size_bytes: int, now_ns: int, position_ns: int | None) -> None:
        self._arrivals.append((now_ns, size_bytes))
        if self._alive_since_ns is None:
            self._alive_since_ns = now_ns
        step = pts_ns - self._newest_pts_ns
        if step <= 0:
            return
        self._newest_pts_ns = pts_ns
        skipped = step > 2 * self._step_ns  # else it only went on until it came here
        if not skipped:
            self._step_ns = step
        target = self._skip_target_ns
        if target is not None and skipped and pts_ns >= target - ms(50):
            # Its first picture after the skip. Late: it takes longer to obey than was allowed for.
            late = 0 if position_ns is None else position_ns - pts_ns
            self._unmoved = self._unmoved + 1 if late > 0 and 2 * late >= self._late_at_ask_ns else 0
            if late > 0:
                self._latency_ns = min(LATENCY_MAX_NS, self._latency_ns + late)
            self._skip_target_ns = None
            self._skip_done_ns = now_ns
            self._refused = 0

    def on_late(self, late_ns: int, position_ns: int, epoch: int, now_ns: int) -> Request | None:
        """A picture is ``late_ns`` behind the voice and nothing newer has come."""
        policy = self._policy
        self._clean_since_ns = None
        slow = self._is_slow(now_ns)
        if late_ns <= policy.late_video_ns:
            if late_ns < CREEP_NS:
                self._creeping_since_ns = None
                return None
            if self._creeping_since_ns is None:
                self._creeping_since_ns = now_ns
            if now_ns - self._creeping_since_ns < policy.relapse_ns and not slow:
                return None
        if self._unmoved >= UNMOVED:
            return None  # neither a skip nor a lower rate makes up for it
        asked, target = self._asked_at_ns, self._skip_target_ns
        if asked is not None and now_ns - asked > policy.relapse_ns:
            self._unmoved = 0  # another trouble than the last one
        if asked is not None and now_ns - asked < policy.skip_again_after_ns:
            return None
        if target is not None and (
            position_ns < target or (self._alive_since_ns is None and now_ns < self._obeys_by_ns)
        ):
            return None  # a skip is under way: asking again would only move its target
        alive = self._alive_since_ns
        may_skip = self._refused < REFUSALS
        if may_skip and target is not None and alive is not None and now_ns - alive > self._latency_ns:
            # It made pictures for long enough and went on where it was: it does not skip, or not yet.
            self._latency_ns = min(LATENCY_MAX_NS, 2 * self._latency_ns)
            self._refused += 1
        self._asked_at_ns, self._late_at_ask_ns = now_ns, late_ns
        self._alive_since_ns = None
        self._creeping_since_ns = None
        done = self._skip_done_ns
        relapsed = done is not None and now_ns - done < policy.relapse_ns
        can_skip = Want.SKIP_TO_PTS in self._levers and self._refused < REFUSALS
        if (self._lowered is None and relapsed) or not can_skip:
            request = self._ask_less(late_ns, epoch, now_ns)
            if request is not None:
                # The backlog is still there: the next call may ask to skip over it at once.
                if can_skip:
                    self._asked_at_ns = self._skip_target_ns = None
                return request
        if not can_skip:
            return None  # should the last skip come after all, it is believed again
        self._in_vain = self._in_vain + 1 if relapsed else 0
        # A creeping source is nearly there: a margin would only tear a larger hole.
        margin = policy.skip_margin_ns if late_ns > policy.late_video_ns and not slow else 0
        self._skip_target_ns = target = position_ns + self._latency_ns + margin
        # A source that was making pictures obeys, and what it makes then may be as late as what it made before. One
        # that has fallen silent is asked again, so that it goes on where the voice is by then.
        arrivals = self._arrivals
        if arrivals and now_ns - arrivals[-1][0] <= max(2 * self._step_ns, SILENT_AFTER_NS):
            self._obeys_by_ns = now_ns + 2 * self._latency_ns + margin + late_ns
        return Request(Want.SKIP_TO_PTS, target, now_ns, epoch, Reason.BEHIND)

    def _is_slow(self, now_ns: int) -> bool:
        """It skipped a moment ago, can do nothing else, and is late again: many small holes are better than few large.

        At 22 of 25 frames a second it falls 45 ms behind in 0.4 s. Skipping 150 ms each time tears holes of 200 ms,
        15 % of the time; a frame now and then is all it takes.
        """
        done = self._skip_done_ns
        return (
            done is not None
            and now_ns - done < self._policy.relapse_ns
            and not (Want.FPS in self._levers or Want.BITRATE in self._levers)
        )

    def helpless(self) -> bool:
        """Nothing the source can do helps: it has no lever, or it skipped and was as late again at once, or soon."""
        return self._in_vain >= IN_VAIN or self.unmoved()

    def unmoved(self) -> bool:
        """Nothing the source can do makes its pictures less late, not even for a while."""
        can_skip = Want.SKIP_TO_PTS in self._levers and self._refused < REFUSALS
        return self._unmoved >= UNMOVED or not (can_skip or Want.FPS in self._levers)

    def on_time(self, epoch: int, now_ns: int) -> Request | None:
        """A picture was on time. After long enough a lowered rate is given back."""
        self._unmoved = 0
        self._creeping_since_ns = None
        if self._lowered is None:
            return None
        if self._clean_since_ns is None:
            self._clean_since_ns = now_ns
        if now_ns - self._clean_since_ns < self._restore_after_ns:
            return None
        want, self._lowered = self._lowered, None
        self._restore_after_ns = min(RESTORE_MAX_NS, 2 * self._restore_after_ns)
        self._skip_done_ns = now_ns  # a relapse right after this is the rate's fault again
        return Request(want, 0, now_ns, epoch, Reason.RECOVERED)

    def _ask_less(self, late_ns: int, epoch: int, now_ns: int) -> Request | None:
        """Fewer frames, or smaller ones; again only where clearly less is needed than was asked for."""
        for want in (Want.FPS, Want.BITRATE):
            if want in self._levers:
                value = self._manageable(want, late_ns, now_ns)
                if self._lowered is want and value * 100 > self._asked_value * (100 - LESS_PCT):
                    return None
                self._lowered, self._asked_value = want, value
                return Request(want, value, now_ns, epoch, Reason.SLOW)
        return None

    def _manageable(self, want: Want, late_ns: int, now_ns: int) -> int:
        """A rate the source has shown that it can keep, low enough to work its backlog off.

        A source that makes c frames/s and is asked for f gains c/f - 1 seconds a second.
        """
        arrivals = self._arrivals
        while len(arrivals) > 1 and now_ns - arrivals[0][0] > RATE_WINDOW_NS:
            arrivals.popleft()
        if len(arrivals) < 3:
            return 20 if want is Want.FPS else 500_000
        span_ns = max(1, arrivals[-1][0] - arrivals[0][0])
        if want is Want.BITRATE:
            return sum(size for _, size in arrivals) * 8 * NS_PER_S * BITRATE_SHARE_PCT // (100 * span_ns)
        fps_ns = (len(arrivals) - 1) * NS_PER_S
        sustainable = fps_ns * RATE_SHARE_PCT // (100 * span_ns)
        catching_up = fps_ns * CATCH_UP_NS // (span_ns * (CATCH_UP_NS + late_ns))
        return max(LOWEST_FPS, min(sustainable, catching_up))
