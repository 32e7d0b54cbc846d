"""Whether anything piles up: an hour of talk in turns with stalls, or ``--day`` for 24 h of it.

The lab keeps what really happened, by design: its logs grow by a known number of bytes per hour.
Everything else (engine, monitors, buffers, the network) must not grow once it has filled, so the
second half of the time is what counts. Resident memory is looked at ten times, in virtual time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avsync.engine.synchronizer import AvSynchronizer
from avsync.types import Answer
from avsync.units import seconds
from sim.judge.row import measure
from sim.run.world import Run, simulate
from sim.scenario.files import shipped
from sim.scenario.scenario import load_scenario
from sim.truth.columns import IntRows

LOOKS = 10
MB = 1 << 20
SAID = (
    "output_offset_abs_p95_ms",
    "offset_abs_p95_ms",
    "output_queue_peak_units",
    "output_latency_growth_ms_per_min",
    "output_stale_units_leaked",
)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def look_now_and_then(every_ns: int, looks: list[tuple[int, int]]) -> Callable[[AvSynchronizer, str], AvSynchronizer]:
    """A ``wrap_engine`` that looks at the memory while the engine is polled, once per ``every_ns``."""

    def wrap(engine: AvSynchronizer, name: str) -> AvSynchronizer:
        if name == "viewer":
            return engine
        poll = engine.poll

        def watched(now_ns: int) -> Answer | None:
            if now_ns >= (len(looks) + 1) * every_ns:
                looks.append((now_ns, resident_bytes()))
            return poll(now_ns)

        engine.poll = watched  # type: ignore[method-assign]
        return engine

    return wrap


def log_bytes(run: Run) -> int:
    """What the lab keeps on purpose."""
    logs = (run.source, run.arrivals, run.at_output.presented, run.at_viewer.presented)
    told = (run.at_output.beliefs, run.at_viewer.beliefs, run.at_output.buffer_ns, run.at_viewer.buffer_ns)
    kept = [rows for log in logs for rows in vars(log).values() if isinstance(rows, IntRows)]
    return 8 * sum(len(rows) * rows.width for rows in kept) + 16 * sum(len(each) for each in told)


def main(argv: list[str]) -> None:
    scenario = load_scenario(shipped() / ("long_soak.yaml" if "--day" in argv else "soak_1h.yaml"))
    hours = scenario.duration_s / 3600
    looks: list[tuple[int, int]] = []
    wrap = look_now_and_then(seconds(scenario.duration_s / LOOKS), looks)
    begin = process_time()
    run = simulate(scenario, policy=scenario.engine_policy, viewer="browser", seed=1, wrap_engine=wrap)
    running, begin = process_time() - begin, process_time()
    looks.append((run.end_ns, resident_bytes()))
    row = measure(run)
    measuring = process_time() - begin
    kept = log_bytes(run)
    print(f"{scenario.name}, viewer browser: {hours:g} h of media in {running:.0f} s + {measuring:.0f} s to measure")
    print(f"  {scenario.duration_s / (running + measuring):.0f} x real time; logs {kept / hours / MB:.1f} MB per hour")
    print("      hours   resident MB   without logs MB")
    for now_ns, resident in looks:
        rest = resident - kept * now_ns / run.end_ns
        print(f"    {now_ns / 3.6e12:7.2f}   {resident / MB:11.1f}   {rest / MB:15.1f}")
    (half_ns, half), (last_ns, last) = looks[len(looks) // 2 - 1], looks[-1]
    grown = last - half - kept * (last_ns - half_ns) / run.end_ns
    print(f"  in the second half: {grown / MB:+.1f} MB besides its logs")
    for name in SAID:
        value = row[name]
        print(f"  {name}: {'unknown' if value is None else f'{value:.3g}'}")


if __name__ == "__main__":
    main(sys.argv[1:])
