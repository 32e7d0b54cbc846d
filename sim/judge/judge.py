"""Judge: limits, guards and baselines: is what was measured good enough, and was it hard at all?

``limits_of`` joins what a scenario expects with the guards of every scenario; ``check`` holds a row
against them; ``baseline_misses`` says whether the policy that had to miss really did.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sim.judge.row import Row, key
from sim.scenario.metric_names import OUTPUT, SCORED, Window, base_name
from sim.scenario.scenario import Scenario
from sim.scenario.steps import HoldOnce, Impair, Reports, RouteStep, Sleep, Stall, fault_window

MISS_FACTOR = 1.5
CLEAN = "clean"
LATENCY_MS = 400.0
"""Of the guards: the most that the voice may be delayed, and with it the most that its delay may grow."""


class Limit(NamedTuple):
    metric: str
    window: Window
    at_most: float | None
    at_least: float | None
    guard: bool = False

    @property
    def words(self) -> str:
        where = "" if self.window == "all" else f" ({self.window})"
        return f"{self.metric}{where} {'<=' if self.at_least is None else '>='} {self.value:g}"

    @property
    def value(self) -> float:
        value = self.at_most if self.at_most is not None else self.at_least
        assert value is not None
        return value

    def met_by(self, got: float | None) -> bool:
        """UNKNOWN is a miss, and so is never (inf) or NaN."""
        if got is None or math.isnan(got):
            return False
        return got <= self.at_most if self.at_most is not None else got >= self.value

    def missed_clearly(self, got: float | None) -> bool:
        """By 1.5 times: what a baseline has to do. A limit of 0: by at least 1. UNKNOWN proves nothing."""
        if got is None:
            return False
        if self.at_least is not None:
            if not self.metric.endswith("_pct"):
                return got < self.at_least / MISS_FACTOR
            return _clearly_above(100 - got, 100 - self.at_least)
        return _clearly_above(got, self.value)


def _clearly_above(got: float, limit: float) -> bool:
    return got > limit and got >= (MISS_FACTOR * limit if limit else 1)


class Check(NamedTuple):
    """One limit, held against one row."""

    limit: Limit
    got: float | None
    passed: bool


def limits_of(scenario: Scenario, viewer: str) -> list[Limit]:
    """Everything that must hold for this viewer: what the scenario says, then the guards it does not mention."""
    said = [
        Limit(one.metric, one.window, one.at_most, one.at_least)
        for one in scenario.expect
        if one.viewer is None or one.viewer == viewer
    ]
    if "reference" in scenario.tags:
        return said
    stated = {limit.metric for limit in said}
    return said + [guard for guard in guards(scenario) if guard.metric not in stated]


def guards(scenario: Scenario) -> list[Limit]:
    """A good offset must not be bought with delay, idling, silence or stillness."""
    clean = scenario.name == CLEAN
    share = _fault_share_pct(scenario)
    sound_ns_share = _fault_share_pct(scenario, sound_only=True)
    heard = 99.5 if not sound_ns_share else 100 - sound_ns_share - 1
    longest_ms = max((1000 * (end - start) for start, end in scenario.faults), default=0.0)
    silence_ms = 1000 * sum(_length_s(scenario, step) for step in scenario.steps if _touches_sound(step))
    both = (
        Limit("degraded_pct", "all", 1.0 if clean else share + 2, None, True),
        Limit("content_heard_pct", "all", None, heard, True),
        Limit("silence_inserted_ms", "all", silence_ms + 200, None, True),
        Limit("freeze_longest_ms", "all", longest_ms + 1000, None, True),
        Limit("monitor_known_pct", "all", None, 95.0, True),
        Limit("measured_or_degraded_pct", "all", None, 97.0, True),
    )
    return [
        Limit(OUTPUT + "added_latency_p95_ms", "all", 60.0 if clean else LATENCY_MS, None, True),
        Limit("settle_ms", "all", 10_000.0, None, True),
        *both,
        *(limit._replace(metric=OUTPUT + limit.metric) for limit in both),
    ]


def _length_s(scenario: Scenario, step: object) -> float:
    window = fault_window(step)  # type: ignore[arg-type]
    if window is None:
        return 0.0
    start, end = window
    permanent = isinstance(step, Impair | Reports) and step.for_s is None
    return scenario.duration_s - start if permanent else end - start


def _touches_sound(step: object) -> bool:
    if isinstance(step, Stall | Impair | RouteStep):
        return step.only != "video"
    return isinstance(step, HoldOnce | Sleep) or (getattr(step, "do", "") == "pause" and not step.marked)  # type: ignore[attr-defined]


def _fault_share_pct(scenario: Scenario, *, sound_only: bool = False) -> float:
    """Share of the run in which a fault is under way (of the sound)."""
    steps = [step for step in scenario.steps if not sound_only or _touches_sound(step)]
    total_s = sum(_length_s(scenario, step) for step in steps)
    standing = scenario.network
    loss = max(standing.to_bridge.loss or 0.0, standing.to_viewer.loss or 0.0)
    return min(100.0, 100.0 * (total_s / scenario.duration_s + loss))


def value_of(row: Row, limit: Limit) -> float | None:
    """The measured number a limit is about; UNKNOWN where no scorer looked (a run without a payload).

    The guard of inserted silence forgives what the common delay grew, once: silence that the voice is later by ever
    after is no stutter.
    """
    name = key(limit.metric, limit.window)
    got = row.get(name) if limit.metric in SCORED else row[name]
    if limit.guard and base_name(limit.metric) == "silence_inserted_ms" and got is not None:
        grown = row[limit.metric.replace("silence_inserted_ms", "delay_grown_ms")] or 0.0
        return got - max(0.0, min(grown, LATENCY_MS, got))
    return got


def check(row: Row, limits: list[Limit]) -> list[Check]:
    return [Check(limit, got := value_of(row, limit), limit.met_by(got)) for limit in limits]


def baseline_misses(row: Row, scenario: Scenario, viewer: str) -> dict[str, bool]:
    """For each metric that the baseline must miss: did it, by 1.5 times, over at least one limit?"""
    assert scenario.baseline is not None
    limits = limits_of(scenario, viewer)
    result: dict[str, bool] = {}
    for name in scenario.baseline.misses:
        mine = [limit for limit in limits if limit.metric == name]
        result[name] = any(limit.missed_clearly(_counted(row, limit)) for limit in mine)
    return result


def _counted(row: Row, limit: Limit) -> float | None:
    """A recovery never reached counts to the run's end."""
    if base_name(limit.metric) == "recovery_ms":
        return row[limit.metric.replace("recovery_ms", "recovery_counted_ms")]
    return value_of(row, limit)
