"""AvSynchronizer: keeps the lips with the voice. Sans-IO: told what arrived and what time it is.

A driver does three things, always in this order: ``push`` what came, ``poll`` until None, set
one timer at ``next_wakeup_ns``. The answers are a closed set (``avsync.types.Answer``). Each
pushed unit ends as exactly one ``Present`` or one ``Drop`` with its reason; output stamps
strictly increase; after ``interrupt`` nothing of an older epoch is ever answered again.

Here each argument is looked at; what is answered is decided in ``avsync.engine.engine``. This file stays Python in
a compiled build: a compiled function raises a bare TypeError for a NaN, before its first line could name the rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType

from avsync.engine.engine import EVERY_LEVER, Engine, Interrupted
from avsync.errors import UsageError, check_now, check_ns
from avsync.policy import AvSyncPolicy, policy_or_default
from avsync.types import Answer, Drop, DropReason, Kind, MediaUnit, Presented, Want
from avsync.units import FAR_NS


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
        self._engine = engine = Engine(
            policy_or_default(policy),
            network=network,
            levers=_checked_levers(levers),
            picture_tick_ns=check_ns("picture_tick_ns", picture_tick_ns),
        )
        self.policy, self.network = engine.policy, network
        self.levers, self.picture_tick_ns = engine.levers, picture_tick_ns

    # ---- in

    def push(self, unit: MediaUnit, now_ns: int, *, in_order: bool = True) -> None:
        """Take one stamped unit. ``in_order`` False: retransmitted or reordered, says nothing of delay.

        A unit that breaks a rule (no int, negative, stale, after ``close``) is answered as a ``Drop``, not raised.
        ``UsageError`` where ``now_ns`` is no int or goes backwards, here as in every method.
        """
        engine = self._engine
        if type(now_ns) is not int or now_ns < engine.now_ns:
            check_now(now_ns, engine.now_ns)
        try:
            _, _, epoch, pts_ns, duration_ns, _, _, _, _, _ = unit  # at once: looking up each takes longer
        except (TypeError, ValueError):
            raise UsageError(f"unit must be a MediaUnit, got {unit!r}") from None
        if type(pts_ns) is int and type(duration_ns) is int and type(epoch) is int:
            engine.push(unit, now_ns, in_order)
        else:
            engine.refuse(Drop(unit, now_ns, epoch, DropReason.BAD_PTS), now_ns)

    def finish(self, kind: Kind, epoch: int, now_ns: int) -> None:
        """The source says: nothing more of this kind in this turn. Silence after it is no stall."""
        if type(epoch) is not int or not isinstance(kind, Kind):
            raise UsageError(f"finish needs a Kind and an epoch (int), got {kind!r} and {epoch!r}")
        self._engine.finish(kind, epoch, self._checked(now_ns))

    def interrupt(self, epoch: int, now_ns: int) -> Interrupted:
        """Barge-in: everything before ``epoch`` is stale from now on, wherever it is. ``UsageError``: it is not new."""
        now_ns = self._checked(now_ns)
        if type(epoch) is not int or not self._engine.is_new(epoch):
            raise UsageError(f"interrupt needs a new epoch, above {self._engine.min_epoch}, got {epoch!r}")
        return self._engine.interrupt(epoch, now_ns)

    def on_presented(self, presented: Presented, now_ns: int) -> None:
        """What a sink really did; ``played_pts_ns`` of an interrupt is then what was heard, not sent.

        ``UsageError``: it is no ``Presented``, or its ``pts_ns`` is neither an int nor None.
        """
        if not isinstance(presented, Presented) or type(presented.pts_ns) not in (int, NoneType):
            raise UsageError(f"presented must be a Presented with a pts_ns in whole ns or None, got {presented!r}")
        self._engine.on_presented(presented, self._checked(now_ns))

    def trim(self, trim_ns: int, now_ns: int) -> None:
        """> 0: pictures earlier by so much against the voice, due time and stamp alike; followed slowly.

        At most ``policy.trim_max_ns`` either way, by ``policy.trim_slew_ppm``. Kept over turns and
        interrupts. Of no effect on open-loop policies.
        """
        limit = self.policy.trim_max_ns
        if type(trim_ns) is not int or not -limit <= trim_ns <= limit:
            raise UsageError(f"trim_ns must be an int from {-limit} to {limit}, got {trim_ns!r}")
        self._engine.trim(trim_ns, self._checked(now_ns))

    def picture_head_start(self, head_start_ns: int, now_ns: int) -> None:
        """Answer pictures ``head_start_ns`` before they are due, because their encoder takes that long.

        Stamps stay; a picture answered that early is on time. At most ``policy.picture_head_start_max_ns``.
        """
        limit = self.policy.picture_head_start_max_ns
        if type(head_start_ns) is not int or not 0 <= head_start_ns <= limit:
            raise UsageError(f"head_start_ns must be an int from 0 to {limit}, got {head_start_ns!r}")
        self._engine.picture_head_start(head_start_ns, self._checked(now_ns))

    def close(self, now_ns: int) -> None:
        """No more output. What is still queued is dropped, each unit with its reason."""
        self._engine.close(self._checked(now_ns))

    # ---- out

    def poll(self, now_ns: int) -> Answer | None:
        """The next thing to do now, or None until ``next_wakeup_ns``."""
        engine = self._engine
        if type(now_ns) is not int or now_ns < engine.now_ns:
            check_now(now_ns, engine.now_ns)
        return engine.poll(now_ns)

    def next_wakeup_ns(self) -> int | None:
        """When ``poll`` has something to say again: the next slot, or the next picture's due time.

        Before it, and until something else is told, ``poll`` answers None. None after ``close``, and before the first
        call of all: output time begins with it.
        """
        return self._engine.next_wakeup_ns()

    # ---- for whoever looks

    @property
    def started(self) -> bool:
        """Has it been called with a time yet?"""
        return self._engine.started

    @property
    def jitter_buffer_ns(self) -> int:
        """Sound that waits to be played: the sum of its durations, in ns."""
        return self._engine.jitter_buffer_ns

    @property
    def queued_units(self) -> int:
        """Units of sound and pictures that wait."""
        return self._engine.queued_units

    @property
    def queued_pictures(self) -> int:
        """Pictures that wait."""
        return self._engine.queued_pictures

    @property
    def epoch(self) -> int:
        """The epoch that is being played."""
        return self._engine.epoch

    @property
    def trim_ns(self) -> int:
        """How much earlier pictures leave now; on its way to what ``trim`` was told."""
        return self._engine.trim_ns

    def position_ns(self, now_ns: int) -> int | None:
        """The content that leaves now, in ns; None between turns. ``UsageError``: ``now_ns`` is no int."""
        if type(now_ns) is not int:
            check_now(now_ns, -FAR_NS)
        return self._engine.position_ns(now_ns)

    def _checked(self, now_ns: int) -> int:
        return check_now(now_ns, self._engine.now_ns)


def _checked_levers(levers: Iterable[Want]) -> frozenset[Want]:
    try:
        found = frozenset(levers)
    except TypeError:  # not even a collection
        found = None
    if found is None or not found <= EVERY_LEVER:
        raise UsageError(f"levers must be some of {', '.join(map(str, Want))}, got {levers!r}")
    return found
