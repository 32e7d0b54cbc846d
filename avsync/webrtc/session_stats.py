"""What a session says of itself, for people and for JSON. None is UNKNOWN, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avsync.monitor.sync_report import SyncReport
from avsync.units import to_ms
from avsync.webrtc.viewers.viewer import Viewer


@dataclass(frozen=True, slots=True)
class ViewerStats:
    """One viewer. ``report``: what its own observations say; None: it has sent none. ``observed``: all that it told.

    ``receiver_target_ms``: how long its receivers are asked to hold; None: its browser cannot be asked, or is silent.
    """

    report: SyncReport | None
    observed: dict[str, Any]
    receiver_target_ms: float | None

    @classmethod
    def of(cls, viewer: Viewer, now_ns: int) -> ViewerStats:
        target_ms = to_ms(max(viewer.receivers.targets)) if viewer.receivers.supported else None
        return cls(viewer.report(now_ns), viewer.observer.as_dict(now_ns), target_ms)

    def as_dict(self) -> dict[str, Any]:
        offset = None if self.report is None else offsets(self.report)
        return {**self.observed, "offset": offset, "receiver_target_ms": self.receiver_target_ms}


@dataclass(frozen=True, slots=True)
class SessionStats:
    """``output``: at our own output. ``lateness``: how late this host sends its sound; judge nothing above 10 ms."""

    running: bool
    epoch: int
    output: SyncReport
    viewers: tuple[ViewerStats, ...]
    buffered_ms: float
    pictures_queued: int
    lateness_p50_ms: float | None
    lateness_p95_ms: float | None
    encode_ms: float
    key_frames: int
    refused_writes: int
    suppressed_pictures: int
    pts_violations: int
    sent_sound: int
    sent_pictures: int
    idle: bool
    trim_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times in ms."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("output", "viewers")}
        viewers = [viewer.as_dict() for viewer in self.viewers]
        return plain | {"output": offsets(self.output), "viewers": viewers}


def offsets(report: SyncReport) -> dict[str, Any]:
    """The numbers of a report that people ask for. Offsets > 0: the voice is ahead of the lips."""
    return {
        "offset_ms": _ms(report.offset_ns),
        "abs_p50_ms": _ms(report.abs_p50_ns),
        "abs_p95_ms": _ms(report.abs_p95_ns),
        "lead_p95_ms": _ms(report.lead_p95_ns),
        "lag_p95_ms": _ms(report.lag_p95_ns),
        "samples": report.samples,
        "source": report.source.value if report.source is not None else None,
        "late": report.late,
        "dropped": report.dropped,
        "repeated": report.repeated,
        "silence_inserted_ms": to_ms(report.silence_inserted_ns),
        "freeze_longest_ms": _ms(report.freeze_longest_ns),
        "alerts": list(report.alerts),
    }


def _ms(ns: int | None) -> float | None:
    return None if ns is None else to_ms(ns)
