"""How fast the lab is: 60 s of ``clean``, engine and measuring included, beside a bare SimPy loop of as many events.

CPU time of this process, so that neighbours count little; best and median of the rounds. The aim
is 1000 x real time for the viewer ``browser``. Then where the time goes, room by room: what runs at each millisecond of
CPU time (what was compiled is seen as its caller).
"""

from __future__ import annotations

import gc
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from types import FrameType
from typing import Any, TypeVar

import simpy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sim.judge.row import measure
from sim.run.world import Run, simulate
from sim.scenario.files import shipped
from sim.scenario.scenario import Scenario, load_scenario
from sim.virtual_time import VirtualTime

Result = TypeVar("Result")
ROUNDS = 7
CHAINS = 6  # a run of the lab has about this many things under way at a time
ROOMS = {
    "avsync/engine": "core: engine",
    "avsync/monitor": "core: monitors",
    "avsync/": "core: timeline, types",
    "sim/source": "source",
    "sim/network": "network",
    "sim/rng.py": "network",
    "sim/run": "run: senders, output, receivers",
    "sim/browser": "receiver: browser's model",
    "sim/truth": "truth: logs and measures",
    "sim/judge": "truth: logs and measures",
    "numpy/": "truth: logs and measures",
    "sim/virtual_time.py": "SimPy, virtual time",
    "simpy/": "SimPy, virtual time",
}
"""Which room a file belongs to: the first that its path holds."""
SAMPLE_S = 0.001
SAMPLED_RUNS = 10


def one_run(scenario: Scenario, viewer: str) -> Run:
    return simulate(scenario, policy=scenario.engine_policy, viewer=viewer, seed=1)


def count_events(scenario: Scenario, viewer: str) -> int:
    """Events that one run schedules."""
    count = 0
    after = VirtualTime.after

    def counting(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        after(*args, **kwargs)

    VirtualTime.after = counting  # type: ignore[method-assign]
    try:
        one_run(scenario, viewer)
    finally:
        VirtualTime.after = after  # type: ignore[method-assign]
    return count


def where_time_goes(scenario: Scenario, viewer: str) -> dict[str, float]:
    """Room -> its share of some runs with their measuring, in per cent; the largest first."""
    seen: Counter[str] = Counter()

    def look(_signal: int, frame: FrameType | None) -> None:
        path = frame.f_code.co_filename if frame is not None else ""
        seen[next((room for part, room in ROOMS.items() if part in path), "Python's own")] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)
    try:
        for _ in range(SAMPLED_RUNS):
            measure(one_run(scenario, viewer))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return {room: 100 * count / seen.total() for room, count in seen.most_common()}


def bare_loop(events: int) -> None:
    """SimPy alone: timeouts that each set the next one."""
    env = simpy.Environment(0)
    left = events - CHAINS

    def again(event: simpy.Event) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            env.timeout(20_000_000, event.value).callbacks.append(again)

    for number in range(CHAINS):
        env.timeout(number * 3_000_000, number).callbacks.append(again)
    env.run()


def cpu_ms(call: Callable[..., Result], *args: Any) -> tuple[float, Result]:
    gc.collect()
    begin = process_time()
    result = call(*args)
    return (process_time() - begin) * 1e3, result


def main() -> None:
    scenario = load_scenario(shipped() / "clean.yaml")
    media_ms = scenario.duration_s * 1e3
    for viewer in ("browser", "avsync"):
        events = count_events(scenario, viewer)
        bare, running, measuring = [], [], []
        for _ in range(ROUNDS):
            bare.append(cpu_ms(bare_loop, events)[0])
            took, run = cpu_ms(one_run, scenario, viewer)
            running.append(took)
            measuring.append(cpu_ms(measure, run)[0])
        print(f"clean, viewer {viewer}: {scenario.duration_s:g} s of media, {events} events, {ROUNDS} rounds")
        for word, of in (("best", min), ("median", median)):
            lab = of([a + b for a, b in zip(running, measuring, strict=True)])
            print(
                f"  {word:6}  {of(running):.0f} ms to run + {of(measuring):.0f} ms to measure: "
                f"{media_ms / lab:.0f} x real time; bare SimPy {of(bare):.1f} ms ({media_ms / of(bare):.0f} x), "
                f"ratio {lab / of(bare):.1f}"
            )
        for room, share in where_time_goes(scenario, viewer).items():
            print(f"  {share:5.1f} %  {room}")


if __name__ == "__main__":
    main()
