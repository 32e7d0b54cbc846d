"""Table: what ``avsync run`` prints: one row per scenario and viewer, then each miss with its remedy.

Names and numbers are never cut: where a screen is too narrow for the wide table there is a tighter
one that says the same with less. A pipe gets plain text, wide enough for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console, JustifyMethod
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from sim.report import scorer_table
from sim.report.summary import (
    BROWSER_NOTE,
    CONTESTED,
    NOT_ASKED,
    Group,
    Miss,
    baseline_words,
    beaten,
    better_than_ours,
    cell,
    groups_of,
    missed,
    seed_words,
)
from sim.scenario.words import visible
from sim.sweep.sweep import Result, RunPlan

SHOWN = 40
"""So many scenarios' misses are printed; the rest is in the summary."""


class Column(NamedTuple):
    """``of`` gives the text of one group."""

    header: str
    of: Callable[[Group], str]
    justify: JustifyMethod = "right"


def _of(*names: str) -> Callable[[Group], str]:
    return lambda group: "/".join(cell(group, group.main, name) for name in names)


def _seeds(group: Group) -> str:
    return f"{group.good}/{len(group.main)}"


def _verdict(group: Group) -> str:
    return "pass" if group.passed else "FAIL"


def _baseline_short(group: Group) -> str:
    words = baseline_words(group)
    return words if words == "-" else "misses" if words.endswith(" misses") else "NO MISS"


_SCENARIO = Column("scenario", lambda group: group.label, "left")
_VIEWER = Column("viewer", lambda group: group.viewer, "left")
_VERDICT = Column("verdict", _verdict, "left")

WIDE = (
    _SCENARIO,
    _VIEWER,
    Column("seeds", _seeds),
    Column("output\ntruth", _of("output_offset_abs_p95_ms")),
    Column("\nbelief", _of("believed_output_offset_abs_p95_ms")),
    Column("viewer\ntruth", _of("offset_abs_p95_ms")),
    Column("\nbelief", _of("believed_offset_abs_p95_ms")),
    Column("away from\nfaults", _of("offset_abs_p95_ms@clear")),
    Column("recovery", _of("recovery_ms")),
    Column("baseline", baseline_words, "left"),
    _VERDICT,
)
TIGHT = (
    _SCENARIO,
    _VIEWER,
    Column("seeds", _seeds),
    Column("output", _of("output_offset_abs_p95_ms", "believed_output_offset_abs_p95_ms")),
    Column("at viewer", _of("offset_abs_p95_ms", "believed_offset_abs_p95_ms")),
    Column("recov", _of("recovery_ms")),
    Column("basel.", _baseline_short, "left"),
    Column("", _verdict, "left"),
)
WIDE_TITLE = "p95 of |offset| at our output and at the viewer, and recovery: ms, worst of all seeds"
TIGHT_TITLE = "p95 of |offset| (truth/belief) and recovery: ms, worst of all seeds"

_COLOURS = {"pass": "green", "FAIL": "bold red", "NO MISS": "red"}


def print_results(out: Console, plan: RunPlan, results: Sequence[Result]) -> None:
    """Truth next to belief, worst seed of each; then what was missed and how to see it again."""
    for line in sorted({line for result in results for line in result.network_about}):
        out.print(Text(visible(line), style="dim"), soft_wrap=True)
    groups = groups_of(plan, results)
    if any(group.compare for group in groups):
        _print_compared(out, groups)
    else:
        _print_groups(out, groups)
    _print_scored(out, groups)
    if any(group.viewer == "browser" for group in groups):
        out.print(Text(BROWSER_NOTE, style="dim"), soft_wrap=True)
    _print_missed(out, groups)
    good = sum(group.passed for group in groups)
    style = "bold green" if good == len(groups) else "bold red"
    out.print(Text(f"{good} of {len(groups)} passed (a scenario at a viewer each)", style=style), soft_wrap=True)


def verdict_line(plan: RunPlan, results: Sequence[Result]) -> Text:
    """One scenario as soon as all of it has run: its verdict, the seeds that passed, and its baseline."""
    groups = groups_of(plan, results)
    verdict = "pass" if all(group.passed for group in groups) else "FAIL"
    seeds = ", ".join(f"{group.viewer} {_seeds(group)}" for group in groups)
    baselines = " and ".join(dict.fromkeys(words for group in groups if (words := baseline_words(group)) != NOT_ASKED))
    return Text.assemble(
        (verdict, _COLOURS[verdict]), f"  {groups[0].label:20}  {seeds}", f"; {baselines}" if baselines else ""
    )


def _print_groups(out: Console, groups: Sequence[Group]) -> None:
    choices = ((WIDE, WIDE_TITLE, 1), (WIDE, WIDE_TITLE, 0), (TIGHT, TIGHT_TITLE, 0))
    tables = [(title, _table(columns, groups, padding=padding)) for columns, title, padding in choices]
    title, table = next((one for one in tables if _width(out, one[1]) <= out.width), tables[-1])
    out.print(Text(title, style="italic"), soft_wrap=True)
    _print_whole(out, table)


def _table(columns: Sequence[Column], groups: Sequence[Group], *, padding: int) -> Table:
    table = _plain_table(padding)
    for column in columns:
        table.add_column(column.header, justify=column.justify, no_wrap=True)
    for group in groups:
        table.add_row(*(_coloured(column.of(group)) for column in columns))
    return table


def _plain_table(padding: int) -> Table:
    """No frame but a line under the header: nothing to get in the way of copying, in a log as on a screen."""
    if padding:
        return Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, padding))
    return Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=0)


def _print_whole(out: Console, table: Table) -> None:
    """On a screen that is too narrow even so, the screen wraps the lines; names and numbers stay whole."""
    wide = out.options.update(width=max(out.width, _width(out, table)))
    out.print(Segments(list(out.render(table, wide))), soft_wrap=True, end="")


def _width(out: Console, table: Table) -> int:
    """What the table needs if nothing is cut."""
    return out.measure(table, options=out.options.update(width=1000)).maximum


def _coloured(text: str) -> Text:
    style = _COLOURS.get(text, "")
    if text.endswith("NO MISS"):
        style = "red"
    if "UNKNOWN" in text or "never" in text:
        style = "yellow"
    return Text(text, style=style)


def _print_compared(out: Console, groups: Sequence[Group]) -> None:
    """One row per policy, so that the eye compares down a column. All policies met the same network."""
    out.print(Text("p95 of |offset|, recovery, added delay: ms, worst of all seeds", style="italic"), soft_wrap=True)
    table = _plain_table(1 if out.width >= 110 else 0)
    for header in ("scenario", "viewer", "policy"):
        table.add_column(header, no_wrap=True)
    for header in ("output", "viewer", "recov", "delay", "limits met"):
        table.add_column(header, justify="right", no_wrap=True)
    names = ("output_offset_abs_p95_ms", "offset_abs_p95_ms", "recovery_ms", "output_added_latency_p95_ms")
    for group in groups:
        head = [group.label, group.viewer]
        for policy, results in group.policies.items():
            ours = policy == next(iter(group.policies))
            numbers = [
                Text(cell(group, results, name), style="bold red")
                if not ours and name in CONTESTED and better_than_ours(group, results, name)
                else _coloured(cell(group, results, name))
                for name in names
            ]
            table.add_row(*map(_coloured, (*head, policy)), *numbers, _coloured(_limits_met(results)))
            head = ["", ""]
        table.add_section()
    _print_whole(out, table)
    for group in groups:
        for line in beaten(group):
            out.print(Text(f"{group.label} at {group.viewer}: {line}", style="bold red"), soft_wrap=True)


def _print_scored(out: Console, groups: Sequence[Group]) -> None:
    """What a scorer made of real payloads; nothing where there were none."""
    rows = scorer_table.rows(groups)
    if not rows:
        return
    out.print(Text(scorer_table.TITLE, style="italic"), soft_wrap=True)
    table = _plain_table(1 if out.width >= 130 else 0)
    for index, header in enumerate(scorer_table.HEADS):
        table.add_column(header.replace(" ", "\n", 1), justify="left" if index < scorer_table.LEFT else "right")
    for row in rows:
        table.add_row(*map(_coloured, row))
    _print_whole(out, table)


def _limits_met(results: Sequence[Result]) -> str:
    """In the seed that met the fewest."""
    met = min(sum(one.passed for one in result.checks) for result in results)
    return f"{met}/{len(results[0].checks)}"


def _print_missed(out: Console, groups: Sequence[Group]) -> None:
    failed = missed(groups)
    for block in failed[:SHOWN]:
        out.print()
        out.print(Text(block.label, style="bold red"), soft_wrap=True)
        for miss in block.misses:
            out.print(Text(f"  {miss_words(miss)}"), soft_wrap=True)
            if miss.hint:
                out.print(Text(f"    {miss.hint}", style="yellow"), soft_wrap=True)
        for command in block.again:
            out.print(Text(f"  again: {command}", style="dim"), soft_wrap=True)
    if len(failed) > SHOWN:
        out.print(f"... and {len(failed) - SHOWN} more; all of them are in summary.md")
    if failed:
        out.print()


def miss_words(miss: Miss) -> str:
    """``browser, avsync: wanted recovery_ms <= 1000, got 1430 (seeds 1-3, worst 2)``."""
    more = f", worst {miss.seed}" if len(miss.seeds) > 1 else ""
    return f"{', '.join(miss.viewers)}: wanted {miss.wanted}, got {miss.got} ({seed_words(miss.seeds)}{more})"
