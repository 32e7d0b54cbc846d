"""WebRTC over aiortc: a session that sends lips and voice together, and hears what became of them."""

from avsync.webrtc.interrupt import InterruptResult
from avsync.webrtc.session import AvSyncSession
from avsync.webrtc.turn import Turn
from avsync.webrtc.viewers.viewer import Viewer

__all__ = ["AvSyncSession", "InterruptResult", "Turn", "Viewer"]
