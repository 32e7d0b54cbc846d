"""Alerts: which the monitor should have raised, by the truth, and which it raised for nothing.

One was due where a person would have complained: for longer than the policy's dwell most samples
of every second were beyond a warning level. An alert is held against the truth of
the window that it looked at, with the tolerance that a percentile over 10 s needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avsync.policy import AvSyncPolicy
from avsync.types import Alert
from avsync.units import NS_PER_S, seconds
from sim.truth.truth import Offsets, OffsetState

LOOKED_BACK_NS = seconds(16)  # the monitor's window, its dwell and its settling
TOLERANCE_PCT = 80
ANSWER_WITHIN_NS = seconds(12)  # a window's share and the dwell have to fill up


def alert_measures(samples: Offsets, alerts: Sequence[Alert], policy: AvSyncPolicy) -> dict[str, float | None]:
    """``alerts_missed`` and ``alerts_false``, of the offset alerts; None without enough samples."""
    if len(samples.at_ns) < 100:
        return {"alerts_missed": None, "alerts_false": None}
    raised = [alert for alert in alerts if alert.active and alert.name.startswith("offset_")]
    missed = sum(
        not any(start <= alert.at_ns <= end + ANSWER_WITHIN_NS for alert in raised)
        for start, end in _due(samples, policy)
    )
    return {"alerts_missed": missed, "alerts_false": sum(not _deserved(alert, samples, policy) for alert in raised)}


def _due(samples: Offsets, policy: AvSyncPolicy) -> list[tuple[int, int]]:
    """(start, end) of the times beyond a warning level for longer than twice the dwell."""
    measured = samples.state == OffsetState.MEASURED
    beyond = measured & ((samples.e_ns > policy.warn_lead_ns) | (samples.e_ns < -policy.warn_lag_ns))
    second = samples.at_ns // NS_PER_S
    first = int(second[0])
    count = np.bincount(second - first)
    bad = np.bincount(second - first, weights=beyond) * 2 > count
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
    runs = [
        ((int(a) + first) * NS_PER_S, (int(b) + first) * NS_PER_S) for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]
    return [(start, end) for start, end in runs if end - start > 2 * policy.alert_dwell_ns]


def _deserved(alert: Alert, samples: Offsets, policy: AvSyncPolicy) -> bool:
    inside = (samples.at_ns > alert.at_ns - LOOKED_BACK_NS) & (samples.at_ns <= alert.at_ns)
    e = samples.e_ns[inside & (samples.state == OffsetState.MEASURED)]
    if not len(e):
        return False
    lead, lag = policy.warn_lead_ns * TOLERANCE_PCT // 100, policy.warn_lag_ns * TOLERANCE_PCT // 100
    return bool(np.max(e) > lead) if "lead" in alert.name else bool(np.min(e) < -lag)
