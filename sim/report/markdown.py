"""Markdown: ``summary.md``, for a pull request or a terminal without a browser."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sim.report import scorer_table
from sim.report.summary import BROWSER_NOTE, Group, baseline_words, beaten, cell, missed, seed_words

_COLUMNS = (
    ("output p95", "output_offset_abs_p95_ms"),
    ("believed", "believed_output_offset_abs_p95_ms"),
    ("viewer p95", "offset_abs_p95_ms"),
    ("believed", "believed_offset_abs_p95_ms"),
    ("away from faults", "offset_abs_p95_ms@clear"),
    ("recovery", "recovery_ms"),
    ("added delay p95", "output_added_latency_p95_ms"),
)


def summary(groups: Sequence[Group], manifest: Mapping[str, Any]) -> str:
    """The table, what was missed, and what was run."""
    good = sum(group.passed for group in groups)
    lines = ["# avsync run", "", f"{good} of {len(groups)} passed (a scenario at a viewer each).", ""]
    compared = any(group.compare for group in groups)
    lines += comparison(groups) if compared else _table(groups)
    if scored := scorer_table.rows(groups):
        lines += ["", f"{scorer_table.TITLE}.", ""]
        lines += table(scorer_table.HEADS, scored, left=range(scorer_table.LEFT))
    better = [f"- 🔴 **{plain(f'{one.label} at {one.viewer}: {line}')}**" for one in groups for line in beaten(one)]
    lines += ["", *better] if better else []
    lines += ["", BROWSER_NOTE, ""]
    for block in missed(groups):
        lines += [f"## {plain(block.label)}: missed", ""]
        for miss in block.misses:
            seeds = seed_words(miss.seeds)
            lines.append(f"- {', '.join(miss.viewers)}: wanted {plain(miss.wanted)}, got {miss.got} ({seeds})")
            lines += [f"  - {plain(miss.hint)}"] if miss.hint else []
        lines += ["", *fenced(block.again), ""]
    lines += ["## What was run", "", *fenced([manifest["command_line"]]), ""]
    versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items() if number)
    lines += [
        f"{manifest['created']}, commit {manifest['commit'] or 'unknown'}, Python {manifest['python']}, {versions}."
    ]
    lines += ["", *(f"- {plain(group.label)}: {plain(group.scenario.about)}" for group in _one_each(groups))]
    return "\n".join(lines) + "\n"


def _one_each(groups: Sequence[Group]) -> list[Group]:
    return list({group.file: group for group in groups}.values())


def _table(groups: Sequence[Group]) -> list[str]:
    rows = [
        [
            group.label,
            group.viewer,
            f"{group.good}/{len(group.main)}",
            *(cell(group, group.main, name) for _, name in _COLUMNS),
            baseline_words(group),
            "pass" if group.passed else "**FAIL**",
        ]
        for group in groups
    ]
    heads = ["scenario", "viewer", "seeds", *(head for head, _ in _COLUMNS), "baseline", "verdict"]
    said = "p95 of \\|offset\\|, recovery and added delay in ms, each of the worst seed."
    return [said, "", *table(heads, rows, left=(0, 1, len(heads) - 2, len(heads) - 1))]


def comparison(groups: Sequence[Group]) -> list[str]:
    """Policies side by side: p95 of |offset| at our output / at the viewer, and the recovery at the viewer."""
    names = list(dict.fromkeys(name for group in groups for name in group.policies))
    rows = []
    for group in groups:
        mine = group.policies
        cells = [_compared(group, mine[name]) if name in mine else "-" for name in names]
        rows.append([group.label, group.viewer, *cells])
    said = "In each cell, in ms, worst seed: p95 of \\|offset\\| at our output / at the viewer; recovery at the viewer."
    return [said, "", *table(["scenario", "viewer", *names], rows, left=(0, 1))]


def _compared(group: Group, results: Sequence[Any]) -> str:
    both = " / ".join(cell(group, results, name) for name in ("output_offset_abs_p95_ms", "offset_abs_p95_ms"))
    recovery = cell(group, results, "recovery_ms")
    return both if recovery == "-" else f"{both}; {recovery}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """Aligned, so that it can be read as it is."""
    body = [[plain(text) if text != "**FAIL**" else text for text in row] for row in rows]
    widths = [max(len(row[index]) for row in [list(heads), *body]) for index in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if index in left else text.rjust(width)
            for index, (text, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if index in left else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    return [line(heads), f"| {' | '.join(rule)} |", *(line(row) for row in body)]


def fenced(lines: Sequence[str]) -> list[str]:
    """As code, however many backticks are in it."""
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", *lines, fence]


def plain(text: str) -> str:
    """Text that means nothing in Markdown and stays on its line."""
    return re.sub(r"([\\`*\[\]|~#]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?]))", r"\\\1", " ".join(text.split()))
