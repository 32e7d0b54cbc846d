"""Belief: what was seen to leave goes in, samples of the offset come out, on a fixed grid of time.

The same definition as the lab's truth, from observations alone. Voice: while content leaves,
a(t) = pts + (t - at). While none does (before the first, silence, loss, a pause) it is somewhere
in [s0, s1], between the last content that left and the next that will. Lips: v(t) = pts +
min(t - shown_at, duration); the same picture again does not renew ``shown_at``. Offset:
e = a - v, and in silence the signed distance of v from [s0, s1], 0 inside.

So a sample in silence waits for the next sound: where it passes (``PASSING``) at most ``HOLD_NS``,
where it stopped (``STOPPED``) at most ``HOLD_STOPPED_NS``; then the voice is taken to have passed
on, or to stand, all that while. Every sample waits
``SETTLE_LAG_NS``, because picture and sound are observed by different people and one of them is
late. A sample depends only on observations at most that late, never on when ``settle`` ran.

A turn runs from its first content in either stream to the last of both, or to the end of a stop that turns
out to be the end, at most 2 s after its voice ended, or to the next turn's first content. No sample without a
picture of that turn, under an idle picture, or where no sound was observed at all: no belief is better than a guess.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Final, NamedTuple

from avsync.types import AUDIO, Heard, Presented
from avsync.units import FAR_NS, ms, seconds

GRID_NS: Final = ms(20)
"""One sample per slot of sound. Multiples of it in the point's own time, so a freeze counts and grows."""
HOLD_NS: Final = seconds(2)
"""How long a sample waits for the sound that ends a silence, and how long lips may trail the voice."""
HOLD_STOPPED_NS: Final = seconds(10)
"""The same where the voice stopped: only the next sound tells whether what was missing is said or lost."""
SETTLE_LAG_NS: Final = ms(100)
"""Picture and sound of the same moment are observed at most this far apart."""
MAX_PENDING: Final = 2_048
"""Per stream; what waits is at most 10.1 s of observations, 2 020 at 5 ms per unit."""

_CONTENT: Final = Heard.CONTENT  # looking a member up in its Enum takes 50 ns
_IDLE: Final = Heard.IDLE
_new: Final = tuple.__new__  # a NamedTuple's own constructor takes 120 ns more


class SyncSample(NamedTuple):
    """The believed offset (ns, > 0: the voice is ahead) at one moment of its point's own time.

    ``frozen``: the picture is past its duration.

    ``exact``: content was leaving and the picture was fresh; the only kind that shows a drift.
    """

    at_ns: int
    offset_ns: int
    epoch: int
    frozen: bool = False
    exact: bool = True


class Belief:
    """``add`` observations (checked by the caller) nearly in order, ``settle`` now and then.

    Costs well under a microsecond per observation and about one per sample.
    """

    def __init__(self, *, lag_ns: int = SETTLE_LAG_NS) -> None:
        self._lag_ns = lag_ns
        self._sounds: deque[Presented] = deque()
        self._pictures: deque[Presented] = deque()
        self._marks = 0  # pending sounds that may end a silence: content and idle
        self.overflowed = 0
        # The turn.
        self._in_turn = False
        self._epoch = -1
        self._cursor_ns = -FAR_NS  # the next moment to settle
        self._closed_pts_ns = -FAR_NS  # content before this belongs to a turn that is over
        # The voice.
        self._sound_at_ns = self._sound_end_ns = -FAR_NS  # the stretch of output under the cursor
        self._sound_pts_ns: int | None = None  # None: it is silence
        self._silence: Heard | None = None  # of which kind
        self._said_ns: int | None = None  # s0
        self._next_pts_ns: int | None = None  # s1, once known
        self._voice_end_ns = -FAR_NS
        self._over = False  # nothing more is said in this turn
        # The lips.
        self._picture_pts_ns: int | None = None
        self._picture_at_ns = self._picture_lasts_ns = 0
        self._idle = False

    @property
    def pending(self) -> int:
        """Observations that are not settled yet; bounded by ``2 * MAX_PENDING``."""
        return len(self._sounds) + len(self._pictures)

    def add(self, presented: Presented) -> None:
        """Keep an observation for ``settle``. Amortised O(1) in order, O(MAX_PENDING) out of order."""
        kind, _, _, _, at_ns, _, what = presented
        if kind is AUDIO:
            pending = self._sounds
            if what is _CONTENT or what is _IDLE:
                self._marks += 1
        else:
            pending = self._pictures
        if pending and at_ns < pending[-1][4]:
            _insert(pending, presented)
        else:
            pending.append(presented)
        if len(pending) > MAX_PENDING:
            self.overflowed += 1
            lost = pending.popleft()
            if lost.kind is AUDIO and lost.what in (Heard.CONTENT, Heard.IDLE):
                self._marks -= 1

    def settle(self, now_ns: int) -> list[SyncSample]:
        """Every sample that has become known by ``now_ns``, in order of time."""
        samples: list[SyncSample] = []
        horizon_ns = now_ns - self._lag_ns
        next_ns = -FAR_NS  # of the oldest pending observation, at the latest
        while self._in_turn or self._wake(horizon_ns):
            t = self._cursor_ns
            if t > horizon_ns:
                break
            if next_ns <= t:
                next_ns = self._apply_until(t)
                continue  # a turn may have ended or begun
            said_ns = self._sound_pts_ns
            if said_ns is not None and t < self._sound_end_ns:
                shown_pts_ns = self._picture_pts_ns
                if shown_pts_ns is not None and not self._idle:
                    shown_for_ns = t - self._picture_at_ns
                    frozen = shown_for_ns > self._picture_lasts_ns
                    lips_ns = shown_pts_ns + (self._picture_lasts_ns if frozen else shown_for_ns)
                    offset_ns = said_ns + t - self._sound_at_ns - lips_ns
                    samples.append(_new(SyncSample, (t, offset_ns, self._epoch, frozen, not frozen)))
            else:
                if not self._know_silence(t, horizon_ns):
                    break
                if not self._in_turn:
                    continue
                sample = self._sample_in_silence(t)
                if sample is not None:
                    samples.append(sample)
            self._cursor_ns = t + GRID_NS
        return samples

    # Time goes on: what was observed becomes what is.

    def _wake(self, horizon_ns: int) -> bool:
        """Outside turns: go on to the first content, if it is there."""
        while self._apply_next(horizon_ns):
            if self._in_turn:
                return True
        return False

    def _apply_until(self, t: int) -> int:
        """Everything pending that is not after ``t`` becomes the present. When the next one is: FAR_NS without any."""
        sounds, pictures = self._sounds, self._pictures
        while True:
            sound_at_ns = sounds[0][4] if sounds else FAR_NS  # at_ns, by its number in half the time
            picture_at_ns = pictures[0][4] if pictures else FAR_NS
            if sound_at_ns <= t and sound_at_ns < picture_at_ns:
                self._apply_sound(sounds.popleft())
            elif picture_at_ns <= t:
                self._apply_picture(pictures.popleft())
            else:
                return sound_at_ns if sound_at_ns < picture_at_ns else picture_at_ns

    def _apply_next(self, until_ns: int) -> bool:
        """The oldest pending observation becomes the present, if it is not after ``until_ns``."""
        sound_at_ns = self._sounds[0].at_ns if self._sounds else FAR_NS
        picture_at_ns = self._pictures[0].at_ns if self._pictures else FAR_NS
        if sound_at_ns <= until_ns and sound_at_ns < picture_at_ns:
            self._apply_sound(self._sounds.popleft())
            return True
        if picture_at_ns <= until_ns:
            self._apply_picture(self._pictures.popleft())
            return True
        return False

    def _apply_sound(self, sound: Presented) -> None:
        _, epoch, pts_ns, duration_ns, at_ns, _, what = sound
        if what is _CONTENT and pts_ns is not None:
            self._marks -= 1
            if epoch >= self._epoch:
                if epoch > self._epoch or self._over or not self._in_turn:
                    self._open(epoch, at_ns)
                self._said_ns = pts_ns + duration_ns
                self._voice_end_ns = at_ns + duration_ns
                self._next_pts_ns = None
            # The tail of the last turn under this turn's first picture is heard all the same.
            self._sound_pts_ns, self._silence = pts_ns, None
            self._sound_at_ns, self._sound_end_ns = at_ns, at_ns + duration_ns
            return
        self._marks -= what is _IDLE
        self._sound_pts_ns, self._silence = None, what if epoch <= self._epoch else _IDLE
        self._sound_at_ns, self._sound_end_ns = at_ns, at_ns + duration_ns
        if (what is _IDLE or epoch > self._epoch) and self._said_ns is not None:
            self._over = True

    def _apply_picture(self, picture: Presented) -> None:
        _, epoch, pts_ns, duration_ns, at_ns, _, what = picture
        if what is _IDLE:
            self._idle = True
            return
        if pts_ns is None or (epoch < self._epoch and self._picture_pts_ns is None):
            return
        if pts_ns == self._picture_pts_ns:  # the same again
            self._idle = False
            return
        if epoch > self._epoch:
            self._open(epoch, at_ns)
        elif not self._in_turn:
            if epoch < self._epoch or pts_ns < self._closed_pts_ns:
                return  # lips of a turn that is over
            self._open(epoch, at_ns)
        self._picture_pts_ns, self._picture_at_ns, self._picture_lasts_ns = pts_ns, at_ns, duration_ns
        self._idle = False

    def _open(self, epoch: int, at_ns: int) -> None:
        """A turn begins: nothing of the last one is offset against it."""
        self._close()
        old = self._picture_pts_ns is not None and self._picture_pts_ns < self._closed_pts_ns
        if epoch != self._epoch or old:
            self._picture_pts_ns = None
        self._in_turn, self._epoch, self._over = True, epoch, False
        self._said_ns = self._next_pts_ns = None
        self._voice_end_ns = at_ns
        self._cursor_ns = max(self._cursor_ns, -(-at_ns // GRID_NS) * GRID_NS)

    def _close(self) -> None:
        self._in_turn = False
        if self._said_ns is not None:
            self._closed_pts_ns = self._said_ns
            self._said_ns = None

    # Silence: what is not known yet is waited for.

    def _know_silence(self, t: int, horizon_ns: int) -> bool:
        """Whether it is known what the silence at ``t`` ends with, or that nothing will; may end the turn."""
        if not self._knows_what_follows():
            stopped = self._silence is Heard.STOPPED and self._said_ns is not None
            until_ns = t + (HOLD_STOPPED_NS if stopped else HOLD_NS)
            if self._marks:
                self._look_ahead(min(horizon_ns, until_ns))
            if not self._knows_what_follows():
                if horizon_ns < until_ns:
                    return False
                observed = t < self._sound_end_ns or (self._sounds and self._sounds[0].at_ns <= t + HOLD_NS)
                if self._said_ns is None or not observed:
                    self._close()
                return True
        return self._know_tail(t, horizon_ns) if self._over else True

    def _knows_what_follows(self) -> bool:
        # A method of its own: a type checker takes an attribute that was None a moment ago for None after a call
        # that sets it, and a compiled build believes the type checker.
        return self._over or self._next_pts_ns is not None

    def _look_ahead(self, until_ns: int) -> None:
        """Find the sound that ends the silence under the cursor: this turn's next content, or its end."""
        for sound in self._sounds:
            if sound.at_ns > until_ns:
                return
            if sound.what is Heard.CONTENT and sound.epoch >= self._epoch:
                if sound.epoch == self._epoch:
                    self._next_pts_ns = sound.pts_ns
                else:
                    self._over = True
                return
            if sound.what is Heard.IDLE and self._said_ns is not None:
                self._over = True
                return

    def _know_tail(self, t: int, horizon_ns: int) -> bool:
        """After the voice's end a turn lasts while its lips move, and while the voice stood; may end the turn."""
        end_ns = self._voice_end_ns + HOLD_NS
        if self._said_ns is None or t > end_ns:
            self._close()
        elif self._silence is Heard.STOPPED:
            return True  # it never went on, but nobody knew: lips were right to wait, and belong to it
        elif self._picture_pts_ns is None or t - self._picture_at_ns > self._picture_lasts_ns:
            fresh = self._fresh_ahead(min(horizon_ns, end_ns))
            if fresh is None and horizon_ns < end_ns:
                return False
            if not fresh:
                self._close()
        return True

    def _fresh_ahead(self, until_ns: int) -> bool | None:
        """Whether another picture of this turn comes before something else ends it; None: neither by then."""
        heard_ns = next(
            (sound.at_ns for sound in self._sounds if sound.what is Heard.CONTENT and sound.epoch >= self._epoch),
            FAR_NS,
        )
        for picture in self._pictures:
            if picture.at_ns > min(until_ns, heard_ns):
                break
            if picture.what is Heard.IDLE:
                continue
            if picture.epoch > self._epoch:
                return False
            if picture.epoch == self._epoch and picture.pts_ns not in (None, self._picture_pts_ns):
                return True
        return False if heard_ns <= until_ns else None

    def _sample_in_silence(self, t: int) -> SyncSample | None:
        """The distance of the lips from where the voice can be."""
        if self._picture_pts_ns is None or self._idle:
            return None
        shown_for_ns = t - self._picture_at_ns
        frozen = shown_for_ns > self._picture_lasts_ns
        lips_ns = self._picture_pts_ns + min(shown_for_ns, self._picture_lasts_ns)
        low_ns, high_ns = self._said_ns, self._next_pts_ns
        if self._over:
            high_ns = FAR_NS
        elif high_ns is None:  # waited long enough; said is known, or the turn would have been closed
            assert low_ns is not None
            high_ns = low_ns + (t - self._voice_end_ns + HOLD_NS if self._silence is Heard.PASSING else 0)
        if low_ns is None:
            low_ns = -FAR_NS
        elif low_ns > high_ns:  # content that jumps back is an interval all the same
            low_ns, high_ns = high_ns, low_ns
        offset_ns = low_ns - lips_ns if lips_ns < low_ns else min(high_ns - lips_ns, 0)
        return SyncSample(t, offset_ns, self._epoch, frozen, exact=False)


def _insert(pending: deque[Presented], presented: Presented) -> None:
    """Put a late observation in its place: after all that are not later."""
    insort(pending, presented, key=_at_ns)


def _at_ns(presented: Presented) -> int:
    return presented.at_ns
