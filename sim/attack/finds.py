"""Finds: a find as a file to commit: the scenario with the fewest keys, a picture of what happens, the panel's row.

The scenario's first lines say what broke and how it was found, so that the file alone is enough in a corpus.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from avsync.policy import AvSyncPolicy
from sim.attack.features import in_words
from sim.attack.regret import Figures, figures, panel
from sim.attack.search import Find
from sim.attack.trial import LONG_S, run_trial
from sim.scenario.scenario import build, loads

WIDTH = 110
MADE = "# kind: "
"""The line of a case's comment that says which kind it shows."""


def file_name(find: Find) -> str:
    """``stall_untold_at_output_sleep``: from its kind and what it needs, short enough for any disk."""
    words = re.sub(r"[^a-z0-9]+", "_", f"{find.kind} {in_words(find.needs) if find.needs else ''}".lower()).strip("_")
    return words[:100].rstrip("_")


def scenario_text(find: Find, command: str) -> str:
    """The find as a scenario file: valid, and with no key that it does not need."""
    head = [f"# Found by {command}, example {find.example}.", f"{MADE}{find.kind}", f"# seen: {find.breach.words}"]
    if "_grows" in find.kind or "_kept" in find.kind:
        head.append(f"# It shows when the call goes on: with duration_s: {LONG_S:g}.")
    about = f"{find.kind.capitalize()}; needs {in_words(find.needs)}."
    data = {**find.data, "about": about}
    text = "\n".join(head) + "\n" + "".join(_line(key, value) for key, value in data.items())
    loads(text, "find.yaml")  # nobody shall commit what the loader refuses
    return text


def _line(key: str, value: Any, indent: str = "") -> str:
    """Steps one a line; small mappings in braces, as people write them."""
    if key == "steps":
        steps = ({"at_s": step["at_s"], "do": step["do"], **step} for step in value)
        return "steps:\n" + "".join(f"  - {_flow(step)}\n" for step in steps)
    if isinstance(value, dict) and len(indent) + len(key) + 2 + len(_flow(value)) > WIDTH:
        inner = "".join(_line(name, each, indent + "  ") for name, each in value.items())
        return f"{indent}{key}:\n{inner}"
    return f"{indent}{key}: {_flow(value)}\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def kind_of(text: str) -> str:
    """Which kind a case of the corpus was committed for; empty where it does not say."""
    return next((line.removeprefix(MADE).strip() for line in text.splitlines() if line.startswith(MADE)), "")


# ---- the panel's row


def panel_lines(data: Mapping[str, Any], policy: AvSyncPolicy) -> list[str]:
    """A table: each member of the panel at each point where an engine of ours works."""
    found = {policy.name: figures(run_trial(data, policy, long_too=False)), **panel(data, policy)}
    lines = [
        "| policy | point | offset p95 | heard | lips shown | delay p95 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, points in found.items():
        for point, figure in points.items():
            lines.append(f"| {name} | {point} | " + " | ".join(_cells(figure)) + " |")
    return lines


def _cells(figure: Figures) -> Sequence[str]:
    units = ("ms", "%", "%", "ms")
    return [
        "UNKNOWN" if value is None else f"{value:.0f} {unit}" for value, unit in zip(figure, units, strict=True)
    ]  # fmt: skip


# ---- on disk


def write_find(find: Find, folder: Path, policy: AvSyncPolicy, command: str, *, plots: bool = True) -> Path:
    """NAME.yaml, NAME.png and NAME.md into ``folder``; the path of the scenario. ``plots`` False: no PNG."""
    file = folder / f"{file_name(find)}.yaml"
    file.write_text(scenario_text(find, command), encoding="utf-8")
    if plots:
        _draw(find, file)
    text = [f"# {find.name}", "", find.breach.words, "", "The panel on the same network and seed:", ""]
    lines = panel_lines(find.data, policy) if not find.kind.startswith("exception") else ["It does not run to its end."]
    file.with_suffix(".md").write_text("\n".join([*text, *lines]) + "\n", encoding="utf-8")
    return file


def _draw(find: Find, file: Path) -> None:
    """What happened: the offset at both points. Of what does not run: what was to happen."""
    if find.kind.startswith("exception"):
        from sim.report.timeline_plot import draw_timeline

        draw_timeline(build(find.data, name=file.stem), file.with_suffix(".png"))
        return
    from sim.report.plots import draw
    from sim.report.summary import groups_of
    from sim.sweep.sweep import execute, plan

    wanted = plan([file], with_series=True, baselines=False)
    draw(groups_of(wanted, [execute(spec) for spec in wanted.specs]), file.with_suffix(".png"))
