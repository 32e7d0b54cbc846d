"""PlayoutClock: which content leaves when.

The content clock is the media time of the sample that leaves the output now. It runs while
content leaves, *stands* while silence is inserted because nothing was there, and *passes* over
loss, DTX and mute. Pictures follow it. It never steps except in silence and where the sound itself
jumps; a small disagreement while content is leaving is slewed. Untold, it extrapolates a bounded
time and then stands.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from avsync.units import ms

EXTRAPOLATE_NS: Final = ms(40)  # two 20 ms slots; beyond that nobody is playing
STEP_NS: Final = ms(100)  # a disagreement beyond this is a new timeline, not drift; ffplay jumps here, too
SEGMENTS_KEPT: Final = 8  # shifts remembered, so that a late picture keeps the stamp its sound had


class ClockState(Enum):
    INVALID = "invalid"  # no turn, or the turn was interrupted
    RUNNING = "running"
    STANDING = "standing"
    PASSING = "passing"


# Looking a member up in its Enum takes 50 ns; all such lookups together took 15 % of the engine's time.
INVALID: Final = ClockState.INVALID
RUNNING: Final = ClockState.RUNNING
STANDING: Final = ClockState.STANDING
PASSING: Final = ClockState.PASSING


class PlayoutClock:
    """Maps content PTS to the local time at which it leaves, and back.

    ``play`` when content leaves, ``stand`` when silence is inserted, ``go_past`` when content
    passes in silence, ``invalidate`` at an interrupt. ``position_ns`` is the content leaving at
    a time; ``reaches_ns`` the time at which that is a given content.
    """

    def __init__(self, slew_ppm: int = 5_000) -> None:
        self._slew_ppm = slew_ppm
        self._segments: deque[tuple[int, int]] = deque(maxlen=SEGMENTS_KEPT)  # (first pts, shift) older ones
        self._shift_ns = 0  # local - pts
        self._at_ns = 0
        self._known_until_ns = 0
        self._stood_at_pts_ns = 0
        self.state = INVALID

    def play(self, pts_ns: int, at_ns: int, duration_ns: int) -> None:
        """Content ``pts_ns`` starts to leave at ``at_ns`` and goes on for ``duration_ns``."""
        shift = at_ns - pts_ns
        if shift != self._shift_ns or self.state is INVALID:
            if self.state is RUNNING and -STEP_NS < shift - self._shift_ns < STEP_NS:
                limit = (at_ns - self._at_ns) * self._slew_ppm // 1_000_000
                shift = self._shift_ns + max(-limit, min(limit, shift - self._shift_ns))
            elif self.state is INVALID:
                self._segments.clear()
            else:
                self._segments.append((pts_ns, self._shift_ns))
            self._shift_ns = shift
        self._at_ns = at_ns
        self._known_until_ns = at_ns + duration_ns
        self.state = RUNNING

    def stand(self, at_ns: int) -> None:
        """From ``at_ns`` on silence is inserted: the content waits."""
        if self.state is not STANDING and self.state is not INVALID:
            self._stood_at_pts_ns = at_ns - self._shift_ns
            self.state = STANDING

    def go_past(self, pts_ns: int, at_ns: int) -> None:
        """From ``at_ns`` on content passes unheard, starting with ``pts_ns``."""
        shift = at_ns - pts_ns
        if self.state is STANDING and shift != self._shift_ns:
            self._segments.append((pts_ns, self._shift_ns))
            self._shift_ns = shift
        else:
            if self.state is INVALID:
                self._segments.clear()
            self._shift_ns = shift  # in silence a step harms nobody
        self._at_ns = at_ns
        self.state = PASSING

    def invalidate(self) -> None:
        """An interrupt: until the next ``play`` or ``go_past`` no content leaves."""
        self.state = INVALID

    def position_ns(self, now_ns: int) -> int | None:
        """The content that leaves at ``now_ns``; None when no turn is being played."""
        state = self.state
        if state is RUNNING:
            latest = self._known_until_ns + EXTRAPOLATE_NS
            return (now_ns if now_ns < latest else latest) - self._shift_ns
        if state is PASSING:
            return now_ns - self._shift_ns
        if state is STANDING:
            return self._stood_at_pts_ns
        return None

    def reaches_ns(self, pts_ns: int, now_ns: int) -> int | None:
        """From when on ``position_ns`` is at ``pts_ns`` or beyond, if nothing else is told; None: nobody knows."""
        state = self.state
        if state is INVALID:
            return None
        if state is STANDING:
            return now_ns if pts_ns <= self._stood_at_pts_ns else None
        return pts_ns + self._shift_ns

    def shift_at(self, pts_ns: int) -> int:
        """local - pts for this content, also where it left before the clock last stood."""
        shift = result = self._shift_ns
        for first_pts, before in reversed(self._segments):
            if pts_ns >= first_pts:
                break
            # What was skipped over never left; it counts as gone when the content after it left.
            result = min(before, first_pts + shift - pts_ns)
            shift = before
        return result
