"""AvSynchronizer: keeps the lips with the voice. Sans-IO: told what arrived and what time it is.

A driver does three things, always in this order: ``push`` what came, ``poll`` until None, set
one timer at ``next_wakeup_ns``. The answers are a closed set (``avsync.types.Answer``). Each
pushed unit ends as exactly one ``Present`` or one ``Drop`` with its reason; output stamps
strictly increase; after ``interrupt`` nothing of an older epoch is ever answered again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from avsync.engine.delay_target import DelayTarget
from avsync.engine.pictures import Pictures
from avsync.engine.trim import Trim
from avsync.engine.voice import IDLE, PAUSED, SPEAKING, Voice
from avsync.errors import UsageError, check_now, check_ns
from avsync.policy import AvSyncPolicy, Master, Pacing, policy_or_default
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
from avsync.units import FAR_NS, seconds

EVERY_LEVER = frozenset(Want)
_FIRST = Reason.FIRST
CONFIRM_UNITS = 5  # this many in a row on a far-away timeline are a new timeline, not a broken stamp
CONTIGUOUS_NS = seconds(1)
MAX_UNIT_NS = seconds(10)  # no sound unit is longer: it could not be interrupted while it leaves


class Interrupted(NamedTuple):
    """What an interrupt found: the new epoch, the PTS (ns) up to which the old turn was played, units it dropped.

    ``played_pts_ns``: of the last sound that left, or was heard where somebody observes; None: none.
    """

    epoch: int
    played_pts_ns: int | None
    dropped_units: int


class AvSynchronizer:
    """The engine. One per output; the same under SimPy, asyncio and property tests.

    ``network``: the units come over a network (a bridge, a viewer), so the sound gets a jitter
    buffer and a slow rate correction. ``levers``: what the source can be asked to do.
    ``picture_tick_ns``: the picture sink only ticks this often (0: it takes a picture any time),
    so the tick nearest to due is the right one.
    """

    def __init__(
        self,
        policy: AvSyncPolicy | None = None,
        *,
        network: bool = False,
        levers: Iterable[Want] = EVERY_LEVER,
        picture_tick_ns: int = 0,
    ) -> None:
        self.policy = policy = policy_or_default(policy)
        self.network = network
        self._video_master = policy.master is Master.VIDEO
        self._early_limit_ns = policy.early_limit_ns
        self.levers = _checked(levers)
        self.picture_tick_ns = check_ns("picture_tick_ns", picture_tick_ns)
        self._now_ns = -FAR_NS
        self._voice = Voice(policy, network=network)
        self._pending: deque[Answer] = deque()
        self._trim = Trim(policy.trim_slew_ppm)
        self._pictures = Pictures(
            policy, self._voice.clock, self._pending, self._trim, levers=self.levers, tick_ns=picture_tick_ns
        )
        # What the pictures' arrivals need; begins at the least, grows from what is seen.
        self._picture_delay = DelayTarget(replace(policy, jitter_start_ns=policy.jitter_min_ns))
        self._min_epoch = 0
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

    def push(self, unit: MediaUnit, now_ns: int, *, in_order: bool = True) -> None:
        """Take one stamped unit. ``in_order`` False: retransmitted or reordered, says nothing of delay.

        A unit that breaks a rule (no int, negative, stale, after ``close``) is answered as a ``Drop``, not raised.
        ``UsageError`` where ``now_ns`` is no int or goes backwards, here as in every method.
        """
        if type(now_ns) is not int or now_ns < self._now_ns:
            check_now(now_ns, self._now_ns)
        self._now_ns = now_ns
        try:
            what, _, epoch, pts, lasts, _, _, _, _, _ = unit  # at once: looking up each takes longer
        except (TypeError, ValueError):
            raise UsageError(f"unit must be a MediaUnit, got {unit!r}") from None
        if (
            type(pts) is not int
            or not 0 <= pts <= MAX_PTS_NS
            or type(lasts) is not int
            or (not 0 < lasts <= MAX_UNIT_NS and not _may_last(unit))
            or type(epoch) is not int
        ):
            self._refuse(unit)
            return
        if epoch < self._min_epoch or self._closed:
            self._drop(unit, DropReason.CLOSED if self._closed else DropReason.STALE_EPOCH)
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
        return ahead > limit + self._now_ns - self._tail_at_ns[kind] if ahead > 0 else ahead < -limit

    def _accept(self, unit: MediaUnit, kind: int, in_order: bool) -> None:
        now, epoch, pts = self._now_ns, unit.epoch, unit.pts_ns
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
        refused = self._pictures.push(unit, now, voice.buffer.depth_ns)
        if refused is not None:
            self._drop(unit, refused)

    def finish(self, kind: Kind, epoch: int, now_ns: int) -> None:
        """The source says: nothing more of this kind in this turn. Silence after it is no stall."""
        if type(epoch) is not int or not isinstance(kind, Kind):
            raise UsageError(f"finish needs a Kind and an epoch (int), got {kind!r} and {epoch!r}")
        self._now_ns = check_now(now_ns, self._now_ns)
        if kind is AUDIO:
            self._voice.finish(epoch)
        else:
            self._pictures.finish(epoch, now_ns)

    def interrupt(self, epoch: int, now_ns: int) -> Interrupted:
        """Barge-in: everything before ``epoch`` is stale from now on, wherever it is. ``UsageError``: it is not new."""
        self._now_ns = check_now(now_ns, self._now_ns)
        if type(epoch) is not int or (self.policy.epochs and epoch <= self._min_epoch and epoch <= self._newest_epoch):
            raise UsageError(f"interrupt needs a new epoch, above {self._min_epoch}, got {epoch!r}")
        played = self._voice.played_pts_ns if self._heard_pts_ns is None else self._heard_pts_ns
        stale = self._voice.interrupt(epoch) + self._pictures.interrupt(epoch) + self._unanswered(epoch)
        for unit in stale:
            self._drop(unit, DropReason.STALE_EPOCH)
        if self.policy.epochs:
            self._min_epoch = epoch
            self._newest_epoch = max(self._newest_epoch, epoch)
            self._pictures.neutral(epoch, now_ns)
        self._end_sound_alert(now_ns)
        return Interrupted(epoch, played, len(stale))

    def on_presented(self, presented: Presented, now_ns: int) -> None:
        """What a sink really did; ``played_pts_ns`` of an interrupt is then what was heard, not sent."""
        if not isinstance(presented, Presented):
            raise UsageError(f"presented must be a Presented, got {presented!r}")
        self._now_ns = check_now(now_ns, self._now_ns)
        if presented.kind is AUDIO and presented.what is Heard.CONTENT:
            self._heard_pts_ns = presented.pts_ns

    def trim(self, trim_ns: int, now_ns: int) -> None:
        """> 0: pictures earlier by so much against the voice, due time and stamp alike; followed slowly.

        At most ``policy.trim_max_ns`` either way, by ``policy.trim_slew_ppm``. Kept over turns and
        interrupts. Of no effect on open-loop policies.
        """
        limit = self.policy.trim_max_ns
        if type(trim_ns) is not int or not -limit <= trim_ns <= limit:
            raise UsageError(f"trim_ns must be an int from {-limit} to {limit}, got {trim_ns!r}")
        self._now_ns = check_now(now_ns, self._now_ns)
        self._trim.go_to(trim_ns, now_ns)

    def picture_head_start(self, head_start_ns: int, now_ns: int) -> None:
        """Answer pictures ``head_start_ns`` before they are due, because their encoder takes that long.

        Stamps stay; a picture answered that early is on time. At most ``policy.picture_head_start_max_ns``.
        """
        limit = self.policy.picture_head_start_max_ns
        if type(head_start_ns) is not int or not 0 <= head_start_ns <= limit:
            raise UsageError(f"head_start_ns must be an int from 0 to {limit}, got {head_start_ns!r}")
        self._now_ns = check_now(now_ns, self._now_ns)
        self._pictures.head_start(head_start_ns)

    def close(self, now_ns: int) -> None:
        """No more output. What is still queued is dropped, each unit with its reason."""
        self._now_ns = check_now(now_ns, self._now_ns)
        self._closed = True
        everything = FAR_NS
        left = self._voice.buffer.clear_before(everything) + self._pictures.close() + self._unanswered(everything)
        for unit in left:
            self._drop(unit, DropReason.CLOSED)

    # ---- out

    def poll(self, now_ns: int) -> Answer | None:
        """The next thing to do now, or None until ``next_wakeup_ns``."""
        if type(now_ns) is not int or now_ns < self._now_ns:
            check_now(now_ns, self._now_ns)
        self._now_ns = now_ns
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
                voice.wait_for_pictures(behind_ns)
            answer = voice.answer(
                now_ns,
                pictures_left=head is not None and head.epoch <= voice.epoch,
                hold=self._video_master and pictures.missing(now_ns),
            )
            if answer is not None:
                pictures.on_slot()
                if self._trim.ns != self._trim.goal_ns:
                    self._trim.slew(now_ns)
                if type(answer) is Present and answer.reason is _FIRST:
                    pictures.start_turn(voice.epoch)
                if self._sound_alert or voice.stall_since_ns is not None:
                    self._watch_sound(now_ns)
                return answer
        return pictures.answer(now_ns)

    def next_wakeup_ns(self) -> int | None:
        """When ``poll`` has something to say again: the next slot, or the next picture's due time.

        None after ``close``, and before the first call of all: output time begins with it.
        """
        if self._closed or not self.started:
            return None
        slot = self._voice.slot_ns
        if slot is None:
            return self._now_ns
        due = self._pictures.next_due_ns(self._now_ns)
        return slot if due is None or due > slot else due

    # ---- for whoever looks

    @property
    def started(self) -> bool:
        """Has it been called with a time yet?"""
        return self._now_ns != -FAR_NS

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
        """The content that leaves now, in ns; None between turns. ``UsageError``: ``now_ns`` is no int."""
        if type(now_ns) is not int:
            check_now(now_ns, -FAR_NS)
        return self._voice.clock.position_ns(now_ns)

    # ---- inside

    def _prepare_turn(self, now_ns: int) -> None:
        """Between turns: the common delay the next one gets, and whether it waits for a picture."""
        voice, policy = self._voice, self.policy
        # Pictures that leave earlier than their sound must be there earlier: a new turn gives them the time.
        trim = max(self._trim.ns, 0)
        delay = max(policy.playout_delay_ns, voice.buffer.target_ns(), self._picture_delay.target_ns() + trim)
        # Over a network what comes is live: waiting would be kept as delay. Late pictures are waited for once
        # they are known to be late.
        picture_wait = 0 if self.network else policy.start_wait_video_ns
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
            self._pictures.start_turn(head.epoch)

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
            if answer.epoch >= epoch or not isinstance(answer, Present | Repeat | Degrade):
                self._pending.append(answer)
            elif isinstance(answer, Present):
                units.append(answer.unit)
        return units

    def _watch_sound(self, now_ns: int) -> None:
        since = self._voice.stall_since_ns
        if since is None:
            self._end_sound_alert(now_ns)
        elif not self._sound_alert and now_ns - since >= self.policy.stall_alert_after_ns:
            self._sound_alert = True
            self._pending.append(Alert("stall_audio", True, now_ns, self._voice.epoch, now_ns - since))

    def _end_sound_alert(self, now_ns: int) -> None:
        if self._sound_alert:
            self._sound_alert = False
            self._pending.append(Alert("stall_audio", False, now_ns, self._voice.epoch, 0))

    def _refuse(self, unit: MediaUnit) -> None:
        self._drop(unit, DropReason.BAD_PTS)
        if unit.kind is VIDEO:
            self._pictures.lost(unit)

    def _drop(self, unit: MediaUnit, reason: DropReason) -> None:
        self._pending.append(Drop(unit, self._now_ns, unit.epoch, reason))


def _checked(levers: Iterable[Want]) -> frozenset[Want]:
    try:
        found = frozenset(levers)
    except TypeError:  # not even a collection
        found = None
    if found is None or not found <= EVERY_LEVER:
        raise UsageError(f"levers must be some of {', '.join(map(str, Want))}, got {levers!r}")
    return found


def _may_last(unit: MediaUnit) -> bool:
    """Only sound fills output time: a picture or a mark may last for nothing, or very long."""
    return (unit.kind is VIDEO or unit.pause) and 0 <= unit.duration_ns <= MAX_PTS_NS
