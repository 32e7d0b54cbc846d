"""Results without a simulation: a scenario as text, and rows that say what the test wants them to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sim.judge.judge import baseline_misses, check, limits_of
from sim.judge.row import Row, key
from sim.judge.series import QUANTILES, PlotCurve, PointSeries, RunSeries
from sim.scenario.metric_names import BELIEVED_COLUMNS, LIMITABLE, SAMPLED, base_name, metric
from sim.scenario.scenario import Scenario, load_scenario
from sim.sweep.sweep import Result, Role, RunPlan, Spec

STALL = """\
avsync: 1
about: The pictures stop for a second.
source: {video: {resume: burst}}
network: {to_viewer: {delay_ms: 20}}
steps:
  - {at_s: 20, do: stall, only: video, for_s: 1}
expect:
  - {metric: output_offset_abs_p95_ms, at_most: 25}
  - {metric: output_offset_abs_p95_ms, at_most: 25, window: clear}
  - {metric: offset_abs_p95_ms, at_most: 60}
  - {metric: offset_abs_p95_ms, at_most: 45, window: clear}
  - {metric: recovery_ms, at_most: 1000}
baseline: {policy: fps_paced, misses: [output_offset_abs_p95_ms]}
"""
CLEAN = """\
avsync: 1
about: Nothing goes wrong.
tags: [reference]
expect: [{metric: offset_abs_p95_ms, at_most: 45}]
"""


def good_row(**changed: float | None) -> Row:
    """Every column, each as good as can be; ``at`` in a name stands for ``@``: ``offset_abs_p95_ms_at_clear``."""
    row: Row = dict.fromkeys(BELIEVED_COLUMNS, 0.0)
    for name in LIMITABLE:
        one = metric(name)
        assert one is not None
        best = 100.0 if one.better == "higher" else 0.0
        for window in SAMPLED:
            row[key(name, window)] = best
        if base_name(name) == "recovery_ms":
            row[name.replace("recovery_ms", "recovery_counted_ms")] = best
    row.update({name.replace("_at_", "@"): value for name, value in changed.items()})
    return row


class Story:
    """A plan and its results, built one run at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: list[Result] = []
        self.scenarios: dict[str, Scenario] = {}

    def scenario(self, name: str, text: str = STALL) -> str:
        path = self.folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.scenarios[str(path)] = load_scenario(path)
        return str(path)

    def ran(
        self,
        file: str,
        *,
        viewer: str = "browser",
        seeds: Sequence[int] = (1,),
        role: Role = "main",
        policy: str | None = None,
        series: RunSeries | None = None,
        **values: float | None,
    ) -> None:
        scenario = self.scenarios[file]
        for seed in seeds:
            row = good_row(**values)
            spec = Spec(file, viewer, seed, role, policy)
            result = Result(spec, scenario.name, policy or "default", row, simulated_s=60.0, series=series)
            if role == "baseline":
                result.misses = baseline_misses(row, scenario, viewer)
            else:
                result.checks = check(row, limits_of(scenario, viewer))
            self.results.append(result)

    @property
    def plan(self) -> RunPlan:
        return RunPlan(tuple(result.spec for result in self.results), self.scenarios)


def wave(peak_ms: float = 40.0, end_s: float = 60.0) -> RunSeries:
    """A run whose offset swings between the peaks; the belief is right."""
    at = np.linspace(0, end_s, 600, dtype=np.float32)
    curve = PlotCurve(at, (peak_ms * np.sin(at)).astype(np.float32))
    spread = np.linspace(0, peak_ms, QUANTILES).astype(np.float32)
    point = PointSeries(curve, curve, spread, spread, degraded=((10.0, 11.0),))
    return RunSeries(point, point, PlotCurve(at, np.full_like(at, 40)), PlotCurve(at, np.full_like(at, 80)))


def nothing() -> RunSeries:
    """A run in which nothing could be measured."""
    none = PlotCurve(np.empty(0, np.float32), np.empty(0, np.float32))
    point = PointSeries(none, none, np.empty(0, np.float32), np.empty(0, np.float32), ())
    return RunSeries(point, point, none, none)
