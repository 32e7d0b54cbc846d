"""A browser that watches: Chromium's two receive buffers and its lip sync, as a model in virtual time.

Packets and reports go in with the client's own time; ``presented`` is told what really left, and
``observe`` what a page could see of it. The model is read off libwebrtc's published code
(docs/browser_model.md lists every constant) and was compared with Chromium's, second by second.

A driver hands in everything as it arrives, and calls ``advance`` at ``next_wakeup_ns``. Sound is
played out lazily, so wakeups are only for pictures, for key frame requests and once a second.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from avsync.types import VIDEO
from avsync.units import ms
from sim.browser.lip_sync import SYNC_INTERVAL_NS, ReportMap, StreamSync, relative_delay_ms
from sim.browser.neteq import SoundBuffer
from sim.browser.picture import Ask, PictureBuffer
from sim.browser.presentation import Observe, PresentationWriter
from sim.packets import SOUND_RTP_HZ, PictureFrame, SenderReport, SoundPacket

SOUND_DEVICE_NS: Final = ms(32)
"""From NetEq to the ear. The loop knows it (``playout_delay_ms``): it waits with the pictures for it. Fitted: what
getStats claims of the sound, against which packet NetEq played when; 18 to 47 ms in ten connections."""
DISPLAY_HZ: Final = 60
SCREEN_NS: Final = ms(2)
"""From a frame's render time to the eye: this, and the wait for the next refresh, 8 ms on average. The loop knows of
neither. Fitted: calibrated marks against what getStats claims, +10 ms together."""


class BrowserCounters(NamedTuple):
    """What getStats would say, since the start. ``late`` sound came after its time, ``late`` pictures were shown so."""

    concealed_ns: int
    concealments: int
    stretched_ns: int
    squeezed_ns: int
    sound_late: int
    sound_flushes: int
    pictures_late: int
    pictures_dropped: int
    freezes: int
    key_requests: int
    sync_moves: int


class BrowserViewer:
    """Plays sound and pictures as Chromium would, and corrects them against each other once a second.

    ``ask`` is called with ("keyframe", (), now_ns). ``picture_target_ns`` and ``sound_target_ns`` are
    ``RTCRtpReceiver.jitterBufferTarget`` of each receiver. ``lip_sync`` False: tracks of different streams.
    ``display_hz`` 0: a screen that shows at once.
    """

    def __init__(
        self,
        presented: PresentationWriter,
        observe: Observe | None,
        ask: Ask | None = None,
        *,
        picture_target_ns: int = 0,
        sound_target_ns: int = 0,
        display_hz: int = DISPLAY_HZ,
        sound_device_ns: int = SOUND_DEVICE_NS,
        screen_ns: int = SCREEN_NS,
        rtt_ns: int = 0,
        lip_sync: bool = True,
    ) -> None:
        self._sound = SoundBuffer(presented, observe, target_ns=sound_target_ns, device_ns=sound_device_ns)
        self._picture = PictureBuffer(
            presented,
            observe,
            ask,
            target_ns=picture_target_ns,
            display_hz=display_hz,
            screen_ns=screen_ns,
            rtt_ns=rtt_ns,
        )
        self._sound_device_ns = sound_device_ns
        self._lip_sync = lip_sync
        self._sync = StreamSync()
        self._sound_map, self._picture_map = ReportMap(), ReportMap()
        self._sound_report: SenderReport | None = None
        self._picture_report: SenderReport | None = None
        self._sound_seen_ns = self._picture_seen_ns = -1  # the newest packets at the last look
        self._sync_ns: int | None = None
        self._due_ns = -1
        self._sync_moves = 0

    def on_sound(self, packet: SoundPacket, now_ns: int) -> None:
        if now_ns >= self._due_ns:
            self.advance(max(now_ns - 1, 0))
        self._sound.insert(packet, now_ns)

    def on_picture(self, frame: PictureFrame, now_ns: int) -> None:
        """The last packet of the frame is here."""
        if now_ns >= self._due_ns:
            self.advance(now_ns)
        self._picture.insert(frame, now_ns)
        self._due_ns = self._earliest_ns()

    def on_sender_report(self, report: SenderReport, now_ns: int) -> None:
        """Kept; the browser looks at the newest one once a second."""
        self.advance(now_ns)
        if report.kind is VIDEO:
            self._picture_report = report
        else:
            self._sound_report = report

    def advance(self, now_ns: int) -> None:
        """Everything that was due by ``now_ns`` happens, in its order."""
        if self._sync_ns is None:
            self._sync_ns = now_ns + SYNC_INTERVAL_NS
        while self._sync_ns <= now_ns:
            at_ns = self._sync_ns
            self._sound.advance(at_ns)
            self._picture.advance(at_ns)
            if self._lip_sync:
                self._correct()
            self._sync_ns = at_ns + SYNC_INTERVAL_NS
        self._sound.advance(now_ns)
        if now_ns >= self._due_ns:
            self._picture.advance(now_ns)
            self._due_ns = self._earliest_ns()

    def next_wakeup_ns(self) -> int | None:
        """None before anything has arrived."""
        return None if self._sync_ns is None else self._due_ns

    def set_targets_ns(self, sound_ns: int, picture_ns: int) -> None:
        """The page sets ``jitterBufferTarget`` of its receivers anew."""
        self._sound.set_target_ns(sound_ns)
        self._picture.set_target_ns(picture_ns)

    def take_shown(self) -> list[tuple[int, int]]:
        """(RTP time, when) of the pictures that came on screen since the last call; of too many, the newest."""
        shown = list(self._picture.shown)
        self._picture.shown.clear()
        return shown

    @property
    def heard(self) -> tuple[int, int] | None:
        """(RTP time, when it is heard) of the last packet played."""
        return self._sound.playing

    @property
    def sound_held_ns(self) -> int:
        """How long NetEq holds the sound, as getStats tells: without the device behind it."""
        return self._sound.delay_ns - self._sound_device_ns

    @property
    def asked_extra_ns(self) -> int:
        """How much longer the sound is held because of its receiver's target."""
        return self._sound.asked_extra_ns

    @property
    def sound_buffer_ns(self) -> int:
        """How much sound the browser believes to hold."""
        return self._sound.delay_ns

    @property
    def sound_target_ns(self) -> int:
        return self._sound.target_ns

    @property
    def picture_delay_ns(self) -> int:
        """The delay in force, beyond a frame's usual completion."""
        return self._picture.delay_ns

    @property
    def picture_target_ns(self) -> int:
        """The delay it may grow to; the sync loop takes this for the picture's delay."""
        return self._picture.target_ns

    @property
    def sync_offset_ns(self) -> int | None:
        """The browser's own belief (its ``stream_offset``), positive = voice ahead. None: no reports yet.

        Made from sender reports alone: where they lie, it lies.
        """
        heard, seen = self._sound.playing, self._picture.showing
        if heard is None or seen is None:
            return None
        heard_ntp_ns, seen_ntp_ns = self._sound_map.ntp_ns(heard[0]), self._picture_map.ntp_ns(seen[0])
        if heard_ntp_ns is None or seen_ntp_ns is None:
            return None
        return (heard_ntp_ns - heard[1]) - (seen_ntp_ns - seen[1])

    @property
    def counters(self) -> BrowserCounters:
        sound, picture = self._sound, self._picture
        return BrowserCounters(
            concealed_ns=_samples_ns(sound.concealed_samples),
            concealments=sound.concealments,
            stretched_ns=_samples_ns(sound.stretched_samples),
            squeezed_ns=_samples_ns(sound.squeezed_samples),
            sound_late=sound.late,
            sound_flushes=sound.flushes,
            pictures_late=picture.late,
            pictures_dropped=picture.dropped,
            freezes=picture.freezes,
            key_requests=picture.key_requests,
            sync_moves=self._sync_moves,
        )

    def _earliest_ns(self) -> int:
        picture_ns, sync_ns = self._picture.next_ns, self._sync_ns
        assert sync_ns is not None
        return picture_ns if picture_ns < sync_ns else sync_ns

    def _correct(self) -> None:
        """RtpStreamsSynchronizer::UpdateDelay: nothing without new packets and good reports of both streams."""
        sound, picture = self._sound, self._picture
        heard, seen = sound.received, picture.received
        if heard is None or self._sound_report is None:
            return
        if not self._sound_map.update(self._sound_report.ntp_ns, self._sound_report.rtp):
            return
        last_ns, self._sound_seen_ns = self._sound_seen_ns, heard[1]
        if last_ns == heard[1] or seen is None or self._picture_report is None:
            return
        if not self._picture_map.update(self._picture_report.ntp_ns, self._picture_report.rtp):
            return
        last_ns, self._picture_seen_ns = self._picture_seen_ns, seen[1]
        if last_ns == seen[1]:
            return
        heard_ntp_ns, seen_ntp_ns = self._sound_map.ntp_ns(heard[0]), self._picture_map.ntp_ns(seen[0])
        if heard_ntp_ns is None or seen_ntp_ns is None:
            return
        relative_ms = relative_delay_ms((heard[1], heard_ntp_ns), (seen[1], seen_ntp_ns))
        if relative_ms is None:
            return
        delays = self._sync.delays_ms(relative_ms, sound.delay_ns // ms(1), picture.target_ns // ms(1))
        if delays is None:
            return
        self._sync_moves += 1
        if not sound.set_minimum_ms(delays[0]):
            self._sync.sound_refused()
        picture.set_minimum_ms(delays[1])


def _samples_ns(samples: int) -> int:
    return samples * ms(1_000) // SOUND_RTP_HZ
