"""Hints: under a limit that was missed, what the truth says went wrong, and what to try first.

From one row (the worst seed's) and its scenario; nothing is simulated. No hint is better than a wrong one: "" where
the row does not tell.
"""

from __future__ import annotations

import math

from avsync.units import to_ms
from sim.judge.judge import Limit
from sim.judge.row import Row, key
from sim.network.presets import preset
from sim.scenario.metric_names import OUTPUT, base_name
from sim.scenario.network import LegSpec
from sim.scenario.scenario import Scenario

NEARLY_ALWAYS, OFTEN = 0.8, 0.4
"""Of the p95, at least this much is the median where an offset stands nearly always, or often."""
ROUND_TO_MS = 20
MOST_DELAY_MS = 400
CARRIES_SHARE = 0.8
"""Of a link's capacity, what media may take: packet headers and large frames need the rest."""


def hint(limit: Limit, row: Row, scenario: Scenario) -> str:
    """``pictures were 430 ms late nearly always: try ...``, for this limit on this row."""
    base = base_name(limit.metric)
    if narrow := _too_narrow(limit, scenario):
        return narrow
    if base.startswith("offset_") or base == "outside_bt1359_pct":
        return _offset(limit, row, scenario)
    if base == "recovery_ms":
        return _recovery(row.get(limit.metric), scenario)
    if base == "content_heard_pct":
        return _heard(row.get(_prefix(limit) + "late_packets"))
    if base.startswith(("added_latency_", "latency_p")):
        delay_ms = to_ms(scenario.engine_policy.playout_delay_ns)
        held = row.get(OUTPUT + "jitter_buffer_p50_ms")
        buffer = f", and its jitter buffer held {held:.0f} ms" if held else ""
        return f"a turn starts with {delay_ms:g} ms of common delay{buffer}: try policy: {{playout_delay_ms: 20}}"
    if base in ("degraded_pct", "freeze_longest_ms", "measured_pct", "measured_or_degraded_pct"):
        return _pictures_missing(scenario)
    return ""


def _too_narrow(limit: Limit, scenario: Scenario) -> str:
    """The way carries less than the source makes: nothing else is worth trying before that."""
    sound_kbps = scenario.source.audio.bitrate_kbps
    made_kbps = scenario.source.video.bitrate_kbps + sound_kbps
    carried = {"to_bridge": _carries_kbps(scenario.network.to_bridge, to_viewer=False)}
    if not limit.metric.startswith(OUTPUT):
        carried["to_viewer"] = _carries_kbps(scenario.network.to_viewer, to_viewer=True)
    for name, kbps in carried.items():
        if kbps is not None and kbps < made_kbps:
            fits = max(50, round(kbps * CARRIES_SHARE - sound_kbps))
            remedy = f"try source: {{video: {{bitrate_kbps: {fits}}}}}"
            return f"{name} carries {kbps:g} kbit/s and the source makes {made_kbps:g}: {remedy}"
    return ""


def _carries_kbps(leg: LegSpec, *, to_viewer: bool) -> float | None:
    """The leg's standing capacity, its own or its preset's; None: no limit, or a trace's."""
    if leg.rate_kbps is not None or leg.preset is None:
        return leg.rate_kbps
    known = preset(leg.preset)
    rate_bps = (known.to_viewer if to_viewer else known.to_bridge).rate_bps
    return None if rate_bps is None else rate_bps / 1000


def _prefix(limit: Limit) -> str:
    return OUTPUT if limit.metric.startswith(OUTPUT) else ""


def _offset(limit: Limit, row: Row, scenario: Scenario) -> str:
    prefix = _prefix(limit)
    lead, lag, median = (
        row.get(key(prefix + name, limit.window))
        for name in ("offset_lead_p95_ms", "offset_lag_p95_ms", "offset_abs_p50_ms")
    )
    if lead is None or lag is None or median is None:
        return "too little was measured there: make the run longer, or the turns"
    worst = max(lead, lag)
    if worst < 1:
        return ""
    share = median / worst
    when = "nearly always" if share >= NEARLY_ALWAYS else "often" if share >= OFTEN else "now and then"
    where = "at our output" if prefix else "at the viewer"
    said = f"pictures were {worst:.0f} ms late" if lead >= lag else f"the voice was {worst:.0f} ms late"
    said = f"{said} {when} {where}"
    at_output = row.get(key(OUTPUT + "offset_abs_p95_ms", limit.window))
    if not prefix and at_output is not None and at_output < worst / 2:
        remedy = "try viewer: avsync, or browser: {picture_target_ms: 100} where the line has jitter"
        return f"{said}, and {at_output:.0f} ms where they left us: {remedy}"
    if lead < lag:
        return f"{said}: are the stamps right? see clocks.provider and the step reports"
    return f"{said}: try {_for_late_pictures(worst, share, scenario)}"


def _for_late_pictures(late_ms: float, share: float, scenario: Scenario) -> str:
    video = scenario.source.video
    if video.speed < 1 and not video.can_fps:
        return f"source: {{video: {{can_fps: true}}}}, for a generator that makes {video.speed:g} of real time"
    if share < OFTEN and not video.can_skip:
        return "source: {video: {can_skip: true}}, so that it can catch up"
    wanted = to_ms(scenario.engine_policy.playout_delay_ns) + late_ms
    delay_ms = min(MOST_DELAY_MS, ROUND_TO_MS * math.ceil(wanted / ROUND_TO_MS))
    return f"policy: {{preset: default, playout_delay_ms: {delay_ms}}}"


def _recovery(got: float | None, scenario: Scenario) -> str:
    never = got is None or math.isinf(got)
    said = "never in sync again after a fault" if never else f"{got:.0f} ms out of sync after a fault"
    if not scenario.source.video.can_skip:
        return f"{said}: try source: {{video: {{can_skip: true}}}}, so that the pictures can catch up"
    return f"{said}: try resume: live, or policy: patient"


def _heard(late: float | None) -> str:
    if not late:
        return ""
    return f"{late:.0f} packets of sound came too late: try policy: {{jitter_start_ms: 160, jitter_min_ms: 80}}"


def _pictures_missing(scenario: Scenario) -> str:
    longest = max((end - start for start, end in scenario.faults), default=0.0)
    if longest >= 0.25:
        return f"pictures were missing, in a fault of {longest:g} s: allow for it in the limit, or make it shorter"
    if scenario.source.video.speed < 1:
        made = f"the generator makes {scenario.source.video.speed:g} of real time"
        return f"{made}: try source: {{video: {{can_fps: true}}}}"
    return ""
