"""What recording tests record: two turns, a hole in the pictures, an interrupt, an end."""

from __future__ import annotations

from typing import Any

from avsync.engine.synchronizer import AvSynchronizer
from avsync.policy import AvSyncPolicy
from avsync.recording.recorder import Recorder
from avsync.types import AUDIO, VIDEO, Heard, MediaUnit, ObservedBy, Presented
from tests.adapters.driver_story import SLOT


def drain(engine: Any, now_ns: int) -> None:
    while engine.poll(now_ns) is not None:
        pass


def talk(engine: Any, *, slots: int = 100, interrupt_at: int = 60) -> None:
    """Two turns, pictures missing for a while, an interrupt, a unit of the old turn, an end."""
    now = 0
    for number in range(slots):
        now = number * SLOT
        epoch = 0 if number < interrupt_at else 1
        if number == interrupt_at:
            engine.interrupt(1, now)
            engine.push(MediaUnit(AUDIO, 5000, 0, number * SLOT, SLOT), now)
        engine.push(MediaUnit(AUDIO, number, epoch, number * SLOT, SLOT, payload=object()), now)
        if number % 2 == 0 and not 20 <= number < 50:
            engine.push(MediaUnit(VIDEO, number // 2, epoch, number * SLOT, 2 * SLOT), now, in_order=number != 6)
        drain(engine, now)
        engine.next_wakeup_ns()
    for kind in (AUDIO, VIDEO):
        engine.finish(kind, 1, now)
    engine.on_presented(Presented(AUDIO, 1, 17, SLOT, now, ObservedBy.DEVICE, Heard.CONTENT), now)
    engine.close(now)
    drain(engine, now)


def recorded(policy: AvSyncPolicy | None = None, **made: Any) -> list[str]:
    lines: list[str] = []
    recorder = Recorder(AvSynchronizer(policy, **made), lines.append)
    talk(recorder)
    recorder.end()
    return lines
