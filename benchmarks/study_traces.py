"""Replays every network trace below a folder, under each policy, and says how far lips and voice were apart.

    python -m benchmarks.study_traces FOLDER [--leg to_bridge] [--policies default fps_paced] [--out study/]

A plain call, nothing else wrong with it: on ``to_bridge`` a provider's stream crosses the trace to our bridge, on
``to_viewer`` our own output crosses it to a viewer. Prints one table of distributions over the traces and the traces
on which the first policy misses; ``--out`` writes the same as ``traces.md``, and every run to ``traces.json``.
A network that carries less than 1.3 times the media's rate while the call lasts, or less than the media in any second
of it, starves any call, and one that loses more than 5 % is no network for one: these are classes of their own
(``starved``, ``lossy``) and never mixed in. Exits 1 if a run broke, 2 on bad input; no figure passes or fails.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from avsync.errors import InputError, UsageError
from avsync.policy import AvSyncPolicy
from avsync.units import NS_PER_S, ms
from benchmarks.study_tables import IN_SYNC_NS, LEGS, LOSSY_ABOVE, STARVED_BELOW, Outcome, report
from sim.judge.row import Row, measure
from sim.network.link import trace_start_ns
from sim.network.traces.load import load_trace
from sim.network.traces.trace import OPPORTUNITY_BYTES, NetworkTrace
from sim.packets import MTU_BYTES
from sim.run.leg import HEADER_BYTES
from sim.run.world import simulate
from sim.scenario.metric_names import OUTPUT
from sim.scenario.scenario import Scenario, build
from sim.truth.columns import Bool
from sim.truth.truth import Offsets, OffsetState, offsets

POLICIES = ("default", "pass_through", "fps_paced", "arrival_delay", "two_clocks")
TOPOLOGY = dict(zip(LEGS, ("provider_bridge", "local_encode"), strict=True))
QUEUE_MS = 300  # drop-tail, RFC 8867; a trace says how much could pass, not how much could wait


class Task(NamedTuple):
    """One trace on one leg: all of its runs, so that the file is read once."""

    folder: str
    name: str
    leg: str
    policies: tuple[str, ...]
    viewers: tuple[str, ...]
    seeds: tuple[int, ...]
    duration_s: float


# ---------------------------------------------------------------------------------------- one run


def call(leg: str, duration_s: float) -> Scenario:
    """One turn of talk over a good line; the trace replaces what ``leg`` could carry."""
    good = {"delay_ms": 20}
    data = {
        "avsync": 1,
        "about": "One turn of talk over a recorded network; nothing else goes wrong.",
        "tags": ["reference", "soak"],
        "duration_s": duration_s,
        "topology": TOPOLOGY[leg],
        "network": {"to_viewer": good, leg: {**good, "rate_kbps": 100_000, "queue_ms": QUEUE_MS}},
    }
    return build(data)


def media_bps(scenario: Scenario) -> float:
    """What the call puts on the wire: both streams with their headers."""
    sound, video = scenario.source.audio, scenario.source.video
    frame_bytes = video.bitrate_kbps * 125 / float(video.fps)
    packets = float(video.fps) * -(-frame_bytes // MTU_BYTES) + 1000 / sound.unit_ms
    return 1000 * (sound.bitrate_kbps + video.bitrate_kbps) + 8 * HEADER_BYTES * packets


def capacity_bps(trace: NetworkTrace, from_ns: int, duration_s: float) -> list[float]:
    """What the trace lets through in each second of a call that begins at its ``from_ns``; empty: no limit in it."""
    if not trace.limits_rate:
        return []
    if trace.opportunities_ns:
        at = np.array(trace.opportunities_ns, dtype=float) / NS_PER_S
        done = np.arange(1, len(at) + 1, dtype=float) * OPPORTUNITY_BYTES * 8
        at, done = np.append(0.0, at), np.append(0.0, done)
    else:
        at = np.array([*trace.times_ns, trace.duration_ns], dtype=float) / NS_PER_S
        done = np.append(0.0, np.cumsum(np.diff(at) * np.array(trace.rate_bps, dtype=float)))
    length_s = trace.duration_ns / NS_PER_S
    edges = from_ns / NS_PER_S + np.append(np.arange(0.0, duration_s), duration_s)
    loops = np.floor(edges / length_s)
    served = loops * done[-1] + np.interp(edges - loops * length_s, at, done)
    return [float(bits) for bits in np.diff(served) / np.diff(edges)]


def lost_share(trace: NetworkTrace, from_ns: int, duration_s: float) -> float:
    """Share of a call that begins at the trace's ``from_ns`` which the trace loses."""
    if not trace.loss_ppm:
        return 0.0
    at_ns = (from_ns + np.arange(0, duration_s * 1e9, ms(10), dtype=np.int64)) % trace.duration_ns
    here = np.searchsorted(np.array(trace.times_ns, dtype=np.int64), at_ns, "right") - 1
    return float(np.array(trace.loss_ppm)[here].mean()) / 1e6


class Impairments(NamedTuple):
    """What a trace was like while the call lasted: fields of ``Outcome``."""

    kind: str
    capacity_mbps: float | None
    short_s: int
    lost_pct: float


def impairments(trace: NetworkTrace, task: Task, seed: int, need_bps: float) -> Impairments:
    from_ns = trace_start_ns(trace, seed, task.leg)
    each = capacity_bps(trace, from_ns, task.duration_s)
    lost = lost_share(trace, from_ns, task.duration_s)
    mean = sum(each) / len(each) if each else None
    short_s = sum(bps < need_bps for bps in each)
    kind = "starved" if mean is not None and (mean < STARVED_BELOW * need_bps or short_s) else "enough"
    if kind == "enough" and lost > LOSSY_ABOVE:
        kind = "lossy"
    return Impairments(kind, None if mean is None else mean / 1e6, short_s, 100 * lost)


def in_sync(samples: Offsets) -> Bool:
    """When lips were shown, and close to the voice."""
    good: Bool = (samples.state == OffsetState.MEASURED) & (np.abs(samples.e_ns) < IN_SYNC_NS)
    return good


def in_sync_pct(samples: Offsets) -> float | None:
    return 100 * float(in_sync(samples).mean()) if len(samples.at_ns) else None


def episodes(samples: Offsets) -> tuple[int, float | None]:
    """How often sync was lost once it had been found, and the longest time in ms without a whole second of it."""
    length = NS_PER_S // samples.step_ns
    if len(samples.at_ns) < length:
        return 0, None
    good = in_sync(samples)
    steady = np.zeros(len(good), np.bool_)
    for start, end in _runs(good):
        steady[start:end] = end - start >= length
    lost = _runs(~steady)
    longest = max((end - start for start, end in lost), default=0)
    return sum(start > 0 for start, _ in lost), longest * samples.step_ns / 1e6


def _runs(flags: Bool) -> list[tuple[int, int]]:
    """[start, end) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def replay(task: Task) -> list[Outcome]:
    """All runs of one trace. A run that raises is an outcome too."""
    path = Path(task.folder) / task.name
    scenario = call(task.leg, task.duration_s)
    trace = load_trace(path, leg=task.leg)
    found = []
    for seed in task.seeds:
        met = impairments(trace, task, seed, media_bps(scenario))
        for policy in task.policies:
            for viewer in task.viewers:
                blank = Outcome(task.name, task.leg, policy, viewer, seed, *met)
                try:
                    found.append(_run(blank, scenario, path))
                except Exception as error:  # what breaks is what a study is for
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    place = f"{Path(where.filename).name}:{where.lineno}"
                    found.append(replace(blank, broke=f"{type(error).__name__}: {error} ({place})"))
    return found


def _run(blank: Outcome, scenario: Scenario, path: Path) -> Outcome:
    run = simulate(
        scenario,
        policy=AvSyncPolicy.preset(blank.policy),
        viewer=blank.viewer,
        seed=blank.seed,
        networks={blank.leg: path},
    )
    row: Row = measure(run)
    seen = [offsets(run.source, glass) for glass in (run.at_output.presented, run.at_viewer.presented)]
    at_output, at_viewer = (episodes(samples) for samples in seen)
    point = OUTPUT if blank.leg == "to_bridge" else ""  # whose ears are behind the trace
    return replace(
        blank,
        output_p95_ms=row["output_offset_abs_p95_ms"], viewer_p95_ms=row["offset_abs_p95_ms"],
        output_lips_pct=row["output_measured_pct"], viewer_lips_pct=row["measured_pct"],
        output_in_sync_pct=in_sync_pct(seen[0]), viewer_in_sync_pct=in_sync_pct(seen[1]),
        output_episodes=at_output[0], output_longest_ms=at_output[1],
        viewer_episodes=at_viewer[0], viewer_longest_ms=at_viewer[1],
        silence_ms=row[point + "silence_inserted_ms"], heard_pct=row[point + "content_heard_pct"],
        latency_p95_ms=row["output_added_latency_p95_ms"], held_ms=row[point + "jitter_buffer_p50_ms"],
        monitor_error_ms=row[point + "monitor_error_p95_ms"],
        queue_peak_units=max(row["output_queue_peak_units"] or 0, row["queue_peak_units"] or 0),
        pts_violations=(row["output_pts_violations"] or 0) + (row["pts_violations"] or 0),
    )  # fmt: skip


# ------------------------------------------------------------------------------------- all of them


@lru_cache(maxsize=1)
def _readable(folder: str, legs: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(traces below ``folder``, (file, why not) of what is none), both relative and in order of name."""
    traces, others = [], []
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        try:
            for leg in legs:
                load_trace(path, leg=leg)
            traces.append(name)
        except InputError as error:
            others.append((name, error.rule))
    return tuple(traces), tuple(others)


def study(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """Outcomes in the order of the tasks."""
    if jobs == 1:
        for task in tasks:
            yield from replay(task)
        return
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        for outcomes in pool.map(replay, tasks):
            yield from outcomes


# ------------------------------------------------------------------------------------------- main


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    try:
        tasks, others = _tasks(args)
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
    except (InputError, UsageError, OSError) as error:
        print(f"study_traces: {error}", file=sys.stderr)
        return 2
    outcomes = []
    for outcome in study(tasks, args.jobs):
        outcomes.append(outcome)
        if sys.stderr.isatty():
            print(f"\r{len(outcomes)} runs, {outcome.trace[:60]:60}", end="", file=sys.stderr)
    text = report(outcomes, others, args.policies[0], media_bps(call(LEGS[0], args.seconds)) / 1e6)
    print(text)
    if args.out is not None:
        (args.out / "traces.md").write_text(text, encoding="utf-8")
        data: dict[str, Any] = {"schema": 1, "runs": [asdict(one) for one in outcomes], "not_traces": others}
        (args.out / "traces.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 1 if any(one.broke for one in outcomes) else 0


def _tasks(args: argparse.Namespace) -> tuple[list[Task], tuple[tuple[str, str], ...]]:
    if not args.folder.is_dir():
        raise InputError("is not a folder", file=str(args.folder), remedy="name a folder with network traces below it")
    if args.jobs < 1 or args.seeds < 1:
        raise InputError("--jobs and --seeds must be at least 1")
    for policy in args.policies:
        AvSyncPolicy.preset(policy)
    legs = LEGS if args.leg == "both" else (args.leg,)
    for leg in legs:
        call(leg, args.seconds)
    viewers = ("browser", "avsync") if args.viewer == "both" else (args.viewer,)
    traces, others = _readable(str(args.folder), legs)
    if not traces:
        raise InputError("no network trace below this folder", file=str(args.folder))
    seeds = tuple(range(1, args.seeds + 1))
    shared = (tuple(args.policies), viewers, seeds, args.seconds)
    return [Task(str(args.folder), name, leg, *shared) for leg in legs for name in traces], others


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study_traces", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="every network trace below it is replayed")
    parser.add_argument("--leg", choices=(*LEGS, "both"), default="to_bridge", help="where the trace lies")
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), metavar="NAME", help="the first is judged")
    parser.add_argument("--viewer", choices=("browser", "avsync", "both"), default="avsync", help="who watches")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="length of a call")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="so many parts of each trace")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write traces.md and traces.json here")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
