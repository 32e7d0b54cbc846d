"""Stalls: how long voice or picture has been missing right now, as far as the sound was observed.

Samples cannot say it: those of a silence are settled up to 10 s later. A turn without a fresh
picture stalls from that picture's end (or the turn's first sound), the voice from its last
content. Marked pauses and concealed loss pass; they are no stall. While the voice stands the
picture is right to hold, so that time is the voice's stall alone. Time in which nobody observed
the sound is not counted: a sink that died is not a stall of the source.
"""

from __future__ import annotations

from typing import Final

from avsync.types import Heard
from avsync.units import FAR_NS

_CONTENT: Final = Heard.CONTENT
_STOPPED: Final = Heard.STOPPED


class Stalls:
    """``hear`` and ``see`` what a sink did; ``lengths_ns`` says how long each stream has been missing."""

    def __init__(self) -> None:
        self.epoch = -1
        self.in_turn = False
        self._stopped = False
        self._heard_until_ns = -FAR_NS  # observed, whatever it was
        self._voice_ns = [0, 0]  # when this turn's voice began, and how far it has come
        self._pts_ns = -1
        self._fresh_until_ns: int | None = None

    def hear(self, what: Heard, epoch: int, at_ns: int, end_ns: int) -> None:
        if end_ns < self._heard_until_ns:
            return  # late; what came after it is known
        self._heard_until_ns = end_ns
        self._stopped = what is _STOPPED
        if what is _CONTENT:
            if not self.in_turn or epoch > self.epoch:
                self.in_turn, self.epoch = True, epoch
                self._voice_ns[0] = at_ns
            self._voice_ns[1] = end_ns
        elif self._stopped:
            self._voice_ns[0] += end_ns - at_ns
            if self._fresh_until_ns is not None:
                self._fresh_until_ns += end_ns - at_ns
        elif what is Heard.IDLE:
            self.in_turn = False
        elif what is Heard.PASSING:
            self._voice_ns[1] = end_ns

    def see(self, pts_ns: int, until_ns: int) -> None:
        """A picture came on screen; the same again is not fresh, and a late one does not take time back."""
        if pts_ns != self._pts_ns:
            self._pts_ns = pts_ns
            if self._fresh_until_ns is None or until_ns > self._fresh_until_ns:
                self._fresh_until_ns = until_ns

    def lengths_ns(self, now_ns: int) -> tuple[int | None, int]:
        """(video, audio) ns, as far as sound was observed; no picture ever seen: video is unknown."""
        if not self.in_turn:
            return None if self._fresh_until_ns is None else 0, 0
        until_ns = min(now_ns, self._heard_until_ns)
        audio_ns = max(0, until_ns - self._voice_ns[1]) if self._stopped else 0
        if self._fresh_until_ns is None:
            return None, audio_ns
        return max(0, until_ns - max(self._fresh_until_ns, self._voice_ns[0])), audio_ns
