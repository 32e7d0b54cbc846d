"""Pictures: which frame is shown now, and what happens when the one that is due is not there.

A picture is due when the sound of the same content leaves. Little late, it is shown at once;
later, it makes way for a newer one; too late, the last picture is repeated and the ladder
climbed: repeat, alert, idle picture. Encoded frames that others need are never dropped alone.

Two things move that moment. The *trim* moves the pictures against the voice, due time and stamp
alike: all that is decided here is decided against the content whose pictures leave now, the
voice's position + trim. The *head start* only says how long before it is due a picture is answered (its
encoder needs the time): due time, stamp and lateness stay what they are.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Final

from avsync.engine.catchup import CREEP_NS, CatchUp
from avsync.engine.key_frame_request import KeyframeRequest
from avsync.engine.lag import Lag
from avsync.engine.late_ladder import ALERT, DEGRADE, IDLE, MAKE_WAY, SHOW_LATE, TOO_LATE, climb, decide
from avsync.engine.open_loop import OpenLoop
from avsync.engine.playout import INVALID, STANDING, PlayoutClock
from avsync.engine.trim import Trim
from avsync.policy import AvSyncPolicy, Pacing
from avsync.types import (
    Alert,
    Answer,
    Degrade,
    Drop,
    DropReason,
    MediaUnit,
    Present,
    Reason,
    Repeat,
    Request,
    Want,
)
from avsync.units import ms

STAMP_STEP_NS: Final = ms(1)  # stamps closer than this could be one RTP tick (LiveKit keeps the same step)
VISIBLY_LATE_NS: Final = ms(25)  # what our output promises (p95): lateness below it is not worth a longer delay
LATE_FOR_NS: Final = ms(1000)  # a heap after a stall is late together, then on time; a sender repeats for less
NOMINAL_NS: Final = ms(40)  # a frame that does not say how long it lasts (25 fps)

_DUE: Final = Reason.DUE
_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


class Pictures:
    """``push`` units, ``answer(now_ns)`` until None. Follows ``clock``; knows the playing ``epoch``.

    ``pending`` is the engine's: what is to be answered before anything else is decided.
    """

    def __init__(
        self,
        policy: AvSyncPolicy,
        clock: PlayoutClock,
        pending: deque[Answer],
        trim: Trim,
        *,
        levers: frozenset[Want],
        tick_ns: int,
        tells_stalls: bool = True,
    ) -> None:
        self._tells_stalls = tells_stalls
        self._policy, self._late_video_ns = policy, policy.late_video_ns
        self._clock = clock
        self._half_tick_ns = tick_ns // 2
        self._early_ns = self._half_tick_ns  # and the head start: so long before it is due a picture may be answered
        self._trim = trim
        # (pts, open-loop due, unit, whether a picture that it may need was lost before it came here)
        self.queue: deque[tuple[int, int, MediaUnit, bool]] = deque()
        self._pending = pending
        self._open_loop = None if policy.pacing is Pacing.CONTENT_CLOCK else OpenLoop(policy.pacing)
        self._catchup = CatchUp(policy, levers)
        self.epoch = -1
        self.finished_epoch = -1
        self.shown_pts_ns = -1
        self.gap_found = False  # what is missing is looked for once a slot of sound, and then answered
        self._shown: MediaUnit | None = None
        self._last_stamp_ns = -1
        self._expected_pts_ns = 0
        self._missing_pts_ns = 0  # the content whose place the next Repeat takes
        self._level = 0
        self._behind_ns = 0  # all pictures come at least this late, and the source cannot help it
        self._late_since_ns: int | None = None
        self._late_low_ns = self._late_low_before_ns = 0
        self._lag = Lag(VISIBLY_LATE_NS, policy.repeat_after_ns)
        self._late_alerted = False
        self._on_time_since_ns = 0
        self._alerted = False
        self._keyframe = KeyframeRequest(levers)
        self._lost_before_next = False
        self._undecodable_since_ns: int | None = None

    # ---- in

    def head_start(self, head_start_ns: int) -> None:
        self._early_ns = self._half_tick_ns + head_start_ns

    def push(self, unit: MediaUnit, now_ns: int, sound_buffered_ns: int) -> DropReason | None:
        queue, pts_ns = self.queue, unit.pts_ns
        self._catchup.on_arrival(pts_ns, unit.size_bytes, now_ns, self._position_ns(now_ns))
        due = 0
        if self._open_loop is not None:
            due = self._open_loop.due_ns(now_ns, pts_ns, self._policy.nominal_frame_ns, sound_buffered_ns)
        elif pts_ns <= self.shown_pts_ns:
            if pts_ns == self.shown_pts_ns:
                return DropReason.DUPLICATE
            self._breaks(unit, now_ns)
            return DropReason.LATE
        entry = (pts_ns, due, unit, self._lost_before_next)
        if not queue or pts_ns > queue[-1][0] or self._open_loop is not None:
            queue.append(entry)
        else:
            if any(pts_ns == other[0] for other in queue):
                return DropReason.DUPLICATE
            ordered = list(queue)
            insort(ordered, entry, key=lambda item: item[0])
            self.queue = deque(ordered)
        self._lost_before_next = False
        if self._keyframe.needed and not unit.is_key and not self._key_waits(-1, -1):
            self._breaks(unit, now_ns)  # it will not be shown: ask now, not when it would be due
        if len(self.queue) > self._policy.video_queue_units:
            _, _, oldest, _ = self.queue.popleft()
            self._pending.append(self._drop(oldest, now_ns, DropReason.QUEUE_FULL))
        return None

    def lost(self, unit: MediaUnit) -> None:
        """``unit`` was refused before it came here; what is pushed from now on may need it."""
        if not unit.droppable:
            self._lost_before_next = True

    def stale(self, unit: MediaUnit, now_ns: int) -> None:
        """``unit`` was said before an interrupt, and is dropped: what comes after it may need it, turn or no turn."""
        if unit.droppable or self._keyframe.before_key(unit):
            return
        self._keyframe.needed = True
        if not self._key_waits(unit.epoch, unit.pts_ns):
            self._breaks(unit, now_ns)

    def _key_waits(self, epoch: int, pts_ns: int) -> bool:
        """Is a key frame in the queue that comes after this place?"""
        return any(unit.is_key and (unit.epoch, unit.pts_ns) > (epoch, pts_ns) for _, _, unit, _ in self.queue)

    def interrupt(self, epoch: int) -> list[MediaUnit]:
        """Forget every picture before ``epoch``, the one on screen included."""
        if self._policy.epochs:
            self.epoch = epoch - 1
            self.shown_pts_ns = -1  # a provider's stamps may go back with the reply; what is old is known by its epoch
        stale = [entry[2] for entry in self.queue if entry[2].epoch < epoch]
        self.queue = deque(entry for entry in self.queue if entry[2].epoch >= epoch)
        self._shown = None
        self._undecodable_since_ns = None
        self._catchup.reset()
        if self._open_loop is not None:
            self._open_loop.flush()
        return stale

    def neutral(self, epoch: int, now_ns: int) -> None:
        """After an interrupt no mouth of the old turn stays: show the idle picture until the next one."""
        self._end_alert(epoch, now_ns)
        self._end_late_alert(now_ns)
        self.waits()
        self._level = 2
        self._pending.append(Degrade(2, now_ns, epoch, Reason.INTERRUPTED))

    def finish(self, epoch: int, now_ns: int) -> None:
        """Nothing more comes in this turn: nothing is missing after its last picture."""
        self.finished_epoch = max(self.finished_epoch, epoch)
        if epoch >= self.epoch and not self.queue:
            self._end_alert(epoch, now_ns)

    def rebase(self) -> list[MediaUnit]:
        """The timeline began again further back: what is queued belongs to the old one."""
        self.shown_pts_ns = -1
        self._keyframe.rebase()
        return self.close()

    def start_turn(self, epoch: int, now_ns: int) -> None:
        if epoch != self.epoch:
            self.epoch = epoch
            self._shown = None
            self._catchup.reset()
            self.waits()
            self._end_late_alert(now_ns)

    def close(self) -> list[MediaUnit]:
        units = [entry[2] for entry in self.queue]
        self.queue.clear()
        return units

    # ---- out

    def __len__(self) -> int:
        return len(self.queue)

    def head(self) -> MediaUnit | None:
        return self.queue[0][2] if self.queue else None

    def on_slot(self, now_ns: int) -> None:
        """A slot of sound came: look once whether a picture is missing."""
        clock = self._clock
        state = clock.state
        if state is INVALID or state is STANDING or self._open_loop is not None:
            return
        position = clock.position_ns(now_ns)
        assert position is not None
        self.gap_found = position + self._trim.ns - self._expected_pts_ns >= self._late_video_ns

    def take_behind_ns(self) -> int:
        """By how much all pictures are late, at the least, while the source cannot help it; told once, else 0."""
        behind_ns, self._behind_ns = self._behind_ns, 0
        return behind_ns

    def missing(self, now_ns: int) -> bool:
        """For a video master: is the picture that should be on screen not there?"""
        if self.queue or self._shown is None or self.finished_epoch >= self.epoch:
            return False
        position = self._position_ns(now_ns)
        return position is not None and position - self._expected_pts_ns >= 0

    def next_due_ns(self, now_ns: int) -> int | None:
        """When ``answer`` gives the head of the queue its answer, if that is known."""
        if not self.queue:
            return None
        pts, due, unit, _ = self.queue[0]
        if self._open_loop is not None:
            return due
        if unit.epoch != self.epoch:
            return None if unit.epoch > self.epoch else now_ns
        clock = self._clock
        early = self._early_ns if clock.state is not STANDING else self._half_tick_ns
        return clock.reaches_ns(pts - self._trim.ns - early, now_ns)

    def answer(self, now_ns: int) -> Answer | None:
        if self._open_loop is not None:
            return self._answer_open_loop(now_ns)
        if not self.queue and not self.gap_found:
            return None
        clock = self._clock
        if clock.state is INVALID:
            self.gap_found = False
            return None
        position = clock.position_ns(now_ns)
        assert position is not None
        position += self._trim.ns
        # While the voice stands nobody knows when it goes on: nothing is ahead of a time that is not known.
        early = self._early_ns if clock.state is not STANDING else self._half_tick_ns
        queue = self.queue
        while queue:
            pts, _, unit, lost_before = queue[0]
            if unit.epoch != self.epoch:
                if unit.epoch > self.epoch:
                    break  # the next turn's pictures wait for its voice
                queue.popleft()
                return self._drop(unit, now_ns, DropReason.LATE_NEWER)
            late = position - pts
            if late < -early:
                break
            queue.popleft()
            if lost_before:
                self._keyframe.needed = True
            return self._decide(unit, late, position, now_ns)
        if self.gap_found:
            missing = position - self._expected_pts_ns
            if missing >= self._late_video_ns and clock.state is not STANDING:
                answer = self._missing(position, now_ns)
                if answer is not None:
                    return answer
            self.gap_found = False
        return None

    def _decide(self, unit: MediaUnit, late: int, position: int, now_ns: int) -> Answer:
        self._note_lateness(late, now_ns)  # also of one that cannot be shown: it came as late as those before it
        if not self._keyframe.admits(unit):
            self._tell_undecodable(now_ns)
            return self._drop(unit, now_ns, DropReason.DEPENDENCY)
        self._undecodable_since_ns = None
        queue = self.queue
        newer_due = bool(queue) and queue[0][0] <= position and queue[0][2].epoch == self.epoch
        if newer_due and not unit.droppable:
            # Others need it: it may only make way for a key frame that is due as well.
            newer_due = any(
                pts <= position and later.is_key and later.epoch == self.epoch and not lost
                for pts, _, later, lost in queue
            )
        idle = self._level == 2 and self._shown is not None
        decision = decide(late, newer_due=newer_due, idle=idle, policy=self._policy)
        if not newer_due:
            self._ask(
                self._catchup.on_late(late, position, unit.epoch, now_ns)
                if late >= CREEP_NS
                else self._catchup.on_time(unit.epoch, now_ns)
            )
        if decision is MAKE_WAY:
            return self._drop(unit, now_ns, DropReason.LATE_NEWER)
        if decision is TOO_LATE:
            return self._drop(unit, now_ns, DropReason.LATE)
        stamp = self._stamp_ns(unit.pts_ns)
        if stamp < self._last_stamp_ns + STAMP_STEP_NS:
            return self._drop(unit, now_ns, DropReason.STAMP_ORDER)
        return self._show(unit, stamp, Reason.LATE if decision is SHOW_LATE else _DUE, now_ns)

    def _tell_undecodable(self, now_ns: int) -> None:
        """Pictures come, and none can be shown. Nothing is missing, so the ladder below does not see it."""
        since_ns = self._undecodable_since_ns
        if since_ns is None:
            self._undecodable_since_ns = now_ns
        elif not self._alerted and now_ns - since_ns >= self._policy.stall_alert_after_ns:
            self._alerted = True
            self._pending.append(Alert("stall_video", True, now_ns, self.epoch, now_ns - since_ns))

    def _note_lateness(self, late: int, now_ns: int) -> None:
        """Every picture of a while came late by at least ``low``, or some of them again and again: no stall, no heap,
        but their way."""
        self._lag.add(max(late, 0), now_ns)
        if late < CREEP_NS:
            self._late_since_ns = None
            self._end_late_alert(now_ns, self._policy.recover_after_ns)
            if self._catchup.unmoved():
                self._behind_ns = self._lag.needed_ns()
            return
        self._on_time_since_ns = now_ns
        since = self._late_since_ns
        if since is None:
            self._late_since_ns, self._late_low_ns = now_ns, late
            return
        self._late_low_ns = low = min(late, self._late_low_ns)
        if now_ns - since >= LATE_FOR_NS:
            self._late_since_ns = None
            before, self._late_low_before_ns = self._late_low_before_ns, low
            # As late as the second before: whatever was asked for, it did not help.
            if self._catchup.helpless() or (low >= VISIBLY_LATE_NS and 8 * before <= 10 * low <= 12 * before):
                self._behind_ns = max(low, self._lag.needed_ns())

    def waits(self) -> None:
        """The voice waits for the pictures: how late they were is over."""
        self._lag.reset()
        self._late_since_ns, self._late_low_before_ns = None, 0

    def beyond_help(self, late_ns: int, now_ns: int) -> None:
        """Pictures come later than the voice may wait: somebody has to know."""
        if not self._late_alerted:
            self._late_alerted = True
            self._pending.append(Alert("late_video", True, now_ns, self.epoch, late_ns))

    def _end_late_alert(self, now_ns: int, after_ns: int = 0) -> None:
        if self._late_alerted and now_ns - self._on_time_since_ns >= after_ns:
            self._late_alerted = False
            self._pending.append(Alert("late_video", False, now_ns, self.epoch, 0))

    def _show(self, unit: MediaUnit, stamp: int, reason: Reason, now_ns: int) -> Answer:
        epoch, pts_ns = unit.epoch, unit.pts_ns
        self._shown = unit
        self.shown_pts_ns = pts_ns
        self._last_stamp_ns = stamp
        self._expected_pts_ns = self._missing_pts_ns = pts_ns + (unit.duration_ns or NOMINAL_NS)
        present = _new(Present, (unit, now_ns, stamp, epoch, reason, 0))
        if self._alerted:
            self._end_alert(epoch, now_ns)
        if self._level == 0:
            return present
        self._level = 0
        self._pending.appendleft(present)
        return Degrade(0, now_ns, unit.epoch, Reason.RECOVERED)

    def _missing(self, position: int, now_ns: int) -> Answer | None:
        """Nothing fresh where something was due: ask, repeat, and climb the ladder."""
        shown = self._shown
        if shown is None or self.finished_epoch >= self.epoch:
            return None
        missing = position - self._expected_pts_ns
        if not self.queue or self.queue[0][2].epoch != self.epoch:
            # Else the source is ahead again, and the gap is what it skipped (or lost).
            request = self._catchup.on_late(missing, position, self.epoch, now_ns)
            if request is not None:
                return request
        # What comes over a network is not known to be speech: silence after a turn comes in packets, too.
        alerted = self._alerted or not self._tells_stalls
        rung = climb(missing, level=self._level, alerted=alerted, policy=self._policy)
        if rung is ALERT:
            self._alerted = True
            return Alert("stall_video", True, now_ns, self.epoch, missing)
        if rung is DEGRADE or rung is IDLE:
            self._level += 1
            return Degrade(self._level, now_ns, self.epoch, Reason.MISSING)
        return self._repeat(shown, position, now_ns)

    def _repeat(self, shown: MediaUnit, position: int, now_ns: int) -> Repeat | None:
        """The picture on screen in the place of a missing one: stamped where that one's sound left."""
        width = shown.duration_ns or NOMINAL_NS
        behind = position - self._missing_pts_ns - self._policy.repeat_after_ns
        if behind < 0:
            return None
        if behind >= 2 * width:  # the content jumped, or the driver slept: no burst makes up for it
            self._missing_pts_ns += behind // width * width
        stamp = self._stamp_ns(self._missing_pts_ns)
        self._missing_pts_ns += width
        if stamp < self._last_stamp_ns + STAMP_STEP_NS:
            return None
        self._last_stamp_ns = stamp
        return Repeat(shown, now_ns, stamp, self.epoch, Reason.MISSING)

    def _position_ns(self, now_ns: int) -> int | None:
        """The content whose pictures leave now."""
        position = self._clock.position_ns(now_ns)
        return None if position is None else position + self._trim.ns

    def _stamp_ns(self, pts_ns: int) -> int:
        """Due time, as the sound around it left. Where the voice stalled, or another turn lies, between the picture's
        content and the content whose sound leaves with it, the later of the two says when: stamps never go back."""
        trim = self._trim.ns
        return pts_ns - trim + self._clock.shift_at(pts_ns if trim >= 0 else pts_ns - trim)

    def _answer_open_loop(self, now_ns: int) -> Answer | None:
        if not self.queue or self.queue[0][1] > now_ns:
            return None
        unit = self.queue.popleft()[2]
        return self._show(unit, max(now_ns, self._last_stamp_ns + ms(1)), Reason.ON_ARRIVAL, now_ns)

    def _drop(self, unit: MediaUnit, now_ns: int, reason: DropReason) -> Drop:
        self._breaks(unit, now_ns)
        return Drop(unit, now_ns, unit.epoch, reason)

    def _breaks(self, unit: MediaUnit, now_ns: int) -> None:
        """``unit`` is not shown: what depends on it cannot be, either. Ask for a key frame until one comes."""
        self._ask(self._keyframe.dropped(unit, now_ns))

    def _end_alert(self, epoch: int, now_ns: int) -> None:
        if self._alerted:
            self._alerted = False
            self._pending.append(Alert("stall_video", False, now_ns, epoch, 0))

    def _ask(self, request: Request | None) -> None:
        if request is not None:
            self._pending.append(request)
