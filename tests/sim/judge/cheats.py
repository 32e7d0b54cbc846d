"""Cheats: five ways to a beautiful offset that nobody would want, so that the guards can be seen to catch them.

Each is an engine, a policy, or both: ``CHEATS[name]`` gives (policy, wrap_engine) for ``simulate``.
"""

from __future__ import annotations

from collections.abc import Callable

from avsync.engine.synchronizer import AvSynchronizer
from avsync.policy import AvSyncPolicy
from avsync.types import (
    AUDIO,
    VIDEO,
    Answer,
    Degrade,
    Drop,
    DropReason,
    InsertSilence,
    MediaUnit,
    Present,
    Reason,
    Repeat,
)
from avsync.units import seconds

Wrap = Callable[[AvSynchronizer, str], AvSynchronizer]


class Cheat(AvSynchronizer):
    """Our engine, with its answers bent by ``bend``: what it gives instead, at least one."""

    def __init__(self, policy: AvSyncPolicy) -> None:
        super().__init__(policy, levers=())
        self._more: list[Answer] = []

    def poll(self, now_ns: int) -> Answer | None:
        if self._more:
            return self._more.pop(0)
        answer = super().poll(now_ns)
        if answer is None:
            return None
        first, *self._more = self.bend(answer)
        return first

    def bend(self, answer: Answer) -> list[Answer]:
        return [answer]


class AlwaysIdle(Cheat):
    """A neutral mouth; one frame a second has lips, just enough to have an offset, and it is perfect."""

    def __init__(self, policy: AvSyncPolicy) -> None:
        super().__init__(policy)
        self._frames = 0

    def bend(self, answer: Answer) -> list[Answer]:
        if not isinstance(answer, Present) or answer.unit.kind is not VIDEO:
            return [answer]
        self._frames += 1
        if self._frames % 25 == 1:
            return [answer]
        unit, at, epoch = answer.unit, answer.at_ns, answer.epoch
        again = Repeat(unit, at, answer.stamp_ns, epoch, Reason.MISSING)  # of the idle picture, once it is on screen
        dropped = Drop(unit, at, epoch, DropReason.LATE)
        if self._frames % 25 == 2:
            return [Degrade(2, at, epoch, Reason.MISSING), again, dropped]
        return [again, dropped]


class NoVideo(Cheat):
    """Pictures in the first turn only: what is never shown is never late."""

    def __init__(self, policy: AvSyncPolicy) -> None:
        super().__init__(policy)
        self._first: int | None = None

    def push(self, unit: MediaUnit, now_ns: int, *, in_order: bool = True) -> None:
        if unit.kind is VIDEO:
            self._first = unit.epoch if self._first is None else self._first
            if unit.epoch > self._first:
                return
        super().push(unit, now_ns, in_order=in_order)

    def bend(self, answer: Answer) -> list[Answer]:
        if isinstance(answer, Repeat) and self._first is not None and answer.epoch > self._first:
            return [Drop(answer.unit, answer.at_ns, answer.epoch, DropReason.LATE)]
        return [answer]


class MuteMost(Cheat):
    """One sound in fifty is heard; where nothing is said, no lips are wrong."""

    def __init__(self, policy: AvSyncPolicy) -> None:
        super().__init__(policy)
        self._sounds = 0

    def bend(self, answer: Answer) -> list[Answer]:
        if not isinstance(answer, Present) or answer.unit.kind is not AUDIO:
            return [answer]
        self._sounds += 1
        if self._sounds % 50 == 1:
            return [answer]
        unit, at, epoch = answer.unit, answer.at_ns, answer.epoch
        silence = InsertSilence(at, answer.stamp_ns, unit.duration_ns, epoch, Reason.LOSS)
        return [silence, Drop(unit, at, epoch, DropReason.LATE)]


def _by(engine: type[Cheat]) -> Wrap:
    return lambda honest, name: honest if name == "viewer" else engine(honest.policy)


DELAY = AvSyncPolicy(name="delay_3s", playout_delay_ns=seconds(3), playout_delay_max_ns=seconds(3))
HONEST = AvSyncPolicy()

CHEATS: dict[str, tuple[AvSyncPolicy, Wrap | None]] = {
    "delay_3s": (DELAY, None),  # whatever comes is waited for
    "always_idle": (HONEST, _by(AlwaysIdle)),
    "no_video": (HONEST, _by(NoVideo)),
    "mute_most": (HONEST, _by(MuteMost)),
    "pause_all": (AvSyncPolicy.preset("video_master"), None),  # the voice waits for the picture
}
