"""One scenario in the report: what happens, what was wanted and measured, truth beside belief, the picture."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from sim.judge.judge import Limit
from sim.report.markup import Html, tag
from sim.report.summary import (
    Group,
    Held,
    again,
    beaten,
    better_than_ours,
    cell,
    exact,
    held_against,
    missed,
    number,
    seed_words,
)
from sim.scenario.metric_names import BELIEVED, OUTPUT, base_name, metric
from sim.scenario.sentences import what_happens
from sim.sweep.sweep import Result

_BELIEVED = (
    "offset_abs_p50_ms", "offset_abs_p95_ms", "offset_abs_p99_ms", "offset_abs_max_ms",
    "offset_lead_p95_ms", "offset_lag_p95_ms",
)  # fmt: skip
_COMPARED = (
    "output_offset_abs_p95_ms", "offset_abs_p95_ms", "offset_abs_p95_ms@clear", "offset_abs_max_ms",
    "outside_bt1359_pct", "output_recovery_ms", "recovery_ms", "output_added_latency_p95_ms",
    "output_frames_dropped_pct", "output_degraded_pct", "output_freeze_longest_ms", "output_content_heard_pct",
)  # fmt: skip


def badge(passed: bool) -> Html:
    return tag("span", "pass" if passed else "FAIL", class_=f"badge {'pass' if passed else 'fail'}")


def card(groups: Sequence[Group], anchor: str, plot: Path | None, *, opened: bool) -> Html:
    """All viewers of one scenario."""
    scenario = groups[0].scenario
    passed = all(group.passed for group in groups)
    head = tag(
        "summary",
        badge(passed),
        tag("b", groups[0].label),
        tag("span", scenario.about, class_="soft"),
        [tag("span", name, class_="tag") for name in scenario.tags],
    )
    body = tag(
        "div",
        _misses(groups),
        tag("h3", "What happens"),
        tag("ul", [tag("li", sentence) for sentence in what_happens(scenario)]),
        _picture(groups[0].label, plot, anchor) if plot else "",
        *(_compared(group) for group in groups if group.compare),
        tag("h3", "Limits: wanted, and the worst seed"),
        tag("div", _limits(groups), class_="scroll"),
        tag("h3", "Truth and belief, worst seed"),
        tag("div", _beliefs(groups), class_="scroll"),
        tag("h3", "Baseline"),
        _baseline(groups),
        tag("h3", "Again"),
        tag("code", again(groups), class_="command"),
    )
    return tag("details", head, body, class_="card", id=anchor, open=opened)


def _misses(groups: Sequence[Group]) -> Html | str:
    blocks = missed(groups)
    if not blocks:
        return ""
    lines = [
        tag(
            "li",
            f"{', '.join(miss.viewers)}: wanted {miss.wanted}, got {miss.got} ({seed_words(miss.seeds)})",
            tag("div", miss.hint, class_="hint") if miss.hint else "",
        )
        for block in blocks
        for miss in block.misses
    ]
    commands = [tag("code", command, class_="command") for block in blocks for command in block.again]
    return tag("div", tag("h3", "Missed", class_="fail"), tag("ul", lines), commands)


def _picture(label: str, plot: Path, anchor: str) -> Html:
    """The plot; a tap opens it over the whole page, as large as it was drawn, and a tap closes it. Needs no script."""
    data = base64.b64encode(plot.read_bytes()).decode("ascii")
    about = f"{label}: offset over time at our output and each viewer, its distribution, and the jitter buffers"
    image = tag("img", src=f"data:image/png;base64,{data}", alt=about, loading="lazy")
    back = tag("a", "close", href=f"#{anchor}", class_="close")
    return tag(
        "figure", tag("a", image, href=f"#{anchor}-plot", class_="open"), back, class_="plot", id=f"{anchor}-plot"
    )


def _limits(groups: Sequence[Group]) -> Html:
    """One row per limit, one pair of columns per viewer; a viewer without that limit shows a dash."""
    held = {group.viewer: {one.limit: one for one in held_against(group.main)} for group in groups}
    limits = list(dict.fromkeys(limit for mine in held.values() for limit in mine))
    heads = [tag("th", "metric"), tag("th", "window"), tag("th", "wanted", class_="n")]
    heads += [tag("th", f"at {viewer}", class_="n left") for viewer in held]
    rows = [
        tag(
            "tr",
            tag("td", limit.metric, title=_about(limit.metric)),
            tag("td", "guard" if limit.guard else limit.window, class_="soft"),
            tag("td", _wanted(limit), class_="n"),
            [_held_cell(mine.get(limit)) for mine in held.values()],
            class_="guard" if limit.guard else None,
        )
        for limit in limits
    ]
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows))


def _wanted(limit: Limit) -> str:
    return f"{'≤' if limit.at_least is None else '≥'} {limit.value:g} {_unit(limit.metric)}"


def _held_cell(held: Held | None) -> Html:
    if held is None:
        return tag("td", "-", class_="n left soft")
    if not held.missed_in:
        return tag("td", number(held.got), class_="n left pass")
    return tag("td", f"{exact(held.got)} ({seed_words(held.missed_in)})", class_="n left fail")


def _beliefs(groups: Sequence[Group]) -> Html:
    points = [("our output", groups[0], OUTPUT), *((group.viewer, group, "") for group in groups)]
    top = [tag("th", ""), *(tag("th", name, colspan="2", class_="top left") for name, _, _ in points)]
    heads = [
        tag("th", "ms"),
        *(th for _ in points for th in (tag("th", "truth", class_="n left"), tag("th", "belief", class_="n"))),
    ]
    rows = []
    for name in _BELIEVED:
        cells = [tag("td", name, title=_about(name))]
        for _, group, prefix in points:
            cells.append(_number(group, group.main, prefix + name, "n left"))
            cells.append(_number(group, group.main, BELIEVED + prefix + name, "n"))
        rows.append(tag("tr", cells))
    return tag("table", tag("thead", tag("tr", top), tag("tr", heads)), tag("tbody", rows))


def _number(group: Group, results: Sequence[Result], name: str, class_: str) -> Html:
    words = cell(group, results, name)
    return tag("td", words, class_=f"{class_} odd" if words in ("UNKNOWN", "never") else class_)


def _compared(group: Group) -> Html:
    """Policies side by side, on the same network."""
    policies = group.policies
    heads = [tag("th", ""), *(tag("th", name, class_="n left") for name in policies)]
    rows = [
        tag(
            "tr",
            tag("td", _spoken(name), title=_about(name)),
            [
                _number(
                    group,
                    results,
                    name,
                    "n left fail" if index and better_than_ours(group, results, name) else "n left",
                )
                for index, results in enumerate(policies.values())
            ],
        )
        for name in _COMPARED
    ]
    met = [
        tag("td", f"{len(held) - sum(bool(one.missed_in) for one in held)} of {len(held)}", class_="n left")
        for held in (held_against(results) for results in policies.values())
    ]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows, tag("tr", tag("td", "limits met"), met)))
    title = tag("h3", f"Policies side by side, at {group.viewer}, worst seed")
    better = tag("ul", [tag("li", line, class_="fail") for line in beaten(group)])
    return tag("div", title, tag("div", table, class_="scroll"), better)


def _spoken(name: str) -> str:
    bare, _, window = name.partition("@")
    return f"{bare} ({window})" if window else bare


def _baseline(groups: Sequence[Group]) -> Html:
    """What the policy that had to miss really did."""
    named = groups[0].scenario.baseline
    if named is None:
        return tag("p", "None was named.", class_="soft")
    said = named.policy if isinstance(named.policy, str) else str(named.policy)
    ran = [group for group in groups if group.baseline]
    if not ran:
        return tag("p", f"{said} has to miss {', '.join(named.misses)}; it was not run.", class_="soft")
    lines = []
    for group in ran:
        for name in named.misses:
            did = all(result.misses.get(name) for result in group.baseline)
            got, ours = cell(group, group.baseline, name), cell(group, group.main, name)
            verdict = tag("span", "misses" if did else "DOES NOT MISS in every seed", class_="pass" if did else "fail")
            lines.append(tag("li", f"{group.viewer}: {said} ", verdict, f" {name}: {got}, where ours is {ours}"))
    return tag("ul", lines)


def _about(name: str) -> str | None:
    row = metric(name.partition("@")[0])
    if row is None:
        return None
    return f"{row.about} ({'at our output' if name.startswith(OUTPUT) else 'at the viewer'})"


def _unit(name: str) -> str:
    row = metric(name)
    assert row is not None, base_name(name)
    return row.unit if row.unit != "count" else ""
