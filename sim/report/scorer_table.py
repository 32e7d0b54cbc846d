"""Scorer table: what a scorer said at the viewers beside what was true there, for the terminal and for Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from sim.payload.scorer_at_viewer import as_record, frame_ms, measures
from sim.report.summary import Group, number
from sim.sweep.sweep import Result

TITLE = "Lip-sync scorer at the viewer, over clear, all seeds: offsets of windows of about a second, ms"
HEADS = ("scenario", "viewer", "scorer", "windows", "truth p50", "scorer p50", "error p50", "error p95",
         "right %", "answered %", "sure %", "right of sure %")  # fmt: skip
"""right: within one frame of the truth; sure: confidence above 0.8."""
LEFT = 3
"""So many columns are words."""
_COLUMNS = ("scorer_windows", "scorer_truth_offset_p50_ms", "scorer_offset_p50_ms", "scorer_error_p50_ms",
            "scorer_error_p95_ms", "scorer_right_pct", "scorer_answered_pct", "scorer_sure_pct",
            "scorer_sure_right_pct")  # fmt: skip


def rows(groups: Sequence[Group]) -> list[list[str]]:
    """One per scenario, viewer and policy that was scored; all seeds together."""
    found = []
    for group in groups:
        for policy, results in group.policies.items():
            scored = [one for result in results for one in result.scored]
            if not scored:
                continue
            label = group.label if len(group.policies) == 1 else f"{group.label} ({policy})"
            said = measures(scored, "clear", frame_ms(group.scenario))
            methods = ", ".join(sorted({one.method for one in scored}))
            found.append([label, group.viewer, methods, *(number(said[name]) for name in _COLUMNS)])
    return found


def lines(results: Sequence[Result]) -> Iterator[str]:
    """``scorer.jsonl``: a line per window."""
    for result in results:
        head = {"scenario": result.scenario, "policy": result.policy, "viewer": result.spec.viewer,
                "seed": result.spec.seed}  # fmt: skip
        for one in result.scored:
            yield json.dumps({**head, **as_record(one)}, allow_nan=False) + "\n"
