"""The browser's lip sync: sender reports -> one time, and once a second a step of at most 80 ms.

``ReportMap`` is libwebrtc's RtpToNtpEstimator, ``StreamSync`` its StreamSynchronization: the
browser believes reports, nothing else. No reports, no correction; wrong reports, wrong lips.
Times in ms here, as there: its integers round toward zero, and so do these.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from avsync.units import ms, seconds

# Origin of the numbers: libwebrtc, the file named beside each.
SYNC_INTERVAL_NS: Final = ms(1000)  # video/rtp_streams_synchronizer2.cc
MAX_CHANGE_MS: Final = 80  # video/stream_synchronization.cc
MAX_DELAY_MS: Final = 10_000  # video/stream_synchronization.cc
FILTER_LENGTH: Final = 4  # video/stream_synchronization.cc
MIN_DELTA_MS: Final = 30  # video/stream_synchronization.cc: smaller errors are left alone
GIVE_UP_FACTOR: Final = 0.9  # video/stream_synchronization.cc, ReduceAudioDelay (webrtc:11805)
KEPT_REPORTS: Final = 20  # rtc_base/rtp_to_ntp_estimator.cc
MAX_NTP_JUMP_NS: Final = seconds(3600)  # rtc_base/rtp_to_ntp_estimator.cc
MAX_RTP_JUMP: Final = 1 << 25  # rtc_base/rtp_to_ntp_estimator.cc
MAX_INVALID: Final = 3  # rtc_base/rtp_to_ntp_estimator.h: so many in a row, and all is forgotten


class ReportMap:
    """Sender reports of one stream -> the sender's NTP time of any RTP stamp: a least-squares line over 20."""

    def __init__(self) -> None:
        self._reports: deque[tuple[int, int]] = deque(maxlen=KEPT_REPORTS)  # (ntp_ns, rtp)
        self._last: int | None = None
        self._invalid = 0
        self._line: tuple[float, int, float, int] | None = None  # slope, rtp0, ntp offset, ntp0
        self.rejected = 0

    def update(self, ntp_ns: int, rtp: int) -> bool:
        """False: this report cannot be. The same report again is fine, and says nothing."""
        unwrapped = self._unwrap(rtp)
        self._last = unwrapped
        for ntp, stamp in self._reports:
            if ntp_ns == ntp or unwrapped == stamp:
                return True
        if ntp_ns == 0:
            return False
        if self._reports:
            ntp, stamp = self._reports[-1]
            follows = 0 < ntp_ns - ntp <= MAX_NTP_JUMP_NS and 0 < unwrapped - stamp <= MAX_RTP_JUMP
            if not follows:
                self.rejected += 1
                self._invalid += 1
                if self._invalid < MAX_INVALID:
                    return False
                self._reports.clear()
                self._line = None
        self._invalid = 0
        self._reports.append((ntp_ns, unwrapped))
        self._fit()
        return True

    def ntp_ns(self, rtp: int) -> int | None:
        """The sender's time at this stamp; None before two good reports. Asking changes nothing."""
        if self._line is None:
            return None
        slope, stamp, offset, ntp = self._line
        return ntp + round(offset + slope * (self._unwrap(rtp) - stamp))

    def _unwrap(self, rtp: int) -> int:
        last = self._last
        return rtp if last is None else last + ((rtp - last + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000

    def _fit(self) -> None:
        reports = self._reports
        n = len(reports)
        if n < 2:
            return
        ntp0, stamp0 = reports[0]  # differences are small: no digits are lost in floats
        xs = [stamp - stamp0 for _, stamp in reports]
        ys = [ntp - ntp0 for ntp, _ in reports]
        mean_x, mean_y = sum(xs) / n, sum(ys) / n
        variance = covariance = 0.0
        for x, y in zip(xs, ys, strict=True):
            off = x - mean_x
            variance += off**2
            covariance += off * (y - mean_y)
        if variance < 1e-8:
            return
        slope = covariance / variance
        self._line = slope, stamp0, mean_y - slope * mean_x, ntp0


def relative_delay_ms(sound: tuple[int, int], picture: tuple[int, int]) -> int | None:
    """(received_ns, sender's NTP ns) of both newest packets -> how much later pictures arrive; None: cannot be."""
    relative = _ms(picture[0]) - _ms(sound[0]) - (_ms(picture[1]) - _ms(sound[1]))
    return relative if abs(relative) <= MAX_DELAY_MS else None


class StreamSync:
    """The delays that both buffers are asked to keep at least. One stream moves at a time, always by adding delay
    to the early one or removing what was added to the late one."""

    def __init__(self) -> None:
        self._average_ms = 0
        self._sound_extra_ms = self._sound_last_ms = 0
        self._picture_extra_ms = self._picture_last_ms = 0

    def delays_ms(self, relative_ms: int, sound_ms: int, picture_ms: int) -> tuple[int, int] | None:
        """(sound, picture) minimum delays from the measured ones; None: leave everything as it is."""
        error_ms = picture_ms - sound_ms + relative_ms
        self._average_ms = int(((FILTER_LENGTH - 1) * self._average_ms + error_ms) / FILTER_LENGTH)
        if abs(self._average_ms) < MIN_DELTA_MS:
            return None
        step_ms = max(-MAX_CHANGE_MS, min(MAX_CHANGE_MS, int(self._average_ms / 2)))
        self._average_ms = 0  # what is under way is not asked for again
        if step_ms > 0:  # pictures are late
            if self._picture_extra_ms > 0:
                self._picture_extra_ms -= step_ms
                self._sound_extra_ms = 0
            else:
                self._sound_extra_ms += step_ms
                self._picture_extra_ms = 0
        elif self._sound_extra_ms > 0:
            self._sound_extra_ms += step_ms
            self._picture_extra_ms = 0
        else:
            self._picture_extra_ms -= step_ms
            self._sound_extra_ms = 0
        self._picture_extra_ms = max(0, self._picture_extra_ms)
        self._picture_last_ms = _bounded(self._picture_extra_ms, self._picture_last_ms)
        self._sound_last_ms = _bounded(self._sound_extra_ms, self._sound_last_ms)
        return self._sound_last_ms, self._picture_last_ms

    def sound_refused(self) -> None:
        """The sound buffer would not take that much: do not go on adding."""
        self._sound_extra_ms = int(self._sound_extra_ms * GIVE_UP_FACTOR)


def _bounded(extra_ms: int, last_ms: int) -> int:
    """The stream that is not moved keeps its last delay, even if that was extra: only one moves at a time."""
    new_ms = extra_ms if extra_ms > 0 else last_ms
    return min(max(new_ms, extra_ms), MAX_DELAY_MS)


def _ms(ns: int) -> int:
    return ns // 1_000_000
