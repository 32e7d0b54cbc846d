"""What a study of traces found, as Markdown: distributions over the traces, and where one policy misses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avsync.units import ms, to_ms

LEGS = ("to_bridge", "to_viewer")
STARVED_BELOW = 1.3
"""Times the media's rate. Below it not even a perfect sender has room to catch up after a stall."""
LOSSY_ABOVE = 0.05
"""Of the call. Repair by sending again is made for less; in the traces this is a radio that is gone for seconds."""
IN_SYNC_NS = ms(45)  # BT.1359: detectable where the voice leads
OUTPUT_TARGET_MS, VIEWER_TARGET_MS = 25.0, 45.0
CLASSES = ("enough", "starved", "lossy")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. None is UNKNOWN. Episode: a time without a whole second in sync. ``lips``: content lips shown.

    ``in_sync``: lips shown, and within 45 ms: what no policy can better by hiding the picture when it is late.
    """

    trace: str
    leg: str
    policy: str
    viewer: str
    seed: int
    kind: str
    capacity_mbps: float | None
    short_s: int
    lost_pct: float
    output_p95_ms: float | None = None
    viewer_p95_ms: float | None = None
    output_lips_pct: float | None = None
    viewer_lips_pct: float | None = None
    output_in_sync_pct: float | None = None
    viewer_in_sync_pct: float | None = None
    output_episodes: int | None = None
    output_longest_ms: float | None = None
    viewer_episodes: int | None = None
    viewer_longest_ms: float | None = None
    silence_ms: float | None = None
    heard_pct: float | None = None
    latency_p95_ms: float | None = None
    held_ms: float | None = None
    monitor_error_ms: float | None = None
    queue_peak_units: float | None = None
    pts_violations: float | None = None
    broke: str = ""


def spread(values: Sequence[float | None], percent: int) -> float | None:
    """Nearest rank over traces: 50 the median, 100 the largest; None where there is no value."""
    known = sorted(value for value in values if value is not None)
    return known[max(-(-percent * len(known) // 100), 1) - 1] if known else None


def tables(outcomes: Sequence[Outcome]) -> str:
    """Markdown: per leg, viewer and class one table of policies."""
    parts = []
    groups = dict.fromkeys((one.leg, one.viewer, one.kind) for one in sorted(outcomes, key=_order))
    for leg, viewer, kind in groups:
        mine = [one for one in outcomes if (one.leg, one.viewer, one.kind) == (leg, viewer, kind)]
        count = len({(one.trace, one.seed) for one in mine})
        parts += [f"### {leg}, viewer {viewer}, {kind}: {count} replays", "", *_table(mine), ""]
    return "\n".join(parts)


def _order(one: Outcome) -> tuple[int, str, int]:
    return LEGS.index(one.leg), one.viewer, CLASSES.index(one.kind)


def _table(mine: Sequence[Outcome]) -> list[str]:
    head = (
        "policy", "output p95: median / p90 / worst", "viewer p95: median / p90 / worst", "UNKNOWN",
        "in sync: median / worst", "losses of sync", "longest", "silence: median / worst",
        "added latency: median / worst", "sound held: median / worst",
    )  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for policy in dict.fromkeys(one.policy for one in mine):
        ours = [one for one in mine if one.policy == policy]
        apart = [None if one.viewer_in_sync_pct is None else 100 - one.viewer_in_sync_pct for one in ours]
        lost = [one.viewer_episodes for one in ours if one.viewer_episodes is not None]
        cells = (
            policy,
            _three([one.output_p95_ms for one in ours]),
            _three([one.viewer_p95_ms for one in ours]),
            str(sum(one.viewer_p95_ms is None or one.output_p95_ms is None for one in ours)),
            " / ".join("-" if (one := spread(apart, p)) is None else f"{100 - one:.0f} %" for p in (50, 100)),
            str(sum(lost)),
            _text(spread([one.viewer_longest_ms for one in ours], 100)),
            _two([one.silence_ms for one in ours]),
            _two([one.latency_p95_ms for one in ours]),
            _two([one.held_ms for one in ours]),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def misses(outcomes: Sequence[Outcome], policy: str) -> str:
    """Where ``policy`` is off by more than the targets though the network could carry the call; worst first."""
    lines = [
        "| trace | leg | viewer | seed | Mbit/s | short s | output p95 | viewer p95 | lips shown | heard | longest |",
        "|" + " --- |" * 11,
    ]
    for one in sorted(outcomes, key=lambda one: -max(one.output_p95_ms or 0, one.viewer_p95_ms or 0)):
        if one.policy == policy and one.kind == "enough" and is_miss(one):
            cells = (
                one.trace, one.leg, one.viewer, str(one.seed),
                "-" if one.capacity_mbps is None else f"{one.capacity_mbps:.1f}", str(one.short_s),
                _text(one.output_p95_ms), _text(one.viewer_p95_ms),
                _percent(one.viewer_lips_pct), _percent(one.heard_pct), _text(one.viewer_longest_ms),
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines if len(lines) > 2 else ["None."])


def is_miss(one: Outcome) -> bool:
    """UNKNOWN is a miss, and so is a run that broke."""
    return (
        one.output_p95_ms is None
        or one.viewer_p95_ms is None
        or one.output_p95_ms > OUTPUT_TARGET_MS
        or one.viewer_p95_ms > VIEWER_TARGET_MS
    )


def _text(value: float | None) -> str:
    return "UNKNOWN" if value is None else f"{value:.0f}"


def _percent(value: float | None) -> str:
    return "UNKNOWN" if value is None else f"{value:.0f} %"


def _three(values: Sequence[float | None]) -> str:
    return " / ".join(_text(spread(values, percent)) for percent in (50, 90, 100))


def _two(values: Sequence[float | None]) -> str:
    return " / ".join(_text(spread(values, percent)) for percent in (50, 100))


def report(outcomes: Sequence[Outcome], others: Sequence[tuple[str, str]], policy: str, need_mbps: float) -> str:
    """The whole of ``traces.md``; ``policy`` is judged, ``need_mbps`` is what the call puts on the wire."""
    broken = [f"- {one.trace} ({one.leg}, {one.policy}, {one.viewer}): {one.broke}" for one in outcomes if one.broke]
    parts = [
        f"All in ms. The call puts {need_mbps:.2f} Mbit/s on the wire. `starved`: the network carries less than",
        f"{STARVED_BELOW} times that while the call lasts, or less than that in any second of it; `lossy`: it loses",
        f"more than {LOSSY_ABOVE:.0%} of it.",
        f"Losses of sync: how often, in all replays, the viewer's lips left {to_ms(IN_SYNC_NS):g} ms or were gone;",
        "longest: the longest time without a whole second in sync. In sync: the share of the call in which lips are",
        "shown and within that; p95 is of the time in which lips are shown. Sound held: what waited behind the network",
        "for half of the call, which an oracle would have to wait for as well. UNKNOWN: replays with too few lips to",
        "measure, in no percentile.",
        "",
        tables(outcomes),
        f"### Where {policy} misses {OUTPUT_TARGET_MS:g} at the output or {VIEWER_TARGET_MS:g} at the viewer, `enough`",
        "",
        misses(outcomes, policy),
        "",
    ]
    if broken:
        parts += ["### What broke", "", *broken, ""]
    if others:
        parts += [f"{len(others)} files are no network trace:", "", *(f"- {name}: {why}" for name, why in others), ""]
    return "\n".join(parts)
