"""What the engine and the monitor cost per media unit: a minute of talk, pushed and polled dry as a driver does.

The median over the seconds of media, so that a neighbour's burst does not count; the loop around
the engine is measured with an engine that does nothing, and taken off. The aim is 5 us per unit
for the engine, next to which the monitor's two observations come.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import simpy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avsync.engine.synchronizer import AvSynchronizer
from avsync.monitor.monitor import AvSyncMonitor
from avsync.policy import AvSyncPolicy
from avsync.timeline.clock import AvSyncClock
from avsync.types import Answer, Heard, MediaUnit, ObservedBy, Present, Presented
from avsync.units import NS_PER_S, ms

SECONDS = 60
TRANSIT_NS = ms(30)
PHASE_NS = ms(7)  # units do not arrive just when a slot begins


class Idle:
    """An engine that does nothing: what the loop around it costs."""

    def __init__(self) -> None:
        self._now_ns = 0

    def push(self, _unit: MediaUnit, now_ns: int) -> None:
        self._now_ns = now_ns

    def poll(self, now_ns: int) -> Answer | None:
        self._now_ns = now_ns
        return None

    def next_wakeup_ns(self) -> int:
        return self._now_ns - self._now_ns % ms(20) + ms(20)


def talk() -> list[tuple[int, MediaUnit]]:
    """(arrival, unit) in order: 20 ms sound and 25 pictures/s of one turn."""
    clock = AvSyncClock(audio_rate=48_000, video_rate=25)
    sounds = [clock.stamp_audio(960) for _ in range(SECONDS * 50)]
    pictures = [clock.stamp_frame() for _ in range(SECONDS * 25)]
    units = [unit for unit in (*sounds, *pictures) if unit is not None]
    return sorted(((unit.pts_ns + TRANSIT_NS + PHASE_NS, unit) for unit in units), key=lambda entry: entry[0])


def drive(engine: AvSynchronizer | Idle, units: list[tuple[int, MediaUnit]]) -> tuple[list[int], list[Present]]:
    """Wall ns spent in each second of media, and what was presented."""
    spent, presented = [], []
    wakeup: int | None = 0
    second_end, begin = NS_PER_S, perf_counter_ns()
    for arrival, unit in units:
        while wakeup is not None and wakeup < arrival:
            now = wakeup
            while (answer := engine.poll(now)) is not None:
                if type(answer) is Present:
                    presented.append(answer)
            wakeup = engine.next_wakeup_ns()
        engine.push(unit, arrival)
        while (answer := engine.poll(arrival)) is not None:
            if type(answer) is Present:
                presented.append(answer)
        wakeup = engine.next_wakeup_ns()
        if arrival >= second_end:
            now_ns = perf_counter_ns()
            spent.append(now_ns - begin)
            begin, second_end = now_ns, second_end + NS_PER_S
    return spent, presented


def watch(presented: list[Present]) -> list[int]:
    """Wall ns that a monitor spends in each second of media."""
    monitor = AvSyncMonitor(AvSyncPolicy(), point="output")
    seen = [
        (
            answer.at_ns,
            Presented(
                answer.unit.kind, answer.epoch, answer.unit.pts_ns, answer.unit.duration_ns, answer.at_ns,
                ObservedBy.SIM, Heard.CONTENT,
            ),
        )
        for answer in presented
    ]  # fmt: skip
    spent = []
    second_end, begin = NS_PER_S, perf_counter_ns()
    for at_ns, observation in seen:
        monitor.observe(observation, at_ns)
        if at_ns >= second_end:
            while monitor.poll(at_ns) is not None:
                pass
            now_ns = perf_counter_ns()
            spent.append(now_ns - begin)
            begin, second_end = now_ns, second_end + NS_PER_S
    return spent


def bare_event_us() -> float:
    """What one event of SimPy alone costs here, for comparison."""
    env = simpy.Environment(0)
    spent = []

    def again(_event: simpy.Event) -> None:
        env.timeout(1).callbacks.append(again)

    again(simpy.Event(env))
    for second in range(1, 61):
        begin = perf_counter_ns()
        env.run(until=second * 1000)
        spent.append(perf_counter_ns() - begin)
    return median(spent) / 1e3 / 1000


def main() -> None:
    units = talk()
    per_second = len(units) / SECONDS
    event = bare_event_us()
    around = min(median(drive(Idle(), units)[0]) for _ in range(3)) / 1e3 / per_second
    print(f"{len(units)} units in {SECONDS} s of media; one event of SimPy alone takes {event:.2f} us here")
    presented: list[Present] = []
    for words, network in (("at a sender", False), ("behind a network", True)):
        found = []
        for _ in range(3):
            spent, presented = drive(AvSynchronizer(AvSyncPolicy(), network=network), units)
            found.append(median(spent) / 1e3 / per_second - around)
        print(f"  engine {words}: {min(found):.2f} us per unit ({min(found) / event:.1f} events)")
    seen = min(median(watch(presented)) for _ in range(3)) / 1e3 / per_second
    print(f"  monitor: {seen:.2f} us per unit ({seen / event:.1f} events); the loop around it all: {around:.2f} us")


if __name__ == "__main__":
    main()
