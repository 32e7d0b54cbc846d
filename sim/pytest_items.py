"""Pytest items: the lab's half of the pytest plugin, in an interpreter of its own.

One JSON object per line in, one per line out, until the input ends. The plugin (``avsync/
pytest_plugin.py``) starts this process once per session, so a repository's own ``sim`` or
``yaml`` on pytest's path never meets the lab, and the lab's imports are paid for once.

``{"do": "list", "file": F}`` answers tags, viewers, seeds and the baseline's name, or ``refused``:
what is wrong with the file. ``{"do": "run", "file": F, "viewer": V, "seed": N, "role": R}`` answers
``missed`` (words for people, "" if all is well) and ``properties`` (names with plain values).
``broken``: the lab itself failed; a traceback for its authors.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from avsync.errors import InputError
from sim.judge.judge import MISS_FACTOR, limits_of, value_of
from sim.report.hints import hint
from sim.report.summary import exact, reproduce
from sim.scenario.scenario import Scenario, load_scenario
from sim.sweep.sweep import Result, execute, plan

UNKNOWN = "UNKNOWN"


def main() -> None:
    """Answer until stdin ends. Whatever the lab prints goes to stderr, never between the answers."""
    # Ctrl-C reaches the whole group; pytest is the one that acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Never raises: what goes wrong is an answer too."""
    try:
        if request["do"] == "list":
            return listed(load_scenario(request["file"]))
        return ran(request["file"], request["viewer"], request["seed"], request["role"])
    except InputError as error:
        return {"refused": str(error)}
    except Exception:
        return {"broken": traceback.format_exc()}


def listed(scenario: Scenario) -> dict[str, Any]:
    baseline = scenario.baseline
    return {
        "tags": scenario.tags,
        "viewers": scenario.viewers,
        "seeds": scenario.seeds,
        "baseline": baseline is not None,
    }


def ran(file: str, viewer: str, seed: int, role: str) -> dict[str, Any]:
    wanted = plan([Path(file)], viewer=viewer, seeds=[seed])
    result = execute(next(spec for spec in wanted.specs if spec.role == role))
    missed = _kept(result, wanted.scenarios[file]) if role == "baseline" else _missed(result, wanted.scenarios[file])
    # JUnit knows no null.
    flat = {name: UNKNOWN if value is None else value for name, value in result.flat().items()}
    plain = [(name, value) for name, value in flat.items() if isinstance(value, bool | int | float | str)]
    again = f"again: {reproduce(result.spec)}"
    return {"missed": "\n".join([*missed, again]) if missed else "", "properties": plain}


def _missed(result: Result, scenario: Scenario) -> list[str]:
    """Metric, wanted, got: a line for each limit that was missed, and one for what to try."""
    lines = []
    for one in (check for check in result.checks if not check.passed):
        lines.append(f"wanted {one.limit.words}{' (guard)' if one.limit.guard else ''}, got {exact(one.got)}")
        if said := hint(one.limit, result.row, scenario):
            lines.append(f"  {said}")
    return lines


def _kept(result: Result, scenario: Scenario) -> list[str]:
    """What the baseline had to miss and did not: there the scenario proves nothing."""
    lines = []
    for name in (name for name, did in result.misses.items() if not did):
        limits = [limit for limit in limits_of(scenario, result.spec.viewer) if limit.metric == name]
        must = " or ".join(limit.words for limit in limits) or f"a limit on {name}"
        got = " / ".join(exact(value_of(result.row, limit)) for limit in limits) or "no such limit"
        lines.append(f"wanted baseline {result.policy} to miss {must} by {MISS_FACTOR:g} times, got {got}")
    return lines


if __name__ == "__main__":
    main()
