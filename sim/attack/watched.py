"""Watched: an engine with somebody beside it who writes down what goes in and what becomes of it.

Put around each engine of a run (``simulate(wrap_engine=…)``). The lab's rows tell what left; this tells whether each
unit that was pushed ended as exactly one ``Present`` or ``Drop``, and when each came in.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from avsync.engine.engine import Interrupted
from avsync.engine.synchronizer import AvSynchronizer
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, Answer, Drop, Kind, MediaUnit, Present
from sim.packets import IDLE
from sim.run.output import truth_of
from sim.truth.truth import ArrivalLog

POLLS_AT_ONCE = 100_000
"""An engine polled so often in one moment never lets the clock go on: ten times what a full queue answers."""


class Ledger:
    """What was pushed into one engine and what it answered; ``arrivals``: in the engine's own time."""

    def __init__(self) -> None:
        self.arrivals = ArrivalLog()
        self._carried: list[object] = []  # kept alive: they are known by who they are
        self._pushed: Counter[int] = Counter()
        self._ended: Counter[int] = Counter()

    def note_push(self, unit: MediaUnit, now_ns: int) -> None:
        self._carried.append(unit.payload)
        self._pushed[id(unit.payload)] += 1
        if (ref := truth_of(unit.payload)) != IDLE:
            (self.arrivals.sound if unit.kind is AUDIO else self.arrivals.picture)(ref, now_ns)

    def note_answer(self, answer: Answer) -> None:
        if isinstance(answer, Present | Drop):
            self._ended[id(answer.unit.payload)] += 1

    @property
    def lost(self) -> int:
        """Pushes that ended as nothing. To be asked once the engine was closed and polled dry."""
        return sum((self._pushed - self._ended).values())

    @property
    def ended_twice(self) -> int:
        """Ends beyond the pushes of the same unit."""
        return sum((self._ended - self._pushed).values())


class Watched:
    """Stands where an ``AvSynchronizer`` stands in the lab, and has what the lab uses of one."""

    def __init__(self, engine: AvSynchronizer) -> None:
        self._engine = engine
        self._now_ns = 0
        self._polls = 0  # at this moment
        self.ledger = Ledger()

    def push(self, unit: MediaUnit, now_ns: int, *, in_order: bool = True) -> None:
        self._now_ns = now_ns
        self.ledger.note_push(unit, now_ns)
        self._engine.push(unit, now_ns, in_order=in_order)

    def poll(self, now_ns: int) -> Answer | None:
        """``RuntimeError`` where the engine asks to be woken at the same moment again and again."""
        self._polls = self._polls + 1 if now_ns == self._now_ns else 0
        self._now_ns = now_ns
        if self._polls > POLLS_AT_ONCE:
            raise RuntimeError(f"polled {POLLS_AT_ONCE} times at one moment: the engine never waits")
        answer = self._engine.poll(now_ns)
        if answer is not None:
            self.ledger.note_answer(answer)
        return answer

    def finish(self, kind: Kind, epoch: int, now_ns: int) -> None:
        self._now_ns = now_ns
        self._engine.finish(kind, epoch, now_ns)

    def interrupt(self, epoch: int, now_ns: int) -> Interrupted:
        self._now_ns = now_ns
        return self._engine.interrupt(epoch, now_ns)

    def next_wakeup_ns(self) -> int | None:
        return self._engine.next_wakeup_ns()

    def close(self) -> None:
        """The run is over: what still waits is answered too."""
        self._engine.close(self._now_ns)
        while self.poll(self._now_ns) is not None:
            pass

    @property
    def policy(self) -> AvSyncPolicy:
        return self._engine.policy

    @property
    def jitter_buffer_ns(self) -> int:
        return self._engine.jitter_buffer_ns

    @property
    def queued_units(self) -> int:
        return self._engine.queued_units


class Watch:
    """Hands out the ``Watched`` of a run, and keeps them by the name of the engine: sender, bridge, viewer."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}

    def wrap(self, engine: AvSynchronizer, name: str) -> Any:
        """For ``simulate(wrap_engine=…)``."""
        self._watched[name] = watched = Watched(engine)
        return watched

    def close(self) -> dict[str, Ledger]:
        """By point: the engine at our output, and the one at the viewer where there is one."""
        for watched in self._watched.values():
            watched.close()
        names = {"sender": "output", "bridge": "output", "viewer": "viewer"}
        return {names[name]: watched.ledger for name, watched in self._watched.items()}
