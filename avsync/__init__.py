"""avsync: keeps a talking avatar's lips and voice together over WebRTC, and proves it.

What is listed here is a promise; everything else may move. ``offset = audio - video``: positive
means that the voice is ahead of the lips. Every time is an int of nanoseconds, told by the caller.
"""

from avsync.engine.playout import PlayoutClock
from avsync.engine.synchronizer import AvSynchronizer
from avsync.errors import AvSyncError, InputError, UsageError
from avsync.monitor.monitor import AvSyncMonitor
from avsync.policy import AvSyncPolicy
from avsync.timeline.clock import AvSyncClock
from avsync.version import VERSION as __version__

__all__ = [
    "AvSyncClock",
    "AvSyncError",
    "AvSyncMonitor",
    "AvSyncPolicy",
    "AvSynchronizer",
    "InputError",
    "PlayoutClock",
    "UsageError",
    "__version__",
]
