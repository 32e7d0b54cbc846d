"""How late sound packets come, and the delay that would have been enough: NetEq's DelayManager.

Stamps and arrivals in samples of 48 kHz. ``Arrivals.target_ms`` starts at 80 ms and follows the
p95 of the worst delay of each half second, against the fastest packet of the last 2 s.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from sim.packets import SOUND_RTP_HZ

PER_MS: Final = SOUND_RTP_HZ // 1_000

# Origin of the numbers: libwebrtc, modules/audio_coding/neteq, the file named beside each.
START_TARGET_MS: Final = 80  # delay_manager.cc
BUCKETS: Final = 100  # underrun_optimizer.cc
BUCKET_MS: Final = 20
QUANTILE: Final = 0.95  # delay_manager.h
FORGET: Final = 0.983
START_FORGET_WEIGHT: Final = 2
RESAMPLE_MS: Final = 500  # delay_manager.h: the histogram takes the maximum of each interval
REORDER_FORGET: Final = 0.9993  # delay_manager.h
MS_PER_LOSS_PERCENT: Final = 20
HISTORY_MS: Final = 2_000  # decision_logic.cc: delay is relative to the fastest packet of these 2 s


class _Histogram:
    """Weights of 100 buckets that add up to 1 and fade with every entry; fast at first."""

    def __init__(self) -> None:
        self._weights = [0.0] * BUCKETS
        self._entries, self._forget = 0, 0.0

    def add(self, bucket: int) -> None:
        forget = self._forget
        self._weights = [weight * forget for weight in self._weights]
        self._weights[bucket] += 1 - forget
        self._entries += 1
        self._forget = max(0.0, min(FORGET, 1 - START_FORGET_WEIGHT / (self._entries + 1)))

    def quantile(self) -> int:
        above = 1.0
        for bucket, weight in enumerate(self._weights):
            above -= weight
            if above <= 1 - QUANTILE + 1e-9:  # the original counts in integers; a rounding error is no delay
                return bucket
        return BUCKETS - 1


class _Reordered:
    """What waiting for reordered packets is worth: 20 ms for each 1 % of them. Empty while all are in order."""

    def __init__(self) -> None:
        self.late: dict[int, float] = {}  # bucket -> share; bucket 0 holds the rest
        self.entries = 0

    def optimum_ms(self, bucket: int, base_ms: int) -> int:
        late = self.late
        if late or bucket:
            forget = 1 - START_FORGET_WEIGHT / (self.entries + 1)  # 0 at first, then growing
            forget = 0.0 if forget < 0.0 else forget if forget < REORDER_FORGET else REORDER_FORGET
            for key in list(late):
                late[key] *= forget
                if late[key] < 1e-4:
                    del late[key]
            if bucket:
                late[bucket] = late.get(bucket, 0.0) + 1 - forget
        self.entries += 1
        if not late:
            return BUCKET_MS
        best, best_cost, lost = 0, 0.0, sum(late.values())
        for key in (0, *sorted(late)):
            lost -= late.get(key, 0.0)
            cost = max(0, key * BUCKET_MS - base_ms) + 100 * MS_PER_LOSS_PERCENT * lost
            if key == 0 or cost < best_cost:
                best, best_cost = key, cost
        return (1 + best) * BUCKET_MS


class Arrivals:
    """How late packets come, against the fastest of the last 2 s of stamps; ``target_ms`` is what that asks for."""

    def __init__(self) -> None:
        self.target_ms = START_TARGET_MS
        self.fastest: deque[tuple[int, int]] = deque()  # (stamp, arrival - stamp), growing
        self.slowest: deque[tuple[int, int]] = deque()  # shrinking
        self._recent: deque[int] = deque(maxlen=256)
        self._newest: int | None = None
        self._histogram, self._reordered = _Histogram(), _Reordered()
        self._underrun_ms: int | None = None
        self._interval_from: int | None = None
        self._interval_max = 0

    def add(self, stamp: int, arrived: int) -> None:
        newest, transit = self._newest, arrived - stamp
        reordered = newest is not None and stamp <= newest
        if newest is not None and reordered:
            if stamp + HISTORY_MS * PER_MS < newest or stamp in self._recent:
                return
        else:
            self._newest = stamp
            self._slide(stamp, transit)
        self._recent.append(stamp)
        if newest is None:
            return
        late = transit - self.fastest[0][1]
        if late < 0:
            late = 0
        if not reordered:
            if self._interval_from is None or arrived - self._interval_from > RESAMPLE_MS * PER_MS:
                self._resample(arrived)
            if late > self._interval_max:
                self._interval_max = late
        base_ms = START_TARGET_MS if self._underrun_ms is None else self._underrun_ms
        if not reordered and not self._reordered.late:
            self._reordered.entries += 1
            self.target_ms = base_ms if base_ms > BUCKET_MS else BUCKET_MS
            return
        bucket = late // (BUCKET_MS * PER_MS) if reordered else 0
        reorder_ms = self._reordered.optimum_ms(bucket, base_ms) if bucket < BUCKETS else BUCKET_MS
        self.target_ms = base_ms if base_ms > reorder_ms else reorder_ms

    def _slide(self, stamp: int, transit: int) -> None:
        fastest, slowest = self.fastest, self.slowest
        oldest = stamp - HISTORY_MS * PER_MS
        while fastest and fastest[0][0] < oldest:
            fastest.popleft()
        while slowest and slowest[0][0] < oldest:
            slowest.popleft()
        while fastest and fastest[-1][1] >= transit:
            fastest.pop()
        while slowest and slowest[-1][1] <= transit:
            slowest.pop()
        fastest.append((stamp, transit))
        slowest.append((stamp, transit))

    def _resample(self, arrived: int) -> None:
        """A new interval begins; the histogram takes the maximum of the one that is over."""
        if self._interval_from is None:
            self._interval_from = arrived
            return
        bucket = self._interval_max // (BUCKET_MS * PER_MS)
        if bucket < BUCKETS:  # beyond 2 s it is not jitter
            self._histogram.add(bucket)
        self._underrun_ms = (1 + self._histogram.quantile()) * BUCKET_MS
        self._interval_from, self._interval_max = arrived, 0
