"""avsync: keeps a talking avatar's lips and voice together over WebRTC, and proves it.

What is listed here is a promise; everything else may move. ``offset = audio - video``: positive
means that the voice is ahead of the lips. Every time is an int of nanoseconds, given by the caller.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from avsync.errors import AvSyncError, InputError, UsageError
from avsync.policy import AvSyncPolicy, Master, Pacing
from avsync.types import (
    Alert,
    Answer,
    Basis,
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

if TYPE_CHECKING:
    from avsync.engine.engine import Interrupted
    from avsync.engine.playout import PlayoutClock
    from avsync.engine.synchronizer import AvSynchronizer
    from avsync.monitor.belief import SyncSample
    from avsync.monitor.monitor import AvSyncMonitor
    from avsync.monitor.sync_report import SyncReport
    from avsync.timeline.clock import AvSyncClock, Seam
    from avsync.timeline.epoch import EpochGate
    from avsync.timeline.ingress import Ingress

# Imported when they are first asked for (PEP 562): the command line answers a wrong file without an engine.
_LATER = {
    "AvSyncClock": "avsync.timeline.clock",
    "AvSyncMonitor": "avsync.monitor.monitor",
    "AvSynchronizer": "avsync.engine.synchronizer",
    "EpochGate": "avsync.timeline.epoch",
    "Ingress": "avsync.timeline.ingress",
    "Interrupted": "avsync.engine.engine",
    "PlayoutClock": "avsync.engine.playout",
    "Seam": "avsync.timeline.clock",
    "SyncReport": "avsync.monitor.sync_report",
    "SyncSample": "avsync.monitor.belief",
}

__all__ = [
    "Alert",
    "Answer",
    "AvSyncClock",
    "AvSyncError",
    "AvSyncMonitor",
    "AvSyncPolicy",
    "AvSynchronizer",
    "Basis",
    "Degrade",
    "Drop",
    "DropReason",
    "EpochGate",
    "Heard",
    "Ingress",
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


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'avsync' has no attribute {name!r}")
    found: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = found  # asked once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
