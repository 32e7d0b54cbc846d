"""Voice: what the sound does in the next output slot, and how that moves the content clock.

One answer per slot, for ever: content, or silence with the reason why. Inserted silence stops
the content clock, so the pictures hold with it; loss and marked pauses let the content pass.
Output time never stops, whatever the content does.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Final

from avsync.engine.jitter_buffer import JitterBuffer
from avsync.engine.playout import PlayoutClock
from avsync.policy import AvSyncPolicy, Master, Pacing
from avsync.types import Drop, DropReason, InsertSilence, MediaUnit, Present, Reason
from avsync.units import FAR_NS, ms, seconds, stretched_ns

GIVE_UP_NS: Final = seconds(10)  # a voice silent for this long, unannounced, has ended
RATE_DEADBAND_NS: Final = ms(10)  # the delay may be off by this before the sound's rate is touched
AHEAD_NS: Final = ms(40)  # so much more in hand, and on schedule, is sound sent ahead: no clock drifts so fast
SPARE_WINDOW_NS: Final = seconds(2)  # how early pictures come is the least of so long, at least
SLACK_SMOOTHING: Final = 50  # of one-unit samples: about 1 s of 20 ms units (mpv filters over 1 s)


class VoiceState(Enum):
    IDLE = "idle"
    SPEAKING = "speaking"
    STALLED = "stalled"  # ran out unannounced
    PAUSED = "paused"  # a marked pause, or the silent tail of a finished turn


IDLE: Final = VoiceState.IDLE
SPEAKING: Final = VoiceState.SPEAKING
STALLED: Final = VoiceState.STALLED
PAUSED: Final = VoiceState.PAUSED
_DUE: Final = Reason.DUE
_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


class Voice:
    """``answer(now_ns)`` once per slot. ``content_ns``: the content that leaves at ``slot_ns``."""

    def __init__(self, policy: AvSyncPolicy, *, network: bool) -> None:
        self._policy = policy
        self._network = network
        # Only a network has jitter before anything was seen of it.
        self.buffer = JitterBuffer(policy if network else replace(policy, jitter_start_ns=policy.jitter_min_ns))
        self.clock = PlayoutClock(policy.slew_ppm)
        self.state = IDLE
        self.epoch = -1
        self.slot_ns: int | None = None
        self.content_ns = 0
        self.finished_epoch = -1
        self.played_pts_ns: int | None = None
        self.stall_since_ns: int | None = None
        self._schedule_ns = 0  # (slot - PTS) as this turn began, and what the voice waited since for its pictures
        self._next_delay_ns = policy.playout_delay_ns  # the common delay that a new turn gets
        self.delay_ns = 0  # what this turn's sound waits from its arrival on, by what its first unit waited
        self._picture_wait_ns = policy.start_wait_video_ns  # how long its first sound waits for its first picture
        self._picture_shifts: dict[int, int] = {}  # that picture's (arrival - PTS), by epoch
        self._origin_ns: int | None = None  # of an open loop's own clock
        self._video_master = policy.master is Master.VIDEO
        self._open_loop = policy.pacing is not Pacing.CONTENT_CLOCK
        self._first_arrivals: dict[int, int] = {}  # by epoch, of turns that have not begun
        self._stood_ns = 0
        self._stood_tail_ns = -1  # what was queued already when the sound stopped says nothing of the gap behind it
        self._last_was_pause = False
        self._resized = False  # this pause is as short as it gets
        self._lost_until_ns = -1  # content up to here was given up as lost
        # How long a unit waits here, smoothed; and what it was when the turn had settled (or
        # was changed to on purpose): the rate correction takes drift away, not what the pictures need.
        self._flush = False
        self._slack_ns: int | None = None
        self._slack_units = 0
        self._steady_slack_ns: int | None = None
        self._ahead_ns = 0  # of what is in hand, so much was sent ahead of its time
        # How long before they are due this turn's pictures come: the least of the last window, and of this one.
        self._spare_ns: int | None = None
        self._next_spare_ns: int | None = None
        self._spare_until_ns = 0
        self._owed_ns = 0
        self._pictures_need_ns = 0  # what the delay has to be for the pictures, once they were waited for
        self._stretch_ppm = 0

    # ---- in

    def push(self, unit: MediaUnit, now_ns: int, in_order: bool) -> list[tuple[MediaUnit, DropReason]]:
        epoch = unit.epoch
        if epoch > self.epoch and epoch not in self._first_arrivals:
            self._first_arrivals[epoch] = now_ns
        if self._network and self.state is SPEAKING and epoch == self.epoch:
            slack = unit.pts_ns - self.content_ns + (self.slot_ns or now_ns) - now_ns
            old = self._slack_ns
            self._slack_ns = slack if old is None else old + (slack - old) // SLACK_SMOOTHING
            self._slack_units += 1
            if self._slack_units == SLACK_SMOOTHING:
                self._steady_slack_ns = self._slack_ns
        return self.buffer.push(unit, now_ns, in_order=in_order)

    def on_first_picture(self, epoch: int, shift_ns: int) -> None:
        """The first picture of a turn came, ``shift_ns`` (arrival - PTS) after its content."""
        self._picture_shifts[epoch] = shift_ns

    def on_picture(self, pts_ns: int, now_ns: int) -> None:
        """A picture of the turn that is being played came."""
        position = self.clock.position_ns(now_ns)
        if position is None:
            return
        spare, least = pts_ns - position, self._next_spare_ns
        if least is None or now_ns >= self._spare_until_ns:
            self._spare_ns, self._next_spare_ns, self._spare_until_ns = least, spare, now_ns + SPARE_WINDOW_NS
        elif spare < least:
            self._next_spare_ns = spare

    def _needless_ns(self) -> int:
        """By how much the pictures could leave earlier, against what the turn began with: their way is shorter now.

        Without pictures there is nothing that the voice would have to wait for.
        """
        least, spare = self._next_spare_ns, self._spare_ns
        if least is None:
            return FAR_NS
        return 0 if spare is None else max(min(spare, least) - self.delay_ns, 0)

    def picture_shift_ns(self, epoch: int) -> int:
        """(arrival - PTS) of the first picture of a turn that has not begun; 0 where none has come."""
        return self._picture_shifts.get(epoch, 0)

    def finish(self, epoch: int) -> None:
        """Nothing more is said in this turn: silence after it is no stall."""
        self.finished_epoch = max(self.finished_epoch, epoch)

    def prepare(self, delay_ns: int, picture_wait_ns: int) -> None:
        """Between turns: the common delay of the next one, and how long its sound may wait for its first picture."""
        self._next_delay_ns, self._picture_wait_ns = delay_ns, picture_wait_ns

    def interrupt(self, epoch: int) -> list[MediaUnit]:
        """Forget everything before ``epoch``; the next slot is silent."""
        if self._policy.epochs:
            self.epoch = epoch - 1
        self.state = IDLE
        self.clock.invalidate()
        self.stall_since_ns = None
        self._last_was_pause = False
        self._forget_up_to(epoch - 1)
        return self.buffer.clear_before(epoch)

    def rebase(self) -> list[MediaUnit]:
        """The timeline began again further back: what is queued belongs to the old one."""
        self._lost_until_ns = -1
        old, self.buffer = self.buffer, JitterBuffer(self._policy)
        self.buffer.delay = old.delay
        old.delay.on_discontinuity()
        return old.clear_before(FAR_NS)

    # ---- out

    def answer(self, now_ns: int, *, pictures_left: bool, hold: bool) -> Present | InsertSilence | Drop | None:
        """What leaves in the slot that has come; None before it has.

        ``pictures_left``: of the turn being played some are still queued. ``hold``: the picture is master and missing.
        """
        slot = self.slot_ns
        if slot is None:
            slot = self.slot_ns = now_ns
        if now_ns < slot:
            return None
        width = self._policy.slot_ns
        if now_ns - slot >= width:
            # The driver slept through whole slots: they were silent, and no burst makes up for it.
            width *= (now_ns - slot) // width
            if len(self.buffer):
                return self._silence(slot, width, Reason.IDLE if self.state is IDLE else Reason.UNDERRUN)
        if not self.buffer.units:
            return self._nothing(slot, width)
        unit = self.buffer.units[0]
        if self._open_loop:
            return self._by_own_clock(unit, slot)
        if unit.epoch != self.epoch or self.state is IDLE:
            return self._begin(unit, slot, pictures_left)
        if hold:
            return self._silence(slot, width, Reason.HOLD)
        if self._owed_ns > 0:
            self._owed_ns -= width
            return self._silence(slot, width, Reason.HOLD)
        return self._go_on(unit, slot)

    def wait_for_pictures(self, by_ns: int) -> bool:
        """Pictures come this late, and nobody can be asked: the voice waits once, then both go on together.

        Silence in the middle of a word is the smaller evil: the other is lips that never fit again. False where it
        would not help: with all that the policy allows they would still be visibly late.
        """
        if self._owed_ns > 0:
            return True
        slot_ns = self._policy.slot_ns  # it waits for whole slots
        room_ns = max(self._policy.playout_delay_max_ns - self.delay_ns, 0) // slot_ns * slot_ns
        wait_ns = min(-(-by_ns // slot_ns) * slot_ns, room_ns)
        if wait_ns == 0 or by_ns - wait_ns > self._policy.late_video_ns:
            return False
        self._owed_ns = wait_ns
        self._schedule_ns += wait_ns
        self.delay_ns += wait_ns  # until the next turn
        self._pictures_need_ns = self.delay_ns
        if self._slack_ns is not None:
            self._slack_ns += wait_ns
        if self._steady_slack_ns is not None:
            self._steady_slack_ns += wait_ns
        return True

    def _by_own_clock(self, unit: MediaUnit, slot: int) -> Present | InsertSilence:
        """Baselines: first come, first played; with two clocks not before its own stamp says so."""
        if unit.epoch != self.epoch or self._origin_ns is None:
            self.epoch = unit.epoch
            self._forget_up_to(unit.epoch)
            self._origin_ns = slot - unit.pts_ns
        width = self._policy.slot_ns
        if self._policy.pacing is Pacing.TWO_CLOCKS and self._origin_ns + unit.pts_ns - slot >= width:
            return self._silence(slot, width, Reason.UNDERRUN)
        return self._play(unit, slot, Reason.ON_ARRIVAL)

    def _nothing(self, slot: int, width: int) -> InsertSilence:
        state = self.state
        if state is IDLE:
            return self._silence(slot, width, Reason.IDLE)
        if self._last_was_pause and self._policy.pause_passes:
            return self._silence(slot, width, Reason.PAUSE)
        if state is STALLED and self.stall_since_ns is not None and slot - self.stall_since_ns > GIVE_UP_NS:
            self.finished_epoch = max(self.finished_epoch, self.epoch)
        if self.finished_epoch >= self.epoch:
            self.state = PAUSED  # the pictures' tail passes
            self.stall_since_ns = None
            return self._silence(slot, width, Reason.IDLE, passes=True)
        return self._silence(slot, width, Reason.UNDERRUN)

    def begin_silent(self, epoch: int, pts_ns: int, at_ns: int) -> None:
        """A turn that has pictures and no sound (yet): its content passes from ``pts_ns`` on."""
        self.epoch = epoch
        self.state = PAUSED
        self._last_was_pause = True
        self.content_ns = pts_ns + (self.slot_ns or at_ns) - at_ns
        self.clock.go_past(pts_ns, at_ns)

    def _begin(self, unit: MediaUnit, slot: int, pictures_left: bool) -> Present | InsertSilence:
        """The first sound of a turn: it waits for its delay, for its picture (a bounded time),
        and for the silent tail of the turn before it."""
        policy = self._policy
        width = policy.slot_ns
        starts_ns = slot
        ready_ns = self._first_arrivals.get(unit.epoch)
        if ready_ns is not None:
            give_up_ns = ready_ns + self._picture_wait_ns
            shift_ns = self._picture_shifts.get(unit.epoch)
            picture_ns = give_up_ns if shift_ns is None else min(unit.pts_ns + shift_ns, give_up_ns)
            starts_ns = max(ready_ns, picture_ns) + self._next_delay_ns
        talking = self.state is not IDLE
        tail = unit.pts_ns - self.content_ns
        if talking and 0 < tail < policy.late_limit_ns and (pictures_left or self.finished_epoch < self.epoch):
            starts_ns = max(starts_ns, slot + tail)
        if slot + width // 2 <= starts_ns and slot < starts_ns:
            if not talking:
                return self._silence(slot, width, Reason.WAITING)
            return self._silence(slot, width, Reason.IDLE, passes=True)
        self.epoch = unit.epoch
        self.delay_ns = self._next_delay_ns if ready_ns is None else max(slot - ready_ns, 0)
        self._schedule_ns = slot - unit.pts_ns
        self._forget_up_to(unit.epoch)
        self._slack_ns = self._steady_slack_ns = None
        self._slack_units = self._owed_ns = self._pictures_need_ns = self._ahead_ns = 0
        self._spare_ns = self._next_spare_ns = None
        self._flush = False
        self._stretch_ppm = 0
        self.state = SPEAKING
        self.clock.stand(slot)  # between turns the clock may step
        return self._play(unit, slot, Reason.FIRST)

    def _forget_up_to(self, begun: int) -> None:
        for known in (self._first_arrivals, self._picture_shifts):
            for epoch in [epoch for epoch in known if epoch <= begun]:
                del known[epoch]

    def _go_on(self, unit: MediaUnit, slot: int) -> Present | InsertSilence | Drop:
        if self._network and self._flushing(unit, slot):
            self.content_ns = unit.pts_ns + unit.duration_ns
            return self._drop_late(unit, slot)
        gap = unit.pts_ns - self.content_ns
        if gap <= 0:
            if self._video_master and -self._policy.late_limit_ns < gap < -unit.duration_ns:
                return self._drop_late(unit, slot)
            if unit.pts_ns + unit.duration_ns <= self._lost_until_ns:
                # It comes after all. Played now, it would leave its length behind as latency.
                return self._drop_late(unit, slot)
            return self._play(unit, slot, _DUE)
        if self._stood_ns:
            # The silence already inserted covered (part of) what is missing: it passed then.
            covered = min(gap, self._stood_ns)
            self.content_ns += covered
            self._stood_ns -= covered
            gap -= covered
        if self.state is STALLED or (self._last_was_pause and self.state is PAUSED):
            gap -= self._resized_pause(unit, gap)
        width = self._policy.slot_ns
        if gap < width // 2 or gap > self._policy.early_limit_ns:
            return self._play(unit, slot, _DUE)
        reason = Reason.PAUSE if self._last_was_pause and self._policy.pause_passes else Reason.LOSS
        # Never longer than what is missing: else each loss of a short unit would leave some latency behind.
        width = min(gap, width)
        if reason is Reason.LOSS:
            self._lost_until_ns = self.content_ns + width
        return self._silence(slot, width, reason, passes=True)

    def _flushing(self, unit: MediaUnit, slot: int) -> bool:
        """A backlog beyond the late limit is not talked through: live again at the delay target.

        That is sound behind its schedule, after an outage. A source that only sends ahead of time fills the buffer as
        much; its sound is on schedule, and waits.
        """
        target, depth, behind = self.buffer.target_ns(), self.buffer.depth_ns, slot - unit.pts_ns - self._schedule_ns
        if depth > target + self._policy.late_limit_ns and behind > self._policy.late_limit_ns:
            self._flush = True
        elif depth - unit.duration_ns < target or behind <= 0:
            self._flush = False
        return self._flush

    def _resized_pause(self, unit: MediaUnit, gap: int) -> int:
        """In silence a grown delay is brought back down, whole slots at a time: the pause ends sooner.

        Each pause once, and never by more than half. One that nobody marked counts as well: there was nothing to play,
        and what comes then lies further on.
        """
        if not self._network or self._slack_ns is None or self._resized:
            return 0
        width = self._policy.slot_ns
        behind = (self.slot_ns or 0) - self.content_ns - self._schedule_ns  # what is ahead of time is no delay
        target = self.buffer.target_ns()
        needless = self._needless_ns()
        late = max(behind, needless) if needless else behind
        excess = min(self._slack_ns - target, late + max(self.delay_ns - max(target, self._pictures_need_ns), 0))
        if excess < width or gap < 2 * width:
            return 0
        shorten = min(excess, gap // 2) // width * width
        self._resized = True
        self._spare_ns = None  # the pictures are earlier due now
        self.content_ns += shorten
        self._slack_ns -= shorten
        if self._steady_slack_ns is not None and self._steady_slack_ns > self._slack_ns:
            self._steady_slack_ns = self._slack_ns  # else the voice would be slowed until it is back
        return shorten

    def _play(self, unit: MediaUnit, slot: int, reason: Reason) -> Present:
        self.buffer.pop()
        _, _, epoch, pts, duration, _, _, _, pause, _ = unit
        self._last_was_pause = pause
        self._resized = False
        if pause:
            # The mark itself lasts no longer than a slot; what follows passes unheard.
            self.state = PAUSED
            duration = min(duration, self._policy.slot_ns) or self._policy.slot_ns
            if not self._policy.pause_passes:
                self.state = SPEAKING
        else:
            self.state = SPEAKING
        lasts = duration
        if self._network and not pause:
            behind = slot - pts - self._schedule_ns
            stretch = self._rate_ppm(behind)
            if stretch:
                lasts = stretched_ns(duration, stretch)
                if behind <= 0 or stretch < 0:
                    # It follows the sender's clock, and so does the schedule; else it makes up for a delay.
                    self._schedule_ns += lasts - duration
        self.clock.play(pts, slot, lasts)
        self.content_ns = pts + duration
        self.played_pts_ns = pts
        if self._stood_ns and pts >= self._stood_tail_ns:
            self._stood_ns = 0
        self.stall_since_ns = None
        self.slot_ns = slot + lasts
        return _new(Present, (unit, slot, slot, epoch, reason, self._stretch_ppm))

    def _rate_ppm(self, behind_ns: int) -> int:
        """d(error)/dt = -rate: a rate of error / rate_recovery fades it with that time constant (mpv).

        ``behind_ns``: how far the voice is behind its schedule.
        """
        slack, steady = self._slack_ns, self._steady_slack_ns
        if slack is None or steady is None:
            return 0
        policy = self._policy
        error = slack - max(self.buffer.target_ns(), steady)
        if error > AHEAD_NS or self._ahead_ns:
            error = self._but_for_ahead(error, max(behind_ns, self._needless_ns()))
        if -RATE_DEADBAND_NS < error < RATE_DEADBAND_NS:
            self._stretch_ppm = 0
        else:
            ppm = error * 1_000_000 // policy.rate_recovery_ns
            limit = policy.rate_max_ppm
            self._stretch_ppm = limit if ppm > limit else -limit if ppm < -limit else ppm
        return self._stretch_ppm

    def _but_for_ahead(self, surplus_ns: int, late_ns: int) -> int:
        """The error without what is in hand only because it was sent ahead of its time.

        ``surplus_ns``: all that is in hand beyond what there should be; ``late_ns``: so much of it is a delay.
        """
        ahead = surplus_ns - late_ns
        if ahead <= self._ahead_ns + AHEAD_NS:  # less ahead than before is no drift, either
            ahead = min(self._ahead_ns, max(ahead, 0))
        self._ahead_ns = ahead
        error = surplus_ns - ahead
        return min(error, late_ns) if ahead else error

    def _silence(self, slot: int, duration: int, reason: Reason, *, passes: bool | None = None) -> InsertSilence:
        if passes is None:
            passes = reason is Reason.PAUSE or (reason is Reason.UNDERRUN and self._video_master)
        if passes:
            self.clock.go_past(self.content_ns, slot)
            self.content_ns += duration
        elif reason is Reason.UNDERRUN or reason is Reason.HOLD:
            if self.state is not IDLE:
                self.clock.stand(slot)
                self._stood_ns += duration
                self._stood_tail_ns = self.buffer.end_pts_ns or -1
                self.state = STALLED
                if self.stall_since_ns is None:
                    self.stall_since_ns = slot
        self.slot_ns = slot + duration
        return InsertSilence(slot, slot, duration, self.epoch, reason)

    def _drop_late(self, unit: MediaUnit, slot: int) -> Drop:
        self.buffer.pop()
        return Drop(unit, slot, unit.epoch, DropReason.LATE)
