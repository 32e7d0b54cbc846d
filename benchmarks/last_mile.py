"""The last mile, measured: how far lips and voice are apart at a viewer behind a way, its jitter and its loss.

    python -m benchmarks.last_mile [--seeds 3] [--out results/last_mile/grid.md]
    python -m benchmarks.last_mile --traces FOLDER --list results/last_mile/traces.txt [--write-list] [--out FILE]

The first runs a grid of ways, jitter and loss at both viewers, each with the receivers' target and without it, and
prints p95 of |offset| away from the viewer's first 5 s, what the target costs (median delay of the voice with it less
without it, and the lab's own column), and the bound on that: two ways, three times the jitter and 30 ms; 20 ms on a
calm line. The second replays recorded networks on the way to the viewer ``browser``: those on the list. With
``--write-list`` it writes that list instead: the traces in which no second of the call carries less than the call, and
that lose no more than 5 % of it. No figure passes or fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from avsync.errors import InputError
from avsync.policy import AvSyncPolicy
from benchmarks.study_traces import Task, call, impairments, media_bps
from sim.judge.row import Row, measure
from sim.network.traces.load import load_trace
from sim.run.world import simulate
from sim.scenario.scenario import build

WAYS_MS, JITTERS_MS, LOSSES_PCT = (20, 60, 100), (0, 20, 40), (0, 1, 3)
WIFI = (60, 30, 2)
GRID = (*((way, jitter, loss) for way in WAYS_MS for jitter in JITTERS_MS for loss in LOSSES_PCT), WIFI, (80, 40, 3))
ON, OFF = AvSyncPolicy(), AvSyncPolicy(receiver_target_max_ns=0)
P95 = "offset_abs_p95_ms@clear"


class Case(NamedTuple):
    """One way at one viewer, in one seed."""

    way_ms: int
    jitter_ms: int
    loss_pct: int
    viewer: str
    seed: int

    @property
    def bound_ms(self) -> float:
        calm = not self.jitter_ms and not self.loss_pct
        return 20 if calm else 2 * self.way_ms + 3 * self.jitter_ms + 30


def pair(case: Case) -> tuple[Row, Row]:
    """With the receivers' target, and without."""
    network = {"delay_ms": case.way_ms, "jitter_ms": case.jitter_ms, "loss": case.loss_pct / 100}
    data = {
        "avsync": 1, "about": "A last mile; nothing else goes wrong.", "tags": ["reference"], "duration_s": 40,
        "network": {"to_viewer": {name: value for name, value in network.items() if value}},
    }  # fmt: skip
    scenario = build(data)
    with_it, without = (
        measure(simulate(scenario, policy=policy, viewer=case.viewer, seed=case.seed)) for policy in (ON, OFF)
    )
    return with_it, without


def grid_lines(seeds: int, jobs: int) -> Iterator[str]:
    cases = [
        Case(*place, viewer, seed) for place in GRID for viewer in ("browser", "avsync") for seed in range(1, seeds + 1)
    ]
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        rows = dict(zip(cases, pool.map(pair, cases), strict=True))
    yield from (
        "| way, jitter, loss | browser, off | browser | delay it costs | its column | bound | viewer avsync |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    )
    for place in GRID:
        browser = [rows[Case(*place, "browser", seed)] for seed in range(1, seeds + 1)]
        ours = [rows[Case(*place, "avsync", seed)][0] for seed in range(1, seeds + 1)]
        cost_ms = [number(on, "added_latency_p50_ms") - number(off, "added_latency_p50_ms") for on, off in browser]
        cells = (
            f"{place[0]} ms, {place[1]} ms, {place[2]} %",
            worst(number(off, P95) for _, off in browser),
            worst(number(on, P95) for on, _ in browser),
            f"{max(cost_ms):.0f}",
            worst(number(on, "receiver_target_p95_ms") for on, _ in browser),
            f"{Case(*place, 'browser', 1).bound_ms:.0f}",
            worst(number(row, P95) for row in ours),
        )
        yield "| " + " | ".join(cells) + " |"


def number(row: Row, name: str) -> float:
    """UNKNOWN counts as the worst there is."""
    value = row[name]
    return float("inf") if value is None else value


def worst(values: Iterator[float]) -> str:
    return f"{max(values):.0f}"


# ------------------------------------------------------------------------------------------ traces


def carries(folder: Path, name: str) -> bool:
    """Whether every second of the call (seed 1) carries at least the call, and little is lost."""
    scenario = call("to_viewer", 60.0)
    task = Task(str(folder), name, "to_viewer", (), (), (1,), 60.0)
    try:
        trace = load_trace(folder / name, leg="to_viewer")
    except InputError:
        return False
    met = impairments(trace, task, 1, media_bps(scenario))
    return met.kind == "enough" and not met.short_s


def replay(at: tuple[str, str]) -> tuple[str, Row, Row]:
    folder, name = at
    scenario = call("to_viewer", 60.0)
    on, off = (
        measure(
            simulate(scenario, policy=policy, viewer="browser", seed=1, networks={"to_viewer": Path(folder) / name})
        )
        for policy in (ON, OFF)
    )
    return name, on, off


def trace_lines(folder: Path, names: Sequence[str], jobs: int) -> Iterator[str]:
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        found = list(pool.map(replay, [(str(folder), name) for name in names]))
    p95s = sorted(number(on, P95) for _, on, _ in found)
    yield f"{sum(p95 <= 60 for p95 in p95s)} of {len(p95s)} are at most 60 ms; median {p95s[len(p95s) // 2]:.0f}."
    yield from ("", "| trace | off | p95 | target, p95 |", "| --- | ---: | ---: | ---: |")
    for name, on, off in found:
        cells = (number(off, P95), number(on, P95), number(on, "receiver_target_p95_ms"))
        yield f"| {name} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |"


# -------------------------------------------------------------------------------------------- main


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    try:
        if args.traces is None:
            lines = list(grid_lines(args.seeds, args.jobs))
        elif args.list is None:
            raise InputError("--traces needs --list", remedy="name the file with the traces' names")
        elif args.write_list:
            names = sorted(
                path.relative_to(args.traces).as_posix() for path in args.traces.rglob("*") if path.is_file()
            )
            lines = [name for name in names if carries(args.traces, name)]
            args.list.write_text("\n".join(lines) + "\n", encoding="utf-8")
        else:
            names = args.list.read_text(encoding="utf-8").split("\n")
            lines = list(trace_lines(args.traces, [name for name in names if name], args.jobs))
    except (InputError, OSError) as error:
        print(f"last_mile: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.last_mile", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of the grid")
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="recorded networks instead of the grid")
    parser.add_argument("--list", type=Path, metavar="FILE", help="which of them, a name a line")
    parser.add_argument("--write-list", action="store_true", help="write that list: those that carry the call")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table here, too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
