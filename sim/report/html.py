"""HTML: one page that says everything about a run, opens from disk, and needs no network.

The summary comes first: verdicts, truth beside belief, sortable and filterable; then one card per
scenario (``sim.report.html_scenario``). Pictures are inside the page; without scripts it says the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sim.report.html_scenario import badge, card
from sim.report.markup import Html, page, tag
from sim.report.summary import BROWSER_NOTE, Group, baseline_words, cell, worst
from sim.truth.windows import Measure

_COLUMNS: tuple[tuple[str, str], ...] = (
    ("truth", "output_offset_abs_p95_ms"),
    ("belief", "believed_output_offset_abs_p95_ms"),
    ("truth", "offset_abs_p95_ms"),
    ("belief", "believed_offset_abs_p95_ms"),
    ("away from faults", "offset_abs_p95_ms@clear"),
    ("at output", "output_recovery_ms"),
    ("at viewer", "recovery_ms"),
    ("p95", "output_added_latency_p95_ms"),
)
_BEFORE, _AFTER = ("verdict", "scenario", "viewer", "seeds"), ("baseline",)


def report(groups: Sequence[Group], manifest: Mapping[str, Any], plots: Mapping[str, Path]) -> str:
    """The page. ``plots``: a PNG for each scenario's file that has one."""
    files = list(dict.fromkeys(group.file for group in groups))
    anchors = {file: f"s{index}" for index, file in enumerate(files)}
    few = len(files) <= 3
    cards = []
    for file in files:
        mine = [group for group in groups if group.file == file]
        opened = few or not all(group.passed for group in mine)
        cards.append(card(mine, anchors[file], plots.get(file), opened=opened))
    return page(
        "avsync report",
        _head(groups, manifest),
        tag("h2", "Summary"),
        tag("p", "95th percentile of |offset|, recovery and added delay in ms, each of the worst seed.", class_="soft"),
        _controls(groups),
        tag("div", _summary(groups, anchors), id="summary", class_="scroll"),
        tag("h2", "Scenarios"),
        *cards,
    )


def _head(groups: Sequence[Group], manifest: Mapping[str, Any]) -> Html:
    good = sum(group.passed for group in groups)
    results = [result for group in groups for result in (*group.main, *group.baseline, *group.compare)]
    minutes = sum(result.simulated_s for result in results) / 60
    tally = [
        tag("div", tag("b", str(good), class_="pass"), "passed"),
        tag("div", tag("b", str(len(groups) - good), class_="fail" if good < len(groups) else ""), "failed"),
        tag("div", tag("b", str(len(results))), "calls simulated"),
        tag("div", tag("b", f"{minutes:.0f}"), "minutes of call"),
    ]
    commit = str(manifest.get("commit") or "unknown")
    changed = ", changed since" if commit.endswith("+") else ""
    made = f"{manifest['created']}, avsync {manifest['versions'].get('avsync')}, commit {commit[:12]}{changed}"
    return tag(
        "header",
        tag("h1", "avsync report"),
        tag("p", made, class_="soft"),
        tag("div", tally, class_="tally"),
        tag("code", manifest["command_line"], class_="command"),
        tag(
            "p",
            tag("b", "Offset"), " is sound minus picture: above 0 the voice is ahead of the lips, below 0 behind. ",
            tag("b", "Truth"), " is what the simulation knows, ", tag("b", "belief"), " what the SDK's monitor said. ",
            "A verdict is about one scenario at one viewer over all seeds; its baseline is a policy that has to miss.",
        ),
        tag("p", tag("span", "note", class_="badge odd"), " ", BROWSER_NOTE, ".")
        if any(group.viewer == "browser" for group in groups) else "",
    )  # fmt: skip


def _controls(groups: Sequence[Group]) -> Html:
    viewers = list(dict.fromkeys(group.viewer for group in groups))
    return tag(
        "div",
        tag("input", id="words", type="search", placeholder="filter: name, tag, policy", aria_label="filter"),
        _choice("verdict", [("", "pass and fail"), ("pass", "pass"), ("fail", "fail")]),
        _choice("viewer", [("", "every viewer"), *((viewer, viewer) for viewer in viewers)]),
        tag("button", "open all", id="open", type="button"),
        tag("button", "close all", id="close", type="button"),
        tag("span", id="count", class_="soft"),
        class_="controls",
    )


def _choice(name: str, options: Sequence[tuple[str, str]]) -> Html:
    return tag("select", [tag("option", words, value=value) for value, words in options], id=name, aria_label=name)


def _summary(groups: Sequence[Group], anchors: Mapping[str, str]) -> Html:
    spans = (
        (len(_BEFORE), ""),
        (2, "at our output"),
        (3, "at the viewer"),
        (2, "recovery"),
        (1, "added delay"),
        (1, ""),
    )
    top = [tag("th", words, colspan=str(width), class_="top left" if words else "top") for width, words in spans]
    names = [*_BEFORE, *(name for name, _ in _COLUMNS), *_AFTER]
    numeric = range(len(_BEFORE), len(_BEFORE) + len(_COLUMNS))
    heads = [
        tag("th", name, data_sort=str(index), class_=_numeric_class(index) if index in numeric else None)
        for index, name in enumerate(names)
    ]
    body = [_summary_row(group, anchors[group.file]) for group in groups]
    return tag("table", tag("thead", tag("tr", top), tag("tr", heads)), tag("tbody", body))


def _numeric_class(index: int) -> str:
    return "n left" if index - len(_BEFORE) in (0, 2, 5, 7) else "n"


def _summary_row(group: Group, anchor: str) -> Html:
    verdict = "pass" if group.passed else "fail"
    cells = [
        tag("td", badge(group.passed), data_v=verdict),
        tag("td", tag("a", group.label, href=f"#{anchor}")),
        tag("td", group.viewer),
        tag("td", f"{group.good}/{len(group.main)}", class_="" if group.good == len(group.main) else "fail"),
    ]
    for index, (_, name) in enumerate(_COLUMNS):
        words = cell(group, group.main, name)
        known = "odd" if words in ("UNKNOWN", "never") else ""
        class_ = f"{_numeric_class(index + len(_BEFORE))} {known}".strip()
        cells.append(tag("td", words, class_=class_, data_v=_sortable(worst(group.main, name), words)))
    words = baseline_words(group)
    cells.append(tag("td", words, class_="fail" if words.endswith("NO MISS") else "soft"))
    text = " ".join([group.label, group.viewer, verdict, *group.scenario.tags, *group.policies, words])
    return tag("tr", cells, data_text=text, data_verdict=verdict, data_viewer=group.viewer)


def _sortable(value: Measure, words: str) -> str:
    """Not asked for first, UNKNOWN last: it is worse than any number."""
    if words == "-":
        return "-1"
    if value is None or math.isnan(value):
        return "1e300"
    return "1e299" if math.isinf(value) else repr(float(value))
