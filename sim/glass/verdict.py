"""Glass verdict: what is promised of the offset at the glass of a real browser, and whether a run kept it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from avsync.glass.figures import figures, settle_ms
from sim.glass.run import GlassRun

P95_CLEAR_MS = 60.0
"""The headline promise, for any scenario: p95 of |offset| over ``clear``."""
CLEAN_P50_MS, CLEAN_P95_MS = 25.0, 40.0
WORKED_OFF_S = 20.0
"""Pictures that are late for good are worked off by the browser's own loop; it needs so long (measured: 12 to 22 s)."""
LATE_FOR_GOOD = ("glass_late", "glass_late_way")
SILENT_WITHIN_MS = 40.0
"""On top of the way to the ear: network, jitter buffer, sound device, as what was heard at the call shows it."""

DEFAULT_SET = (
    "glass_clean", "glass_stall", "glass_both_stall", "glass_jitter", "glass_slow", "glass_late", "glass_late_way",
    "glass_barge_in",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GlassVerdict:
    """``misses``: in words. Nothing is judged where the sender was late. ``settle_ms`` inf: never."""

    judged: bool
    misses: tuple[str, ...]
    settle_ms: float | None

    @property
    def met(self) -> bool:
        return self.judged and not self.misses

    @property
    def words(self) -> str:
        if not self.judged:
            return "host too busy"
        return "met" if self.met else "missed"


def judge(run: GlassRun) -> GlassVerdict:
    settled = settle_ms(run.result.reading)
    if not run.healthy:
        return GlassVerdict(False, (), settled)
    found = []
    columns = run.columns
    p95 = columns.get("offset_abs_p95_ms@clear")
    if run.scenario in LATE_FOR_GOOD:
        reading = run.result.reading
        late = figures(reading.where(reading.at_ms >= run.page_ms(WORKED_OFF_S)))
        found.append(_above("p95 from 20 s on", late.abs_p95_ms, P95_CLEAR_MS))
    else:
        found.append(_above("p95 (clear)", p95, P95_CLEAR_MS))
    if run.scenario == "glass_clean":
        p50 = columns.get("offset_p50_ms@clear")
        found.append(_above("|p50| (clear)", None if p50 is None else abs(p50), CLEAN_P50_MS))
        found.append(_above("p95 (clear)", p95, CLEAN_P95_MS))
    if run.wire_violations:
        found.append(f"{run.wire_violations} PTS violations on the wire, wanted none")
    if not run.wire_packets:
        found.append("no RTP was seen on the wire")
    for number, each in enumerate(run.interrupts, 1):
        if each["way_ms"] is not None:
            limit = each["way_ms"] + SILENT_WITHIN_MS
            found.append(_above(f"interrupt {number}: the old turn was heard on", each["glass_to_silence_ms"], limit))
    return GlassVerdict(True, tuple(miss for miss in found if miss), settled)


def _above(what: str, value: float | None, limit: float) -> str:
    if value is None:
        return f"{what}: UNKNOWN, wanted at most {limit:.0f} ms"
    if value <= limit:
        return ""
    return f"{what}: {'never' if math.isinf(value) else f'{value:.0f} ms'}, wanted at most {limit:.0f} ms"
