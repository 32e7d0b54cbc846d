"""Lint: what a shipped scenario has to prove, beyond being right. Held by a test; nobody's own file is refused for it.

A scenario proves something if a policy exists that misses it, and if its limits cannot be met by waiting.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.scenario.metric_names import base_name
from sim.scenario.model import Scenario

NO_BASELINE = ("clean",)
"""Scenarios without a fault, by name: nothing there that another policy could miss."""
REFERENCE = "reference"
LONG = frozenset({"drift", "soak"})
ONE_FAULT_MAX_S = 60


def shortcomings(scenario: Scenario) -> list[str]:
    """Why this scenario proves less than it seems to; empty: it proves something."""
    return [*_baseline(scenario), *_one_fault(scenario)]


def _baseline(scenario: Scenario) -> Iterator[str]:
    if scenario.baseline is None and scenario.name not in NO_BASELINE and REFERENCE not in scenario.tags:
        yield "no baseline: name a policy that must miss, or tag it reference"


def _one_fault(scenario: Scenario) -> Iterator[str]:
    """A p95 over a long run hides a fault, and over a short one it hides the recovery: limit all three.

    Where nothing can bring the picture back, only the largest offset and the degraded share are
    limited; such scenarios are left alone.
    """
    if len(scenario.faults) != 1 or LONG & set(scenario.tags):
        return
    if scenario.duration_s > ONE_FAULT_MAX_S:
        yield f"with a single fault a run lasts at most {ONE_FAULT_MAX_S} s: a longer one hides it in the percentiles"
    offsets = [limit for limit in scenario.expect if base_name(limit.metric).startswith("offset_")]
    if all(base_name(limit.metric) == "offset_abs_max_ms" for limit in offsets):
        return
    windows = {limit.window for limit in offsets}
    missing = [f"an offset over window: {window}" for window in ("all", "clear") if window not in windows]
    if not any(base_name(limit.metric) == "recovery_ms" for limit in scenario.expect):
        missing.append("recovery_ms")
    if missing:
        yield f"a single fault is limited over all, over clear and by recovery_ms; missing: {', and '.join(missing)}"
