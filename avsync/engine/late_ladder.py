"""The ladder of late pictures: what becomes of one that is late, and what stands in for one that is missing.

The table in docs/architecture.md as two functions. A picture that came late is shown, makes way for a
newer one, or is given up; while none comes at all, the ladder is climbed: repeat, degrade, alert, idle.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from avsync.policy import AvSyncPolicy


class Decision(Enum):
    """What becomes of a picture that is due, or overdue."""

    SHOW = "show"
    SHOW_LATE = "show_late"
    MAKE_WAY = "make_way"
    TOO_LATE = "too_late"


class Rung(Enum):
    """What is done where a picture is missing. Each of the upper ones once, ``REPEAT`` beside and between them."""

    REPEAT = "repeat"
    DEGRADE = "degrade"
    ALERT = "alert"
    IDLE = "idle"


SHOW: Final = Decision.SHOW
SHOW_LATE: Final = Decision.SHOW_LATE
MAKE_WAY: Final = Decision.MAKE_WAY
TOO_LATE: Final = Decision.TOO_LATE
REPEAT: Final = Rung.REPEAT
DEGRADE: Final = Rung.DEGRADE
ALERT: Final = Rung.ALERT
IDLE: Final = Rung.IDLE


def decide(late_ns: int, *, newer_due: bool, idle: bool, policy: AvSyncPolicy) -> Decision:
    """What to do with a picture that is ``late_ns`` >= 0 behind the voice. ``idle``: the idle picture is on screen."""
    if late_ns <= policy.late_video_ns:
        return SHOW
    if newer_due:
        return MAKE_WAY
    # Lips come back from the idle picture with the first one that is on time, not before.
    if late_ns > policy.repeat_after_ns or idle:
        return TOO_LATE
    return SHOW_LATE


def climb(missing_ns: int, *, level: int, alerted: bool, policy: AvSyncPolicy) -> Rung:
    """The next rung when a picture has been due for ``missing_ns``. ``level``: that of the last ``Degrade``."""
    if missing_ns >= policy.degrade_after_ns and level < 1:
        return DEGRADE
    if missing_ns >= policy.stall_alert_after_ns and not alerted:
        return ALERT
    if missing_ns >= policy.idle_after_ns and level < 2:
        return IDLE
    return REPEAT
