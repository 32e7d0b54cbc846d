"""Trial: one drawn scenario, run once, with all that an invariant may want to look at.

``run_trial`` never raises for what the lab or an engine does wrong: a traceback is a find as well. A scenario whose
delay or silence looks as if it grew is run again for two minutes (``longer``).
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from avsync.policy import AvSyncPolicy
from avsync.types import Alert
from avsync.units import ms
from sim.attack.growth import kept_ms, medians, unforced_ms
from sim.attack.watched import Ledger, Watch
from sim.judge.row import Row, measure
from sim.run.point import Point
from sim.run.world import Run, simulate
from sim.scenario.scenario import Scenario, build
from sim.truth.columns import I64, NEVER
from sim.truth.truth import Offsets, offsets
from sim.truth.unit_measures import Latency, added_latency

LONG_S = 120.0
"""Of the second run: long enough that a delay of 20 ms a minute, which is what matters, is told from learning."""
LONG_FROM_SILENCE_MS, LONG_FROM_GROWN_NS = 60.0, ms(10)
"""From here on a trial is worth two minutes: three slots of silence in the second half of the short run that no arrival
forced, or a latency that grew over its quarters: 10 ms in 5 s is what a source of 0.998 of real time costs."""

LONG_FROM_KEPT_MS = 230.0
"""As ``sim.attack.invariants.KEPT_MS``: what the jitter buffer starts with, and the panel's 150 ms."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PointTrial:
    """What is known of one point where an engine of ours works, or of a browser (``ledger`` None)."""

    name: str
    point: Point
    samples: Offsets
    ledger: Ledger | None
    latency: Latency | None
    """Of sound: leaving minus what an oracle without a buffer would have done with the same arrivals."""

    @property
    def alerts(self) -> list[Alert]:
        """The monitor's and the engine's own."""
        return sorted((*self.point.alerts, *self.engine_alerts), key=lambda alert: alert.at_ns)

    @property
    def engine_alerts(self) -> list[Alert]:
        """Those of the engine that works here, if one does."""
        return self.point.answers.alerts if self.point.answers is not None else []

    def delays_ns(self, run: Run) -> I64:
        """Leaving minus arrival of each sound that came in and left."""
        if self.ledger is None:
            return np.empty(0, np.int64)
        made = run.source.table()
        came, _ = self.ledger.arrivals.first(made)
        left = self.point.presented.table(made).first_heard_ns
        both = (came < NEVER) & (left < NEVER)
        delays: I64 = left[both] - came[both]
        return delays


@dataclass(frozen=True)
class Crash:
    """The lab or an engine raised. ``where``: the innermost place in this repository."""

    error: str
    where: str
    text: str


@dataclass(frozen=True)
class Trial:
    """``crash``: then nothing else is known. ``longer``: the same for two minutes, where that was worth it."""

    scenario: Scenario
    viewer: str
    crash: Crash | None = None
    run: Run | None = None
    row: Row = field(default_factory=dict)
    points: tuple[PointTrial, ...] = ()
    longer: Trial | None = None


def run_trial(data: Mapping[str, Any], policy: AvSyncPolicy, *, long_too: bool = True) -> Trial:
    """Run plain data of a scenario with one seed and one viewer. ``InputError`` where it is no scenario."""
    scenario = build(data, name="find")
    viewer = scenario.viewers[0]
    watch = Watch()
    try:
        run = simulate(scenario, policy=policy, viewer=viewer, seed=scenario.seeds[0], wrap_engine=watch.wrap)
        ledgers = watch.close()
        row = measure(run)
    except Exception as error:  # whatever it is: that is what is looked for
        return Trial(scenario, viewer, crash=_crash(error))
    named = (("output", run.at_output), ("viewer", run.at_viewer))
    points = tuple(_point(run, name, point, ledgers.get(name)) for name, point in named)
    trial = Trial(scenario, viewer, None, run, row, points)
    if long_too and scenario.duration_s < LONG_S and _may_grow(trial):
        longer = run_trial({**data, "duration_s": LONG_S}, policy, long_too=False)
        return Trial(scenario, viewer, None, run, row, points, longer)
    return trial


def _point(run: Run, name: str, point: Point, ledger: Ledger | None) -> PointTrial:
    latency = None if ledger is None else added_latency(run.source, point.presented, ledger.arrivals)
    return PointTrial(name, point, offsets(run.source, point.presented), ledger, latency)


def _may_grow(trial: Trial) -> bool:
    """Whether silence or latency still came in the second half of a short run. Without it two minutes are not spent."""
    assert trial.run is not None
    half, end = trial.scenario.duration_s / 2, trial.scenario.duration_s
    for one in trial.points:
        if one.ledger is None or one.latency is None:
            continue
        (silence_ms,) = unforced_ms(
            trial.run.source, one.point.presented, one.ledger.arrivals, [(half, end)], trial.run.policy
        )
        if silence_ms > LONG_FROM_SILENCE_MS:
            return True
        if scenario_has_turns(trial.scenario):
            kept = kept_ms(trial.run.source, one.latency, one.ledger.arrivals, half)
            if kept is not None and kept > LONG_FROM_KEPT_MS:
                return True
        parts = medians(one.latency.at_ns, one.latency.added_ns, (end / 4, half, 3 * end / 4, end))
        if parts is not None and parts[2] - parts[1] > LONG_FROM_GROWN_NS and parts[1] - parts[0] > LONG_FROM_GROWN_NS:
            return True
    return False


def scenario_has_turns(scenario: Scenario) -> bool:
    """Whether turns follow each other until the end: else no delay can come down."""
    return scenario.source.turns.talk_s is not None


def _crash(error: Exception) -> Crash:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)] or list(frames)
    last = ours[-1]
    path = Path(last.filename)
    where = f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{last.name}"
    return Crash(type(error).__name__, where, "".join(traceback.format_exception(error)))
