"""avsync: keeps a talking avatar's lips and voice together over WebRTC, and proves it.

What is listed here is a promise; everything else may move. ``offset = audio - video``: positive
means that the voice is ahead of the lips. Every time is an int of nanoseconds, given by the caller.
"""

from avsync.engine.engine import Interrupted
from avsync.engine.playout import PlayoutClock
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import AvSyncError, InputError, UsageError
from avsync.monitor.belief import SyncSample
from avsync.monitor.monitor import AvSyncMonitor
from avsync.monitor.sync_report import SyncReport
from avsync.policy import AvSyncPolicy, Master, Pacing
from avsync.timeline.clock import AvSyncClock, Seam
from avsync.timeline.epoch import EpochGate
from avsync.types import (
    Alert,
    Answer,
    Degrade,
    Drop,
    DropReason,
    Heard,
    InsertSilence,
    Kind,
    MediaUnit,
    ObservedBy,
    Present,
    Presented,
    Reason,
    Repeat,
    Request,
    Want,
)
from avsync.units import ms, seconds, to_ms
from avsync.version import VERSION as __version__

__all__ = [
    "Alert",
    "Answer",
    "AvSyncClock",
    "AvSyncError",
    "AvSyncMonitor",
    "AvSyncPolicy",
    "AvSynchronizer",
    "Degrade",
    "Drop",
    "DropReason",
    "EpochGate",
    "Heard",
    "InputError",
    "InsertSilence",
    "Interrupted",
    "Kind",
    "Master",
    "MediaUnit",
    "ObservedBy",
    "Pacing",
    "PlayoutClock",
    "Present",
    "Presented",
    "Reason",
    "Repeat",
    "Request",
    "Seam",
    "SyncReport",
    "SyncSample",
    "UsageError",
    "Want",
    "__version__",
    "ms",
    "seconds",
    "to_ms",
]
