"""Engine: what leaves when? The whole of ``AvSynchronizer`` but for its checks, for callers who hold to the types.

``AvSynchronizer`` (``avsync.engine.synchronizer``) looks at each argument and hands it on to here; a caller whose
times are ints by construction, as the lab's are, drives an ``Engine`` itself. What neither of them is to be trusted
with is decided here: what is stale, far away, twice or too late.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final, NamedTuple

from avsync.engine.delay_target import DelayTarget
from avsync.engine.pictures import Pictures
from avsync.engine.trim import Trim
from avsync.engine.voice import IDLE, PAUSED, SPEAKING, Voice
from avsync.policy import AvSyncPolicy, Master, Pacing
from avsync.types import (
    AUDIO,
    MAX_PTS_NS,
    VIDEO,
    Alert,
    Answer,
    Degrade,
    Drop,
    DropReason,
    Heard,
    Kind,
    MediaUnit,
    Present,
    Presented,
    Reason,
    Repeat,
    Want,
)
from avsync.units import FAR_NS, ms, seconds

EVERY_LEVER: Final = frozenset(Want)
_FIRST: Final = Reason.FIRST
CONFIRM_UNITS: Final = 5  # this many in a row on a far-away timeline are a new timeline, not a broken stamp
CONTIGUOUS_NS: Final = seconds(1)
LAG_MARGIN_NS: Final = ms(100)  # a first picture may be this much later than those before it
MAX_UNIT_NS: Final = seconds(10)  # no sound unit is longer: it could not be interrupted while it leaves


class Interrupted(NamedTuple):
    """What an interrupt found: the new epoch, the PTS (ns) up to which the old turn was played, units it dropped.

    ``played_pts_ns``: of the last sound that left, or was heard where somebody observes; None: none.
    """

    epoch: int
    played_pts_ns: int | None
    dropped_units: int


class Engine:
    """As ``AvSynchronizer``, whose docstrings say what each method does. ``now_ns`` never goes backwards."""

    def __init__(
        self,
        policy: AvSyncPolicy,
        *,
        network: bool = False,
        levers: frozenset[Want] = EVERY_LEVER,
        picture_tick_ns: int = 0,
    ) -> None:
        self.policy, self.network = policy, network
        self._video_master = policy.master is Master.VIDEO
        self._early_limit_ns = policy.early_limit_ns
        self.levers = levers
        self.now_ns = -FAR_NS
        self._voice = Voice(policy, network=network)
        self._pending: deque[Answer] = deque()
        self._trim = Trim(policy.trim_slew_ppm)
        self._pictures = Pictures(
            policy, self._voice.clock, self._pending, self._trim,
            levers=self.levers, tick_ns=picture_tick_ns, tells_stalls=not network,
        )  # fmt: skip
        # What the pictures' arrivals need; begins at the least, grows from what is seen.
        self._picture_delay = DelayTarget(replace(policy, jitter_start_ns=policy.jitter_min_ns))
        self._lag_ns = 0  # so long after the arrival of their sound pictures came, where that was too late
        self.min_epoch = 0
        self._newest_epoch = -1
        self._pictured_epoch = -1  # the last epoch that had any picture
        self._voiced_epoch = -1
        self._tail_pts_ns = [-1, -1]  # per kind: the newest accepted, and when
        self._tail_at_ns = [0, 0]
        self._suspects: list[list[MediaUnit]] = [[], []]
        self._sound_alert = False
        self._heard_pts_ns: int | None = None
        self._closed = False

    # ---- in

    def push(self, unit: MediaUnit, now_ns: int, in_order: bool = True) -> None:
        self.now_ns = now_ns
        what, _, epoch, pts, lasts, _, _, _, _, _ = unit  # at once: looking up each takes longer
        if not 0 <= pts <= MAX_PTS_NS or (not 0 < lasts <= MAX_UNIT_NS and not _may_last(unit)):
            self._refuse(unit)
            return
        if epoch < self.min_epoch or self._closed:
            self._drop(unit, DropReason.CLOSED if self._closed else DropReason.STALE_EPOCH)
            if what is VIDEO and not self._closed:
                self._pictures.stale(unit, now_ns)
            return
        kind = 0 if what is AUDIO else 1
        tail = self._tail_pts_ns[kind]
        if epoch <= self._newest_epoch and tail >= 0:
            usual = -self._early_limit_ns <= pts - tail <= self._early_limit_ns
            if self._suspects[kind] or (not usual and self._is_far(pts, kind)):
                self._maybe_new_timeline(unit, kind)
                return
        self._accept(unit, kind, in_order)

    def _is_far(self, pts_ns: int, kind: int) -> bool:
        """More than ``early_limit`` ahead of its own stream's pace, or as far back."""
        ahead = pts_ns - self._tail_pts_ns[kind]
        limit = self.policy.early_limit_ns
        return ahead > limit + self.now_ns - self._tail_at_ns[kind] if ahead > 0 else ahead < -limit

    def _accept(self, unit: MediaUnit, kind: int, in_order: bool) -> None:
        now, epoch, pts = self.now_ns, unit.epoch, unit.pts_ns
        if pts > self._tail_pts_ns[kind]:
            self._tail_pts_ns[kind] = pts
            self._tail_at_ns[kind] = now
        if epoch > self._newest_epoch:
            self._newest_epoch = epoch
            self._picture_delay.on_discontinuity()
        voice = self._voice
        if kind == 0:
            self._voiced_epoch = epoch
            for dropped, reason in voice.push(unit, now, in_order):
                self._drop(dropped, reason)
            return
        if epoch > self._pictured_epoch:
            self._pictured_epoch = epoch
            voice.on_first_picture(epoch, now - pts)
        if in_order:
            self._picture_delay.add(now, pts)
            if self.network and epoch == voice.epoch:
                voice.on_picture(pts, now)
        refused = self._pictures.push(unit, now, voice.buffer.depth_ns)
        if refused is not None:
            self._drop(unit, refused)

    def finish(self, kind: Kind, epoch: int, now_ns: int) -> None:
        self.now_ns = now_ns
        if kind is AUDIO:
            self._voice.finish(epoch)
        else:
            self._pictures.finish(epoch, now_ns)

    def interrupt(self, epoch: int, now_ns: int) -> Interrupted:
        self.now_ns = now_ns
        played = self._voice.played_pts_ns if self._heard_pts_ns is None else self._heard_pts_ns
        stale = self._voice.interrupt(epoch) + self._pictures.interrupt(epoch) + self._unanswered(epoch)
        for unit in stale:
            self._drop(unit, DropReason.STALE_EPOCH)
            if unit.kind is VIDEO:
                self._pictures.stale(unit, now_ns)
        if self.policy.epochs:
            self.min_epoch = epoch
            self._newest_epoch = max(self._newest_epoch, epoch)
            self._pictures.neutral(epoch, now_ns)
        self._end_sound_alert(now_ns)
        return Interrupted(epoch, played, len(stale))

    def on_presented(self, presented: Presented, now_ns: int) -> None:
        self.now_ns = now_ns
        if presented.kind is AUDIO and presented.what is Heard.CONTENT:
            self._heard_pts_ns = presented.pts_ns

    def trim(self, trim_ns: int, now_ns: int) -> None:
        self.now_ns = now_ns
        self._trim.go_to(trim_ns, now_ns)

    def picture_head_start(self, head_start_ns: int, now_ns: int) -> None:
        self.now_ns = now_ns
        self._pictures.head_start(head_start_ns)

    def close(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self._closed = True
        everything = FAR_NS
        left = self._voice.buffer.clear_before(everything) + self._pictures.close() + self._unanswered(everything)
        for unit in left:
            self._drop(unit, DropReason.CLOSED)

    def is_new(self, epoch: int) -> bool:
        """Whether an interrupt may begin this epoch."""
        return not self.policy.epochs or epoch > self.min_epoch or epoch > self._newest_epoch

    # ---- out

    def poll(self, now_ns: int) -> Answer | None:
        self.now_ns = now_ns
        if self._pending:
            return self._pending.popleft()
        if self._closed:
            return None
        voice, pictures = self._voice, self._pictures
        slot = voice.slot_ns
        if slot is None or now_ns >= slot:
            if voice.state is not SPEAKING:
                self._prepare_turn(now_ns)
            head = pictures.queue[0][2] if pictures.queue else None
            behind_ns = pictures.take_behind_ns()
            if behind_ns:
                self._lag_ns = max(self._lag_ns, voice.delay_ns + behind_ns)
                if voice.wait_for_pictures(behind_ns):
                    pictures.waits()
                else:
                    pictures.beyond_help(behind_ns, now_ns)
            answer = voice.answer(
                now_ns,
                pictures_left=head is not None and head.epoch <= voice.epoch,
                hold=self._video_master and pictures.missing(now_ns),
            )
            if answer is not None:
                if self._trim.ns != self._trim.goal_ns:
                    self._trim.slew(now_ns)
                if type(answer) is Present and answer.reason is _FIRST:
                    pictures.start_turn(voice.epoch, now_ns)
                    self._lag_ns = min(self._lag_ns, voice.delay_ns)
                pictures.on_slot(now_ns)
                if self._sound_alert or voice.stall_since_ns is not None:
                    self._watch_sound(now_ns)
                return answer
        return pictures.answer(now_ns)

    def next_wakeup_ns(self) -> int | None:
        now_ns = self.now_ns
        if self._pending or self._pictures.gap_found:
            return now_ns
        if self._closed or now_ns == -FAR_NS:
            return None
        slot = self._voice.slot_ns
        if slot is None:
            return now_ns
        due = self._pictures.next_due_ns(now_ns)
        return slot if due is None or due > slot else due

    # ---- for whoever looks

    @property
    def started(self) -> bool:
        """Has it been called with a time yet?"""
        return self.now_ns != -FAR_NS

    @property
    def jitter_buffer_ns(self) -> int:
        """Sound that waits to be played: the sum of its durations, in ns."""
        return self._voice.buffer.depth_ns

    @property
    def queued_units(self) -> int:
        """Units of sound and pictures that wait."""
        return len(self._voice.buffer.units) + len(self._pictures.queue)

    @property
    def queued_pictures(self) -> int:
        """Pictures that wait."""
        return len(self._pictures)

    @property
    def epoch(self) -> int:
        """The epoch that is being played."""
        return self._voice.epoch

    @property
    def trim_ns(self) -> int:
        """How much earlier pictures leave now; on its way to what ``trim`` was told."""
        return self._trim.ns

    def position_ns(self, now_ns: int) -> int | None:
        """The content that leaves now; None between turns."""
        return self._voice.clock.position_ns(now_ns)

    # ---- inside

    def refuse(self, drop: Drop, now_ns: int) -> None:
        """A unit that cannot be used is answered; what follows may have needed it. The gate's own hold no ints."""
        self.now_ns = now_ns
        self._pending.append(drop)
        if drop.unit.kind is VIDEO:
            self._pictures.lost(drop.unit)

    def _prepare_turn(self, now_ns: int) -> None:
        """Between turns: the common delay the next one gets, and whether it waits for a picture."""
        voice, policy = self._voice, self.policy
        # Pictures that leave earlier than their sound must be there earlier: a new turn gives them the time.
        trim = max(self._trim.ns, 0)
        delay = max(policy.playout_delay_ns, voice.buffer.target_ns(), self._picture_delay.target_ns() + trim)
        # Over a network what comes is live: waiting would be kept as delay. Late pictures are waited for once
        # they are known to be late.
        picture_wait = 0 if self.network else policy.start_wait_video_ns
        if self._lag_ns:
            picture_wait = max(picture_wait, min(self._lag_ns + LAG_MARGIN_NS, policy.start_wait_video_max_ns))
        if self._voiced_epoch > 0 and self._pictured_epoch < self._voiced_epoch - 1:
            picture_wait = 0  # the turn before had no pictures at all
        voice.prepare(min(delay, policy.playout_delay_max_ns), picture_wait)
        head = self._pictures.head()
        if (
            head is not None
            and policy.pacing is Pacing.CONTENT_CLOCK
            and head.epoch > max(voice.epoch, self._voiced_epoch)
            and (voice.state is IDLE or voice.state is PAUSED)
            and now_ns - head.pts_ns - voice.picture_shift_ns(head.epoch) >= policy.start_wait_video_ns
        ):
            voice.begin_silent(head.epoch, head.pts_ns, now_ns)
            self._pictures.start_turn(head.epoch, now_ns)

    def _maybe_new_timeline(self, unit: MediaUnit, kind: int) -> None:
        """One far-away stamp is a broken source's; several in a row are a discontinuity."""
        suspects = self._suspects[kind]
        far = self._is_far(unit.pts_ns, kind)
        if suspects and not (far and 0 < unit.pts_ns - suspects[-1].pts_ns <= CONTIGUOUS_NS):
            for suspect in suspects:
                self._refuse(suspect)
            suspects.clear()
        if not far:
            self._accept(unit, kind, True)
            return
        suspects.append(unit)
        if len(suspects) < CONFIRM_UNITS:
            return
        if unit.pts_ns < self._tail_pts_ns[kind]:
            self._tail_pts_ns[kind] = -1
            for old in self._voice.rebase() if kind == 0 else self._pictures.rebase():
                self._drop(old, DropReason.DISCONTINUITY)
                if old.kind is VIDEO:
                    self._pictures.lost(old)
        confirmed = suspects[:]
        suspects.clear()
        for each in confirmed:
            self._accept(each, kind, False)

    def _unanswered(self, epoch: int) -> list[MediaUnit]:
        """Units before ``epoch`` that are in no queue any more, and not answered yet; nor will they be."""
        units = []
        for kind, suspects in enumerate(self._suspects):
            units += [unit for unit in suspects if unit.epoch < epoch]
            self._suspects[kind] = [unit for unit in suspects if unit.epoch >= epoch]
        pending = list(self._pending)
        self._pending.clear()
        for answer in pending:
            if not isinstance(answer, Present | Repeat | Degrade) or answer.epoch >= epoch:
                self._pending.append(answer)
            elif isinstance(answer, Present):
                units.append(answer.unit)
        return units

    def _watch_sound(self, now_ns: int) -> None:
        since = self._voice.stall_since_ns
        if since is None:
            self._end_sound_alert(now_ns)
        elif not self._sound_alert and now_ns - since >= self.policy.stall_alert_after_ns and self._voice_alone():
            self._sound_alert = True
            self._pending.append(Alert("stall_audio", True, now_ns, self._voice.epoch, now_ns - since))

    def _voice_alone(self) -> bool:
        """Whether it is the voice that is missing. Over a network nobody says where a turn ends: where both streams
        stop at the same content, neither falls behind the other. Pictures that go on without it show a stall."""
        return not self.network or self._tail_pts_ns[1] - self._voice.content_ns >= self.policy.stall_alert_after_ns

    def _end_sound_alert(self, now_ns: int) -> None:
        if self._sound_alert:
            self._sound_alert = False
            self._pending.append(Alert("stall_audio", False, now_ns, self._voice.epoch, 0))

    def _refuse(self, unit: MediaUnit) -> None:
        self.refuse(Drop(unit, self.now_ns, unit.epoch, DropReason.BAD_PTS), self.now_ns)

    def _drop(self, unit: MediaUnit, reason: DropReason) -> None:
        self._pending.append(Drop(unit, self.now_ns, unit.epoch, reason))


def _may_last(unit: MediaUnit) -> bool:
    """Only sound fills output time: a picture or a mark may last for nothing, or very long."""
    return (unit.kind is VIDEO or unit.pause) and 0 <= unit.duration_ns <= MAX_PTS_NS
