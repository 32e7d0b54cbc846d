"""Ingress: what arrives by RTP gets a content PTS, on one timeline for both streams.

The sound's own labels are the timeline: its PTS are its RTP ticks, never corrected, so the voice
never jumps. The pictures are placed against it: by sender reports where both streams have them,
by arrival until then. The first reports move them at once, and so do the arrivals of the first
seconds; a correction that becomes known later is slewed (5 ms/s), and one that is far off must
persist before it is believed, because sender clocks step and reports lie.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from avsync.policy import AvSyncPolicy, Pacing
from avsync.timeline.drift import DriftEstimator
from avsync.timeline.old_turn import HELD, NEW, OLD, OldTurn
from avsync.timeline.quarantine import Quarantine
from avsync.timeline.rtp_wrap import Unwrapper, signed
from avsync.timeline.sender_report_mapping import RtpNtpMap
from avsync.types import AUDIO, VIDEO, Basis, Drop, DropReason, Kind, MediaUnit
from avsync.units import NS_PER_S, PICTURE_HZ, SOUND_HZ, ms, ns_to_ticks, seconds

ORIGIN_NS: Final = seconds(1)  # pictures may be older than the first sound
WINDOW_NS: Final = seconds(2)  # arrival minima are taken over this long
BELIEVE_AFTER: Final = 3  # reports in a row that agree on a far-off placement
AGREE_NS: Final = ms(50)
FAR_OFF_NS: Final = ms(500)
FIRST_ARRIVALS_NS: Final = seconds(5)  # so long arrivals alone may still step the pictures: a first key frame is late
DEADBAND_NS: Final = ms(1)
HELD_PICTURES: Final = 30  # before a reply's first sound come few of its pictures: what they jitter
HELD_SOUNDS: Final = 500  # ten seconds: twice as long as an acknowledgement is waited for
DECIDED: Final = 4 * HELD_SOUNDS  # more than is ever decided at once: nobody calls ``poll``
_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more
OUTAGE_NS: Final = seconds(60)  # nothing comes later; more is a clock that runs slow, or a source that fell behind


class _Track:
    """One stream's stamps: unwrapped, nominal ticks from its first one, and its reports."""

    def __init__(self, hz: int) -> None:
        self.hz = hz
        self.rtp = Unwrapper(32)
        self.reports = RtpNtpMap(hz)
        self.first: int | None = None
        self.last = 0
        self.moved = 0  # by how much its stamps are off those it would have had it never begun again
        self.before: tuple[int, int] | None = None  # the source before this one: its last stamp, and its ``moved``
        self.at_ns = 0  # when the last one should have come, by the pace of those before it
        self.shift_ns = 0  # PTS of the first stamp
        # Smallest (arrival - PTS without shift): over the last window, and over the one under way.
        self.low_ns: int | None = None
        self.next_low_ns: int | None = None
        self.low_until_ns = 0

    def follow(self, rtp: int, now_ns: int, limit_ns: int) -> None:
        """Stamps that jump are a source that began again (a new SSRC, a reconnect): its content goes on here."""
        ahead_ns = (rtp - self.last) * NS_PER_S // self.hz
        elapsed_ns = now_ns - self.at_ns
        if ahead_ns < -limit_ns or ahead_ns > limit_ns + elapsed_ns:
            going_on = self.last - (self.first or 0) + ns_to_ticks(max(elapsed_ns, ms(1)), self.hz)
            self.before = self.last, self.moved
            self.moved += rtp - going_on - (self.first or 0)
            self.first = rtp - going_on
            self.last, self.at_ns = rtp, now_ns
            self.reports = RtpNtpMap(self.hz)  # its reports begin anew, too
        elif rtp >= self.last:
            self.last = rtp
            # Not its arrival: after an outage one old unit comes late, and the fresh one behind it did not jump.
            due_ns = self.at_ns + ahead_ns
            if due_ns > now_ns:
                due_ns = now_ns
            self.at_ns = due_ns if due_ns > now_ns - OUTAGE_NS else now_ns - OUTAGE_NS

    def place(self, rtp32: int) -> int:
        """Where a stamp that was told, of this source or the one before, lies among those that it would have had."""
        rtp = self.rtp.peek(rtp32) if self.rtp.started else self.rtp.unwrap(rtp32)
        if self.before is not None:
            last, moved = self.before
            off = signed(rtp32 - last)
            if abs(off) < abs(rtp - self.last):
                return last + off - moved
        return rtp - self.moved

    def media_ns(self, rtp: int) -> int:
        """Nominal media time of an unwrapped stamp since the first."""
        return (rtp - (self.first or 0)) * NS_PER_S // self.hz

    def observe(self, arrival_ns: int, media_ns: int) -> None:
        delay = arrival_ns - media_ns
        if self.next_low_ns is None or delay < self.next_low_ns:
            self.next_low_ns = delay
        if arrival_ns >= self.low_until_ns:
            self.low_ns, self.next_low_ns = self.next_low_ns, delay
            self.low_until_ns = arrival_ns + WINDOW_NS

    def lowest_ns(self) -> int | None:
        lows = [low for low in (self.low_ns, self.next_low_ns) if low is not None]
        return min(lows) if lows else None


class Ingress:
    """``on_sound`` / ``on_picture`` per received unit -> a ``MediaUnit`` for the engine; reports as they come.

    After an ``interrupt`` what may still be the old turn is answered by a ``Drop``, or held back (None): ``poll`` then
    says what became of it; without ``poll`` only the newest ``DECIDED`` are kept. A dropped unit carries the epoch that
    was interrupted. Pictures that others depend on are pushed to the engine all the same: it answers them as stale, and
    knows that what needs them cannot be shown.

    ``acknowledges``: the provider says where an interrupted turn ends, and the host passes it on (``acknowledged``).
    Then nothing of the old turn is let through and nothing of the reply is lost, whatever lies between them. Without
    it the old turn ends at a gap of 40 ms in RTP time, where packets are numbered (``seq16``).
    """

    def __init__(
        self,
        policy: AvSyncPolicy,
        *,
        sound_hz: int = SOUND_HZ,
        picture_hz: int = PICTURE_HZ,
        acknowledges: bool = False,
    ) -> None:
        self._policy = policy
        self._sound = _Track(sound_hz)
        self._picture = _Track(picture_hz)
        # What the baselines' receivers do: each stream from its own first packet, reports unread.
        self._rebased = policy.pacing is not Pacing.CONTENT_CLOCK
        self._quarantine = Quarantine()
        self._old_turn = OldTurn(acknowledges=acknowledges)
        self._interrupted = False  # has it ever been? Until then every unit passes
        self._numbered: bool | None = None  # is the sound? None: none has come yet
        self._quarantined_seq = -1  # the last picture that is the old turn's if the sound is not numbered
        self._held: deque[tuple[int, int, MediaUnit]] = deque()  # with their numbers and places
        self._decided: deque[MediaUnit | Drop] = deque(maxlen=DECIDED)
        self._drift = DriftEstimator()
        self._epoch = self._old_epoch = 0
        self._seq = 0
        self._started_ns: int | None = None
        self._joined_ns = 0  # when the later of both streams began
        self._target_ns: int | None = None  # where the pictures' shift should be
        self._slewed_at_ns = 0
        self._far: list[int] = []
        self.synced = False
        """True once sender reports, not arrivals, place the pictures."""

    # ---- media

    def on_sound(
        self,
        rtp32: int,
        duration_ns: int,
        now_ns: int,
        *,
        size_bytes: int = 0,
        pause: bool = False,
        seq16: int | None = None,
        payload: Any = None,
    ) -> MediaUnit | Drop | None:
        """``seq16``: the packet's sequence number. With it a provider's pause is told from a line that hangs."""
        track = self._sound
        rtp = track.rtp.unwrap(rtp32)
        if track.first is None:
            self._first(track, rtp, now_ns)
        track.follow(rtp, now_ns, self._policy.early_limit_ns)
        pts = track.media_ns(rtp) + track.shift_ns
        track.observe(now_ns, pts - track.shift_ns)
        if pause:
            self._drift.on_pause()
        else:
            self._drift.add(now_ns, pts)
        self._seq += 1
        values = (AUDIO, self._seq, self._epoch, pts, duration_ns, size_bytes, True, True, pause, payload)
        unit = _new(MediaUnit, values)
        self._numbered = seq16 is not None
        if seq16 is None:
            silent_too = self._quarantine.on and self._quarantine.on_sound(now_ns, pause, duration_ns)
            while self._held:  # it was not known, when it came, that the sound is not numbered
                held = self._held.popleft()[2]
                old = silent_too or held.seq <= self._quarantined_seq
                self._decided.append(self._dropped(held, now_ns) if old else held)
            return self._dropped(unit, now_ns) if silent_too else unit
        place = rtp - track.moved
        verdict = self._old_turn.sound(seq16, place, pts, duration_ns, now_ns, pause)
        return self._judged(unit, seq16, place, verdict, now_ns) if self._interrupted else unit

    def on_picture(
        self,
        rtp32: int,
        duration_ns: int,
        now_ns: int,
        *,
        size_bytes: int = 0,
        is_key: bool = True,
        droppable: bool = True,
        in_order: bool = True,
        payload: Any = None,
    ) -> MediaUnit | Drop | None:
        """``in_order``: neither sent again nor overtaken, so that its arrival says how long the way is."""
        track = self._picture
        rtp = track.rtp.unwrap(rtp32)
        if track.first is None:
            self._first(track, rtp, now_ns)
        track.follow(rtp, now_ns, self._policy.early_limit_ns)
        media = track.media_ns(rtp)
        if in_order:
            track.observe(now_ns, media)
        if not self._rebased:
            self._slew(now_ns)
        self._seq += 1
        pts = media + track.shift_ns
        values = (VIDEO, self._seq, self._epoch, pts, duration_ns, size_bytes, is_key, droppable, False, payload)
        unit = _new(MediaUnit, values)
        if not self._interrupted:
            return unit
        if self._numbered is False:
            return self._dropped(unit, now_ns) if self._quarantine.holds(now_ns) else unit
        if self._numbered is None and self._quarantine.holds(now_ns):
            self._quarantined_seq = unit.seq
        place = rtp - track.moved
        verdict = self._old_turn.picture(place, pts, duration_ns, now_ns, placed=self._placed(now_ns))
        return self._judged(unit, 0, place, verdict, now_ns)

    def on_sender_report(self, kind: Kind, ntp_ns: int, rtp32: int, now_ns: int) -> None:
        """An SR: kept also before the first RTP; judged against the ones before it. Then ``poll``."""
        track = self._sound if kind is AUDIO else self._picture
        rtp = track.rtp.peek(rtp32) if track.rtp.started else track.rtp.unwrap(rtp32)
        if self._old_turn.gives_up(now_ns):  # nothing else may come for long
            self._settle(now_ns)
        if self._rebased:
            return
        if track.reports.add(ntp_ns, rtp, now_ns) is None:
            self._place_by_reports(now_ns)

    @property
    def basis(self) -> Basis:
        """What the pictures' places rest on."""
        return Basis.REPORTS if self.synced else Basis.ARRIVAL

    def drift_ppm(self, now_ns: int) -> int | None:
        """How fast the remote sound clock runs against ours (> 0: fast); None before a minute of it."""
        return self._drift.ppm(now_ns)

    # ---- turns

    def interrupt(self, epoch: int, now_ns: int, *, round_trip_ns: int = 0) -> None:
        """What the provider still sends of the old turn is kept out until it is known where that ends.

        ``round_trip_ns`` to the provider, where it is known: it tells what cannot be the reply to this interrupt yet.
        """
        self._interrupted = True
        self._old_epoch, self._epoch = self._epoch, epoch
        self._quarantine.start(now_ns)
        picture = self._picture
        newest_ns = None if picture.first is None else picture.media_ns(picture.last) + picture.shift_ns
        fastest_ns = self._sound.lowest_ns()
        self._old_turn.start(
            now_ns, round_trip_ns, picture_pts_ns=newest_ns,
            fastest_ns=None if fastest_ns is None else fastest_ns - self._sound.shift_ns,
        )  # fmt: skip
        while self._held:  # what came before this interrupt is no reply to it
            self._decided.append(self._dropped(self._held.popleft()[2], now_ns))

    def acknowledged(self, epoch: int, now_ns: int, *, last_sound_rtp32: int, last_picture_rtp32: int) -> None:
        """The provider says that it has sent the last of the turn that ``epoch``'s interrupt ended: these two stamps.

        The stamps of what it sent last of all before the reply, be it of that turn or earlier; where it has sent
        nothing yet, one before its first. Of no effect for another interrupt than the last one. Then ``poll``.
        """
        if epoch != self._epoch or not self._interrupted:
            return
        sound, picture = self._sound.place(last_sound_rtp32), self._picture.place(last_picture_rtp32)
        self._old_turn.acknowledged(sound, picture, now_ns)
        self._quarantine.marker(now_ns)
        self._settle(now_ns)

    def marker(self, now_ns: int) -> None:
        """The provider says that what comes from now on is the new turn. Better, where it can: ``acknowledged``."""
        self._quarantine.marker(now_ns)
        self._old_turn.marker(now_ns)
        while self._held:
            self._decided.append(self._dropped(self._held.popleft()[2], now_ns))

    def poll(self) -> MediaUnit | Drop | None:
        """What was held back and is decided now, in the order in which it came; None: no more."""
        return self._decided.popleft() if self._decided else None

    def _judged(self, unit: MediaUnit, seq16: int, place: int, verdict: int, now_ns: int) -> MediaUnit | Drop | None:
        if verdict == HELD:
            self._hold(unit, seq16, place, now_ns)
            return None
        if self._held and not self._old_turn.on:
            self._settle(now_ns)
        return self._dropped(unit, now_ns) if verdict == OLD else unit

    def _hold(self, unit: MediaUnit, seq16: int, place: int, now_ns: int) -> None:
        held = self._held
        held.append((seq16, place, unit))
        most = HELD_SOUNDS if unit.kind is AUDIO else HELD_PICTURES
        same = [entry for entry in held if entry[2].kind is unit.kind]
        if len(same) > most:
            held.remove(same[0])
            self._decided.append(self._dropped(same[0][2], now_ns))

    def _settle(self, now_ns: int) -> None:
        """It is known where the old turn ends: what was held belongs to one of the two."""
        old_turn, picture, placed = self._old_turn, self._picture, self._placed(now_ns)
        held, self._held = self._held, deque()
        for seq16, place, unit in held:
            if unit.kind is AUDIO:
                verdict = old_turn.held_sound(seq16, place, unit.pts_ns)
            else:
                unit = unit._replace(
                    pts_ns=picture.media_ns(place + picture.moved) + picture.shift_ns
                )  # it may be known better by now
                verdict = old_turn.picture(place, unit.pts_ns, unit.duration_ns, now_ns, placed=placed)
            if verdict == HELD:
                self._held.append((seq16, place, unit))
            else:
                self._decided.append(unit if verdict == NEW else self._dropped(unit, now_ns))

    def _placed(self, now_ns: int) -> bool | None:
        """Do reports place the pictures? None: not yet, and the call is so young that they may."""
        return True if self.synced else None if now_ns - self._joined_ns < FIRST_ARRIVALS_NS else False

    def _dropped(self, unit: MediaUnit, now_ns: int) -> Drop:
        old = unit._replace(epoch=self._old_epoch)
        return Drop(old, now_ns, old.epoch, DropReason.QUARANTINE)

    # ---- placing the pictures

    def _first(self, track: _Track, rtp: int, now_ns: int) -> None:
        track.first = track.last = rtp
        track.at_ns = self._joined_ns = now_ns
        if self._started_ns is None:
            self._started_ns = now_ns
        # By arrival, until something better is known.
        track.shift_ns = ORIGIN_NS + now_ns - self._started_ns
        self._place_by_reports(now_ns)

    def _place_by_reports(self, now_ns: int) -> None:
        """Where the reports put the pictures: the same instant of the sender's clock is the same PTS."""
        sound, picture = self._sound, self._picture
        if sound.first is None or picture.first is None:
            return
        sound_ntp = sound.reports.remote_ns(sound.last)
        picture_ntp = picture.reports.remote_ns(picture.last)
        if sound_ntp is None or picture_ntp is None:
            return
        sound_pts = sound.media_ns(sound.last) + sound.shift_ns
        target = sound_pts + (picture_ntp - sound_ntp) - picture.media_ns(picture.last)
        off = target - picture.shift_ns
        far = abs(off) > FAR_OFF_NS
        if far and self.synced and not self._persists(target):
            return
        if far or not self.synced:
            # What arrivals said was a guess. Frames are held or dropped once; slewed, lips would be off for long.
            self._step(target)
        else:
            self._far.clear()
            self._target_ns = target
        if not self.synced:
            self.synced = True
            if self._held and not self._old_turn.on:
                self._settle(now_ns)

    def _persists(self, target: int) -> bool:
        """A placement far from the present one needs several reports that agree on it."""
        if self._far and abs(target - self._far[-1]) > AGREE_NS:
            self._far.clear()
        self._far.append(target)
        return len(self._far) > 2 * BELIEVE_AFTER  # both streams report, so this is BELIEVE_AFTER rounds

    def _step(self, target: int) -> None:
        self._picture.shift_ns = self._target_ns = target
        self._far.clear()

    def _slew(self, now_ns: int) -> None:
        picture = self._picture
        target = self._target_ns
        if not self.synced:
            sound_low, picture_low = self._sound.lowest_ns(), picture.lowest_ns()
            if sound_low is None or picture_low is None:
                self._slewed_at_ns = now_ns
                return
            # No reports: the fastest unit of each stream took equally long.
            target = self._sound.shift_ns + picture_low - sound_low
            # Only earlier: a first picture that queued was no measure. Sound that runs ahead is none, either.
            if target < picture.shift_ns and now_ns - self._joined_ns < FIRST_ARRIVALS_NS:
                picture.shift_ns, self._slewed_at_ns = target, now_ns
                return
        if target is None or target == picture.shift_ns:
            self._slewed_at_ns = now_ns
            return
        off = target - picture.shift_ns
        limit = (now_ns - self._slewed_at_ns) * self._policy.slew_ppm // 1_000_000
        if limit <= 0:
            return
        self._slewed_at_ns = now_ns
        if -DEADBAND_NS < off < DEADBAND_NS:
            return
        picture.shift_ns += max(-limit, min(limit, off))
