"""Watch: what is believed of the offset? The whole of ``AvSyncMonitor`` but for its checks.

``AvSyncMonitor`` (``avsync.monitor.monitor``) looks at each argument and hands it on to here, as ``AvSynchronizer``
does to its ``Engine``; the lab, whose times are ints by construction, tells a ``Watch`` itself.

Memory is bounded whatever comes: the last 10 s of observations at most, the last 10 s of samples, the
last minute of seconds, and a histogram of fixed range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from avsync.monitor.alerts import Alarm
from avsync.monitor.belief import GRID_NS, HOLD_NS, SETTLE_LAG_NS, Belief, SyncSample
from avsync.monitor.percentiles import MIN_SAMPLES, OffsetHistogram, RecentOffsets, rank
from avsync.monitor.stalls import Stalls
from avsync.monitor.sync_report import SyncReport
from avsync.monitor.trend import Trend
from avsync.policy import AvSyncPolicy
from avsync.types import (
    AUDIO,
    Alert,
    Answer,
    Basis,
    Drop,
    DropReason,
    Heard,
    InsertSilence,
    ObservedBy,
    Present,
    Presented,
    Reason,
    Repeat,
)
from avsync.units import FAR_NS, ms, seconds

STALE_NS: Final = seconds(2)
"""Nothing seen for this long: what was current is not known any more."""
BATCH_NS: Final = ms(200)
"""Samples are settled this often: in batches they cost half."""
QUICK_CHECK_NS: Final = ms(100)
OFFSET_CHECK_NS: Final = seconds(1)
DRIFT_CHECK_NS: Final = seconds(5)
WINDOW_NS: Final = seconds(10)
"""Offset alerts look at the 95th percentile of this window."""
OFFSET_ALERTS: Final = ("offset_lead_warn", "offset_lag_warn", "offset_lead_critical", "offset_lag_critical")
EWMA_SAMPLES: Final = seconds(1) // GRID_NS
"""Time constant of the current offset: 1 s."""
OTHER_CLOCK_NS: Final = seconds(10)
"""An observation dated further from its arrival is of another clock; it is counted, not believed."""
UNIT_MAX_NS: Final = seconds(60)

_CONTENT: Final = Heard.CONTENT  # looking a member up in its Enum takes 50 ns
_IDLE: Final = Heard.IDLE
_ON_PURPOSE: Final = frozenset((DropReason.STALE_EPOCH, DropReason.QUARANTINE, DropReason.CLOSED))
_TRUST: Final = {source: order for order, source in enumerate(ObservedBy)}


class Watch:
    """As ``AvSyncMonitor``, whose docstrings say what each method does. ``now_ns`` never goes backwards.

    ``on_samples`` gets them as they are settled, some at a time.
    """

    def __init__(
        self,
        policy: AvSyncPolicy,
        *,
        point: str,
        on_samples: Callable[[list[SyncSample]], object] | None = None,
        settle_lag_ns: int = SETTLE_LAG_NS,
        ends_told: bool = True,
    ) -> None:
        self.policy = policy
        self.point = point
        self.basis = Basis.STAMPS
        self._on_samples = on_samples
        self._lag_ns = settle_lag_ns
        self.now_ns = self._settle_at_ns = self._seen_ns = -FAR_NS
        self._floor = -1
        self._sources: list[ObservedBy | None] = [None, None]
        self._ignored = self._unbelievable = 0
        self._belief = Belief(lag_ns=settle_lag_ns)
        self._live = Stalls(ends_told=ends_told)
        # Statistics of samples.
        self._histogram = OffsetHistogram()
        self._trend = Trend()
        self._recent = RecentOffsets(WINDOW_NS, WINDOW_NS // GRID_NS)
        self._ewma = 0  # times EWMA_SAMPLES, so that small steps are not rounded away
        self._last: SyncSample | None = None
        self._frozen_run = self._frozen_longest = self._frozen_total = 0  # samples
        # What others tell.
        self._counts = _Counts()
        self._sender_report_ns: int | None = None
        # Alerts.
        self._alarms = _alarms(policy)
        self._quiet_lead_ns = 4 * min(policy.warn_lead_ns, policy.critical_lead_ns) // 5  # below it no alarm changes
        self._quiet_lag_ns = 4 * min(policy.warn_lag_ns, policy.critical_lag_ns) // 5
        self._alerts: deque[Alert] = deque()
        self._quick_at_ns = self._offset_at_ns = self._drift_at_ns = -FAR_NS

    def observe(self, presented: Presented, now_ns: int) -> None:
        self.now_ns = now_ns
        kind, epoch, pts_ns, duration_ns, at_ns, source, what = presented
        if epoch < self._floor and what is not _IDLE:
            self._ignored += 1
            return
        if not -OTHER_CLOCK_NS <= at_ns - now_ns <= OTHER_CLOCK_NS:
            self._unbelievable += 1
            return
        self._seen_ns = now_ns
        if kind is AUDIO:
            self._sources[0] = source
            if duration_ns > UNIT_MAX_NS:  # a host that slept: such a silence is not believed to its end
                duration_ns = UNIT_MAX_NS
                presented = presented._replace(duration_ns=duration_ns)
            self._live.hear(what, epoch, at_ns, at_ns + duration_ns)
        else:
            self._sources[1] = source
            if what is not _IDLE and pts_ns is not None:
                self._live.see(pts_ns, at_ns + duration_ns, at_ns)
        self._belief.add(presented)
        if now_ns >= self._settle_at_ns:
            self._settle(now_ns)

    def interrupt(self, epoch: int) -> None:
        if epoch > self._floor:
            self._floor = epoch
            self._live.in_turn = False

    def count(self, answer: Answer) -> None:
        counts = self._counts
        if isinstance(answer, Present):
            counts.late += answer.reason is Reason.LATE
        elif isinstance(answer, Repeat):
            counts.repeated += 1
        elif isinstance(answer, InsertSilence):
            counts.concealed += answer.reason is Reason.LOSS
            if answer.reason in (Reason.UNDERRUN, Reason.HOLD):
                counts.silence_inserted_ns += answer.duration_ns
        elif isinstance(answer, Drop):
            if answer.reason in _ON_PURPOSE:
                counts.discarded += 1
            else:
                counts.dropped += 1
        elif isinstance(answer, Alert) and answer.name == "stall_audio":
            self._live.no_end = answer.active  # an engine has pictures that go on without their voice

    def on_sender_report(self, now_ns: int) -> None:
        self._sender_report_ns = self.now_ns = now_ns

    def poll(self, now_ns: int) -> Alert | None:
        self.now_ns = now_ns
        if now_ns >= self._quick_at_ns and not self._alerts:
            self._evaluate(now_ns)
        return self._alerts.popleft() if self._alerts else None

    def report(self, now_ns: int) -> SyncReport:
        self.now_ns = now_ns
        self._settle(now_ns)
        histogram, counts, known = self._histogram, self._counts, self._histogram.samples >= MIN_SAMPLES
        p50, p95, p99 = histogram.abs_percentiles_ns(50, 95, 99)
        current = known and self._is_current(now_ns)
        video_stall_ns, audio_stall_ns = self._stall_lengths_ns(now_ns)
        slope = self._trend.slope(now_ns)
        sources = [source for source in self._sources if source is not None]
        return SyncReport(
            at_ns=now_ns,
            point=self.point,
            source=max(sources, key=_TRUST.__getitem__) if sources else None,
            epoch=self._live.epoch,
            samples=histogram.samples,
            offset_ns=self._ewma // EWMA_SAMPLES if current else None,
            abs_p50_ns=p50,
            abs_p95_ns=p95,
            abs_p99_ns=p99,
            abs_max_ns=max(histogram.max_lead_ns, histogram.max_lag_ns) if known else None,
            lead_p95_ns=histogram.lead_percentiles_ns(95)[0],
            lag_p95_ns=histogram.lag_percentiles_ns(95)[0],
            drift_ppm=slope.ppm if slope is not None else None,
            freeze_longest_ns=self._frozen_longest * GRID_NS if known else None,
            freeze_total_ns=self._frozen_total * GRID_NS if known else None,
            video_stall_ns=video_stall_ns,
            audio_stall_ns=audio_stall_ns,
            sender_report_age_ns=None if self._sender_report_ns is None else now_ns - self._sender_report_ns,
            late=counts.late,
            dropped=counts.dropped,
            discarded=counts.discarded,
            repeated=counts.repeated,
            concealed=counts.concealed,
            silence_inserted_ns=counts.silence_inserted_ns,
            ignored=self._ignored,
            unbelievable=self._unbelievable + self._belief.overflowed,
            alerts=tuple(sorted(name for name, alarm in self._alarms.items() if alarm.active)),
            basis=self.basis,
        )

    # Samples.

    def _settle(self, now_ns: int) -> None:
        self._settle_at_ns = now_ns + BATCH_NS
        samples = self._belief.settle(now_ns)
        if not samples:
            return
        offsets_ns = [sample[1] for sample in samples]
        self._histogram.add_all(offsets_ns)
        self._recent.add_all([sample[0] for sample in samples], offsets_ns)
        self._trend.add_all(samples)
        last, ewma = self._last, self._ewma
        last_ns = -FAR_NS if last is None else last.at_ns
        for sample in samples:
            at_ns, offset_ns, epoch, frozen, _ = sample
            if at_ns - last_ns > 5 * EWMA_SAMPLES * GRID_NS:
                ewma = offset_ns * EWMA_SAMPLES
            else:
                ewma += offset_ns - ewma // EWMA_SAMPLES
            if frozen:
                following = last is not None and at_ns - last_ns == GRID_NS and epoch == last.epoch
                self._frozen_run = self._frozen_run + 1 if following else 1
                self._frozen_longest = max(self._frozen_longest, self._frozen_run)
                self._frozen_total += 1
            else:
                self._frozen_run = 0
            last, last_ns = sample, at_ns
        self._last, self._ewma = last, ewma
        if self._on_samples is not None:
            self._on_samples(samples)

    def _is_current(self, now_ns: int) -> bool:
        """Whether the newest sample is of now: as new as a silence that is waited for lets it be."""
        return self._last is not None and now_ns - self._last.at_ns <= HOLD_NS + self._lag_ns + 2 * GRID_NS

    def _stall_lengths_ns(self, now_ns: int) -> tuple[int | None, int | None]:
        """(video, audio) stall so far; None where nothing has been seen for 2 s."""
        if now_ns - self._seen_ns > STALE_NS:
            return None, None
        return self._live.lengths_ns(now_ns)

    # Alerts.

    def _evaluate(self, now_ns: int) -> None:
        self._quick_at_ns = now_ns + QUICK_CHECK_NS
        if now_ns >= min(self._settle_at_ns, self._offset_at_ns, self._drift_at_ns):
            self._settle(now_ns)
        video_stall_ns, audio_stall_ns = self._stall_lengths_ns(now_ns)
        if video_stall_ns is None and now_ns - self._seen_ns <= STALE_NS:
            video_stall_ns = self._live.unseen_ns(now_ns)  # whether there are pictures at all is not known; it is told
        self._update("stall_video", video_stall_ns, now_ns)
        self._update("stall_audio", audio_stall_ns, now_ns)
        if self._sender_report_ns is not None:
            self._update("no_sender_report", now_ns - self._sender_report_ns, now_ns)
        if now_ns >= self._offset_at_ns:
            self._offset_at_ns = now_ns + OFFSET_CHECK_NS
            lead_ns, lag_ns = self._trouble_ns(now_ns)
            for name in OFFSET_ALERTS:
                self._update(name, lead_ns if "lead" in name else lag_ns, now_ns)
        if now_ns >= self._drift_at_ns:
            self._drift_at_ns = now_ns + DRIFT_CHECK_NS
            slope = self._trend.slope(now_ns)
            if slope is None:
                self._update("drift", None, now_ns)
            else:  # slopes that do not agree are the path's jitter, not drift
                self._update("drift", abs(slope.ppm) if slope.agreed else 0, now_ns, tell=slope.ppm)

    def _update(self, name: str, value: int | None, now_ns: int, *, tell: int | None = None) -> None:
        alert = self._alarms[name].update(value, now_ns, self._live.epoch, tell=tell)
        if alert is not None:
            self._alerts.append(alert)

    def _trouble_ns(self, now_ns: int) -> tuple[int | None, int | None]:
        """(lead, lag) that is both usual and still going on; None below 20 samples.

        Usual: the p95 of the last 10 s, exact. Still going on: the worst of the newest half dwell,
        so that one short stall, long mended, is not told when its share has filled the window.
        """
        newest = self._recent.newest(now_ns, max(self.policy.alert_dwell_ns // 2, OFFSET_CHECK_NS))
        if newest is None:
            return None, None
        lead_ns, lag_ns = max(newest), min(newest)
        if lead_ns > self._quiet_lead_ns or -lag_ns > self._quiet_lag_ns or self._troubled():
            offsets = self._recent.ordered()  # what costs something: only where it can matter
            index = rank(len(offsets), 95) - 1
            lead_ns, lag_ns = min(offsets[index], lead_ns), max(offsets[-1 - index], lag_ns)
        return max(lead_ns, 0), max(-lag_ns, 0)

    def _troubled(self) -> bool:
        return any(self._alarms[name].active for name in OFFSET_ALERTS)


class _Counts:
    """What an engine's answers add up to."""

    def __init__(self) -> None:
        self.late = self.dropped = self.discarded = self.repeated = self.concealed = 0
        self.silence_inserted_ns = 0


def _alarms(policy: AvSyncPolicy) -> dict[str, Alarm]:
    """Each with its level and dwells. Stalls and ages are durations already: told at once, cleared after a dwell."""
    dwell_ns = policy.alert_dwell_ns
    levels = {
        "offset_lead_warn": (policy.warn_lead_ns, dwell_ns),
        "offset_lead_critical": (policy.critical_lead_ns, dwell_ns),
        "offset_lag_warn": (policy.warn_lag_ns, dwell_ns),
        "offset_lag_critical": (policy.critical_lag_ns, dwell_ns),
        "drift": (policy.drift_alert_ppm, dwell_ns),
        "stall_video": (policy.stall_alert_after_ns, 0),
        "stall_audio": (policy.stall_alert_after_ns, 0),
        "no_sender_report": (policy.sr_age_alert_ns, 0),
    }
    return {name: Alarm(name, level, dwell_ns=wait_ns, clear_ns=dwell_ns) for name, (level, wait_ns) in levels.items()}
