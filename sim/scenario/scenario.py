"""A scenario file, read and checked.

``load_scenario(path)`` reads and checks a file, ``loads(text, file)`` a text, ``build(data)`` plain
data. All refuse with one ``InputError`` that names every mistake with its place and remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from avsync.errors import InputError
from sim.scenario import yaml_places as scenario_yaml
from sim.scenario.checks import broken_rules, version_problem
from sim.scenario.errors import explain
from sim.scenario.model import Baseline, Expect, Scenario
from sim.scenario.steps import fault_window

__all__ = ["Baseline", "Expect", "Scenario", "build", "fault_window", "load_scenario", "loads"]

VERSIONS = (1,)


def load_scenario(path: str | Path) -> Scenario:
    """Read and check one file. ``InputError`` lists what is wrong: file, line, column, rule, remedy."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(scenario_yaml.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a file name"
        raise InputError(f"cannot read the scenario: {why}", file=str(path)[:200]) from None
    return loads(text, str(path))


def loads(text: str | bytes, file: str = "scenario.yaml") -> Scenario:
    """Read and check a scenario's text; ``file`` names it in messages, and gives its name and folder."""
    document = scenario_yaml.read(text, file)
    path = Path(file)
    scenario, problems = _build(document.data, path.stem)
    if scenario is None or document.problems:
        raise document.error(problems)
    return scenario.placed(path.stem, path.parent)


def build(data: Mapping[str, Any], *, name: str = "", file: str = "") -> Scenario:
    """Check plain data (a shrunk schedule, a sweep's variation) by the same rules as a file."""
    scenario, problems = _build(data, name)
    if scenario is None:
        texts = ["; ".join(filter(None, (_dotted(problem.path), problem.rule, problem.hint))) for problem in problems]
        shown = texts[: scenario_yaml.SHOWN_PROBLEMS]
        raise InputError("\n  ".join(shown), file=file or name)
    return scenario


def _build(data: object, name: str) -> tuple[Scenario | None, list[scenario_yaml.Problem]]:
    if (problem := version_problem(data, VERSIONS)) is not None:
        return None, [problem]
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        return None, explain(error, data, Scenario)
    scenario.placed(name, Path("."))
    problems = broken_rules(scenario)
    return (None if problems else scenario), problems


def _dotted(path: scenario_yaml.Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
