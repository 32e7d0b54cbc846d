"""Timeline: a scenario as rows of spans over time, before anything runs: turns, steps, and the windows limits look at.

``timeline`` is plain data; ``timeline_lines`` draws it as text, ``sim.report.timeline_plot`` as a picture.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.scenario.scenario import Scenario
from sim.scenario.steps import Impair, Interrupt, Reports, Step, fault_window, step_end_s, step_leg
from sim.truth.windows import AFTER_FAULT_S, AFTERMATH_S, JOIN_S

Span = tuple[float, float]
"""(start, end) in s; equal for a moment."""


class TimelineRow(NamedTuple):
    """One row. ``sort``: turn, fault, event (a step that is no fault, or what stays of one) or window."""

    label: str
    sort: str
    spans: tuple[Span, ...]


def timeline(scenario: Scenario) -> list[TimelineRow]:
    """Turns first, then each kind of step by its first time, then the windows."""
    rows = [TimelineRow("turns", "turn", tuple(_turns(scenario)))]
    kinds: dict[tuple[str, str], list[Span]] = {}
    for step in scenario.steps:
        sort = "event" if fault_window(step) is None else "fault"
        kinds.setdefault((_label(step), sort), []).append((step.at_s, step_end_s(step)))
        if _stays(step):  # judged as a moment (fault_window), and windows go on beside what it leaves
            kinds.setdefault((f"{_label(step)} stays", "event"), []).append((step.at_s, scenario.duration_s))
    steps = sorted(kinds.items(), key=lambda one: min(one[1]))
    rows += [
        TimelineRow(label, sort, tuple(_joined(spans) if label.endswith("stays") else sorted(spans)))
        for (label, sort), spans in steps
    ]
    rows.append(TimelineRow("window clear", "window", tuple(_clear(scenario))))
    if scenario.faults:
        ends = [(end + AFTERMATH_S, end + AFTERMATH_S + AFTER_FAULT_S) for _, end in _joined([*scenario.faults])]
        after = [(start, min(end, scenario.duration_s)) for start, end in ends if start < scenario.duration_s]
        rows.append(TimelineRow("window after_fault", "window", tuple(_joined(after))))
    return rows


def timeline_lines(scenario: Scenario, width: int) -> list[str]:
    """The timeline as text, ``width`` columns wide: a scale, and a line for each row."""
    rows = timeline(scenario)
    margin = max(len(row.label) for row in rows) + 2
    columns = max(20, width - margin - 1)
    lines = [" " * margin + _scale(scenario.duration_s, columns)]
    for row in rows:
        lines.append(row.label.ljust(margin) + _bar(row, scenario.duration_s, columns))
    return lines


_MARKS = {"turn": "=", "fault": "#", "event": "+", "window": "-"}
LEGEND = "= talk   # a fault   + no fault, or what stays of one   - what a limit over this window looks at"


def _bar(row: TimelineRow, duration_s: float, columns: int) -> str:
    cells = [" "] * columns
    for start, end in row.spans:
        first = min(columns - 1, int(start / duration_s * columns))
        last = max(first + 1, min(columns, int(end / duration_s * columns)))
        cells[first:last] = _MARKS[row.sort] * (last - first)
    return "".join(cells).rstrip()


def _scale(duration_s: float, columns: int) -> str:
    """``0         10        20   s``: as many round numbers as there is room for."""
    steps = (step * 10**power for power in range(-1, 5) for step in (1, 2, 5))
    step = next(step for step in steps if step / duration_s * columns >= 8)
    text = [" "] * (columns + 8)
    count = 0
    while count * step <= duration_s + 1e-9:
        at = min(columns - 1, int(count * step / duration_s * columns))
        word = f"{count * step:g}" + (" s" if count == 0 else "")
        text[at : at + len(word)] = word
        count += 1
    return "".join(text).rstrip()


def _label(step: Step) -> str:
    only = getattr(step, "only", None)
    return " ".join(filter(None, (step.do, only, step_leg(step))))


def _stays(step: Step) -> bool:
    """Has it no end of its own?"""
    return isinstance(step, Impair | Reports) and step.for_s is None


def _turns(scenario: Scenario) -> list[Span]:
    """As planned, cut and begun anew by interrupts."""
    turns = list(scenario.source.turns.plan(scenario.duration_s))
    for step in (one for one in scenario.steps if isinstance(one, Interrupt)):
        for index, (start, end) in enumerate(turns):
            if start <= step.at_s < end:
                again = step.at_s + step.reply_after_ms / 1000
                stop = end if step.talk_s is None else min(again + step.talk_s, scenario.duration_s)
                turns[index : index + 1] = [(start, step.at_s), *([(again, stop)] if again < stop else [])]
                break
    return turns


def _clear(scenario: Scenario) -> list[Span]:
    """Away from faults and, at a viewer, from its joining."""
    left: list[Span] = []
    at = JOIN_S
    for start, end in [*scenario.faults, (scenario.duration_s, scenario.duration_s)]:
        if start > at:
            left.append((at, start))
        at = max(at, end + AFTERMATH_S)
    return left


def _joined(spans: list[Span]) -> list[Span]:
    """Those that touch are one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
