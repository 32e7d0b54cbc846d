"""Sweep: many runs, on as many cores as wanted, with the same rows whatever their number.

A ``Spec`` is plain data and says all there is about one run; ``execute`` does it in any process.
``RunPlan`` lists the specs of a command, the baselines among them; ``run_all`` sends them to worker
processes in chunks and yields results in the order of the plan.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, NamedTuple

from avsync.errors import InputError
from avsync.policy import AvSyncPolicy
from sim.judge.judge import Check, baseline_misses, check, limits_of
from sim.judge.row import Row, measure
from sim.judge.series import RunSeries, series_of
from sim.payload.scorer_at_viewer import ScoredWindow, columns
from sim.policy_option import digest, policy_named
from sim.run.world import Run, simulate
from sim.scenario.scenario import Scenario, load_scenario
from sim.scenario.source import PayloadSpec
from sim.scenario.types import policy_of
from sim.source.clip import load_clip

SCHEMA = 1
Role = Literal["main", "baseline", "compare"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One run. ``policy``: a preset's name, a TOML file, a table, or None for the scenario's own."""

    file: str
    viewer: str
    seed: int
    role: Role = "main"
    policy: str | tuple[tuple[str, Any], ...] | None = None
    networks: tuple[tuple[str, str], ...] = ()
    clip: str | None = None
    record_to: str | None = None
    with_series: bool = False
    scorer: bool = False  # with real payloads even where the scenario has none


@dataclass(slots=True)
class Result:
    """What came of a ``Spec``: the flat row, the limits held against it, what the baseline missed."""

    spec: Spec
    scenario: str
    policy: str
    row: Row
    checks: list[Check] = field(default_factory=list)
    misses: dict[str, bool] = field(default_factory=dict)
    simulated_s: float = 0.0
    wall_s: float = 0.0
    network_about: tuple[str, ...] = ()
    series: RunSeries | None = None
    scored: list[ScoredWindow] = field(default_factory=list)
    policy_digest: str = ""

    @property
    def passed(self) -> bool:
        """A baseline passes by missing everything that it was named for."""
        if self.spec.role == "baseline":
            return all(self.misses.values())
        return all(one.passed for one in self.checks)

    def flat(self) -> dict[str, Any]:
        """One object for ``runs.jsonl``: every metric under its own name."""
        head: dict[str, Any] = {
            "schema": SCHEMA, "scenario": self.scenario, "policy": self.policy,
            "policy_digest": self.policy_digest[:12], "viewer": self.spec.viewer,
            "seed": self.spec.seed, "role": self.spec.role, "passed": self.passed,
        }  # fmt: skip
        if self.spec.role == "baseline":
            head["misses"] = self.misses
        failed = [one.limit.words for one in self.checks if not one.passed]
        tail = {"failed": failed, "simulated_s": self.simulated_s, "wall_s": round(self.wall_s, 4)}
        return {**head, **{name: _plain(value) for name, value in self.row.items()}, **tail}


class RunPlan(NamedTuple):
    """What a command runs, in order; scenarios by their file."""

    specs: tuple[Spec, ...]
    scenarios: dict[str, Scenario]


def plan(
    files: Sequence[Path],
    *,
    seeds: Sequence[int] | None = None,
    viewer: str | None = None,
    policy: str | None = None,
    compare: Sequence[str] = (),
    networks: Sequence[tuple[str, str]] = (),
    clip: str | None = None,
    record_to: str | None = None,
    with_series: bool = False,
    baselines: bool = True,
    scorer: bool = False,
) -> RunPlan:
    """Every run of these files: policy under test, baseline (unless comparing or overruled), comparisons."""
    scenarios = {str(path): load_scenario(path) for path in files}
    specs: list[Spec] = []
    for file, scenario in scenarios.items():
        viewers = scenario.viewers if viewer is None else ("browser", "avsync") if viewer == "both" else (viewer,)
        own_seeds = tuple(seeds) if seeds else scenario.seeds
        for who in viewers:
            for seed in own_seeds:
                base = partial(
                    Spec, file=file, viewer=who, seed=seed, networks=tuple(networks), clip=clip, scorer=scorer
                )
                shown = with_series and seed == own_seeds[0]
                specs.append(base(policy=policy, record_to=record_to, with_series=shown))
                specs += [base(role="compare", policy=name, with_series=shown) for name in compare]
                if baselines and scenario.baseline is not None and not compare:
                    named = scenario.baseline.policy
                    table = named if isinstance(named, str) else tuple(sorted(named.items()))
                    specs.append(base(role="baseline", policy=table))
    return RunPlan(tuple(specs), scenarios)


def check_recordings(wanted: RunPlan) -> None:
    """``InputError`` where a recording cannot be written under its name, or two scenarios would share theirs."""
    seen: dict[str, str] = {}
    recorded = [spec for spec in wanted.specs if spec.record_to]
    longest = {spec.file: spec for spec in sorted(recorded, key=lambda one: len(one.viewer) + len(str(one.seed)))}
    for file, spec in longest.items():
        name = wanted.scenarios[file].name
        if (other := seen.setdefault(name, file)) != file:
            raise InputError(f"{other} and {file} would share their recordings", remedy="rename one of them")
        trial = _recording(spec, name, "viewer")
        try:
            trial.touch()
            trial.unlink()
        except OSError as error:  # only the file system knows how long a name may be
            rule = f"--record cannot write {trial.name}: {error.strerror}"
            raise InputError(rule, file=file, remedy="give the scenario a shorter name") from None


def execute(spec: Spec) -> Result:
    """One run, measured and judged. Pure but for the clock that tells how long it took."""
    scenario = load_scenario(spec.file)
    policy = _policy(spec, scenario)
    begun = time.perf_counter()
    recordings: list[Any] = []
    run = simulate(
        scenario,
        policy=policy,
        viewer=spec.viewer,
        seed=spec.seed,
        clip=load_clip(Path(spec.clip)) if spec.clip else _own_clip(scenario),
        networks={leg: Path(path) for leg, path in spec.networks},
        wrap_engine=_recorder(spec, scenario.name, recordings) if spec.record_to else None,
    )
    for recorder, file in recordings:
        recorder.end()
        file.close()
    row = measure(run)
    scored = _scored(run, spec)
    if scored is not None:
        row.update(columns(scored, run))
    result = Result(
        spec, scenario.name, policy.name if isinstance(spec.policy, str | None) else "table", row,
        simulated_s=scenario.duration_s, network_about=run.network_about,
        scored=scored or [], policy_digest=digest(policy),
    )  # fmt: skip
    result.wall_s = time.perf_counter() - begun
    if spec.role == "baseline":
        result.misses = baseline_misses(row, scenario, spec.viewer)
    else:
        result.checks = check(row, limits_of(scenario, spec.viewer))
    if spec.with_series:
        result.series = series_of(run)
    return result


def run_all(specs: Sequence[Spec], jobs: int | None = None) -> Iterator[Result]:
    """Results in the order of ``specs``; ``jobs`` 1 stays in this process."""
    jobs = min(jobs or os.cpu_count() or 1, len(specs) or 1)
    if jobs == 1:
        yield from map(execute, specs)
        return
    others = set(multiprocessing.active_children())  # of whoever calls: none of our business
    workers: set[BaseProcess] | None = None
    pool = ProcessPoolExecutor(max_workers=jobs, initializer=_end_when_told)
    done = False
    try:
        with _told_later():
            # Long runs first would finish sooner, but results in order are worth more to whoever watches.
            pending: list[Future[list[Result]]] = [pool.submit(_execute_chunk, chunk) for chunk in _chunks(specs, jobs)]
            # Asked now: between two results the caller may start children of its own.
            workers = set(multiprocessing.active_children()) - others
        for future in pending:
            yield from future.result()
        done = True
    finally:
        if workers is None:  # interrupted while they were being started, or asked for
            workers = set(multiprocessing.active_children()) - others
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in () if done else workers:  # a chunk that has begun may take a minute, and nobody wants it any more
            worker.kill()


_TOLD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _told_later() -> Iterator[None]:
    """Who is told to end in here is told when it is over: a worker that is being started is in nobody's list yet."""
    told: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _TOLD}
    held = [number for number, handler in before.items() if handler is not None]
    for number in held:
        signal.signal(number, lambda number, _frame: told.append(number))
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, before[number])
    if told:
        signal.raise_signal(told[0])


def _end_when_told() -> None:
    """In a worker, which was started while nobody was. Ctrl-C is for the process that ends its workers."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _execute_chunk(specs: Sequence[Spec]) -> list[Result]:
    return [execute(spec) for spec in specs]


def _chunks(specs: Sequence[Spec], jobs: int) -> Iterable[Sequence[Spec]]:
    """Small enough that the bar moves and both cores stay busy, large enough to be worth sending."""
    size = max(1, min(4, len(specs) // (4 * jobs)))
    return (specs[at : at + size] for at in range(0, len(specs), size))


def _policy(spec: Spec, scenario: Scenario) -> AvSyncPolicy:
    if spec.policy is None:
        return scenario.engine_policy
    return policy_named(spec.policy) if isinstance(spec.policy, str) else policy_of(dict(spec.policy))


def _scored(run: Run, spec: Spec) -> list[ScoredWindow] | None:
    """What a scorer says at the viewer, where the content has sound and pictures; a baseline is not about it."""
    part = run.scenario.source.payload or (PayloadSpec() if spec.scorer else None)
    if part is None or spec.role == "baseline":
        return None
    from sim.payload.speech import scored_run  # the scorer and its nets: only where they are wanted

    return scored_run(run, part)


def _own_clip(scenario: Scenario) -> Any:
    return load_clip(scenario.file(scenario.source.clip)) if scenario.source.clip else None


def _recorder(spec: Spec, name: str, opened: list[Any]) -> Any:
    from avsync.recording.recorder import Recorder

    def wrap(engine: Any, where: str) -> Any:
        file = _recording(spec, name, where).open("w", encoding="utf-8")
        recorder = Recorder(engine, file.write)
        opened.append((recorder, file))
        return recorder

    return wrap


def _recording(spec: Spec, name: str, where: str) -> Path:
    """The file of one engine's recording; its folder is made. ``where``: sender, bridge or viewer."""
    folder = Path(spec.record_to or ".")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{spec.viewer}-{spec.seed}-{where}.jsonl"


def _plain(value: float | None) -> float | str | None:
    """JSON has no infinity: a recovery never reached is written as a word."""
    return "never" if value == float("inf") else value
