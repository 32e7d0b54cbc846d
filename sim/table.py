"""Table: what ``avsync run`` prints: one row per scenario and viewer, then each miss with its remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from sim.judge import Check
from sim.sweep import Plan, Result

BROWSER_NOTE = "browser: a model of Chromium, not yet checked against it"
MISSES_SHOWN = 40


def print_results(out: Console, plan: Plan, results: Sequence[Result]) -> None:
    """Truth next to belief, worst seed of each; then what was missed and how to see it again."""
    for line in sorted({line for result in results for line in result.network_about}):
        out.print(line, style="dim")
    if any(result.spec.role == "compare" for result in results):
        _compare(out, results)
        return
    table = Table(title="worst of all seeds, ms", title_justify="left", header_style="bold")
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, no_wrap=name in ("scenario", "verdict"))
    for key, group in _groups(results):
        table.add_row(*_row(key, group))
    out.print(table)
    out.print(BROWSER_NOTE, style="dim")
    _misses(out, results)


_COLUMNS = (
    ("scenario", "left"), ("viewer", "left"), ("seeds", "right"), ("output p95", "right"), ("viewer p95", "right"),
    ("believed", "right"), ("clear p95", "right"), ("recovery", "right"), ("baseline", "left"), ("verdict", "left"),
)  # fmt: skip


def _groups(results: Sequence[Result]) -> list[tuple[tuple[str, str], list[Result]]]:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.scenario, result.spec.viewer), []).append(result)
    return list(groups.items())


def _row(key: tuple[str, str], group: Sequence[Result]) -> list[str]:
    main = [result for result in group if result.spec.role == "main"]
    base = [result for result in group if result.spec.role == "baseline"]
    good = sum(result.passed for result in main)
    passed = good == len(main) and all(result.passed for result in base)
    return [
        key[0],
        key[1],
        f"{good}/{len(main)}",
        worst(main, "output_offset_abs_p95_ms"),
        worst(main, "offset_abs_p95_ms"),
        worst(main, "believed_offset_abs_p95_ms"),
        worst(main, "offset_abs_p95_ms@clear"),
        worst(main, "recovery_ms"),
        _baseline(base),
        "[green]pass[/]" if passed else "[red]FAIL[/]",
    ]


def _baseline(base: Sequence[Result]) -> str:
    if not base:
        return "-"
    missed = all(result.passed for result in base)
    return f"{base[0].policy} {'misses' if missed else '[red]does not miss[/]'}"


def worst(results: Sequence[Result], name: str) -> str:
    """The largest value of a column; UNKNOWN only if it is so everywhere."""
    values = [value for result in results if (value := result.row.get(name)) is not None]
    return number(max(values)) if values else "-"


def number(value: float | None) -> str:
    if value is None:
        return "UNKNOWN"
    if math.isinf(value):
        return "never"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _compare(out: Console, results: Sequence[Result]) -> None:
    """Policies side by side, on the same weather: p95 |offset| at our output and at the viewer."""
    names = list(dict.fromkeys(result.policy for result in results if result.spec.role != "baseline"))
    table = Table(title="p95 |offset| in ms, output / viewer, worst of all seeds", title_justify="left")
    table.add_column("scenario", no_wrap=True)
    table.add_column("viewer")
    for name in names:
        table.add_column(name, justify="right")
    for (scenario, viewer), group in _groups(results):
        cells = []
        for name in names:
            mine = [result for result in group if result.policy == name]
            cells.append(f"{worst(mine, 'output_offset_abs_p95_ms')} / {worst(mine, 'offset_abs_p95_ms')}")
        table.add_row(scenario, viewer, *cells)
    out.print(table)
    out.print(BROWSER_NOTE, style="dim")


def _misses(out: Console, results: Sequence[Result]) -> None:
    failed = [result for result in results if not result.passed and result.spec.role != "compare"]
    for result in failed[:MISSES_SHOWN]:
        out.print(f"[red]{result.scenario}[/] {result.spec.viewer} seed {result.spec.seed} {result.policy}")
        if result.spec.role == "baseline":
            kept = ", ".join(name for name, missed in result.misses.items() if not missed)
            out.print(f"  the baseline does not miss {kept} by 1.5 times: the scenario proves nothing")
        for one in result.checks:
            if not one.passed:
                out.print(f"  {miss_words(one)}")
        out.print(f"  again: {result.spec.reproduce()}", style="dim", soft_wrap=True)
    if len(failed) > MISSES_SHOWN:
        out.print(f"... and {len(failed) - MISSES_SHOWN} more; all of them are in runs.jsonl")


def miss_words(one: Check) -> str:
    guard = " (guard)" if one.limit.guard else ""
    return f"wanted {one.limit.words}{guard}, got {number(one.got)}"
