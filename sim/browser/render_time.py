"""When a picture should be on screen: libwebrtc's TimestampExtrapolator and JitterEstimator.

``PictureClock`` maps RTP stamps to the local time at which such a frame is usually complete.
``PictureJitter`` says how much longer to wait, from how unevenly frames come and how large they
are. Both are the published filters in floats; rounding differs by less than 1 ms.
"""

from __future__ import annotations

from collections import deque
from math import exp, sqrt
from typing import Final

from avsync.units import NS_PER_MS, seconds

# Origin of the numbers: libwebrtc, modules/video_coding/timing, timestamp_extrapolator.{h,cc}
TICKS_PER_MS: Final = 90.0
RESET_AFTER_NS: Final = seconds(10)
RESET_JUMP_TICKS: Final = 900_000
P00: Final = 1.0
P11: Final = 1e10
STARTUP_FRAMES: Final = 2
START_VARIANCE: Final = 3_000.0**2
OUTLIERS_FROM: Final = 300
MAX_OUTLIERS: Final = 150
OUTLIER_SIGMAS: Final = 2.0
RESIDUAL_FORGET: Final = 0.999
SHIFT_ALARM: Final = 60_000
SHIFT_DRIFT: Final = 6_600
SHIFT_MAX: Final = 7_000

# jitter_estimator.cc
PROCESS_FRAMES: Final = 30
SIZE_FRAMES: Final = 5
FIRST_SIZE_BYTES: Final = 500.0
SIZE_PHI: Final = 0.97
SIZE_PSI: Final = 0.9999
CLAMP_SIGMAS: Final = 3.5
OUTLIER_DELAY_SIGMAS: Final = 15.0
OUTLIER_SIZE_SIGMAS: Final = 3.0
CONGESTION_FACTOR: Final = -0.25
MAX_ALPHA: Final = 400
NOISE_SIGMAS: Final = 2.33
NOISE_OFFSET_MS: Final = 30.0
SYSTEM_JITTER_MS: Final = 10.0
MAX_JITTER_MS: Final = 10_000.0
LOW_FPS: Final = 5.0
HIGH_FPS: Final = 10.0
FPS_FRAMES: Final = 30
NACK_LIMIT: Final = 3
NACK_TIMEOUT_NS: Final = seconds(60)
RTT_FACTOR: Final = 0.9
RTT_CAP_MS: Final = 200.0
# frame_delay_variation_kalman_filter.cc
FIRST_SLOPE: Final = 1 / (512e3 / 8)
MIN_SLOPE: Final = 1e-6
SLOPE_COVARIANCE: Final = 1e-4
OFFSET_COVARIANCE: Final = 1e2
SLOPE_NOISE: Final = 2.5e-10
OFFSET_NOISE: Final = 1e-10


class PictureClock:
    """Recursive least squares over (local time, RTP): never forgets, so a step in delay is believed late.

    Frames more than 2 sigma off are ignored, but at most 150 in a row; then the offset starts anew.
    """

    def __init__(self) -> None:
        self._seen_ns = -RESET_AFTER_NS
        self._reset(0)

    def _reset(self, now_ns: int) -> None:
        self._start_ns = now_ns
        self._first: int | None = None
        self._last = 0
        self._rate, self._offset = TICKS_PER_MS, 0.0
        self._p00, self._p01, self._p10, self._p11 = P00, 0.0, 0.0, P11
        self._frames = self._outliers = 0
        self._mean, self._variance = 0.0, START_VARIANCE
        self._above = self._below = 0.0

    def reset(self, now_ns: int) -> None:
        self._seen_ns = now_ns
        self._reset(now_ns)

    def update(self, stamp: int, now_ns: int) -> None:
        """A frame is complete. Not for frames that were sent again: their delay is not the network's."""
        jumped = self._first is not None and abs(stamp - self._last) > RESET_JUMP_TICKS
        if jumped or now_ns - self._seen_ns > RESET_AFTER_NS:
            self._reset(now_ns)
        self._seen_ns = now_ns
        t = float((now_ns - self._start_ns) // NS_PER_MS)
        if self._first is None:
            self._first = self._last = stamp
            self._offset = -self._rate * t
        residual = stamp - self._first - t * self._rate - self._offset
        if self._is_outlier(residual):
            self._outliers += 1
            if self._outliers <= MAX_OUTLIERS:
                return
            self._p11 = P11
        self._outliers = 0
        if self._has_shifted(residual) and self._frames >= STARTUP_FRAMES:
            self._p11 = P11
        p00, p01, p10, p11 = self._p00, self._p01, self._p10, self._p11
        k0, k1 = p00 * t + p01, p10 * t + p11
        scale = 1.0 + t * k0 + k1
        k0 /= scale
        k1 /= scale
        self._rate += k0 * residual
        self._offset += k1 * residual
        self._p00 = p00 - k0 * (t * p00 + p10)
        self._p01 = p01 - k0 * (t * p01 + p11)
        self._p10 = p10 - k1 * (t * p00 + p10)
        self._p11 = p11 - k1 * (t * p01 + p11)
        self._last = stamp
        self._frames += 1

    def local_ns(self, stamp: int) -> int | None:
        """When a frame with this stamp is usually complete; None before the first."""
        if self._first is None:
            return None
        if self._frames < STARTUP_FRAMES:
            return self._seen_ns + (stamp - self._last) * 100_000 // 9
        if self._rate < 1e-3:
            return self._start_ns
        return self._start_ns + int((stamp - self._first - self._offset) / self._rate + 0.5) * NS_PER_MS

    def _is_outlier(self, residual: float) -> bool:
        if self._frames >= OUTLIERS_FROM and (residual - self._mean) ** 2 > OUTLIER_SIGMAS**2 * self._variance:
            return True
        self._mean += (1 - RESIDUAL_FORGET) * (residual - self._mean)
        variance = RESIDUAL_FORGET * self._variance + (1 - RESIDUAL_FORGET) * (residual - self._mean) ** 2
        self._variance = variance if variance > 1.0 else 1.0
        return False

    def _has_shifted(self, residual: float) -> bool:
        if -SHIFT_DRIFT <= residual <= SHIFT_DRIFT and not self._above and not self._below:
            return False
        residual = min(max(residual, -SHIFT_MAX), SHIFT_MAX)
        self._above = max(self._above + residual - SHIFT_DRIFT, 0.0)
        self._below = min(self._below + residual + SHIFT_DRIFT, 0.0)
        if self._above > SHIFT_ALARM or self._below < -SHIFT_ALARM:
            self._above = self._below = 0.0
            return True
        return False


class PictureJitter:
    """Delay variation as a line over frame size (Kalman) plus noise; ``estimate_ns`` is what to wait for both."""

    def __init__(self, rtt_ns: int = 0) -> None:
        self._rtt_ms = rtt_ns / NS_PER_MS
        self.reset()

    def reset(self) -> None:
        self._slope, self._queueing = FIRST_SLOPE, 0.0
        self._c00, self._c01, self._c10, self._c11 = SLOPE_COVARIANCE, 0.0, 0.0, OFFSET_COVARIANCE
        self._average = self._largest = FIRST_SIZE_BYTES
        self._size_variance = 100.0
        self._sizes, self._size_sum = 0, 0
        self._size: int | None = None
        self._noise_mean, self._noise_variance = 0.0, 4.0
        self._alpha_count = 1
        self._intervals: deque[int] = deque()
        self._interval_sum = 0
        self._fps = 0.0
        self._updated_ns: int | None = None
        self._nacks, self._nacked_ns = 0, 0

    def nacked(self, now_ns: int) -> None:
        """A frame came late because it had to be sent again: says nothing about jitter, but about round trips."""
        self._nacks = min(self._nacks + 1, NACK_LIMIT)
        self._nacked_ns = now_ns

    def update(self, variation_ms: float, size: int, now_ns: int) -> None:
        """``variation_ms``: how much later than its stamp says, against the frame before."""
        if size <= 0:
            return
        self._track_sizes(size)
        if self._size is None:
            self._size = size
            return
        growth = size - self._size
        self._size = size
        sigma = sqrt(self._noise_variance)
        limit = CLAMP_SIGMAS * sigma + 0.5
        if not -limit <= variation_ms <= limit:
            variation_ms = limit if variation_ms > 0 else -limit
        deviation = variation_ms - (self._slope * growth + self._queueing)
        outlier = OUTLIER_DELAY_SIGMAS * sigma
        if abs(deviation) < outlier or size > self._average + OUTLIER_SIZE_SIGMAS * sqrt(self._size_variance):
            self._track_noise(deviation, now_ns)
            if growth > CONGESTION_FACTOR * self._largest:  # not the frame that queued behind a key frame
                self._track_line(variation_ms, growth)
        else:
            self._track_noise(outlier if deviation >= 0 else -outlier, now_ns)

    def estimate_ns(self, now_ns: int) -> int:
        noise = NOISE_SIGMAS * sqrt(self._noise_variance) - NOISE_OFFSET_MS
        jitter = self._slope * (self._largest - self._average) + (noise if noise > 1.0 else 1.0)
        if jitter < 1.0:  # the largest fades faster than a shrinking average: never less than 1 ms
            jitter = 1.0
        jitter = SYSTEM_JITTER_MS + (jitter if jitter < MAX_JITTER_MS else MAX_JITTER_MS)
        if self._nacks:
            if now_ns - self._nacked_ns > NACK_TIMEOUT_NS:
                self._nacks = 0
            elif self._nacks >= NACK_LIMIT:
                jitter += min(self._rtt_ms * RTT_FACTOR, RTT_CAP_MS)
        fps = self._fps
        if 0.0 < fps < HIGH_FPS:
            jitter = 0.0 if fps < LOW_FPS else jitter * (fps - LOW_FPS) / (HIGH_FPS - LOW_FPS)
        return int(jitter * NS_PER_MS)

    def _track_sizes(self, size: int) -> None:
        if self._sizes < SIZE_FRAMES:
            self._size_sum += size
            self._sizes += 1
        elif self._sizes == SIZE_FRAMES:
            self._average = self._size_sum / SIZE_FRAMES
            self._sizes += 1
        average = SIZE_PHI * self._average + (1 - SIZE_PHI) * size
        if size < self._average + 2 * sqrt(self._size_variance):  # a key frame is no average frame
            self._average = average
        variance = SIZE_PHI * self._size_variance + (1 - SIZE_PHI) * (size - average) ** 2
        self._size_variance = variance if variance > 1.0 else 1.0
        largest = SIZE_PSI * self._largest
        self._largest = largest if largest > size else size

    def _track_noise(self, deviation: float, now_ns: int) -> None:
        if self._updated_ns is not None:
            interval = now_ns - self._updated_ns
            self._intervals.append(interval)
            self._interval_sum += interval
            if len(self._intervals) > FPS_FRAMES:
                self._interval_sum -= self._intervals.popleft()
            self._fps = len(self._intervals) * 1e9 / self._interval_sum if self._interval_sum else 0.0
        self._updated_ns = now_ns
        count = self._alpha_count
        alpha = (count - 1) / count
        if count < MAX_ALPHA:
            self._alpha_count = count = count + 1
        fps = self._fps
        if fps > 0.0:
            scale = 30.0 / min(fps, 200.0)
            if count < PROCESS_FRAMES:
                scale = (count * scale + PROCESS_FRAMES - count) / PROCESS_FRAMES
            alpha **= scale
        off = deviation - self._noise_mean
        self._noise_mean = alpha * self._noise_mean + (1 - alpha) * deviation
        variance = alpha * self._noise_variance + (1 - alpha) * off * off
        self._noise_variance = variance if variance > 1.0 else 1.0

    def _track_line(self, variation_ms: float, growth: int) -> None:
        c00, c01 = self._c00 + SLOPE_NOISE, self._c01
        c10, c11 = self._c10, self._c11 + OFFSET_NOISE
        innovation = variation_ms - (self._slope * growth + self._queueing)
        h0, h1 = c00 * growth + c01, c10 * growth + c11
        sigma = (300.0 * exp(-abs(growth) / self._largest) + 1) * sqrt(self._noise_variance)
        scale = growth * h0 + h1 + max(sigma, 1.0)
        k0, k1 = h0 / scale, h1 / scale
        self._slope = max(self._slope + k0 * innovation, MIN_SLOPE)
        self._queueing += k1 * innovation
        self._c00 = (1 - k0 * growth) * c00 - k0 * c10
        self._c01 = (1 - k0 * growth) * c01 - k0 * c11
        self._c10 = c10 * (1 - k1) - k1 * growth * c00
        self._c11 = c11 * (1 - k1) - k1 * growth * c01


def variation_ms(stamp: int, now_ns: int, last_stamp: int, last_ns: int) -> float:
    """How much longer it took from frame to frame than their 90 kHz stamps say."""
    return (now_ns - last_ns) / NS_PER_MS - (stamp - last_stamp) / TICKS_PER_MS
