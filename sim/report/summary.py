"""Summary: what came of a command, grouped for people: the terminal, Markdown and HTML say the same.

Plain data and words, no layout. The worst seed stands for all; UNKNOWN in one of them is the worst.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sim.judge.judge import MISS_FACTOR, Check, Limit, limits_of, value_of
from sim.judge.row import key
from sim.policy_option import is_file
from sim.report.hints import hint
from sim.scenario.files import shipped
from sim.scenario.metric_names import BELIEVED, base_name, metric
from sim.scenario.scenario import Scenario
from sim.scenario.words import shell_line, visible
from sim.sweep.sweep import Result, RunPlan, Spec
from sim.truth.windows import Measure

BROWSER_NOTE = "browser: a model, checked against Chromium: docs/browser_model.md"
CONTESTED = ("output_offset_abs_p95_ms", "offset_abs_p95_ms", "output_recovery_ms", "recovery_ms")
"""Where another policy that does better than ours is named in red, whatever a scenario limits."""
NOT_ASKED = "-"
"""There was nothing to measure, such as a recovery without a fault."""


class Group(NamedTuple):
    """All runs of one scenario for one viewer. ``label`` is its name, longer where two files share one."""

    label: str
    scenario: Scenario
    viewer: str
    main: list[Result]
    baseline: list[Result]
    compare: list[Result]

    @property
    def good(self) -> int:
        return sum(result.passed for result in self.main)

    @property
    def passed(self) -> bool:
        return all(result.passed for result in (*self.main, *self.baseline))

    @property
    def file(self) -> str:
        return self.main[0].spec.file

    @property
    def policies(self) -> dict[str, list[Result]]:
        """The tested one first, then those it is compared with."""
        found: dict[str, list[Result]] = {}
        for result in (*self.main, *self.compare):
            found.setdefault(result.policy, []).append(result)
        return found


class Held(NamedTuple):
    """One limit over all seeds. ``got``: the worst, of ``seed``."""

    limit: Limit
    got: Measure
    seed: int
    missed_in: tuple[int, ...]


class Miss(NamedTuple):
    """One limit that was missed, over all seeds that missed it. ``got``: of ``seed``, the worst."""

    wanted: str
    got: str
    seed: int
    seeds: tuple[int, ...]
    viewers: tuple[str, ...]
    hint: str = ""
    """What the truth says of it, and what to try; of the first viewer."""


class Missed(NamedTuple):
    """What one scenario missed, and commands that show all of it again."""

    label: str
    misses: tuple[Miss, ...]
    again: tuple[str, ...]


def groups_of(plan: RunPlan, results: Sequence[Result]) -> list[Group]:
    """In the order of the plan."""
    labels = labels_of(plan)
    found: dict[tuple[str, str], Group] = {}
    for result in results:
        key = (result.spec.file, result.spec.viewer)
        if key not in found:
            found[key] = Group(labels[key[0]], plan.scenarios[key[0]], key[1], [], [], [])
        getattr(found[key], result.spec.role).append(result)
    return list(found.values())


def labels_of(plan: RunPlan) -> dict[str, str]:
    """A name for each file; two files of one name are told apart by their path."""
    names = [scenario.name for scenario in plan.scenarios.values()]
    return {
        file: visible(scenario.name if names.count(scenario.name) == 1 else short_path(file))
        for file, scenario in plan.scenarios.items()
    }


def worst(results: Sequence[Result], name: str) -> Measure:
    """The worst seed's value of a column; None (UNKNOWN) if one seed has none."""
    values = [result.row.get(name) for result in results]
    known = [value for value in values if value is not None and not math.isnan(value)]
    if len(known) < len(values) or not known:
        return None
    row = metric(name.removeprefix(BELIEVED).partition("@")[0])
    return min(known) if row is not None and row.better == "higher" else max(known)


def cell(group: Group, results: Sequence[Result], name: str) -> str:
    """``worst`` in words; a recovery where nothing failed was not asked for."""
    if not results or (base_name(name) == "recovery_ms" and not group.scenario.faults):
        return NOT_ASKED
    return number(worst(results, name))


def number(value: Measure) -> str:
    """Three or four digits, as a table needs them; what is not zero does not look like it."""
    if value is None or math.isnan(value):
        return "UNKNOWN"
    if math.isinf(value):
        return "never"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 0.05 else "<0.1" if value > 0 else ">-0.1"


def exact(value: Measure) -> str:
    """Six digits, so that 45.02 does not look like a limit of 45."""
    return number(value) if value is None or not math.isfinite(value) else f"{value:.6g}"


def baseline_words(group: Group) -> str:
    """``fps_paced misses``: as it must."""
    if not group.baseline:
        return NOT_ASKED
    return f"{group.baseline[0].policy} {'misses' if all(one.passed for one in group.baseline) else 'NO MISS'}"


def missed(groups: Sequence[Group]) -> list[Missed]:
    """Every scenario that failed. What is the same for both viewers (at our output) is said once."""
    files: dict[str, list[Group]] = {}
    for group in groups:
        if not group.passed:
            files.setdefault(group.file, []).append(group)
    return [_missed(mine) for mine in files.values()]


def _missed(groups: Sequence[Group]) -> Missed:
    merged: dict[Miss, Miss] = {}
    for group in groups:
        for miss in (*_limits_missed(group), *_baseline_kept(group)):
            same = miss._replace(viewers=(), hint="")
            seen = merged.get(same, same._replace(hint=miss.hint))
            merged[same] = seen._replace(viewers=(*seen.viewers, group.viewer))
    misses = tuple(merged.values())
    return Missed(groups[0].label, misses, tuple(_again(groups, misses)))


def _again(groups: Sequence[Group], misses: Sequence[Miss]) -> list[str]:
    """Few runs that show every miss: each time the seed that shows most of what is left."""
    left, commands = list(misses), []
    while left:
        seeds = [seed for miss in left for seed in miss.seeds]
        seed = max(dict.fromkeys(seeds), key=seeds.count)
        shown = [miss for miss in left if seed in miss.seeds]
        left = [miss for miss in left if seed not in miss.seeds]
        one = next((who for who in shown[0].viewers if all(who in miss.viewers for miss in shown)), "both")
        spec = next(result.spec for group in groups for result in group.main if result.spec.seed == seed)
        commands.append(reproduce(replace(spec, viewer=one)))
    return commands


def beaten(group: Group) -> list[str]:
    """Where a policy that ours is compared with does better: ``fps_paced is better at recovery_ms: 200, ours 430``."""
    ours, *others = group.policies.items()
    return [
        f"{name} is better at {metric_name}: {cell(group, results, metric_name)}, "
        f"{ours[0]} {cell(group, ours[1], metric_name)}"
        for name, results in others
        for metric_name in _contested(group)
        if better_than_ours(group, results, metric_name)
    ]


def _contested(group: Group) -> list[str]:
    """What the tables compare, and what this scenario limits itself."""
    limited = [key(held.limit.metric, held.limit.window) for held in held_against(group.main) if not held.limit.guard]
    return list(dict.fromkeys((*CONTESTED, *limited)))


def better_than_ours(group: Group, results: Sequence[Result], name: str) -> bool:
    """By more than 5 % and by what somebody could notice: the worst seed of each, on the same networks."""
    row = metric(name.partition("@")[0])
    ours, theirs = worst(group.main, name), worst(results, name)
    if row is None or row.better == "either" or theirs is None or cell(group, results, name) == NOT_ASKED:
        return False
    if ours is None:
        return True
    gain = theirs - ours if row.better == "higher" else ours - theirs
    return gain > max(_noticeable(name), 0.05 * abs(ours)) or (math.isinf(ours) and math.isfinite(theirs))


def _noticeable(name: str) -> float:
    """A tenth of a second until all is well again; 10 ms of offset; a unit of anything else."""
    base = base_name(name)
    return 100.0 if base.startswith("recovery_ms") else 10.0 if base.startswith("offset_") else 1.0


def held_against(results: Sequence[Result]) -> list[Held]:
    """Each limit of one scenario at one viewer, over all seeds: the worst that was measured."""
    found: dict[Limit, list[tuple[Check, int]]] = {}
    for result in results:
        for one in result.checks:
            found.setdefault(one.limit, []).append((one, result.spec.seed))
    answers = []
    for limit, checks in found.items():
        check, seed = max(checks, key=lambda one: (_badness(limit, one[0].got), -one[1]))
        answers.append(Held(limit, check.got, seed, tuple(seed for one, seed in checks if not one.passed)))
    return answers


def _limits_missed(group: Group) -> list[Miss]:
    rows = {result.spec.seed: result.row for result in group.main}
    return [
        Miss(
            held.limit.words + (" (guard)" if held.limit.guard else ""),
            exact(held.got),
            held.seed,
            held.missed_in,
            (group.viewer,),
            hint(held.limit, rows[held.seed], group.scenario),
        )
        for held in held_against(group.main)
        if held.missed_in
    ]


def _baseline_kept(group: Group) -> list[Miss]:
    """What the baseline had to miss and did not: the scenario proves nothing there."""
    kept: dict[str, list[Result]] = {}
    for result in group.baseline:
        for name, did in result.misses.items():
            if not did:
                kept.setdefault(name, []).append(result)
    misses = []
    for name, results in kept.items():
        limits = _limits_on(group, name)
        must = " or ".join(limit.words for limit in limits) or f"a limit on {name}"
        got = " / ".join(exact(value_of(results[0].row, limit)) for limit in limits) or "no such limit"
        wanted = f"baseline {results[0].policy} to miss {must} by {MISS_FACTOR:g} times"
        seeds = tuple(result.spec.seed for result in results)
        misses.append(Miss(wanted, got, seeds[0], seeds, (group.viewer,)))
    return misses


def _limits_on(group: Group, name: str) -> list[Limit]:
    return [limit for limit in limits_of(group.scenario, group.viewer) if limit.metric == name]


def _badness(limit: Limit, got: Measure) -> float:
    if got is None or math.isnan(got):
        return math.inf
    return got if limit.at_least is None else -got


def reproduce(spec: Spec) -> str:
    """The command that runs this again, to be pasted into a shell in this folder.

    A baseline is run again by running its scenario.
    """
    words = ["avsync", "run", scenario_word(spec.file), "--seed", str(spec.seed), "--viewer", spec.viewer]
    if spec.role != "baseline" and isinstance(spec.policy, str):
        words += ["--policy", short_path(spec.policy) if is_file(spec.policy) else spec.policy]
    for leg, path in spec.networks:
        words += ["--network", f"{short_path(path)}@{leg}"]
    if spec.clip:
        words += ["--clip", short_path(spec.clip)]
    if spec.scorer:
        words.append("--scorer")
    return shell_line(words)


def again(groups: Sequence[Group]) -> str:
    """The command for everything about one scenario: its viewers, its seeds, the policies compared with."""
    main = groups[0].main
    seeds = ",".join(str(result.spec.seed) for result in main)
    viewer = "both" if len(groups) > 1 else groups[0].viewer
    command = reproduce(replace(main[0].spec, viewer=viewer)).replace(
        f"--seed {main[0].spec.seed}", f"--seeds {seeds}", 1
    )
    words = (str(result.spec.policy) for group in groups for result in group.compare)
    names = [short_path(word) if is_file(word) else word for word in dict.fromkeys(words)]
    return f"{command} --compare {shell_line(names)}" if names else command


def scenario_word(file: str) -> str:
    """What to give ``avsync run``: a path from here, or the name of a shipped scenario that lies elsewhere."""
    near = short_path(file)
    path = Path(file).absolute()
    return path.stem if os.path.isabs(near) and path.parent == shipped() and path.suffix == ".yaml" else near


def short_path(file: str) -> str:
    """Relative where it lies below this folder; never something that looks like an option."""
    path = Path(file).absolute()
    try:
        near = str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
    return f"./{near}" if near.startswith("-") else near


def seed_words(seeds: Sequence[int]) -> str:
    """``seed 4``, ``seeds 1-5,9``."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    words = ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {words}"
