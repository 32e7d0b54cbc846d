"""Row: everything a run is measured by, as one flat set of names and numbers.

Truth under the metric's own name at the viewer, ``output_...`` at our output, ``...@clear`` and
``...@after_fault`` over those windows; belief in columns of its own, ``believed_...``. UNKNOWN is
None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from avsync.monitor.sync_report import SyncReport
from avsync.units import seconds, to_ms
from sim.judge.alerts import alert_measures
from sim.run.point import Point
from sim.run.world import Run
from sim.scenario.metric_names import METRICS, OUTPUT, SAMPLED, Window
from sim.truth import measures, unit_measures
from sim.truth.beliefs import Beliefs
from sim.truth.truth import Offsets, offsets
from sim.truth.windows import Measure, Within, within

Row = dict[str, Measure]


def key(metric: str, window: Window = "all") -> str:
    """The name of a metric's column over a window."""
    return metric if window == "all" else f"{metric}@{window}"


def faults_ns(run: Run) -> list[tuple[int, int]]:
    return [(seconds(start), seconds(end)) for start, end in run.scenario.faults]


def measure(run: Run) -> Row:
    """All columns of one run. Nothing here is rounded."""
    row: Row = {}
    at_output = offsets(run.source, run.at_output.presented)
    at_viewer = offsets(run.source, run.at_viewer.presented)
    _point(row, OUTPUT, run, run.at_output, at_output, None)
    _point(row, "", run, run.at_viewer, at_viewer, 0)
    row["settle_ms"] = measures.settle_ms(at_viewer, run.at_viewer.first_decodable_ns)
    row[OUTPUT + "settle_ms"] = measures.settle_ms(at_output, _first_shown(at_output))
    missing = [name for name in METRICS if name not in row and OUTPUT + name not in row]
    if missing:
        raise AssertionError(f"metrics without a column: {missing}")
    return row


def _point(row: Row, prefix: str, run: Run, point: Point, samples: Offsets, joined_ns: int | None) -> None:
    """What is true at a point, what was believed there, and what was counted."""
    faults = faults_ns(run)
    _windows(row, prefix, run, point, samples, {window: within(window, faults, joined_ns) for window in SAMPLED})
    source, left, end_ns = run.source, point.presented, run.end_ns
    found: Row = {
        "recovery_ms": measures.recovery_ms(samples, faults, end_ns),
        "recovery_counted_ms": measures.recovery_counted_ms(samples, faults, end_ns),
        "content_heard_pct": unit_measures.content_heard_pct(source, left, run_end_ns=end_ns),
        "frames_dropped_pct": unit_measures.frames_dropped_pct(source, left, run_end_ns=end_ns),
        "frames_repeated_pct": unit_measures.frames_repeated_pct(source, left),
        "silence_inserted_ms": unit_measures.silence_inserted_ms(source, left),
        "interrupt_to_silence_ms": unit_measures.interrupt_to_silence_ms(source, left),
        "stale_units_leaked": unit_measures.stale_units_leaked(source, left),
    }
    latency = unit_measures.added_latency(source, left, run.arrivals)
    found |= unit_measures.latency_measures(latency)
    found["delay_grown_ms"] = unit_measures.delay_grown_ms(latency)
    found["latency_growth_ms_per_min"] = unit_measures.latency_growth_ms_per_min(latency, end_ns)
    found |= _counters(point)
    found |= alert_measures(samples, point.alerts, run.policy)
    row.update({prefix + name: value for name, value in found.items()})
    row.update({f"believed_{prefix}{name}": value for name, value in _believed(point.report).items()})


def _windows(row: Row, prefix: str, run: Run, point: Point, samples: Offsets, windows: Mapping[Window, Within]) -> None:
    """What is limited over windows: over each of them."""
    beliefs = point.beliefs.columns()
    errors = measures.belief_errors(beliefs, run.source, point.presented)
    held = unit_measures.latency(run.source, point.presented, run.arrivals)
    observed_ns = int(samples.at_ns[0]) if len(samples.at_ns) else None
    for window, inside in windows.items():
        mask = None if window == "all" else inside(samples.at_ns)
        columns = measures.offset_measures(samples, mask)
        shares = (columns["measured_pct"], columns["degraded_pct"])
        columns["measured_or_degraded_pct"] = None if None in shares else sum(share or 0.0 for share in shares)
        columns["freeze_longest_ms"] = measures.freeze_longest_ms(samples, mask)
        columns |= unit_measures.held_measures(held, inside)
        columns["monitor_error_p95_ms"] = measures.monitor_error_p95_ms(errors, inside)
        columns["monitor_known_pct"] = measures.monitor_known_pct(beliefs, samples, observed_ns, inside=inside)
        row.update({key(prefix + name, window): value for name, value in columns.items()})


def _believed(report: SyncReport | None) -> Row:
    """What the SDK would have said, under names of their own."""
    assert report is not None
    names = {
        "offset_abs_p50_ms": report.abs_p50_ns,
        "offset_abs_p95_ms": report.abs_p95_ns,
        "offset_abs_p99_ms": report.abs_p99_ns,
        "offset_abs_max_ms": report.abs_max_ns,
        "offset_lead_p95_ms": report.lead_p95_ns,
        "offset_lag_p95_ms": report.lag_p95_ns,
    }
    return {name: None if value is None else to_ms(value) for name, value in names.items()}


def _counters(point: Point) -> Row:
    """Without an engine of ours at the point there are no answers whose stamps could be wrong."""
    return {
        "pts_violations": point.rtp_violations + (point.answers.violations if point.answers is not None else 0),
        "late_packets": point.late_packets,
        "queue_peak_units": point.queue_peak_units,
        "jitter_buffer_p50_ms": _percentile_ms(point.buffer_ns, 50),
        "receiver_target_p95_ms": _percentile_ms(point.receiver_target_ns, 95),
        "drift_error_ppm": point.drift_error_ppm,
    }


def _percentile_ms(samples: Beliefs, percent: int) -> Measure:
    if len(samples) < 20:
        return None
    return to_ms(int(np.sort(samples.columns().value_ns)[len(samples) * percent // 100]))


def _first_shown(samples: Offsets) -> int | None:
    measured = samples.at_ns[samples.state == 0]
    return int(measured[0]) if len(measured) else None
