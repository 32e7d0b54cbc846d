"""Lab against glass: what the lab predicts for a scenario, beside what a real browser showed of the same scenario.

Both sides go through the same code. The lab's run leaves a ``PresentationLog``; a reading of the real glass is turned
into one (``presented_at_the_glass``: marked pictures and sound are references into the generator's own log), and e(t),
the windows and every figure come from ``sim.truth.truth`` and ``sim.truth.measures`` alone. So a difference is never
one of definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from avsync.glass.reading import F64, STEP_MS, GlassReading, ReadingState, ShownPictures, shown_pictures
from avsync.glass.recording import Recording
from avsync.policy import AvSyncPolicy
from avsync.units import ms, seconds
from sim.judge.row import key
from sim.run.world import simulate
from sim.scenario.metric_names import SAMPLED
from sim.scenario.scenario import Scenario
from sim.truth import measures
from sim.truth.columns import I64, Bool
from sim.truth.truth import Offsets, OffsetState, PresentationLog, SourceLog, offsets
from sim.truth.windows import Faults, Measure, percentile_ms, share_pct, within

Columns = dict[str, Measure]
"""Named as in the scenario language, ``@clear`` and ``@after_fault`` for those windows; ``offset_p50_ms`` is signed."""

SHOWN = ("offset_p50_ms", "offset_abs_p95_ms", "measured_pct", "degraded_pct")
AGREE_MS = 20.0
"""As near as the lab's p95 is to be to the glass."""
SAME_NS = ms(1)
"""A picture's number is its millisecond, rounded."""


class Comparison(NamedTuple):
    """One figure: the lab's median over its seeds and their range, the glass, and how far they are apart."""

    name: str
    lab: Measure
    lab_low: Measure
    lab_high: Measure
    glass: Measure

    @property
    def apart(self) -> Measure:
        """glass - lab; None where one of them is UNKNOWN."""
        return None if self.lab is None or self.glass is None else self.glass - self.lab

    @property
    def agrees(self) -> bool | None:
        """Within 20 ms; None for what is no time, or UNKNOWN."""
        apart = self.apart
        return None if apart is None or "_ms" not in self.name else abs(apart) <= AGREE_MS


def predict(
    scenario: Scenario, *, policy: AvSyncPolicy | None = None, seeds: Sequence[int] | None = None
) -> list[Columns]:
    """What the lab says of the scenario in the viewer ``browser``: one set of figures for each seed."""
    each = []
    for seed in seeds or scenario.seeds:
        run = simulate(scenario, policy=policy or scenario.engine_policy, viewer="browser", seed=seed)
        samples = offsets(run.source, run.at_viewer.presented)
        each.append(columns(samples, faults_of(scenario), run.end_ns))
    return each


def measured(
    scenario: Scenario, source: SourceLog, recorded: Recording, reading: GlassReading, *, begun_ns: int
) -> Columns:
    """The same figures of a real run, and ``unknown_pct``: what could not be read, and is left out of the others.

    ``begun_ns``: monotonic ns of this machine at the scenario's 0 (``RealScenario.time.begun_s``). A calibrated
    reading brings its zero along.
    """

    def scenario_ns(at_ms: F64) -> I64:
        return recorded.host_ns(0.0) - begun_ns + np.round(at_ms * 1e6).astype(np.int64)

    lips = shown_pictures(recorded.frames, STEP_MS)  # how long they last says the generator's log
    glass = presented_at_the_glass(source, lips, reading, scenario_ns)
    samples = offsets(source, glass)
    known = _known(reading, scenario_ns, samples.at_ns)
    found = columns(samples, faults_of(scenario), seconds(scenario.duration_s), known)
    found["unknown_pct"] = share_pct(int(np.count_nonzero(~known)), len(known))
    return found


def presented_at_the_glass(
    source: SourceLog, lips: ShownPictures, reading: GlassReading, scenario_ns: Callable[[F64], I64]
) -> PresentationLog:
    """What the real glass showed and played, as the lab would have written it. What was never made is left out.

    The reading's zero is taken out of the time of the sound: a raw reading of ``zero_ms`` is a true 0.
    """
    made, log = source.table(), PresentationLog()
    frames = _refs(made.pictures.content_ns, np.round(np.nan_to_num(lips.position_ms) * 1e6).astype(np.int64))
    readable = ~np.isnan(lips.position_ms)
    for at_ns, ref, idle, lip in zip(
        scenario_ns(lips.at_ms).tolist(), frames.tolist(), lips.idle, readable, strict=True
    ):
        if idle or (lip and ref >= 0):
            log.shown(at_ns, -1 if idle else ref)
    rows = np.flatnonzero(reading.heard & ~np.isnan(reading.a_ms))
    begin = np.round((reading.a_ms[rows] - STEP_MS / 2) * 1e6).astype(np.int64)
    units = made.sounds
    order = np.argsort(units.content_ns, kind="stable")
    place = np.maximum(np.searchsorted(units.content_ns[order], begin + ms(STEP_MS / 2), "right") - 1, 0)
    step_ns = ms(STEP_MS)
    if not len(order):
        return log
    at = scenario_ns(reading.at_ms[rows] + reading.zero_ms) - step_ns // 2
    for at_ns, from_ns, ref in zip(at.tolist(), begin.tolist(), order[place].tolist(), strict=True):
        into_ns = from_ns - int(units.content_ns[ref])
        if -step_ns <= into_ns < int(units.duration_ns[ref]):
            log.heard(at_ns, step_ns, ref, into_ns, step_ns)
    return log


def columns(samples: Offsets, faults: Faults, end_ns: int, known: Bool | None = None) -> Columns:
    """Every figure of e(t), over each window; ``known``: which samples count (all)."""
    found: Columns = {}
    use = np.ones(len(samples.at_ns), np.bool_) if known is None else known
    for window in SAMPLED:
        mask = use & within(window, faults, 0)(samples.at_ns)
        e = samples.e_ns[mask & (samples.state == OffsetState.MEASURED)]
        of_window = measures.offset_measures(samples, mask)
        of_window["offset_p50_ms"] = percentile_ms(e, 50)
        of_window["freeze_longest_ms"] = measures.freeze_longest_ms(samples, mask)
        found.update({key(name, window): value for name, value in of_window.items()})
    found["recovery_ms"] = measures.recovery_ms(samples, faults, end_ns)
    return found


def compare(lab: Sequence[Columns], glass: Columns, names: Sequence[str] | None = None) -> list[Comparison]:
    """The lab's seeds against one reading; by default the figures of ``SHOWN`` over all, clear and after faults."""
    wanted = names or [key(name, window) for window in SAMPLED for name in SHOWN] + ["recovery_ms"]
    lines = []
    for name in wanted:
        values = sorted(value for value in (one.get(name) for one in lab) if value is not None)
        middle, low, high = (values[len(values) // 2], values[0], values[-1]) if values else (None, None, None)
        line = Comparison(name, middle, low, high, glass.get(name))
        if line.lab is not None or line.glass is not None:
            lines.append(line)
    return lines


def table(lines: Sequence[Comparison]) -> str:
    """Markdown: for the README and the terminal alike."""
    out = ["| figure | lab | lab's seeds | glass | apart |", "| --- | ---: | ---: | ---: | ---: |"]
    for line in lines:
        verdict = {True: "", False: " (!)", None: ""}[line.agrees]
        spread = f"{_words(line.lab_low)} to {_words(line.lab_high)}"
        out.append(
            f"| {line.name} | {_words(line.lab)} | {spread} | {_words(line.glass)} | {_words(line.apart)}{verdict} |"
        )
    return "\n".join(out)


def faults_of(scenario: Scenario) -> Faults:
    return [(seconds(start), seconds(end)) for start, end in scenario.faults]


def _refs(content_ns: I64, wanted_ns: I64) -> I64:
    """For each wanted position the unit that begins there, to a millisecond; -1 where there is none."""
    if not len(content_ns):
        return np.full(len(wanted_ns), -1, np.int64)
    order = np.argsort(content_ns, kind="stable")
    ordered = content_ns[order]
    after = np.clip(np.searchsorted(ordered, wanted_ns), 1, len(ordered) - 1) if len(ordered) > 1 else 0
    before = np.maximum(after - 1, 0)
    near = np.where(np.abs(ordered[before] - wanted_ns) <= np.abs(ordered[after] - wanted_ns), before, after)
    return np.where(np.abs(ordered[near] - wanted_ns) <= SAME_NS, order[near], -1).astype(np.int64)


def _known(reading: GlassReading, scenario_ns: Callable[[F64], I64], at_ns: I64) -> Bool:
    """Which of these times lie in the reading, where it could be read."""
    rows_ns = scenario_ns(reading.at_ms)
    if not len(rows_ns):
        return np.zeros(len(at_ns), np.bool_)
    row = np.searchsorted(rows_ns, at_ns)
    near = np.clip(row, 0, len(rows_ns) - 1)
    inside = np.abs(rows_ns[near] - at_ns) <= ms(STEP_MS)
    known: Bool = inside & (reading.state[near] != ReadingState.UNKNOWN)
    return known


def _words(value: Measure) -> str:
    if value is None:
        return "UNKNOWN"
    return "never" if math.isinf(value) else f"{value:.1f}"
