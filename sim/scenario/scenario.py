"""A scenario file, read and checked.

``load_scenario(path)`` reads and checks a file, ``loads(text, file)`` a text, ``build(data)`` plain
data. All refuse with one ``InputError`` that names every mistake with its place and remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from avsync.errors import InputError
from sim.scenario import yaml_places as scenario_yaml
from sim.scenario.checks import broken_rules, missing_files, version_problem
from sim.scenario.errors import MOST, findings
from sim.scenario.mending import ROUNDS, Mended
from sim.scenario.model import Baseline, Expect, Scenario
from sim.scenario.steps import fault_window
from sim.scenario.yaml_places import Path as Where
from sim.scenario.yaml_places import Problem

__all__ = ["Baseline", "Expect", "Scenario", "build", "fault_window", "load_scenario", "loads"]

VERSIONS = (1,)


def load_scenario(path: str | FilePath) -> Scenario:
    """Read and check one file. ``InputError`` lists what is wrong: file, line, column, rule, remedy."""
    try:
        with FilePath(path).open("rb") as file:
            text = file.read(scenario_yaml.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a file name"
        raise InputError(f"cannot read the scenario: {why}", file=str(path)[:200]) from None
    scenario, document = _loads(text, str(path))
    if missing := missing_files(scenario):
        raise document.error(missing)
    return scenario


def loads(text: str | bytes, file: str = "scenario.yaml") -> Scenario:
    """Read and check a scenario's text; ``file`` names it in messages, and gives its name and folder.

    Files that it names are not looked for: there need not be a folder.
    """
    return _loads(text, file)[0]


def _loads(text: str | bytes, file: str) -> tuple[Scenario, scenario_yaml.Document]:
    document = scenario_yaml.read(text, file)
    path = FilePath(file)
    scenario, problems = _build(document.data, path.stem, document.unread)
    if scenario is None or document.problems:
        raise document.error(problems)
    return scenario.placed(path.stem, path.parent), document


def together(errors: Sequence[InputError]) -> InputError:
    """What is wrong with several files, in their order, as one error."""
    first, *others = errors
    if not others:
        return first
    remedy = "\n".join(filter(None, [first.remedy, *map(str, others)]))
    return InputError(first.rule, file=first.file, place=first.place, remedy=remedy)


def build(data: Mapping[str, Any], *, name: str = "", file: str = "") -> Scenario:
    """Check plain data (a shrunk schedule, a sweep's variation) by the same rules as a file."""
    scenario, problems = _build(data, name)
    if scenario is None:
        texts = ["; ".join(filter(None, (_dotted(problem.path), problem.rule, problem.hint))) for problem in problems]
        shown = texts[: scenario_yaml.SHOWN_PROBLEMS]
        raise InputError("\n  ".join(shown), file=file or name)
    return scenario


def _build(data: object, name: str, unread: Sequence[Where] = ()) -> tuple[Scenario | None, list[Problem]]:
    """The scenario, or all that is wrong with it. ``unread``: places that hold no value, which is reported already."""
    if (problem := version_problem(data, VERSIONS)) is not None:
        return None, [problem]
    mended, problems = Mended(data), list[Problem]()
    for _ in range(ROUNDS):
        try:
            scenario = Scenario.model_validate(mended.data)
        except ValidationError as error:
            found = findings(error, mended.data, Scenario)
            for problem, kind, where, key, _ in found:
                part = where[:-1] if kind in ("value", "word", "key") else where
                reported = kind != "key" and mended.original(problem.path) in unread
                if not reported and not mended.follows(where, part, key, f"{problem.rule} {problem.hint}"):
                    problems.append(problem._replace(path=mended.original(problem.path)))
            if len(found) > MOST or not mended.mend(found):
                break
            continue
        scenario.placed(name, FilePath("."))
        broken = broken_rules(scenario, {path[0] for path in mended.taken_out})
        problems += [problem._replace(path=mended.original(problem.path)) for problem in broken]
        return (None if problems or mended.taken_out else scenario), problems
    return None, problems


def _dotted(path: Where) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
