"""Metric names: the one table of what a run is measured by, and what may be limited in a scenario.

A plain name (``offset_abs_p95_ms``) is measured at a viewer, the same name with the prefix
``output_`` at our own output, and with ``believed_`` it is what the SDK's monitor said there: a
column beside the truth, never a limit. Too little data is UNKNOWN (``null``), never 0.
"""

from __future__ import annotations

import difflib
from typing import Literal, NamedTuple

OUTPUT = "output_"
BELIEVED = "believed_"

Window = Literal["all", "clear", "after_fault"]
Better = Literal["lower", "higher", "either"]

SAMPLED: tuple[Window, ...] = ("all", "clear", "after_fault")
WHOLE: tuple[Window, ...] = ("all",)


class Metric(NamedTuple):
    """One row. ``windows``: what it may be limited over. ``guard``: limited in every scenario.

    ``at_viewer`` False: reported at the viewer, but limited only at our output (``output_``).
    ``only_viewer``: no other viewer can know it. ``believed``: the monitor has an opinion of it, so there is a
    ``believed_`` column.
    """

    name: str
    unit: str
    better: Better
    windows: tuple[Window, ...]
    about: str
    guard: bool = False
    at_viewer: bool = True
    only_viewer: str | None = None
    believed: bool = False


_ROWS = (
    Metric("offset_abs_p50_ms", "ms", "lower", SAMPLED, "Half of the time lips and voice are closer than this.",
           believed=True),
    Metric("offset_abs_p95_ms", "ms", "lower", SAMPLED, "95 % of the time lips and voice are closer than this.",
           believed=True),
    Metric("offset_abs_p99_ms", "ms", "lower", SAMPLED, "99 % of the time lips and voice are closer than this.",
           believed=True),
    Metric("offset_abs_max_ms", "ms", "lower", SAMPLED, "The furthest that lips and voice ever were apart.",
           believed=True),
    Metric("offset_lead_p95_ms", "ms", "lower", SAMPLED, "How far the voice was ahead of the lips, 95th percentile.",
           believed=True),
    Metric("offset_lag_p95_ms", "ms", "lower", SAMPLED, "How far the voice was behind the lips, 95th percentile.",
           believed=True),
    Metric("outside_bt1359_pct", "%", "lower", SAMPLED, "Time in which people notice: outside +45/-125 ms (BT.1359).",
           believed=True),
    Metric("measured_pct", "%", "higher", SAMPLED, "Time with content lips on screen."),
    Metric("measured_or_degraded_pct", "%", "higher", SAMPLED, "Time with any picture of the turn on screen.",
           guard=True),
    Metric("no_picture_pct", "%", "lower", SAMPLED, "Time in which no frame of the turn had been shown yet."),
    Metric("degraded_pct", "%", "lower", SAMPLED, "Time with a picture without lips on purpose (idle, neutral).",
           guard=True),
    Metric("settle_ms", "ms", "lower", WHOLE, "From the first decodable frame to the first second in sync.",
           guard=True),
    Metric("recovery_ms", "ms", "lower", WHOLE, "From a fault's end to the first second in sync; the worst fault."),
    Metric("pts_violations", "count", "lower", WHOLE, "Stamps that went back or repeated: sound, pictures, RTP."),
    Metric("stale_units_leaked", "count", "lower", WHOLE, "Units of an interrupted turn that left afterwards."),
    Metric("interrupt_to_silence_ms", "ms", "lower", WHOLE, "From the interrupt to the last interrupted sound; worst."),
    Metric("frames_dropped_pct", "%", "lower", WHOLE, "Frames pushed and not interrupted that were never shown."),
    Metric("frames_repeated_pct", "%", "lower", WHOLE, "Frames on the way out that were the last picture again."),
    Metric("freeze_longest_ms", "ms", "lower", SAMPLED, "The longest time one frame stood beyond its own duration.",
           guard=True),
    Metric("content_heard_pct", "%", "higher", WHOLE, "Sound pushed and not interrupted that was heard as content.",
           guard=True),
    Metric("late_packets", "count", "lower", WHOLE, "Packets that came after the moment they were needed."),
    Metric("silence_inserted_ms", "ms", "lower", WHOLE, "Silence put between the first and last sound of its turn.",
           guard=True),
    Metric("added_latency_p50_ms", "ms", "lower", WHOLE, "Delay over a player without buffers, median.",
           at_viewer=False),
    Metric("added_latency_p95_ms", "ms", "lower", WHOLE, "Delay over a player without buffers, 95th percentile.",
           guard=True, at_viewer=False),
    Metric("latency_p50_ms", "ms", "lower", SAMPLED, "From a sound's arrival at our engine until it leaves, median.",
           at_viewer=False),
    Metric("latency_p95_ms", "ms", "lower", SAMPLED, "From a sound's arrival at our engine until it leaves, 95th "
           "percentile.", at_viewer=False),
    Metric("delay_grown_ms", "ms", "lower", WHOLE, "How much later the voice left at the end than at the beginning."),
    Metric("latency_growth_ms_per_min", "ms/min", "lower", WHOLE, "How much the delay grows while the call lasts."),
    Metric("jitter_buffer_p50_ms", "ms", "either", WHOLE, "What the sound's jitter buffer held, median."),
    Metric("receiver_target_p95_ms", "ms", "lower", WHOLE,
           "Delay that the receivers' target adds to what the viewer would hold by itself, 95th percentile.",
           only_viewer="browser"),
    Metric("queue_peak_units", "count", "lower", WHOLE, "The most units that ever waited in the engine's queues."),
    Metric("monitor_error_p95_ms", "ms", "lower", SAMPLED, "|belief - truth| at the same point and time."),
    Metric("monitor_known_pct", "%", "higher", SAMPLED, "Time in which the monitor had an answer, 5 s in.",
           guard=True),
    Metric("drift_error_ppm", "ppm", "lower", WHOLE, "|estimated - true| drift between the clocks, at the end.",
           only_viewer="avsync"),
    Metric("alerts_missed", "count", "lower", WHOLE, "Long offsets beyond a warning level without an alert."),
    Metric("alerts_false", "count", "lower", WHOLE, "Alerts that the truth does not bear out."),
)  # fmt: skip

_SCORED_ROWS = (
    Metric("scorer_error_p95_ms", "ms", "lower", SAMPLED, "|scorer - truth| over windows of about a second."),
    Metric("scorer_right_pct", "%", "higher", SAMPLED, "Answers within one frame of the truth."),
    Metric("scorer_answered_pct", "%", "higher", SAMPLED, "Windows with a truth to which the scorer had an answer."),
    Metric("scorer_sure_pct", "%", "higher", SAMPLED, "Windows with a truth in which it was more than 0.8 confident."),
    Metric("scorer_sure_right_pct", "%", "higher", SAMPLED, "Of those, answers within one frame of the truth."),
)

METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}
SCORED: dict[str, Metric] = {row.name: row for row in _SCORED_ROWS}
"""Only at a viewer, and only where the source has a ``payload``: a row without one has no such column."""
LIMITABLE: tuple[str, ...] = (
    *(row.name for row in _ROWS if row.at_viewer),
    *(OUTPUT + row.name for row in _ROWS),
    *SCORED,
)
"""Every name that ``expect`` and ``baseline.misses`` accept."""

BELIEVED_COLUMNS: tuple[str, ...] = (
    *(BELIEVED + row.name for row in _ROWS if row.believed),
    *(BELIEVED + OUTPUT + row.name for row in _ROWS if row.believed),
)
"""What reports show beside the truth, at a viewer and at our output."""

NEED_INTERRUPT: frozenset[str] = frozenset({"interrupt_to_silence_ms"})
"""UNKNOWN, and so a miss, wherever nobody interrupts."""

GUARDS: frozenset[str] = frozenset(row.name for row in _ROWS if row.guard)


def base_name(name: str) -> str:
    """``output_offset_abs_p95_ms -> offset_abs_p95_ms``."""
    return name.removeprefix(OUTPUT)


def metric(name: str) -> Metric | None:
    """The row of a limitable name, with or without ``output_``; None: there is no such name."""
    return SCORED.get(name, METRICS.get(base_name(name))) if name in LIMITABLE else None


def explain_unknown(name: str) -> tuple[str, str]:
    """Why ``name`` cannot be limited, and what to write instead: (rule, remedy)."""
    if name.startswith(BELIEVED):
        rule = f"{name!r} is what the monitor believes; only the truth is limited"
        return rule, "limit 'monitor_error_p95_ms' to say how far belief may be from truth"
    if name in METRICS:
        return f"{name!r} at a viewer is reported, not limited", f"did you mean {OUTPUT + name!r}?"
    likeness = {known: difflib.SequenceMatcher(None, name, known).ratio() for known in LIMITABLE}
    near = max(likeness, key=lambda known: likeness[known])  # of equals the first in the table
    remedy = f"did you mean {near!r}?" if likeness[near] >= 0.6 else "known: " + ", ".join(METRICS)
    return f"no metric is named {name!r}", remedy
