"""SyncReport: all that is believed at one moment, for whoever asks."""

from __future__ import annotations

from dataclasses import dataclass

from avsync.types import Basis, ObservedBy


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What is believed at ``at_ns``. None is UNKNOWN. Offsets in ns, > 0: the voice is ahead of the lips.

    Of now: ``offset_ns`` (EWMA, 1 s), ``drift_ppm`` (what corrections leave of it, over the last
    minute), the stalls, the sender report's age. All else is since the start.
    ``source``: the least trustworthy of the two streams' observers. ``ignored``: observations of
    an interrupted epoch; ``unbelievable``: of another clock, or more than memory has room for.
    ``basis``: what the PTS that are observed now rest on.
    """

    at_ns: int
    point: str
    source: ObservedBy | None
    epoch: int
    samples: int
    offset_ns: int | None
    abs_p50_ns: int | None
    abs_p95_ns: int | None
    abs_p99_ns: int | None
    abs_max_ns: int | None
    lead_p95_ns: int | None
    lag_p95_ns: int | None
    drift_ppm: int | None
    freeze_longest_ns: int | None
    freeze_total_ns: int | None
    video_stall_ns: int | None
    audio_stall_ns: int | None
    sender_report_age_ns: int | None
    late: int
    dropped: int
    discarded: int
    repeated: int
    concealed: int
    silence_inserted_ns: int
    ignored: int
    unbelievable: int
    alerts: tuple[str, ...]
    basis: Basis = Basis.STAMPS
