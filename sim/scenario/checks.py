"""Rules between the parts of a scenario: each part is right by itself, but do they fit together?

Every broken rule is reported, not just the first, each with the key it concerns and a remedy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Sequence

from sim.scenario.metric_names import GUARDS, NEED_INTERRUPT, SCORED, base_name
from sim.scenario.model import Scenario
from sim.scenario.network import LegSpec
from sim.scenario.source import TAIL_S
from sim.scenario.steps import ClockStep, Impair, Interrupt, Reports, Sleep, Stall, Step, step_end_s, step_leg
from sim.scenario.types import shown
from sim.scenario.yaml_places import Problem


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


def broken_rules(scenario: Scenario, in_doubt: Container[str | int] = ()) -> list[Problem]:
    """All rules between parts that this scenario breaks; none that needs a part that is ``in_doubt``."""
    return [
        problem for needs, rule in _RULES if not any(part in in_doubt for part in needs) for problem in rule(scenario)
    ]


def missing_files(scenario: Scenario) -> list[Problem]:
    """What the scenario names and does not lie beside it. What is in a file is asked by whoever reads it."""
    named: list[tuple[tuple[str | int, ...], str | None]] = [
        (("network", leg, "trace"), getattr(scenario.network, leg).trace) for leg in ("to_bridge", "to_viewer")
    ]
    named.append((("source", "clip"), scenario.source.clip))
    problems = []
    for path, name in named:
        if name is not None and (why := _unreadable(scenario, name)):
            remedy = f"a name counts from the folder of the scenario: {str(scenario.folder)[:200]}"
            problems.append(Problem(path, f"the file {name[:200]!r} {why}", remedy))
    return problems


def _unreadable(scenario: Scenario, name: str) -> str:
    try:
        file = scenario.file(name)
        return "" if file.is_file() else "is not a file" if file.exists() else "does not exist"
    except (OSError, ValueError):  # a name too long, a NUL in it, a folder we may not read
        return "cannot be looked for"


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


def _overlaps(scenario: Scenario) -> Iterator[Problem]:
    """Each of these has one end at a time: a second one that begins before it would take its place."""
    over: dict[str, tuple[float, int]] = {}  # what a step holds -> (until s, the step's index)
    for index, step in sorted(enumerate(scenario.steps), key=lambda one: one[1].at_s):
        held = _held(step)
        until_s, other = max((over[one] for one in held if one in over), default=(-1.0, 0))
        if step.at_s <= until_s:
            end = f"over only at {until_s:g} s" if until_s < math.inf else "never over"
            rule = f"{step.do} begins at {step.at_s:g} s, and the {scenario.steps[other].do} of steps[{other}] is {end}"
            remedy = "begin it later, or write both as one step" if until_s < math.inf else "give the first one a for_s"
            yield Problem(("steps", index, "at_s"), rule, remedy)
        end_s = math.inf if isinstance(step, Reports) and step.for_s is None else step_end_s(step)
        over |= {one: max((end_s, index), over.get(one, (-1.0, 0))) for one in held}


def _held(step: Step) -> list[str]:
    """What nobody else may hold at the same time: a stream of the generator, a host, a stream's sender reports."""
    both = ["audio", "video"]
    if isinstance(step, Stall):
        return both if step.only is None else [step.only]
    if isinstance(step, Sleep):  # sender and bridge are one machine of ours; the sender's has the generator on it
        host = "viewer" if step.host == "viewer" else "ours"
        return [host, *both] if step.host == "sender" else [host]
    if isinstance(step, Reports):
        return [f"{step.leg} {kind}" for kind in (both if step.only is None else [step.only])]
    return []


def _bridge(scenario: Scenario) -> Iterator[Problem]:
    if scenario.topology == "provider_bridge":
        return
    remedy = "add 'topology: provider_bridge'"
    if scenario.network.to_bridge != LegSpec():
        yield Problem(("network", "to_bridge"), "there is no bridge in topology local_encode", remedy, on_key=True)
    if scenario.source.acknowledges:
        rule = "there is no provider in topology local_encode that could acknowledge anything"
        yield Problem(("source", "acknowledges"), rule, remedy, on_key=True)
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


def _counted_once(scenario: Scenario) -> Iterator[Problem]:
    """In one process content is stamped by counting what is handed over."""
    if scenario.topology == "provider_bridge":
        return
    for index, step in enumerate(scenario.steps):
        if isinstance(step, Impair) and step.leg == "source" and step.duplicate:
            rule = "the hand-over in one process hands nothing over twice: counted twice, it shifts all later stamps"
            remedy = "leave duplicate out, or set leg: to_viewer, where packets can come twice"
            yield Problem(("steps", index, "duplicate"), rule, remedy)


def _interrupts(scenario: Scenario) -> Iterator[Problem]:
    for index, over_s in interrupts_in_vain(scenario):
        rule = f"nobody is left to be interrupted: all has been said at {over_s:g} s"
        yield Problem(
            ("steps", index, "at_s"), rule, "make it earlier, or let somebody talk longer: source.turns.talk_s"
        )


def interrupts_in_vain(scenario: Scenario) -> Iterator[tuple[int, float]]:
    """(index of the step, when the talk was over) of each interrupt that comes after the last word of the call.

    A source that is slow, or is held up, is given the time that it may take longer.
    """
    source = scenario.source
    if source.audio.blocks or source.video.blocks:
        return  # nobody knows
    slow = max(1.0, 1 / source.audio.speed, 1 / source.video.speed)
    late_s = (source.video.delay_ms + source.audio.lead_ms) / 1000 + source.backlog_s
    late_s += sum((getattr(scenario.network, leg).delay_ms or 0.0) / 1000 for leg in ("to_bridge", "to_viewer"))
    planned = scenario.source.turns.plan(scenario.duration_s)
    over_s = max((end_s for _, end_s in planned), default=math.inf)
    ends_s = over_s  # of the turn that is on, or was last
    for index, step in sorted(enumerate(scenario.steps), key=lambda one: one[1].at_s):
        if not isinstance(step, Interrupt):
            late_s += max(step_end_s(step) - step.at_s, getattr(step, "delay_ms", None) or 0.0)
            continue
        if step.at_s >= scenario.duration_s:
            continue  # which is another mistake
        if step.at_s >= over_s * slow + late_s:
            yield index, over_s
            continue
        ends_s = max((end_s for start_s, end_s in planned if start_s <= step.at_s), default=ends_s)
        begins_s = step.at_s + step.reply_after_ms / 1000
        reply_s = max(ends_s, begins_s) if step.talk_s is None else begins_s + step.talk_s
        over_s = max([reply_s, *(end_s for start_s, end_s in planned if start_s > step.at_s)])


def _needs_interrupt(scenario: Scenario) -> Iterator[Problem]:
    asked: list[tuple[tuple[str | int, ...], str]] = []
    asked += [(("expect", index, "metric"), limit.metric) for index, limit in enumerate(scenario.expect)]
    asked += [(("baseline", "misses", index), name) for index, name in enumerate(_missed(scenario))]
    for path, name in asked:
        if base_name(name) in NEED_INTERRUPT and not any(isinstance(step, Interrupt) for step in scenario.steps):
            yield Problem(path, f"{name} needs an interrupt, and there is none", "add a step {at_s: 5, do: interrupt}")


def _missed(scenario: Scenario) -> Sequence[str]:
    return scenario.baseline.misses if scenario.baseline is not None else ()


def _needs_fault(scenario: Scenario) -> Iterator[Problem]:
    for index, limit in enumerate(scenario.expect):
        if not scenario.faults and (base_name(limit.metric) == "recovery_ms" or limit.window == "after_fault"):
            what = "window after_fault" if limit.window == "after_fault" else limit.metric
            rule = f"{what} needs a fault, and there is none"
            yield Problem(("expect", index, "metric"), rule, "add a step such as {at_s: 20, do: stall, for_s: 1}")


def _needs_payload(scenario: Scenario) -> Iterator[Problem]:
    for index, limit in enumerate(scenario.expect):
        if limit.metric in SCORED and scenario.source.payload is None:
            rule = f"{limit.metric} needs real sound and pictures, and there are none"
            yield Problem(("expect", index, "metric"), rule, "add 'payload: {}' to source")


def _limited_viewers(scenario: Scenario) -> Iterator[Problem]:
    for index, limit in enumerate(scenario.expect):
        if limit.viewer is not None and limit.viewer not in scenario.viewers:
            rule = f"viewer {limit.viewer} is not in this scenario, which has viewer: {scenario.viewer}"
            yield Problem(("expect", index, "viewer"), rule, "change one of them")


def _limited_twice(scenario: Scenario) -> Iterator[Problem]:
    seen = set()
    for index, limit in enumerate(scenario.expect):
        same = (limit.metric, limit.window, limit.viewer, limit.at_most is None)
        if same in seen:
            yield Problem(
                ("expect", index, "metric"), f"{limit.metric} over {limit.window} is limited twice", "delete one"
            )
        seen.add(same)


def _baseline(scenario: Scenario) -> Iterator[Problem]:
    if scenario.baseline is not None and scenario.baseline.policy == scenario.policy:
        yield Problem(("baseline", "policy"), "the baseline is the policy under test", "name another one")


def _misses(scenario: Scenario) -> Iterator[Problem]:
    misses = _missed(scenario)
    limited = {limit.metric for limit in scenario.expect}
    for index, name in enumerate(misses):
        if name in misses[:index]:
            yield Problem(("baseline", "misses", index), f"{name!r} is given twice", "delete one")
        elif name in SCORED:
            rule = f"{name} is about the scorer, not about a policy; a baseline cannot miss it"
            yield Problem(("baseline", "misses", index), rule, "name a metric of the truth")
        elif name not in limited and base_name(name) not in GUARDS:
            known = ", ".join(sorted(limited)) or "nothing yet"
            rule = f"{name} cannot be missed: it is neither limited in expect nor a guard"
            yield Problem(("baseline", "misses", index), rule, f"limited here: {known}")


_RULES: tuple[tuple[tuple[str, ...], Callable[[Scenario], Iterator[Problem]]], ...] = (
    ((), _lists),
    (("duration_s", "source"), _turns),
    (("duration_s",), _steps),
    (("steps",), _overlaps),
    (("topology", "source"), _bridge),
    (("topology",), _counted_once),
    (("steps", "duration_s", "source"), _interrupts),
    (("steps",), _needs_interrupt),
    (("steps",), _needs_fault),
    (("source",), _needs_payload),
    (("viewer",), _limited_viewers),
    ((), _limited_twice),
    (("policy",), _baseline),
    (("expect",), _misses),
)
"""Each rule, and the outermost keys that it looks at besides those that it reports."""
