"""A viewer: its two tracks, and what is known of what it hears and sees."""

from __future__ import annotations

import json

from aiortc import RTCPeerConnection

from avsync.last_mile.receiver_target import ReceiverReport, ReceiverTarget, Shown
from avsync.monitor.sync_report import SyncReport
from avsync.policy import AvSyncPolicy
from avsync.timeline.epoch import EpochGate
from avsync.types import AUDIO, VIDEO
from avsync.units import ms, seconds, to_ms
from avsync.webrtc.output_clock import OutputClock
from avsync.webrtc.sent_log import SentLog
from avsync.webrtc.tracks import SyncTrack, TrackOwner
from avsync.webrtc.viewers.observer import Recent, ViewerObserver, observes
from avsync.webrtc.viewers.report_parser import ViewerReport

SETTLED_NS = seconds(20)
"""After its receivers' target moved, what a viewer sees is on the move for as long as after a start."""


class Viewer:
    """Made by ``AvSyncSession.viewer``. Add both tracks to one peer connection: lip sync needs one stream id."""

    def __init__(
        self, owner: TrackOwner, gate: EpochGate, sent_log: SentLog, clock: OutputClock, *, policy: AvSyncPolicy
    ) -> None:
        self._clock = clock
        self.audio_track, self.video_track = (SyncTrack(kind, gate, owner) for kind in (AUDIO, VIDEO))
        self.receivers = ReceiverTarget(policy)
        self._sent_log = sent_log
        self.observer = ViewerObserver(
            sent_log, start_ns=clock.start_ns, origins=lambda: self.rtp_origins, policy=policy
        )

    def add_to(self, connection: RTCPeerConnection) -> None:
        """Add both tracks to this peer connection."""
        connection.addTrack(self.audio_track)
        connection.addTrack(self.video_track)

    @property
    def live(self) -> bool:
        return self.audio_track.readyState == "live" or self.video_track.readyState == "live"

    @property
    def connected(self) -> bool:
        return self.live and (self.audio_track.mime or self.video_track.mime) is not None

    @property
    def rtp_origins(self) -> tuple[int | None, int | None]:
        """The RTP times of (sound, pictures) at the session's start, modulo 2**32; None until a packet has left."""
        wires = self.audio_track.wire, self.video_track.wire
        audio, video = (None if wire is None else wire.origin for wire in wires)
        return audio, video

    def report(self, now_ns: int) -> SyncReport | None:
        """What this viewer's own observations say of the offset; None while it has sent none."""
        return self.observer.report(now_ns) if self.reports else None

    @property
    def reports(self) -> int:
        """How many of its reports were believed to be some."""
        return self.observer.gate.accepted

    def on_report(self, data: object) -> bool:
        """A message of the page (``viewer.js``) over the data channel, hostile until parsed. False: refused."""
        now = self._clock.now_ns()
        if not self.observer.take(data, now):
            return False
        if (report := self.observer.last) is not None and observes(report):
            self.receivers.take(self._receivers_of(report), now)
        return True

    def _receivers_of(self, report: ViewerReport) -> ReceiverReport:
        """What a report says of the receivers."""
        return ReceiverReport(
            shown=tuple(shown_of(stamp_ns, page_ns, self._sent_log) for stamp_ns, page_ns in self.observer.shown),
            held_ns=None if report.video is None else _ns(report.video.target_ms),
            asked_ns=_ns(report.asked_ms),
            sound_held_ns=None if report.audio is None else _ns(report.audio.depth_ms),
            offset_ns=self.observer.offset_ns,
            claim_ns=self.observer.claim_ns,
        )

    def answer(self) -> str | None:
        """What its page should be told now: how long its receivers should hold. None: it has heard, or cannot."""
        report, targets = self.observer.last, self.receivers.targets
        if report is None or report.asked_ms is None:
            return None
        sound_ms, picture_ms = to_ms(targets.sound_ns), to_ms(targets.picture_ns)
        if report.told_ms == (sound_ms, picture_ms):
            return None
        return json.dumps({"v": 1, "sound": sound_ms, "picture": picture_ms})

    def recent(self, now_ns: int) -> Recent | None:
        """What a slow correction may go by; None: UNKNOWN, or the viewer's receivers are on the move."""
        return self.observer.recent(now_ns) if self.receivers.settled(now_ns, SETTLED_NS) else None

    def hold_pictures(self, for_ns: int) -> None:
        """Its pictures leave this much later than the session's, its voice is ahead by it; the stamps tell the truth.

        A viewer holds the voice back by itself, slowly. A receive buffer (``jitterBufferTarget``) is the better tool.
        """
        self.video_track.hold(for_ns)

    def close(self) -> None:
        self.audio_track.stop()
        self.video_track.stop()


def shown_of(stamp_ns: int, page_ns: int, sent_log: SentLog) -> Shown:
    """A picture that a page saw, and from when on the next one could be shown."""
    after = sent_log.video_after(stamp_ns)
    if after is None:
        return Shown(stamp_ns, page_ns, None)
    return Shown(stamp_ns, page_ns, max(after.stamp_ns, after.left_ns or 0))


def _ns(value_ms: float | None) -> int | None:
    return None if value_ms is None else ms(value_ms)
