"""Report: what a run leaves in its folder.

``manifest.json`` (what ran, with which versions), ``runs.jsonl`` and ``baselines.jsonl`` (every
metric of every run), ``scorer.jsonl`` (every window, where payloads were scored), ``summary.md``;
with plots also ``plots/*.png`` and ``report.html``, which stands alone. The folder is not yet in
its place: whoever calls renames it when all is written.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sim.report import scorer_table
from sim.report.markdown import summary
from sim.report.summary import BROWSER_NOTE, Group, groups_of, labels_of
from sim.scenario.words import shell_line
from sim.sweep.sweep import SCHEMA, Result, RunPlan


def write_report(
    folder: Path, plan: RunPlan, results: Sequence[Result], *, command: Sequence[str], plots: bool, console: Console
) -> None:
    """Write everything into ``folder``, which exists. ``console`` shows the bar while pictures are drawn."""
    groups = groups_of(plan, results)
    about = manifest(plan, results, command)
    _json(folder / "manifest.json", about)
    _lines(folder / "runs.jsonl", [result for result in results if result.spec.role != "baseline"])
    _lines(folder / "baselines.jsonl", [result for result in results if result.spec.role == "baseline"])
    scored = "".join(scorer_table.lines(results))
    if scored:
        (folder / "scorer.jsonl").write_text(scored, encoding="utf-8")
    (folder / "summary.md").write_text(summary(groups, about), encoding="utf-8")
    if plots:
        from sim.report.html import report

        drawn = draw_all(folder / "plots", groups, console)
        (folder / "report.html").write_text(report(groups, about, drawn), encoding="utf-8")


def draw_all(folder: Path, groups: Sequence[Group], console: Console) -> dict[str, Path]:
    """One PNG per scenario that kept a series; returns them by the scenario's file."""
    from sim.report.plots import draw

    files: dict[str, list[Group]] = {}
    for group in groups:
        files.setdefault(group.file, []).append(group)
    folder.mkdir()
    drawn: dict[str, Path] = {}
    bar = Progress(
        TextColumn("drawing {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=len(files))
        for file, mine in files.items():
            bar.update(task, description=escape(mine[0].label))
            path = folder / f"{file_word(mine[0].label, [one.stem for one in drawn.values()])}.png"
            if draw(mine, path):
                drawn[file] = path
            bar.advance(task)
    return drawn


def file_word(name: str, taken: Sequence[str]) -> str:
    """A scenario's name as a file name that is safe everywhere, and not yet taken."""
    word = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80] or "scenario"
    return next(one for one in (word, *(f"{word}-{n}" for n in range(2, len(taken) + 3))) if one not in taken)


def manifest(plan: RunPlan, results: Sequence[Result], command: Sequence[str]) -> dict[str, Any]:
    """What is needed to run this again: command, versions, scenarios with their digests."""
    labels = labels_of(plan)
    return {
        "schema": SCHEMA,
        "created": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "command": list(command),
        "command_line": shell_line(command),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("avsync", "numpy", "simpy", "pydantic", "pyyaml", "av")},
        "scenarios": {labels[file]: scenario.digest for file, scenario in plan.scenarios.items()},
        "policies": {result.policy: result.policy_digest for result in results},
        "runs": len(results),
        "passed": all(result.passed for result in results if result.spec.role != "compare"),
        "note": BROWSER_NOTE,
    }


def _commit() -> str | None:
    """Of the checkout that this ran from, ``+`` if it was changed since; None in an installed wheel."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        head = _git(here, "rev-parse", "HEAD")
        return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _lines(path: Path, results: Sequence[Result]) -> None:
    path.write_text("".join(json.dumps(result.flat(), allow_nan=False) + "\n" for result in results), encoding="utf-8")
