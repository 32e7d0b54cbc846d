"""Stalls: how long voice or picture has been missing right now, as far as the sound was observed.

Samples cannot say it: those of a silence are settled up to 10 s later. A turn without a fresh
picture stalls from that picture's end (or the turn's first sound), the voice from its last
content. Marked pauses and concealed loss pass; they are no stall. While the voice stands the
picture is right to hold, so that time is the voice's stall alone. Time in which nobody observed
the sound is not counted: a sink that died is not a stall of the source.

Where nobody tells the end of a turn (behind somebody else's service) a voice that stops may be an end, a
pause or an outage, and nobody can know which. Its stall is unknown until the voice goes on; then a
silence of more than a second is told.
"""

from __future__ import annotations

from typing import Final

from avsync.types import Heard
from avsync.units import FAR_NS, ms

FIRST_PICTURE_NS: Final = ms(800)
"""So long a voice may speak before the first picture of all, while a key frame is on its way: a stall of a second is
told, whenever one looks."""
UNTOLD_NS: Final = ms(1040)
"""A shorter silence that nobody explained passes for a pause: a second, and a slot at each end of it."""
AFTERWARDS_NS: Final = ms(200)
"""A stall that is known once it is over is said for this long, twice the time between two looks: nobody told it while
it lasted, or the host slept meanwhile."""

_CONTENT: Final = Heard.CONTENT
_STOPPED: Final = Heard.STOPPED


class Stalls:
    """``hear`` and ``see`` what a sink did; ``lengths_ns`` says how long each stream has been missing.

    ``ends_told`` False: nobody says where a turn ends.
    """

    def __init__(self, *, ends_told: bool = True) -> None:
        self.epoch = -1
        self.in_turn = False
        self._ends_told = ends_told
        self._stopped = False
        self._heard_until_ns = -FAR_NS  # observed, whatever it was
        self._began_ns = 0  # this turn's first sound
        self._voice_ns = [0, 0]  # the same, but for the time the voice stood, and how far it has come
        self._stood_ns = 0  # how long it has stood since it was heard last
        self._over_ns, self._say_until_ns = 0, -FAR_NS  # a stall that is known now that it is over
        self.no_end = False  # somebody knows that a voice that stands now is none
        self._pts_ns = -1
        self._fresh_until_ns: int | None = None
        self._seen_until_ns = -FAR_NS  # the same, but for the time the voice stood
        self._stood_unseen_ns = 0  # how long it has stood since
        self._unseen_ns, self._say_unseen_until_ns = 0, -FAR_NS  # a stall of pictures that is known now that it is over

    def hear(self, what: Heard, epoch: int, at_ns: int, end_ns: int) -> None:
        if end_ns < self._heard_until_ns:
            return  # late; what came after it is known
        self._heard_until_ns = end_ns
        self._stopped = what is _STOPPED
        if what is _CONTENT:
            if not self.in_turn or epoch > self.epoch:
                self.in_turn, self.epoch = True, epoch
                self._began_ns = self._voice_ns[0] = at_ns
            elif self._stood_ns > UNTOLD_NS:
                self._over_ns, self._say_until_ns = self._stood_ns, end_ns + AFTERWARDS_NS
            self._stood_ns = 0
            self._voice_ns[1] = end_ns
        elif self._stopped:
            self._stood_ns += end_ns - at_ns
            self._stood_unseen_ns += end_ns - at_ns
            self._voice_ns[0] += end_ns - at_ns
            if self._fresh_until_ns is not None:
                self._fresh_until_ns += end_ns - at_ns
        elif what is Heard.IDLE:
            self.in_turn = False
        elif what is Heard.PASSING:
            self._voice_ns[1] = end_ns

    def see(self, pts_ns: int, until_ns: int, at_ns: int | None = None) -> None:
        """A picture came on screen; the same again is not fresh, and a late one does not take time back."""
        if pts_ns != self._pts_ns:
            self._pts_ns = pts_ns
            if at_ns is not None and self.in_turn:
                self._over_at(at_ns)
            self._seen_until_ns, self._stood_unseen_ns = max(self._seen_until_ns, until_ns), 0
            if self._fresh_until_ns is None or until_ns > self._fresh_until_ns:
                self._fresh_until_ns = until_ns

    def _over_at(self, at_ns: int) -> None:
        """Lips are back: a time without them that nobody could look at while it lasted is said now."""
        lasted_ns = at_ns - max(self._seen_until_ns, self._began_ns)
        if self._seen_until_ns == -FAR_NS or lasted_ns <= UNTOLD_NS:
            return
        if 2 * self._stood_unseen_ns <= lasted_ns:
            self._unseen_ns, self._say_unseen_until_ns = lasted_ns, at_ns + AFTERWARDS_NS
        elif self._ends_told:
            self._over_ns, self._say_until_ns = lasted_ns, at_ns + AFTERWARDS_NS

    def lengths_ns(self, now_ns: int) -> tuple[int | None, int | None]:
        """(video, audio) ns, as far as sound was observed.

        None is unknown: no picture was ever seen, or the voice stands and nobody tells why.
        """
        if not self.in_turn:
            return None if self._fresh_until_ns is None else 0, 0
        until_ns = min(now_ns, self._heard_until_ns)
        audio_ns = self._audio_ns(until_ns)
        if self._fresh_until_ns is None:
            return None, audio_ns
        video_ns = max(0, until_ns - max(self._fresh_until_ns, self._voice_ns[0]))
        return max(video_ns, self._unseen_ns if until_ns <= self._say_unseen_until_ns else 0), audio_ns

    def unseen_ns(self, now_ns: int) -> int | None:
        """For how long a voice was heard, with or without holes, that nobody ever saw a picture of; else None."""
        if not self.in_turn or self._fresh_until_ns is not None:
            return None
        speaks_ns = min(now_ns, self._voice_ns[1]) - self._began_ns
        return speaks_ns if speaks_ns > FIRST_PICTURE_NS else None

    def _audio_ns(self, until_ns: int) -> int | None:
        if not self._stopped:
            return self._over_ns if until_ns <= self._say_until_ns else 0
        return max(0, until_ns - self._voice_ns[1]) if self._ends_told or self.no_end else None
