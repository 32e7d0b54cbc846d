"""Report: what a run leaves in its folder: manifest, rows, baselines, a summary and, if wanted, pictures."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from sim.sweep import SCHEMA, Plan, Result


def write_report(
    folder: Path, plan: Plan, results: Sequence[Result], *, command: Sequence[str], plots: bool, console: Console
) -> None:
    """Write everything into ``folder`` (which exists and is not yet in its place)."""
    _json(folder / "manifest.json", manifest(plan, command))
    _lines(folder / "runs.jsonl", [result for result in results if result.spec.role != "baseline"])
    _lines(folder / "baselines.jsonl", [result for result in results if result.spec.role == "baseline"])


def manifest(plan: Plan, command: Sequence[str]) -> dict[str, Any]:
    """What is needed to run this again: command, versions, scenarios with their digests."""
    return {
        "schema": SCHEMA,
        "command": list(command),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("avsync", "numpy", "simpy", "pydantic", "pyyaml", "av")},
        "scenarios": {scenario.name: scenario.digest for scenario in plan.scenarios.values()},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _lines(path: Path, results: Sequence[Result]) -> None:
    path.write_text("".join(json.dumps(result.flat()) + "\n" for result in results), encoding="utf-8")
