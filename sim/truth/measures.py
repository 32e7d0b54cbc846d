"""Measures: the numbers that limits are written against, out of the truth. Names are those of the scenario language.

Times in, milliseconds and per cent out. ``None`` is UNKNOWN (too little data) and never 0; ``math.inf`` is "never
reached", which any limit counts as a miss. Positive offsets: the voice is ahead. These are over the samples of e(t);
those over single units stand in ``sim.truth.unit_measures``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from avsync.units import NS_PER_S, ms, to_ms
from sim.truth.beliefs import BeliefColumns
from sim.truth.columns import I64, Bool
from sim.truth.logs import PresentationLog, SourceLog
from sim.truth.truth import Offsets, OffsetState, offset_at
from sim.truth.windows import (
    ENOUGH,
    Faults,
    Measure,
    Within,
    everywhere,
    merged,
    percentile_ms,
    share_pct,
)

IN_SYNC_NS = ms(45)  # ITU-R BT.1359: detectable where the voice leads by more
BT1359_LEAD_NS, BT1359_LAG_NS = ms(45), ms(125)
BELIEF_HOLDS_NS = ms(1000)
KNOWN_AFTER_NS = ms(5000)


def offset_measures(samples: Offsets, mask: Bool | None = None) -> dict[str, Measure]:
    """The offset's own measures over the samples of ``mask`` (all). Shares are of all samples, the rest of measured."""
    state, e = (samples.state, samples.e_ns) if mask is None else (samples.state[mask], samples.e_ns[mask])
    e = e[state == OffsetState.MEASURED]
    magnitude = np.abs(e)
    outside = int(np.count_nonzero((e > BT1359_LEAD_NS) | (e < -BT1359_LAG_NS)))
    enough = len(state) if len(state) >= ENOUGH else 0
    return {
        "offset_abs_p50_ms": percentile_ms(magnitude, 50),
        "offset_abs_p95_ms": percentile_ms(magnitude, 95),
        "offset_abs_p99_ms": percentile_ms(magnitude, 99),
        "offset_abs_max_ms": percentile_ms(magnitude, 100),
        "offset_lead_p95_ms": percentile_ms(np.maximum(e, 0), 95),
        "offset_lag_p95_ms": percentile_ms(np.maximum(-e, 0), 95),
        "outside_bt1359_pct": share_pct(outside, len(e) if len(e) >= ENOUGH else 0),
        "measured_pct": share_pct(len(e), enough),
        "no_picture_pct": share_pct(int(np.count_nonzero(state == OffsetState.NO_PICTURE)), enough),
        "degraded_pct": share_pct(int(np.count_nonzero(state == OffsetState.DEGRADED)), enough),
    }


def _good_seconds(samples: Offsets) -> I64:
    """Starts of all seconds, inside one turn, in which every sample is measured and |e| < 45 ms."""
    length = NS_PER_S // samples.step_ns
    bad = (samples.state != OffsetState.MEASURED) | (np.abs(samples.e_ns) >= IN_SYNC_NS)
    if len(bad) < length:
        return np.empty(0, np.int64)
    bad_before = np.concatenate([[0], np.cumsum(bad)])
    start: I64 = samples.at_ns[: len(bad) - length + 1]
    whole = samples.turn[: len(start)] == samples.turn[length - 1 :]  # a turn's samples have no gap
    good: I64 = start[whole & (bad_before[length:] == bad_before[: len(start)])]
    return good


def recoveries_ms(samples: Offsets, faults: Faults, run_end_ns: int) -> list[float]:
    """Per fault: from its end to the start of the first good second that is over by the run's end, else ``inf``.

    Faults that overlap are one, which ends when the last of them does: inside it nothing can recover. Where the talk
    ends right after the fault, and no full second of it is left, that is never.
    """
    starts = _good_seconds(samples)
    starts = starts[starts + NS_PER_S <= run_end_ns]
    faults = merged(faults)
    found = [int(np.searchsorted(starts, end, "left")) for _, end in faults]
    return [
        to_ms(int(starts[index]) - end) if index < len(starts) else math.inf
        for index, (_, end) in zip(found, faults, strict=True)
    ]


def recovery_ms(samples: Offsets, faults: Faults, run_end_ns: int) -> Measure:
    """The worst of ``recoveries_ms``; UNKNOWN without faults."""
    return max(recoveries_ms(samples, faults, run_end_ns), default=None)


def recovery_counted_ms(samples: Offsets, faults: Faults, run_end_ns: int) -> Measure:
    """The same with "never" counted to the run's end: by how much a baseline misses."""
    each = zip(recoveries_ms(samples, faults, run_end_ns), merged(faults), strict=True)
    return max((min(took, to_ms(max(run_end_ns - end, 0))) for took, (_, end) in each), default=None)


def settle_ms(samples: Offsets, first_decodable_ns: int | None) -> Measure:
    """From the first decodable frame to the start of the first good second after it; UNKNOWN if there was none."""
    if first_decodable_ns is None:
        return None
    starts = _good_seconds(samples)
    index = int(np.searchsorted(starts, first_decodable_ns, "left"))
    return to_ms(int(starts[index]) - first_decodable_ns) if index < len(starts) else math.inf


def freeze_longest_ms(samples: Offsets, mask: Bool | None = None) -> Measure:
    """Longest run of measured samples past their frame's duration, within a turn (and the mask)."""
    measured = samples.state == OffsetState.MEASURED
    frozen = samples.frozen
    if mask is not None:
        measured, frozen = measured & mask, frozen & mask
    if int(np.count_nonzero(measured)) < ENOUGH:
        return None
    at, turn = samples.at_ns[frozen], samples.turn[frozen]
    if not len(at):
        return 0.0
    broken = np.flatnonzero((np.diff(at) != samples.step_ns) | (np.diff(turn) != 0)) + 1
    edges = np.concatenate([[0], broken, [len(at)]])
    return to_ms(int(np.diff(edges).max()) * samples.step_ns)


class BeliefErrors(NamedTuple):
    """One row per belief that can be held against the truth: when, and |belief - truth|."""

    at_ns: I64
    error_ns: I64


def belief_errors(beliefs: BeliefColumns, source: SourceLog, presented: PresentationLog) -> BeliefErrors:
    """Same point, same time. UNKNOWN is no belief, and outside turns or without a picture there is no truth."""
    at, offset = beliefs.at_ns[beliefs.known], beliefs.value_ns[beliefs.known]
    e, valid = offset_at(source, presented, at)
    return BeliefErrors(at[valid], np.abs(offset - e)[valid])


def monitor_error_p95_ms(errors: BeliefErrors, inside: Within = everywhere) -> Measure:
    return percentile_ms(errors.error_ns[inside(errors.at_ns)], 95)


def monitor_known_pct(
    beliefs: BeliefColumns,
    samples: Offsets,
    observed_from_ns: int | None,
    *,
    holds_ns: int = BELIEF_HOLDS_NS,
    inside: Within = everywhere,
) -> Measure:
    """Of the measured samples from 5 s after observations start: how many have a belief, at most ``holds_ns`` old.

    A belief of None ends the one before it, so a monitor that answers UNKNOWN and one that says nothing count alike.
    """
    if observed_from_ns is None:
        return None
    judged = (samples.state == OffsetState.MEASURED) & (samples.at_ns >= observed_from_ns + KNOWN_AFTER_NS)
    at = samples.at_ns[judged & inside(samples.at_ns)]
    if len(at) < ENOUGH:
        return None
    if not len(beliefs.at_ns):
        return 0.0
    last = np.searchsorted(beliefs.at_ns, at, "right") - 1
    fresh = (last >= 0) & (at - beliefs.at_ns[last] < holds_ns) & beliefs.known[last]
    return share_pct(int(np.count_nonzero(fresh)), len(at))
