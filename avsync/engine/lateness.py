"""Lateness: what becomes of a picture that is due, or overdue. One function: the ladder of docs/architecture.md."""

from __future__ import annotations

from enum import Enum

from avsync.policy import AvSyncPolicy


class Verdict(Enum):
    SHOW = "show"
    SHOW_LATE = "show_late"
    MAKE_WAY = "make_way"
    TOO_LATE = "too_late"


SHOW, SHOW_LATE, MAKE_WAY, TOO_LATE = Verdict


def judge(late_ns: int, *, newer_due: bool, idle: bool, policy: AvSyncPolicy) -> Verdict:
    """What to do with a picture that is ``late_ns`` >= 0 behind the voice."""
    if late_ns <= policy.late_video_ns:
        return SHOW
    if newer_due:
        return MAKE_WAY
    # Lips come back from the idle picture with the first one that is on time, not before.
    if late_ns > policy.repeat_after_ns or idle:
        return TOO_LATE
    return SHOW_LATE
