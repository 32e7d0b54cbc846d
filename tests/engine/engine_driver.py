"""A driver that keeps its timers: push, poll until None, advance to the next wakeup. In virtual time.

``Player`` wraps one ``AvSynchronizer`` and writes down every answer with the time at which it was
given; while it does, it checks what must hold for any driver (no busy loop, strict stamps, tiled
slots). ``Speech`` feeds it a turn the way a live generator would.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any, TypeVar

from avsync.engine.synchronizer import EVERY_LEVER, AvSynchronizer
from avsync.policy import AvSyncPolicy
from avsync.types import (
    AUDIO,
    VIDEO,
    Alert,
    Answer,
    Degrade,
    Drop,
    InsertSilence,
    Kind,
    MediaUnit,
    Present,
    Repeat,
    Request,
    Want,
)
from avsync.units import ms, stretched_ns

SLOT, FRAME = ms(20), ms(40)
A = TypeVar("A", bound=Answer)


class Player:
    """``now`` only moves in ``advance_to``; at each time on the way the engine is polled dry."""

    def __init__(
        self,
        policy: AvSyncPolicy | None = None,
        *,
        network: bool = False,
        levers: Iterable[Want] = EVERY_LEVER,
        picture_tick_ns: int = 0,
        start_ns: int = 0,
    ) -> None:
        self.engine = AvSynchronizer(policy, network=network, levers=levers, picture_tick_ns=picture_tick_ns)
        self.now = start_ns
        self.answers: list[tuple[int, Answer]] = []
        self.pushed: list[MediaUnit] = []
        self.on_answer: Callable[[Answer, int], None] = lambda _answer, _now: None
        self._seq = 0
        self._sound_until: int | None = None
        self._last_stamp = {AUDIO: -1, VIDEO: -1}
        self.dry = False  # polled until None, and told nothing since

    # ---- in

    def sound(self, at: int, *, epoch: int = 0, lasts: int = SLOT, pause: bool = False, pump: bool = True) -> MediaUnit:
        """Push one sound unit whose content begins at ``at`` ns."""
        self._seq += 1
        return self.push(MediaUnit(AUDIO, self._seq, epoch, at, lasts, pause=pause), pump=pump)

    def picture(
        self, at: int, *, epoch: int = 0, lasts: int = FRAME, key: bool = True, raw: bool = True, pump: bool = True
    ) -> MediaUnit:
        self._seq += 1
        return self.push(MediaUnit(VIDEO, self._seq, epoch, at, lasts, 1000, key, raw), pump=pump)

    def burst(self, units: Iterable[tuple[Kind, int]], *, epoch: int = 0, **odd: Any) -> None:
        """Push all of them, then poll: they came in one read."""
        for kind, at in units:
            self._seq += 1
            unit = MediaUnit(kind, self._seq, epoch, at, SLOT if kind is AUDIO else FRAME, **odd)
            self.pushed.append(unit)
            self.engine.push(unit, self.now)
        self.dry = False
        self.pump()

    def push(self, unit: MediaUnit, *, pump: bool = True) -> MediaUnit:
        self.pushed.append(unit)
        self.engine.push(unit, self.now)
        wakeup = self.engine.next_wakeup_ns()
        if self.dry and wakeup is not None and wakeup > self.now:
            assert self.engine.poll(self.now) is None, "a driver may sleep until its timer, whatever was pushed"
        self.dry = False
        if pump:
            self.pump()
        return unit

    # ---- out

    def pump(self) -> None:
        engine = self.engine
        for _ in range(20_000):
            answer = engine.poll(self.now)
            if answer is None:
                break
            self._note(answer)
        else:
            raise AssertionError("poll does not end")
        self.dry = True
        wakeup = engine.next_wakeup_ns()
        assert wakeup is None or wakeup > self.now, "a timer that has already gone off is a busy loop"

    def advance_to(self, until: int) -> None:
        """Keep the timers up to ``until``, included."""
        self.pump()
        while (wakeup := self.engine.next_wakeup_ns()) is not None and wakeup <= until:
            assert self.engine.poll(wakeup - 1) is None, "polled early, there is nothing to say"
            self.now = wakeup
            self.pump()
        self.now = until
        self.pump()

    def sleep_to(self, until: int) -> None:
        """The driver itself is not scheduled: no timer goes off until ``until``."""
        self.now = until
        self.pump()

    def interrupt(self, epoch: int) -> Any:
        found = self.engine.interrupt(epoch, self.now)
        self.pump()
        return found

    def finish(self, epoch: int = 0) -> None:
        for kind in (AUDIO, VIDEO):
            self.engine.finish(kind, epoch, self.now)
        self.pump()

    def close(self) -> None:
        self.engine.close(self.now)
        self.pump()

    def _note(self, answer: Answer) -> None:
        self.answers.append((self.now, answer))
        if isinstance(answer, Present | Repeat):
            kind = answer.unit.kind
            assert answer.stamp_ns > self._last_stamp[kind], "stamps strictly increase"
            self._last_stamp[kind] = answer.stamp_ns
        if isinstance(answer, InsertSilence) or (isinstance(answer, Present) and answer.unit.kind is AUDIO):
            if self._sound_until is not None:
                assert answer.at_ns == self._sound_until, "slots tile: no gap, no overlap"
            assert answer.at_ns == answer.stamp_ns <= self.now
            self._sound_until = answer.at_ns + sound_lasts(answer, self.engine.policy.slot_ns)
        self.on_answer(answer, self.now)

    # ---- what was seen

    def of(self, kind: type[A]) -> list[A]:
        return [answer for _, answer in self.answers if isinstance(answer, kind)]

    def presents(self, kind: Kind) -> list[Present]:
        return [present for present in self.of(Present) if present.unit.kind is kind]

    def drops(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for drop in self.of(Drop):
            counts[drop.reason.value] = counts.get(drop.reason.value, 0) + 1
        return counts

    def ladder(self) -> list[tuple[int, str]]:
        """What the sink was told besides pictures, with times: ``(at_ns, "degrade 1")``, alerts, requests."""
        steps = []
        for at, answer in self.answers:
            match answer:
                case Degrade(level=level):
                    steps.append((at, f"degrade {level}"))
                case Alert(name=name, active=active):
                    steps.append((at, f"{name} {'on' if active else 'off'}"))
                case Request(want=want):
                    steps.append((at, want.value))
        return steps

    def offsets(self) -> list[int]:
        """Of each picture shown while sound left: content of the sound - content of the picture."""
        offsets, sounding = [], None
        for at, answer in self.answers:
            if isinstance(answer, InsertSilence):
                sounding = None
            elif isinstance(answer, Present) and answer.unit.kind is AUDIO:
                sounding = None if answer.unit.pause else answer
            elif isinstance(answer, Present) and sounding is not None:
                offsets.append(sounding.unit.pts_ns + at - sounding.at_ns - answer.unit.pts_ns)
        return offsets


def sound_lasts(answer: Present | InsertSilence, slot_ns: int = SLOT) -> int:
    """How much output time a sound answer fills. A pause mark fills one slot at most."""
    if isinstance(answer, InsertSilence):
        return answer.duration_ns
    lasts = answer.unit.duration_ns
    if answer.unit.pause:
        return min(lasts, slot_ns) or slot_ns
    return stretched_ns(lasts, answer.stretch_ppm)


def speak(
    player: Player,
    until: int,
    *,
    epoch: int = 0,
    pts: int = 0,
    start: int | None = None,
    sound: Callable[[int], int | None] = lambda pts: 0,
    pictures: Callable[[int], int | None] = lambda pts: 0,
    marked: Container[int] = (),
    fps: int = 25,
    **picture: Any,
) -> None:
    """A live turn: content ``pts`` up to ``until`` (both content), pushed at ``start`` + its place in the turn.

    ``sound`` and ``pictures`` say how much later than that each unit comes, or None: never. What is ``marked`` is
    the mark of a pause.
    """
    start = player.now if start is None else start
    events: list[tuple[int, int, bool, int]] = []
    period = ms(1000) // fps
    for index, at in enumerate(range(pts, until, SLOT)):
        late = sound(at)
        if late is not None:
            events.append((start + at - pts + late, index, True, at))
    for index, at in enumerate(range(pts, until, period)):
        late = pictures(at)
        if late is not None:
            events.append((start + at - pts + late, index, False, at))
    for at, _, is_sound, content in sorted(events):
        if at > player.now:
            player.pump()
            player.advance_to(at - 1)
            player.now = at
        # What comes at the same time is pushed before anything is polled.
        if is_sound:
            player.sound(content, epoch=epoch, pause=content in marked, pump=False)
        else:
            player.picture(content, epoch=epoch, lasts=period, pump=False, **picture)
    player.pump()
