"""SentLog: what left under which output stamp, for half a minute, so that what a viewer saw can be told what it was.

A viewer speaks of RTP times; they are output time in ticks; this says which content that was.
Bounded in time and in entries; O(log n) to look up, amortised O(1) to add in order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from avsync.types import AUDIO, Heard, Kind
from avsync.units import ms, seconds

KEEP_NS = seconds(30)
"""A jitter buffer holds at most 10 s, a report comes a second later."""
MAX_ENTRIES = 8_192
"""Per kind: 30 s of sound in 5 ms slots is 6 000."""
SAME_PICTURE_NS = ms(0.5)
"""A stamp goes out in ticks of 11 us; two pictures' stamps are at least 1 ms apart."""
_COMPACT_AFTER = 1_024


class Sent(NamedTuple):
    """What left from ``stamp_ns`` on (output time since the session's start). ``pts_ns`` None: no content.

    ``left_ns``: when it did; None: at its stamp.
    """

    stamp_ns: int
    duration_ns: int
    epoch: int
    pts_ns: int | None
    what: Heard
    left_ns: int | None = None


class SentLog:
    """``add_audio``/``add_video`` as it leaves, in the order of stamps; ``audio``/``video`` to look it up."""

    def __init__(self) -> None:
        self._sounds, self._pictures = _Ring(), _Ring()

    def add_audio(self, stamp_ns: int, duration_ns: int, epoch: int, pts_ns: int | None, what: Heard) -> None:
        self._sounds.add(Sent(stamp_ns, duration_ns, epoch, pts_ns, what))

    def add_video(
        self, stamp_ns: int, duration_ns: int, epoch: int, pts_ns: int | None, what: Heard, left_ns: int | None = None
    ) -> None:
        self._pictures.add(Sent(stamp_ns, duration_ns, epoch, pts_ns, what, left_ns))

    def audio(self, stamp_ns: int) -> Sent | None:
        """The sound that left at this stamp; None: not known (any more), or nothing did."""
        sent = self._sounds.at_or_before(stamp_ns)
        return sent if sent is not None and stamp_ns < sent.stamp_ns + sent.duration_ns else None

    def audio_between(self, from_ns: int, to_ns: int) -> list[Sent]:
        """All that left in part between two stamps, in order."""
        return self._sounds.overlapping(from_ns, to_ns)

    def video(self, stamp_ns: int) -> Sent | None:
        """The picture with this stamp, as exactly as a tick of the RTP clock tells."""
        sent = self._pictures.at_or_before(stamp_ns + SAME_PICTURE_NS)
        return sent if sent is not None and stamp_ns - sent.stamp_ns <= SAME_PICTURE_NS else None

    def video_after(self, stamp_ns: int) -> Sent | None:
        """The picture that left after the one with this stamp; None: none did yet."""
        return self._pictures.after(stamp_ns + SAME_PICTURE_NS)

    def newest_ns(self, kind: Kind) -> int | None:
        """The newest stamp of this kind: an RTP time that wraps is the one nearest to it."""
        return (self._sounds if kind is AUDIO else self._pictures).newest_ns

    def __len__(self) -> int:
        return len(self._sounds) + len(self._pictures)


class _Ring:
    """Entries by stamp: two lists whose head is cut off now and then, so that they can be bisected."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._entries: list[Sent] = []
        self._head = 0

    def __len__(self) -> int:
        return len(self._stamps) - self._head

    @property
    def newest_ns(self) -> int | None:
        return self._stamps[-1] if len(self) else None

    def add(self, sent: Sent) -> None:
        stamps, entries = self._stamps, self._entries
        if not stamps or sent.stamp_ns > stamps[-1]:
            stamps.append(sent.stamp_ns)
            entries.append(sent)
        else:
            at = bisect_left(stamps, sent.stamp_ns, self._head)
            if stamps[at] == sent.stamp_ns:
                entries[at] = sent
            else:
                stamps.insert(at, sent.stamp_ns)
                entries.insert(at, sent)
        oldest_ns = stamps[-1] - KEEP_NS
        while stamps[self._head] < oldest_ns or len(self) > MAX_ENTRIES:
            self._head += 1
        if self._head >= _COMPACT_AFTER:
            del stamps[: self._head], entries[: self._head]
            self._head = 0

    def at_or_before(self, stamp_ns: int) -> Sent | None:
        at = bisect_right(self._stamps, stamp_ns, self._head) - 1
        return self._entries[at] if at >= self._head else None

    def after(self, stamp_ns: int) -> Sent | None:
        at = bisect_right(self._stamps, stamp_ns, self._head)
        return self._entries[at] if at < len(self._entries) else None

    def overlapping(self, from_ns: int, to_ns: int) -> list[Sent]:
        first = max(bisect_right(self._stamps, from_ns, self._head) - 1, self._head)
        last = bisect_left(self._stamps, to_ns, self._head)
        return [sent for sent in self._entries[first:last] if sent.stamp_ns + sent.duration_ns > from_ns]
