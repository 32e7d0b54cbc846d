"""ViewerObserver: a viewer's reports become observations at the viewer, and a belief about the offset there.

RTP time -> output time (the viewer's RTP origins) -> which content that was (``SentLog``); page time ->
local time by the quickest report of the last minute. Picture and sound of one report are placed by
the same page clock, so what its place in local time is wrong by cancels out of the offset.

Nothing is believed that cannot be: RTP times of nothing that left, or of what had not left yet;
times that go back; a voice that moves at a rate no buffer plays at. Such entries are counted and
left out. A tab in the background shows nothing and calls nothing: what is heard there has no
offset, and is left out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from avsync.errors import check_now
from avsync.last_mile.receiver_balance import offset_of
from avsync.monitor.belief import HOLD_NS, SyncSample
from avsync.monitor.monitor import AvSyncMonitor
from avsync.monitor.sync_report import SyncReport
from avsync.policy import AvSyncPolicy
from avsync.types import AUDIO, VIDEO, Heard, Kind, ObservedBy, Presented
from avsync.units import FAR_NS, PICTURE_HZ, SOUND_HZ, ms, seconds, ticks_to_ns, to_ms
from avsync.webrtc.sent_log import Sent
from avsync.webrtc.viewers.report_parser import ReportEntry, ReportGate, ViewerReport

WRAP = 1 << 32
CLOCK_REPORTS = 60
"""The page's clock is placed by the quickest of the last minute's reports; 100 ppm of drift are 6 ms then, in both."""
CLOCK_JUMP_NS = seconds(5)
"""A report that is later than the quickest by this much: the page slept, or its clock stood."""
BEFORE_SENT_NS = ms(400)
"""Shown or heard this much before its output time: impossible, with any early voice, trim and slack of two clocks."""
BREAK_NS = ms(30)
"""Sound whose play time and content differ by this much at once was not stretched, but interrupted or cut."""
GAP_NS = seconds(2)
"""Sound that was not observed for this long: nothing is said of the time between."""
STRETCH_MAX_NS = ms(70)
"""Fading sum of what was stretched: playing at almost twice the rate for long comes to this. No buffer does."""
STALE_REPORT_NS = seconds(5)
"""What a browser said of its buffers this long ago is not of now."""
SMOOTHING = 8
"""Play times are told to the millisecond and in whole pulls of the audio device: smoothed over so many packets."""
SETTLE_AGE_NS = seconds(20)
"""The browser's own loop needs 12 to 22 s after a start (docs; libwebrtc's steps once a second): not of now."""
RECENT_NS = seconds(10)
RECENT_MIN_SAMPLES = 250
"""Half of the samples of ten seconds; fewer say too little to act on."""


@dataclass(frozen=True, slots=True)
class PathConstants:
    """The one place for what a browser does not tell: how much later than it says things reach eye and ear.

    ``screen_ns``: from ``expectedDisplayTime`` to light. ``sound_ns``: from the moment that
    ``getSynchronizationSources`` gives to the ear, Opus' 6.5 ms included. Only the difference moves
    the offset: raise ``screen_ns`` and the lips are believed later, raise ``sound_ns`` and the voice
    is. Origin: the glass probe in a headless Chromium 156 on one machine, so that this belief and the
    probe share their zero: marker-free constant -52.6 ms less zeros of -33 to -41 ms (two calibrations
    of five connections) are 12 to 19 ms of sound after light. A sound card or a television is another
    matter: the probe prints a host's own, pass it here.
    """

    screen_ns: int = ms(21)
    sound_ns: int = ms(37)


class SentLookup(Protocol):
    """What left under an output stamp (``SentLog``)."""

    def audio_between(self, from_ns: int, to_ns: int) -> list[Sent]: ...
    def video(self, stamp_ns: int) -> Sent | None: ...
    def newest_ns(self, kind: Kind) -> int | None: ...


class Recent(NamedTuple):
    """The last ten seconds at a viewer: medians of all and of each half; over which time. Voice ahead positive."""

    median_ns: int
    older_ns: int
    newer_ns: int
    from_ns: int
    until_ns: int


class ViewerObserver:
    """One per viewer. ``take`` each message with the time it came; ``report`` is what is believed of this viewer.

    ``start_ns``: the local time of output stamp 0. ``origins()``: the RTP times of stamp 0 of
    (sound, pictures), modulo 2**32, None while not known.
    """

    def __init__(
        self,
        sent: SentLookup,
        *,
        start_ns: int,
        origins: Callable[[], tuple[int | None, int | None]],
        policy: AvSyncPolicy | None = None,
        path: PathConstants | None = None,
        on_sample: Callable[[SyncSample], object] | None = None,
    ) -> None:
        self.gate = ReportGate()
        self.path = path if path is not None else PathConstants()
        # Reports come once a second: what they tell is up to that old, and the way here comes on top.
        self.monitor = AvSyncMonitor(policy, point="viewer", on_sample=self._sampled, settle_lag_ns=HOLD_NS)
        self.ignored: Counter[str] = Counter()
        self.last: ViewerReport | None = None
        self.shown: list[tuple[int, int]] = []
        """(stamp, page time) of the pictures in the last report that really left, in their order."""
        self._last_ns = 0
        self._sent, self._start_ns, self._origins, self._tell = sent, start_ns, origins, on_sample
        self._clock: deque[int] = deque(maxlen=CLOCK_REPORTS)
        self._on_screen: Presented | None = None  # the last picture seen; None: what is on screen is not known
        self._since_ns: int | None = None
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT_NS // ms(20) + 1)
        self._sound: tuple[int, int] | None = None  # (stamp, page time) of the packet under way
        self._slack_ns = 0  # its play time less its stamp, smoothed
        self._stretch_ns = 0  # how much was stretched of late, fading
        self._frame: tuple[int, int] | None = None

    # ---- in

    def take(self, data: object, now_ns: int) -> bool:
        """One message of the page, whatever it is. False: it was refused (``gate.refused`` says why)."""
        report = self.gate.take(data, now_ns)
        if report is None:
            return False
        self.last, self._last_ns = report, now_ns
        self.shown = []
        offset_ns = self._clock_offset(now_ns - report.page_ns)
        audio_origin, video_origin = self._origins()
        if audio_origin is None or video_origin is None:
            self.ignored["before the first packet"] += 1
            return True
        if not observes(report):
            self.ignored["unseen"] += 1
            self._look_away(now_ns)
            return True
        seen = self._pictures_of(report.frames or (), video_origin, offset_ns)
        heard = self._sounds_of(report.sounds, audio_origin, offset_ns)
        for presented in (*seen, *heard):
            self.monitor.observe(presented, now_ns)
        if seen:
            self._on_screen = seen[-1]
        return True

    def interrupt(self, epoch: int) -> None:
        """Observations of an older epoch do not count any more."""
        self.monitor.interrupt(epoch)

    # ---- out

    def report(self, now_ns: int) -> SyncReport:
        """What is believed of the offset at this viewer; UNKNOWN (None) where too little is known, or of now."""
        return self.monitor.report(now_ns)

    def recent(self, now_ns: int) -> Recent | None:
        """What a slow correction may go by; None: UNKNOWN, too little, or the browser still settles."""
        check_now(now_ns, -FAR_NS)
        self.monitor.report(now_ns)  # settles what is due
        recent = self._recent
        since = self._since_ns
        if since is None or not recent or now_ns - recent[-1][0] > 2 * HOLD_NS:
            return None
        until_ns = recent[-1][0]
        while recent and recent[0][0] <= until_ns - RECENT_NS:
            recent.popleft()
        half_ns = until_ns - RECENT_NS // 2
        older = sorted(offset for at, offset in recent if at <= half_ns)
        newer = sorted(offset for at, offset in recent if at > half_ns)
        if len(recent) < RECENT_MIN_SAMPLES or not older or not newer or recent[0][0] < since + SETTLE_AGE_NS:
            return None
        both = sorted(older + newer)
        return Recent(middle(both), middle(older), middle(newer), recent[0][0], until_ns)

    @property
    def claim_ns(self) -> int | None:
        """What getStats says the offset is, of the last report; it believes our sender reports."""
        last = self.last
        if last is None or last.audio is None or last.video is None:
            return None
        sound, picture = last.audio.playout_ms, last.video.playout_ms
        return None if not sound or not picture or abs(sound - picture) > 60_000 else ms(sound - picture)

    @property
    def offset_ns(self) -> int | None:
        """How much the voice is ahead for good, by the last report alone; None: it does not tell."""
        if self._sound is None or not self.shown:
            return None
        seen_after_ns = (page_ns - stamp_ns + self.path.screen_ns for stamp_ns, page_ns in self.shown)
        return offset_of(seen_after_ns, self._slack_ns + self.path.sound_ns)

    def as_dict(self, now_ns: int) -> dict[str, Any]:
        """For JSON: belief, the browser's claim, its buffers, and what was not believed."""
        report = self.report(now_ns)
        last = self.last if now_ns - self._last_ns <= STALE_REPORT_NS else None
        return {
            "offset_ms": _ms(report.offset_ns),
            "abs_p50_ms": _ms(report.abs_p50_ns),
            "abs_p95_ms": _ms(report.abs_p95_ns),
            "samples": report.samples,
            "claim_ms": None if last is None else _ms(self.claim_ns),
            "hidden": None if last is None else last.hidden,
            "audio": None if last is None or last.audio is None else last.audio.as_dict(),
            "video": None if last is None or last.video is None else last.video.as_dict(),
            "reports": self.gate.accepted,
            "refused": dict(self.gate.refused),
            "ignored": dict(self.ignored),
            "alerts": list(report.alerts),
        }

    # ---- inside

    def _sampled(self, sample: SyncSample) -> None:
        if self._since_ns is None:
            self._since_ns = sample.at_ns
        if sample.exact:  # in a stall or a silence there is nothing to correct
            self._recent.append((sample.at_ns, sample.offset_ns))
        if self._tell is not None:
            self._tell(sample)

    def _look_away(self, now_ns: int) -> None:
        """What is on screen is not known from here on: as under an idle picture, nothing is believed of the lips."""
        self._sound, picture, self._on_screen = None, self._on_screen, None
        if picture is not None:
            gone_ns = picture.at_ns + picture.duration_ns
            self.monitor.observe(picture._replace(pts_ns=None, at_ns=gone_ns, what=Heard.IDLE), now_ns)

    def _clock_offset(self, candidate_ns: int) -> int:
        """Local time less page time: by the report that came quickest."""
        clock = self._clock
        if clock and candidate_ns - min(clock) > CLOCK_JUMP_NS:
            clock.clear()
        clock.append(candidate_ns)
        return min(clock)

    def _stamp(self, kind: Kind, rtp: int, origin: int) -> int | None:
        """Output time of an RTP time: the one nearest to what left last (one rule for every wrap)."""
        newest_ns = self._sent.newest_ns(kind)
        if newest_ns is None:
            return None
        rate = SOUND_HZ if kind is AUDIO else PICTURE_HZ
        near = newest_ns * rate // 1_000_000_000
        ticks = near + ((rtp - origin - near + WRAP // 2) % WRAP) - WRAP // 2
        return ticks_to_ns(ticks, rate)

    def _pictures_of(self, frames: Sequence[ReportEntry], origin: int, offset_ns: int) -> list[Presented]:
        seen: list[Presented] = []
        for rtp, page_ns in frames:
            stamp_ns = self._stamp(VIDEO, rtp, origin)
            sent = None if stamp_ns is None else self._sent.video(stamp_ns)
            if stamp_ns is None or sent is None:
                self.ignored["picture that never left"] += 1
                continue
            at_ns = page_ns + offset_ns + self.path.screen_ns
            if not self._possible(VIDEO, stamp_ns, page_ns, at_ns, self._frame):
                continue
            self._frame = stamp_ns, page_ns
            self.shown.append((stamp_ns, page_ns))
            seen.append(Presented(VIDEO, sent.epoch, sent.pts_ns, sent.duration_ns, at_ns, ObservedBy.RVFC, sent.what))
        return seen

    def _possible(self, kind: Kind, stamp_ns: int, page_ns: int, at_ns: int, last: tuple[int, int] | None) -> bool:
        if last is not None and (stamp_ns <= last[0] or page_ns < last[1]):
            self.ignored[f"{kind.value} that goes back"] += 1
        elif at_ns < self._start_ns + stamp_ns - BEFORE_SENT_NS:
            self.ignored[f"{kind.value} before it left"] += 1
        else:
            return True
        return False

    def _sounds_of(self, sounds: Sequence[ReportEntry], origin: int, offset_ns: int) -> list[Presented]:
        """Each packet lasts until the next one is played from; what lies between tells what happened."""
        heard: list[Presented] = []
        shift_ns = offset_ns + self.path.sound_ns
        for rtp, page_ns in sounds:
            stamp_ns = self._stamp(AUDIO, rtp, origin)
            newest_ns = self._sent.newest_ns(AUDIO)
            if stamp_ns is None or newest_ns is None or not newest_ns - seconds(30) <= stamp_ns <= newest_ns + ms(20):
                self.ignored["sound that never left"] += 1
                continue
            if not self._possible(AUDIO, stamp_ns, page_ns, page_ns + shift_ns, self._sound):
                continue
            heard += self._played_until(stamp_ns, page_ns, shift_ns)
        return heard

    def _played_until(self, stamp_ns: int, page_ns: int, shift_ns: int) -> list[Presented]:
        """What left the loudspeaker between the packet under way and this one; this one is under way now."""
        last, slack_ns = self._sound, page_ns - stamp_ns
        if last is None or page_ns - last[1] > GAP_NS:
            self._sound, self._slack_ns, self._stretch_ns = (stamp_ns, page_ns), slack_ns, 0
            return []
        begin_ns, old_slack_ns = last[0], self._slack_ns
        content_ns, took_ns = stamp_ns - begin_ns, page_ns - last[1]
        self._sound = stamp_ns, page_ns
        self._stretch_ns += took_ns - content_ns - self._stretch_ns // SMOOTHING
        if abs(took_ns - content_ns) <= BREAK_NS:
            if abs(self._stretch_ns) > STRETCH_MAX_NS:
                self.ignored["sound at a rate that nothing plays at"] += 1
                self._slack_ns = slack_ns
                return []
            # Played through, perhaps a little stretched.
            self._slack_ns = old_slack_ns + (slack_ns - old_slack_ns) // SMOOTHING
            return self._slots(begin_ns, stamp_ns, begin_ns + old_slack_ns, stamp_ns + self._slack_ns, shift_ns)
        self._slack_ns, self._stretch_ns = slack_ns, 0
        from_ns = begin_ns + old_slack_ns
        if min(content_ns, took_ns) > 3 * ms(20):
            # The page was not looking: whether it stood or jumped in between, and where, is not known.
            self.ignored["sound not followed"] += 1
            return []
        if took_ns < content_ns:  # some of it was left out: where this packet goes on is told by itself
            return self._slots(begin_ns, begin_ns + took_ns, from_ns, from_ns + took_ns, shift_ns)
        heard = self._slots(begin_ns, stamp_ns, from_ns, from_ns + content_ns, shift_ns)
        rest_ns = from_ns + content_ns
        if rest_ns < page_ns and heard:  # nothing came: the content stood
            stood = Presented(
                AUDIO, heard[-1].epoch, None, page_ns - rest_ns, rest_ns + shift_ns, ObservedBy.STATS, Heard.STOPPED
            )
            heard.append(stood)
        return heard

    def _slots(self, from_ns: int, to_ns: int, at_ns: int, until_ns: int, shift_ns: int) -> list[Presented]:
        """What left under these stamps, laid evenly over the time in which it was played (page time + shift)."""
        heard = []
        content_ns, took_ns = to_ns - from_ns, max(until_ns - at_ns, 0)
        for sent in self._sent.audio_between(from_ns, to_ns):
            first_ns, end_ns = max(sent.stamp_ns, from_ns), min(sent.stamp_ns + sent.duration_ns, to_ns)
            begins_ns = at_ns + (first_ns - from_ns) * took_ns // content_ns
            lasts_ns = at_ns + (end_ns - from_ns) * took_ns // content_ns - begins_ns
            pts_ns = None if sent.pts_ns is None else sent.pts_ns + first_ns - sent.stamp_ns
            what = sent.what if pts_ns is not None or sent.what is not Heard.CONTENT else Heard.PASSING
            heard.append(Presented(AUDIO, sent.epoch, pts_ns, lasts_ns, begins_ns + shift_ns, ObservedBy.STATS, what))
        return heard


def observes(report: ViewerReport) -> bool:
    """Whether the page could see its screen all the while. No frame called, though the decoder went on: it did not."""
    if report.hidden or report.frames is None:
        return False
    if report.frames:
        return True
    decoded = None if report.video is None else report.video.counts.get("decoded")
    return decoded is not None and decoded < 3


def middle(ordered: Sequence[int]) -> int:
    """The median of a sorted, non-empty row."""
    return ordered[len(ordered) // 2]


def _ms(ns: int | None) -> float | None:
    return None if ns is None else to_ms(ns)
