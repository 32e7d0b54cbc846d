"""Row: everything a run is measured by, as one flat set of names and numbers.

Truth under the metric's own name at the viewer, ``output_...`` at our output, ``...@clear`` and
``...@after_fault`` over those windows; belief in columns of its own, ``believed_...``. UNKNOWN is
None, never 0.
"""

from __future__ import annotations

import numpy as np

from avsync.monitor.monitor import SyncReport
from avsync.units import seconds, to_ms
from sim.judge.alerts import alert_measures
from sim.run.world import Run
from sim.scenario.metric_names import METRICS, OUTPUT, Window
from sim.truth import measures
from sim.truth.beliefs import Beliefs
from sim.truth.truth import Offsets, PresentationLog, offsets
from sim.truth.windows import Faults, within

Measure = float | None
Row = dict[str, Measure]

WINDOWS: tuple[Window, ...] = ("all", "clear", "after_fault")


def key(metric: str, window: Window = "all") -> str:
    """The name of a metric's column over a window."""
    return metric if window == "all" else f"{metric}@{window}"


def faults_ns(run: Run) -> list[tuple[int, int]]:
    return [(seconds(start), seconds(end)) for start, end in run.scenario.faults]


def measure(run: Run) -> Row:
    """All columns of one run. Nothing here is rounded."""
    row: Row = {}
    faults = faults_ns(run)
    at_output = offsets(run.source, run.output_glass)
    at_viewer = offsets(run.source, run.viewer_glass)
    _point(row, OUTPUT, run, run.output_glass, at_output, run.output_beliefs, faults, None)
    _point(row, "", run, run.viewer_glass, at_viewer, run.viewer_beliefs, faults, 0)
    _beliefs(row, OUTPUT, run.output_report)
    _beliefs(row, "", run.viewer_report)
    _counters(row, run)
    row["settle_ms"] = measures.settle_ms(at_viewer, run.first_decodable_ns)
    row[OUTPUT + "settle_ms"] = measures.settle_ms(at_output, _first_shown(at_output))
    for prefix, samples, alerts in (
        (OUTPUT, at_output, run.output_alerts),
        ("", at_viewer, run.viewer_alerts),
    ):
        row.update({prefix + name: value for name, value in alert_measures(samples, alerts, run.policy).items()})
    missing = [name for name in METRICS if name not in row and OUTPUT + name not in row]
    if missing:
        raise AssertionError(f"metrics without a column: {missing}")
    return row


def _point(
    row: Row,
    prefix: str,
    run: Run,
    glass: PresentationLog,
    samples: Offsets,
    told: Beliefs,
    faults: Faults,
    joined_ns: int | None,
) -> None:
    source = run.source
    beliefs = told.columns()
    errors = measures.belief_errors(beliefs, source, glass)
    for window in WINDOWS:
        inside = within(window, faults, joined_ns)
        mask = None if window == "all" else inside(samples.at_ns)
        columns = measures.offset_measures(samples, mask)
        shares = (columns["measured_pct"], columns["degraded_pct"])
        columns["measured_or_degraded_pct"] = None if None in shares else sum(share or 0.0 for share in shares)
        columns["freeze_longest_ms"] = measures.freeze_longest_ms(samples, mask)
        columns["monitor_error_p95_ms"] = measures.monitor_error_p95_ms(errors, inside)
        columns["monitor_known_pct"] = measures.monitor_known_pct(
            beliefs, samples, int(samples.at_ns[0]) if len(samples.at_ns) else None, inside=inside
        )
        row.update({key(prefix + name, window): value for name, value in columns.items()})
    row[prefix + "recovery_ms"] = measures.recovery_ms(samples, faults, run.end_ns)
    row[prefix + "recovery_counted_ms"] = measures.recovery_counted_ms(samples, faults, run.end_ns)
    row[prefix + "content_heard_pct"] = measures.content_heard_pct(source, glass, run_end_ns=run.end_ns)
    row[prefix + "frames_dropped_pct"] = measures.frames_dropped_pct(source, glass, run_end_ns=run.end_ns)
    row[prefix + "frames_repeated_pct"] = measures.frames_repeated_pct(source, glass)
    row[prefix + "silence_inserted_ms"] = measures.silence_inserted_ms(source, glass)
    row[prefix + "interrupt_to_silence_ms"] = measures.interrupt_to_silence_ms(source, glass)
    row[prefix + "stale_units_leaked"] = measures.stale_units_leaked(source, glass)
    latency = measures.added_latency(source, glass, run.arrivals)
    row.update({prefix + name: value for name, value in measures.latency_measures(latency).items()})
    row[prefix + "latency_growth_ms_per_min"] = measures.latency_growth_ms_per_min(latency, run.end_ns)


def _beliefs(row: Row, prefix: str, report: SyncReport | None) -> None:
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
    for name, value in names.items():
        row[f"believed_{prefix}{name}"] = None if value is None else to_ms(value)


def _counters(row: Row, run: Run) -> None:
    output, viewer = run.output_answers, run.viewer_answers
    assert output is not None
    row[OUTPUT + "pts_violations"] = output.violations + run.rtp_violations
    row["pts_violations"] = viewer.violations if viewer is not None else 0
    row[OUTPUT + "late_packets"] = run.late_packets
    row["late_packets"] = run.viewer_late_packets
    row[OUTPUT + "queue_peak_units"] = run.queue_peak_units
    row["queue_peak_units"] = run.viewer_queue_peak_units if viewer is not None else None
    row[OUTPUT + "jitter_buffer_p50_ms"] = _median_ms(run.output_buffer_ns)
    row["jitter_buffer_p50_ms"] = _median_ms(run.viewer_buffer_ns)
    row[OUTPUT + "drift_error_ppm"] = run.drift_error_ppm
    row["drift_error_ppm"] = run.viewer_drift_error_ppm


def _median_ms(samples: Beliefs) -> Measure:
    if len(samples) < 20:
        return None
    return to_ms(int(np.sort(samples.columns().value_ns)[len(samples) // 2]))


def _first_shown(samples: Offsets) -> int | None:
    measured = samples.at_ns[samples.state == 0]
    return int(measured[0]) if len(measured) else None
