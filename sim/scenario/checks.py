"""Rules between the parts of a scenario: each part is right by itself, but do they fit together?

Every broken rule is reported, not just the first, each with the key it concerns and a remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sim.network.presets import PRESETS
from sim.scenario.errors import nearest
from sim.scenario.metric_names import GUARDS, SCORED, base_name
from sim.scenario.model import Scenario
from sim.scenario.network import LegSpec
from sim.scenario.source import TAIL_S
from sim.scenario.steps import ClockStep, Sleep, step_end_s, step_leg
from sim.scenario.types import shown
from sim.scenario.yaml_places import Problem

NO_BASELINE = ("clean",)
"""Scenarios without a fault, by name: nothing there that another policy could miss."""
REFERENCE = "reference"
LONG = frozenset({"drift", "soak"})
ONE_FAULT_MAX_S = 60


def version_problem(data: object, versions: Sequence[int]) -> Problem | None:
    """What is wrong with the outermost level or its version; the rest is not worth judging then."""
    known = ", ".join(str(version) for version in versions)
    first_line = f"begin with 'avsync: {versions[-1]}'"
    if data is None:
        return Problem((), "there is no scenario here", first_line)
    if not isinstance(data, dict):
        return Problem((), "a scenario is a mapping of names and values", first_line)
    if "avsync" not in data:
        return Problem((), "the version of the scenario language is missing", first_line)
    version = data["avsync"]
    if type(version) is not int or version not in versions:
        return Problem(("avsync",), f"unknown version: {shown(version)}", f"supported: {known}")
    return None


def broken_rules(scenario: Scenario) -> list[Problem]:
    """All rules between parts that this scenario breaks."""
    return [
        *_lists(scenario),
        *_turns(scenario),
        *_steps(scenario),
        *_bridge(scenario),
        *_presets(scenario),
        *_limits(scenario),
        *_one_fault(scenario),
        *_baseline(scenario),
    ]


def _lists(scenario: Scenario) -> Iterator[Problem]:
    named: tuple[tuple[str, Sequence[object]], ...] = (("seeds", scenario.seeds), ("tags", scenario.tags))
    for name, values in named:
        for index, value in enumerate(values):
            if value in values[:index]:
                yield Problem((name, index), f"{value!r} is given twice", "delete one")


def _turns(scenario: Scenario) -> Iterator[Problem]:
    turns, plan = scenario.source.turns, scenario.source.turns.plan(scenario.duration_s)
    where = ("source", "turns") if scenario.source.turns.model_fields_set else ("duration_s",)
    if not plan:
        rule = f"nobody says anything: speech ends {TAIL_S:g} s before the run's end ({scenario.duration_s:g} s)"
        yield Problem(where, rule, "make duration_s longer, or first_at_s earlier")
    elif isinstance(turns.talk_s, tuple):
        needed = turns.first_at_s + sum(turns.talk_s) + turns.gap_s * (len(turns.talk_s) - 1) + TAIL_S
        if needed > scenario.duration_s + 1e-9:
            rule = f"these turns need {needed:g} s, the run lasts {scenario.duration_s:g} s"
            yield Problem(("source", "turns", "talk_s"), rule, f"make duration_s at least {needed:g}")
    if scenario.source.backlog_s >= scenario.duration_s:
        yield Problem(("source", "backlog_s"), "backlog_s must be shorter than duration_s")


def _steps(scenario: Scenario) -> Iterator[Problem]:
    for index, step in enumerate(scenario.steps):
        if step.at_s >= scenario.duration_s:
            rule = f"happens at {step.at_s:g} s, but the run lasts {scenario.duration_s:g} s"
            yield Problem(("steps", index, "at_s"), rule, "make duration_s longer, or at_s earlier")
        elif (end_s := step_end_s(step)) > scenario.duration_s + 1e-9:
            key = "for_ms" if step.do == "hold" else "for_s"
            rule = f"ends at {end_s:g} s, but the run lasts {scenario.duration_s:g} s"
            yield Problem(("steps", index, key), rule, f"make duration_s longer, or {key} shorter")


def _bridge(scenario: Scenario) -> Iterator[Problem]:
    if scenario.topology == "provider_bridge":
        return
    remedy = "add 'topology: provider_bridge'"
    if scenario.network.to_bridge != LegSpec():
        yield Problem(("network", "to_bridge"), "there is no bridge in topology local_encode", remedy, on_key=True)
    if scenario.clocks.bridge.ppm:
        yield Problem(("clocks", "bridge"), "there is no bridge in topology local_encode", remedy, on_key=True)
    for index, step in enumerate(scenario.steps):
        key = ""
        if step_leg(step) == "to_bridge":
            key = "leg"
        elif isinstance(step, Sleep) and step.host == "bridge":
            key = "host"
        elif isinstance(step, ClockStep) and step.clock == "bridge":
            key = "clock"
        if key:
            yield Problem(("steps", index, key), "there is no bridge in topology local_encode", remedy)


def _presets(scenario: Scenario) -> Iterator[Problem]:
    for leg in ("to_bridge", "to_viewer"):
        name = getattr(scenario.network, leg).preset
        if name is not None and name not in PRESETS:
            yield Problem(
                ("network", leg, "preset"), f"no network is named {name[:60]!r}", nearest(name, list(PRESETS))
            )


def _limits(scenario: Scenario) -> Iterator[Problem]:
    seen = set()
    for index, limit in enumerate(scenario.expect):
        where = ("expect", index)
        if not scenario.faults and (base_name(limit.metric) == "recovery_ms" or limit.window == "after_fault"):
            what = "window after_fault" if limit.window == "after_fault" else limit.metric
            rule = f"{what} needs a fault, and there is none"
            yield Problem((*where, "metric"), rule, "add a step such as {at_s: 20, do: stall, for_s: 1}")
        if limit.metric in SCORED and scenario.source.payload is None:
            rule = f"{limit.metric} needs real sound and pictures, and there are none"
            yield Problem((*where, "metric"), rule, "add 'payload: {}' to source")
        if limit.viewer is not None and limit.viewer not in scenario.viewers:
            rule = f"viewer {limit.viewer} is not in this scenario, which has viewer: {scenario.viewer}"
            yield Problem((*where, "viewer"), rule, "change one of them")
        same = (limit.metric, limit.window, limit.viewer, limit.at_most is None)
        if same in seen:
            yield Problem((*where, "metric"), f"{limit.metric} over {limit.window} is limited twice", "delete one")
        seen.add(same)


def _one_fault(scenario: Scenario) -> Iterator[Problem]:
    """A p95 over a long run hides a fault, and over a short one it hides the recovery: limit all three.

    Where nothing can bring the picture back, only the largest offset and the degraded share are
    limited; such scenarios are left alone.
    """
    if len(scenario.faults) != 1 or LONG & set(scenario.tags):
        return
    if scenario.duration_s > ONE_FAULT_MAX_S:
        rule = f"with a single fault a run lasts at most {ONE_FAULT_MAX_S} s: a longer one hides it in the percentiles"
        yield Problem(("duration_s",), rule, "shorten it, or tag it drift or soak if that is what it tests")
    offsets = [limit for limit in scenario.expect if base_name(limit.metric).startswith("offset_")]
    if all(base_name(limit.metric) == "offset_abs_max_ms" for limit in offsets):
        return
    windows = {limit.window for limit in offsets}
    missing = [f"an offset over window: {window}" for window in ("all", "clear") if window not in windows]
    if not any(base_name(limit.metric) == "recovery_ms" for limit in scenario.expect):
        missing.append("recovery_ms")
    if missing:
        rule = f"a single fault is limited over all, over clear and by recovery_ms together; missing: {missing[0]}"
        rest = "".join(f", and {item}" for item in missing[1:])
        yield Problem(("expect",), rule + rest, "each alone can be met by a bad policy", on_key=True)


def _baseline(scenario: Scenario) -> Iterator[Problem]:
    baseline = scenario.baseline
    if baseline is None:
        if scenario.name not in NO_BASELINE and REFERENCE not in scenario.tags:
            rule = "needs a baseline: a policy that must miss, or the scenario proves nothing"
            yield Problem((), rule, "add 'baseline: {policy: fps_paced, misses: [...]}', or tag it reference")
        return
    if baseline.policy == scenario.policy:
        yield Problem(("baseline", "policy"), "the baseline is the policy under test", "name another one")
    limited = {limit.metric for limit in scenario.expect}
    for index, name in enumerate(baseline.misses):
        if name in baseline.misses[:index]:
            yield Problem(("baseline", "misses", index), f"{name!r} is given twice", "delete one")
        elif name in SCORED:
            rule = f"{name} is about the scorer, not about a policy; a baseline cannot miss it"
            yield Problem(("baseline", "misses", index), rule, "name a metric of the truth")
        elif name not in limited and base_name(name) not in GUARDS:
            known = ", ".join(sorted(limited)) or "nothing yet"
            rule = f"{name} cannot be missed: it is neither limited in expect nor a guard"
            yield Problem(("baseline", "misses", index), rule, f"limited here: {known}")
