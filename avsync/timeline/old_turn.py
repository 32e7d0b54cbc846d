"""The old turn: which of a provider's packets were said before an interrupt, where its sound is numbered.

Nothing in a packet says to which turn it belongs, and after an interrupt the old turn is still on its way: for as long
as the provider goes on with it, and as long as the line hangs. Three things tell where it ends:

- a provider that acknowledges names its last packets (``acknowledged``). Until then everything is held;
- else a gap of ``TURN_GAP_NS`` in RTP time beyond what missing packets account for: the provider paused. Neither
  jitter, nor loss, nor a line that hangs makes one. Stamps that go back as far are as good;
- else ``LIMIT_NS`` of RTP time after the interrupt, or a pause that the provider marks.

Where it ends holds from then on too: an old packet that was overtaken by new ones stays old.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from avsync.timeline.quarantine import QUARANTINE_SILENCE_NS
from avsync.timeline.rtp_wrap import Unwrapper
from avsync.units import FAR_NS, ms, seconds

TURN_GAP_NS: Final = ms(40)
"""So much RTP time in which no packet was sent, two packets' worth: the provider paused."""

LIMIT_NS: Final = ms(2500)
"""Providers go on with the old turn for 0.3 to 1 s after an interrupt, some for 2; then it must be the new one."""

ACKNOWLEDGED_LIMIT_NS: Final = seconds(5)
"""The word of a provider that gives one comes over another channel, and may take longer; then it was lost."""

JITTER_NS: Final = ms(150)
"""The newest packet may have been on its way for this much longer than the fastest: preset g1050-H reaches 150."""

QUEUED_NS: Final = seconds(8)
"""So much may wait in the network at an interrupt: mobile networks hold seconds."""

STOOD_NS: Final = ms(300)
"""A packet that takes so much longer than the one before it: the line hung, or the provider's stamps stood still."""

PACE_NS: Final = ms(500)
"""Told within twice as much: what waited on a line comes faster than it was said, what kept pace had not waited."""

LEVEL_NS: Final = seconds(5)
"""From then on for so long: a sender's clock that is slow makes the way seem longer all the time."""

LEVEL_OFF_NS: Final = ms(50)
"""What keeps pace takes as long in two such times, but for so much; a queue that fills or empties differs by more."""

UNPLACED_NS: Final = ms(1500)
"""Without sender reports nobody knows by how much pictures come after their sound; a model may take so long."""

OVERTAKEN_NS: Final = seconds(5)
"""So long after the reply began nothing of the old turn comes any more."""

LENGTHS: Final = 4
"""What is missing was as long as packets near it: as one of the last so many, or the one behind it."""

MOST_GAPS: Final = 64
"""What hung on a line may hold gaps that were made before the interrupt, more than one."""

RESTARTED: Final = 3000
"""A packet this much older than the newest (a minute) was not overtaken: its source began again."""

OLD: Final = -1
HELD: Final = 0
NEW: Final = 1


class Way:
    """How long packets are on their way at the least (arrival minus PTS): what one takes beyond that, it waited.

    Not the least of a whole call: a provider whose stamps stand still while it says nothing seems to take longer from
    one turn to the next, and so does one with a slow clock.
    """

    def __init__(self) -> None:
        self.fastest_ns = FAR_NS
        self._before_ns = FAR_NS  # of the packet before
        self._level_ns = FAR_NS  # the least of the last time that was measured, and of the one under way
        self._next_level_ns = FAR_NS
        self._level_until_ns = -FAR_NS

    def add(self, now_ns: int, pts_ns: int) -> None:
        way_ns = now_ns - pts_ns
        if way_ns - self._before_ns >= STOOD_NS:
            self._level_ns = self._next_level_ns = FAR_NS
            self._level_until_ns = now_ns + PACE_NS
        elif now_ns >= self._level_until_ns:
            if abs(self._next_level_ns - self._level_ns) <= LEVEL_OFF_NS:
                self.fastest_ns = min(self._next_level_ns, self._level_ns)
            self._level_until_ns = now_ns + (PACE_NS if self._level_ns == FAR_NS else LEVEL_NS)
            self._level_ns, self._next_level_ns = self._next_level_ns, FAR_NS
        self._before_ns = way_ns
        self._next_level_ns = min(self._next_level_ns, way_ns)
        self.fastest_ns = min(self.fastest_ns, way_ns)


class OldTurn:
    """Tell it every packet of sound and every picture: ``OLD``, ``NEW``, or ``HELD`` until more is known.

    ``on``: from an interrupt until it is known where the old turn ends. ``ended_by``: "acknowledged", "gap", "silence"
    or "limit", for the record. Stamps (``rtp``) and sequence numbers are unwrapped or 16 bits as named; PTS lie on one
    timeline for both streams.
    """

    def __init__(self, *, acknowledges: bool) -> None:
        self.on = False
        self.ended_by = ""
        self._acknowledges = acknowledges
        self._limit_ns = ACKNOWLEDGED_LIMIT_NS if acknowledges else LIMIT_NS
        self._seqs = Unwrapper(16)
        self._newest: tuple[int, int, int, int] | None = None  # sequence number, PTS, PTS of its end, when it came
        self._lengths: deque[int] = deque(maxlen=LENGTHS)  # of the last packets, but for pauses that are marked
        self._newest_silent = False
        self._began_ns = 0
        self._sent_pts_ns = -FAR_NS  # what the provider had sent when the interrupt came, at the least
        self._way = Way()
        self._one_way_ns = 0
        self._silent_ns = 0
        self._guessed = False  # nothing had come when the interrupt did: what had been sent is learned from what comes
        # Perhaps the reply's first: as told to ``_begins``, and what is missing.
        self._candidate: tuple[int, int, int, int] | None = None
        self._gaps: list[tuple[tuple[int, int, int, int], int]] = []  # all such while a word is waited for; when
        # Where the reply begins, once that is known.
        self._first_seq = -FAR_NS
        self._first_pts_ns = self._gap_ns = 0
        self._last_rtp: tuple[int, int] | None = None  # the old turn's last, of sound and pictures
        self._pictures_from_ns = -FAR_NS
        self._ended_ns = -FAR_NS
        self._picture_pts_ns: int | None = None  # the newest of the old turn's, where only their order tells
        self._jumped = self._back = False

    def start(
        self, now_ns: int, round_trip_ns: int = 0, *, fastest_ns: int | None = None, picture_pts_ns: int | None = None
    ) -> None:
        """An interrupt. A second one begins again: its old turn is newer, and the reply to the first belongs to it.

        ``fastest_ns``: arrival minus PTS of the sound that took least. ``picture_pts_ns``: of the newest picture.
        """
        self.on = True
        # Where an earlier turn ended, and how, tells nothing of this one.
        self._first_seq = self._pictures_from_ns = -FAR_NS
        self._first_pts_ns = self._gap_ns = 0
        self._jumped = self._back = False
        self._picture_pts_ns = picture_pts_ns
        self._began_ns = now_ns
        self._one_way_ns = round_trip_ns // 2
        self._silent_ns = 0
        self._last_rtp = None
        self._sent_pts_ns = -FAR_NS
        self._candidate = None
        self._gaps.clear()
        self._guessed = self._newest is None
        if self._newest is not None:
            _, pts_ns, _, came_ns = self._newest
            late_ns = 0 if fastest_ns is None else came_ns - pts_ns - fastest_ns
            self._sent_pts_ns = pts_ns + now_ns - came_ns + min(max(late_ns, 0), JITTER_NS)

    def acknowledged(self, sound_rtp: int, picture_rtp: int, now_ns: int) -> None:
        """The provider's word: these were the last stamps of the old turn."""
        if self.on:
            self._last_rtp = sound_rtp, picture_rtp
            self._end("acknowledged", now_ns)

    def marker(self, now_ns: int) -> None:
        """What has come is the old turn's, and what follows is the new one's."""
        if self.on:
            self._first_seq = -FAR_NS if self._newest is None else self._newest[0] + 1
            self._end("marker", now_ns)

    def sound(self, seq16: int, rtp: int, pts_ns: int, duration_ns: int, now_ns: int, silent: bool) -> int:
        """``silent``: marked as a pause, or without signal."""
        seq = self._seqs.unwrap(seq16)
        newest = self._newest
        if newest is not None and seq < newest[0] - RESTARTED:
            newest = None
        first = newest is None
        gap_ns = missing_ns = 0
        newer = newest is None or seq > newest[0]
        if newer:
            if newest is not None:
                gap_ns, missing_ns = self._gap(newest, seq, pts_ns, duration_ns, silent)
            self._newest_silent = silent
            if not silent:
                self._lengths.append(max(duration_ns, 0))
            self._newest = seq, pts_ns, pts_ns + duration_ns, now_ns
        self._way.add(now_ns, pts_ns)
        if not self.on:
            return NEW if now_ns - self._ended_ns > OVERTAKEN_NS else self._of_ended(seq, rtp, pts_ns, duration_ns)
        by_this_ns = pts_ns - (now_ns - self._began_ns)
        catches_up = self._guessed and by_this_ns > self._sent_pts_ns
        self._sent_pts_ns = max(self._sent_pts_ns, by_this_ns)
        found = self._found(seq, pts_ns, gap_ns, missing_ns, first) if newer else None
        if self._acknowledges:
            if found is not None and len(self._gaps) < MOST_GAPS:
                self._gaps.append((found, now_ns))
            reached = pts_ns >= self._limit_pts_ns()
            if self.gives_up(now_ns, reached):
                return self._of_ended(seq, rtp, pts_ns, duration_ns)
            return self._begins("limit", seq, pts_ns, 0, now_ns) if reached else HELD
        if not newer:
            return self._begins("limit", seq, pts_ns, 0, now_ns) if pts_ns >= self._limit_pts_ns() else OLD
        candidate = self._candidate if found is None else found
        # Where a line that hung lets go, wait until it is known what was sent when.
        if candidate is not None and catches_up:
            self._candidate = candidate
            return HELD
        self._candidate = None
        if candidate is not None and (candidate[0] == seq or self._is_reply(candidate[1] - candidate[3])):
            return self._begins("gap", *candidate[:3], now_ns)
        if pts_ns >= self._limit_pts_ns():
            return self._begins("limit", seq, pts_ns, 0, now_ns)
        self._silent_ns = self._silent_ns + max(duration_ns, 0) if silent else 0
        if self._silent_ns >= QUARANTINE_SILENCE_NS:
            return self._begins("silence", seq, pts_ns, 0, now_ns)
        return OLD

    def gives_up(self, now_ns: int, reached: bool = False) -> bool:
        """The provider's word is lost: the reply begins where it would without one, if there was a gap.

        So it is once the limit is ``reached``, and as long after that gap by the clock: a short reply never reaches it.
        """
        if not self.on or not self._gaps:
            return False
        for (seq, pts_ns, gap_ns, missing_ns), came_ns in self._gaps:
            # Also by what is known since of what had been sent?
            if gap_ns < 0 or self._is_reply(pts_ns - missing_ns):
                if reached or now_ns - came_ns >= self._limit_ns:
                    self._begins("limit", seq, pts_ns, gap_ns, now_ns)
                return not self.on
        return False

    def _found(
        self, seq: int, pts_ns: int, gap_ns: int, missing_ns: int, first: bool
    ) -> tuple[int, int, int, int] | None:
        """What may be the reply's first packet, as ``_candidate``.

        A gap before what was under way when the interrupt came is one between turns that are both over. What is missing
        may be the turn's beginning.
        """
        if gap_ns <= -TURN_GAP_NS or (gap_ns >= TURN_GAP_NS and self._is_reply(pts_ns - missing_ns)):
            return seq, pts_ns, gap_ns, missing_ns
        if first and self._is_reply(pts_ns - JITTER_NS):
            return seq, pts_ns, TURN_GAP_NS, JITTER_NS  # nothing was said when somebody interrupted
        return None

    def _gap(
        self, newest: tuple[int, int, int, int], seq: int, pts_ns: int, duration_ns: int, silent: bool
    ) -> tuple[int, int]:
        """RTP time since the newest packet in which no packet was sent (< 0: stamps went back), and what is missing.

        Nobody knows how long those were that are missing: as long as the longest near them, or as the shortest. A gap
        is one either way. The length of a marked pause is no measure: it ends whenever the provider goes on.
        """
        lengths = list(self._lengths)
        if not silent or not lengths:
            lengths.append(max(duration_ns, 0))
        _, before_ns, end_ns, _ = newest
        missing = seq - newest[0] - 1
        longest_ns, shortest_ns = missing * max(lengths), missing * min(lengths)
        ahead_ns = pts_ns - end_ns - longest_ns
        if ahead_ns >= 0:
            return ahead_ns, longest_ns
        if self._newest_silent:
            end_ns = min(end_ns, before_ns + min(lengths))
        return min(pts_ns - end_ns - shortest_ns, 0), shortest_ns

    def held_sound(self, seq16: int, rtp: int, pts_ns: int) -> int:
        """Of a packet that was held, once it is known where the old turn ends."""
        if self._last_rtp is not None:
            return NEW if rtp > self._last_rtp[0] else OLD
        if self._gap_ns < 0:  # their stamps do not tell
            return NEW if self._seqs.peek(seq16) >= self._first_seq else OLD
        return NEW if self._gap_ns and pts_ns >= self._first_pts_ns else OLD

    def picture(self, rtp: int, pts_ns: int, duration_ns: int, now_ns: int, *, placed: bool | None) -> int:
        """``placed``: by sender reports, so that its PTS can be held against the sound's; None: they may still come."""
        if self.on:
            if self._newest is None:
                self._sent_pts_ns = max(self._sent_pts_ns, pts_ns - (now_ns - self._began_ns))
            before_ns = -FAR_NS if self._picture_pts_ns is None else self._picture_pts_ns
            reached = pts_ns >= max(self._limit_pts_ns(), before_ns + self._limit_ns)
            if not self.gives_up(now_ns, reached):
                if not reached:
                    return HELD
                self._first_seq = -FAR_NS if self._newest is None else self._newest[0] + 1
                self._pictures_from_ns = pts_ns
                self._end("limit", now_ns)
                return NEW
        if now_ns - self._ended_ns > OVERTAKEN_NS:
            return NEW
        if self._last_rtp is not None:
            return NEW if rtp > self._last_rtp[1] else OLD
        if placed is None:
            return HELD
        from_ns = self._pictures_from_ns
        if self._back:
            return NEW if self._jumps(pts_ns, duration_ns) or (self._gap_ns < 0 and pts_ns >= from_ns) else OLD
        if placed:
            return NEW if pts_ns >= from_ns else OLD
        if self._jumps(pts_ns, duration_ns):
            return NEW if pts_ns >= from_ns else OLD
        return NEW if pts_ns >= from_ns + (0 if placed else UNPLACED_NS) else OLD

    def _jumps(self, pts_ns: int, duration_ns: int) -> bool:
        """Has the gap in the sound been seen in the pictures, too? Before, they are the old turn's, however late."""
        before_ns = self._picture_pts_ns
        if before_ns is not None:
            ahead_ns = pts_ns - before_ns - duration_ns
            wanted_ns = max(abs(self._gap_ns) // 2, TURN_GAP_NS)
            self._jumped = self._jumped or (ahead_ns <= -wanted_ns if self._back else ahead_ns >= wanted_ns)
        self._picture_pts_ns = pts_ns if before_ns is None else max(before_ns, pts_ns)
        return self._jumped

    def _of_ended(self, seq: int, rtp: int, pts_ns: int, duration_ns: int) -> int:
        """A packet that comes when it is known where the reply begins; perhaps it was overtaken."""
        if self._last_rtp is not None:
            return NEW if rtp > self._last_rtp[0] else OLD
        if seq >= self._first_seq:
            return NEW
        off_ns = self._first_pts_ns - pts_ns - (self._first_seq - seq) * duration_ns
        if self._gap_ns and -TURN_GAP_NS < off_ns < TURN_GAP_NS:  # it is on the reply's side of the gap
            self._pictures_from_ns = min(self._pictures_from_ns, pts_ns - self._gap_ns // 2)
            return NEW
        return OLD

    def _limit_pts_ns(self) -> int:
        """From here on it must be the reply. A queue on the way may hold seconds of the old turn (``QUEUED_NS``)."""
        queued_ns = self._began_ns - self._way.fastest_ns - self._sent_pts_ns
        return self._sent_pts_ns + min(max(queued_ns, 0), QUEUED_NS) + self._limit_ns

    def _is_reply(self, pts_ns: int) -> bool:
        """Can it have been sent after the interrupt? What arrived then had been on its way."""
        return pts_ns >= self._sent_pts_ns + self._one_way_ns

    def _begins(self, by: str, seq: int, pts_ns: int, gap_ns: int, now_ns: int) -> int:
        """The reply begins with this packet of sound; its pictures from the middle of the gap on.

        Where stamps went back (``gap_ns`` < 0), what lies between is both turns'.
        """
        self._first_seq, self._first_pts_ns, self._gap_ns = seq, pts_ns, gap_ns
        self._pictures_from_ns = from_ns = pts_ns - (gap_ns // 2 if gap_ns >= 0 else gap_ns)
        # A loop's pictures may be labelled far ahead of their sound: then their stamps go back, too.
        self._back = gap_ns < 0 or (self._picture_pts_ns is not None and self._picture_pts_ns >= from_ns)
        self._end(by, now_ns)
        return NEW

    def _end(self, by: str, now_ns: int) -> None:
        self.on = False
        self.ended_by = by
        self._ended_ns = now_ns
