"""The reading: the offset e(t) at the glass, every 10 ms, from a recording. Pure; nothing is played or waited for.

``e = a - v``, positive where the voice is ahead, as everywhere. ``a`` is the position of the sound heard; where no
content is heard (silence that somebody inserted, concealment) it is the interval between the last and the next real
position, and e its signed distance. ``v = position + min(shown for, duration)`` of the picture on screen; showing
the same picture again does not renew it. Raw: a constant of the machine lies in it until ``calibrated`` takes it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from avsync.glass.marks import NUMBER_LIMIT, sound
from avsync.glass.recording import ClockPair, FrameSeen, Recording
from avsync.glass.voice_position import Reference, VoicePositions, locate_voice
from avsync.units import SOUND_HZ

F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
Bool = npt.NDArray[np.bool_]

STEP_MS = 10.0
FRAME_MS = 40.0
"""A picture lasts at most this long, unless the next number says less. The caller knows better at other rates."""
HINT_MS = 12_000
"""The voice is searched for this far on both sides of the pictures; a bit further than any jitter buffer holds."""
LONGEST_CONCEALMENT_MS = 500.0
"""Sound that is there but cannot be recognised counts as a gap in the voice up to here; beyond, e is unknown."""
AFTER_VOICE_MS = 2000.0
"""Lips are judged this long after the voice has ended, as in the lab."""
CLOCK_SPAN = 25
"""Readings of the output clock on each side whose median is believed: 2.5 s, for its jitter of up to 5 ms."""


class ReadingState(IntEnum):
    MEASURED = 0
    NO_PICTURE = 1
    DEGRADED = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class GlassReading:
    """One row per 10 ms of the page's time. ``e_ms`` is NaN unless measured; so are ``a_ms``, ``v_ms`` where unknown.

    ``frozen``: measured, and the picture is past its duration. ``heard``: content is playing at that moment.
    """

    at_ms: F64
    e_ms: F64
    state: I8
    frozen: Bool
    heard: Bool
    a_ms: F64
    v_ms: F64
    zero_ms: float = 0.0
    unreadable_frames: int = 0

    def calibrated(self, zero_ms: float) -> GlassReading:
        """Absolute: ``zero_ms`` is what the raw reading says of a true 0."""
        return replace(self, e_ms=self.e_ms + self.zero_ms - zero_ms, zero_ms=zero_ms)

    def between(self, from_ms: float, to_ms: float) -> GlassReading:
        """Only [from, to) of the page's time."""
        return self.where((self.at_ms >= from_ms) & (self.at_ms < to_ms))

    def where(self, rows: Bool) -> GlassReading:
        """Only the rows that ``rows`` (one flag each) says."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return replace(self, **columns)


_COLUMNS = ("at_ms", "e_ms", "state", "frozen", "heard", "a_ms", "v_ms")


def read(recorded: Recording, *, frame_ms: float = FRAME_MS, reference: Reference = sound) -> GlassReading:
    """The raw reading of one recording, from the first content heard or shown to the last."""
    shown = shown_pictures(recorded.frames, frame_ms)
    if not recorded.clock or not len(recorded.pcm):
        heard = VoicePositions(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.bool_))
    else:
        heard = locate_voice(recorded.pcm, hint=_hint(recorded, shown), reference=reference)
    heard_ms = played_at(recorded, heard.at)
    times = _grid(heard, heard_ms, shown)
    low, high, content, known = _voice(heard, heard_ms, times)
    lips, state, frozen = _lips(shown, times)
    e = np.where(lips < low, low - lips, np.where(lips > high, high - lips, 0.0))
    state[(state == ReadingState.MEASURED) & ~known] = ReadingState.UNKNOWN
    measured = state == ReadingState.MEASURED
    return GlassReading(
        at_ms=times,
        e_ms=np.where(measured, e, np.nan),
        state=state,
        frozen=measured & frozen,
        heard=content,
        a_ms=np.where(content, low, np.nan),
        v_ms=np.where(measured, lips, np.nan),
        unreadable_frames=sum(frame.mark is None for frame in recorded.frames),
    )


# ------------------------------------------------------------------------------------ pictures


@dataclass(frozen=True, slots=True)
class ShownPictures:
    """A row per change on screen. ``position_ms``: NaN where unreadable; ``idle``: without lips, on purpose."""

    at_ms: F64
    position_ms: F64
    first_ms: F64
    lasts_ms: F64
    idle: Bool


def shown_pictures(frames: Sequence[FrameSeen], frame_ms: float) -> ShownPictures:
    """What was on screen from when; numbers unwrapped, a picture shown again keeps the time it was first shown."""
    at = np.array([frame.display_ms for frame in frames], dtype=np.float64)
    at = np.maximum.accumulate(at) if len(at) else at
    position, idle = np.full(len(at), np.nan), np.zeros(len(at), np.bool_)
    last: float | None = None
    first_shown: dict[float, float] = {}
    first = at.copy()
    for row, frame in enumerate(frames):
        if frame.mark is None:
            continue
        if frame.mark.idle:
            idle[row] = True
            continue
        last = unwrapped(frame.mark.number, last)
        position[row] = last
        first[row] = first_shown.setdefault(last, float(at[row]))
    return ShownPictures(at, position, first, _durations(position, frame_ms), idle)


def unwrapped(number: int, last: float | None) -> float:
    """The position nearest to ``last`` with this number modulo ``NUMBER_LIMIT``."""
    if last is None:
        return float(number)
    return last + (number - last + NUMBER_LIMIT / 2) % NUMBER_LIMIT - NUMBER_LIMIT / 2


def _durations(position: F64, frame_ms: float) -> F64:
    """Until the next picture that is further on, at most ``frame_ms``."""
    lasts = np.full(len(position), frame_ms)
    known = np.flatnonzero(~np.isnan(position))
    steps = np.diff(position[known])
    lasts[known[:-1]] = np.where((steps > 0) & (steps < frame_ms), steps, frame_ms)
    return lasts


def _lips(shown: ShownPictures, times: F64) -> tuple[F64, I8, Bool]:
    """(lips position, state, past its duration) at ``times``."""
    row = np.searchsorted(shown.at_ms, times, "right") - 1
    state = np.full(len(times), ReadingState.MEASURED, np.int8)
    if not len(shown.at_ms):
        state[:] = ReadingState.NO_PICTURE
        return np.full(len(times), np.nan), state, np.zeros(len(times), np.bool_)
    here = np.maximum(row, 0)
    shown_for = times - shown.first_ms[here]
    lips = shown.position_ms[here] + np.minimum(shown_for, shown.lasts_ms[here])
    state[np.isnan(lips)] = ReadingState.UNKNOWN
    state[shown.idle[here]] = ReadingState.DEGRADED
    readable = np.flatnonzero(~np.isnan(shown.position_ms))
    first = shown.at_ms[readable[0]] if len(readable) else np.inf
    state[(times < first) | (row < 0)] = ReadingState.NO_PICTURE
    return lips, state, shown_for > shown.lasts_ms[here]


# --------------------------------------------------------------------------------------- voice


def played_at(recorded: Recording, index: npt.ArrayLike) -> F64:
    """When samples of ``pcm`` were heard, in the page's ms. Empty where the page never said."""
    if not recorded.clock:
        return np.zeros(0)
    context_ms = (np.asarray(index, dtype=np.float64) + recorded.pcm_first) * (1000.0 / SOUND_HZ)
    at, ahead = _clock(recorded.clock)
    return context_ms + np.interp(context_ms, at, ahead)


def _clock(clock: Sequence[ClockPair]) -> tuple[F64, F64]:
    """(context time, page's time minus it), ms, with single outliers gone."""
    context = np.array([pair.context_s for pair in clock]) * 1000.0
    ahead = np.array([pair.at_ms for pair in clock]) - context
    smooth = [np.median(ahead[max(0, row - CLOCK_SPAN) : row + CLOCK_SPAN + 1]) for row in range(len(ahead))]
    return np.maximum.accumulate(context), np.array(smooth)


def _hint(recorded: Recording, shown: ShownPictures) -> Callable[[int], tuple[int, int] | None]:
    """Around the picture on screen; before and without any picture, around the first, or from the beginning."""
    known = ~np.isnan(shown.position_ms)
    at, position = shown.at_ms[known], shown.position_ms[known]

    def around(index: int) -> tuple[int, int] | None:
        if not len(at):
            return 0, 2 * HINT_MS * SOUND_HZ // 1000
        row = max(0, int(np.searchsorted(at, played_at(recorded, [index])[0], "right")) - 1)
        centre = round(float(position[row])) * (SOUND_HZ // 1000)
        return centre - HINT_MS * (SOUND_HZ // 1000), centre + HINT_MS * (SOUND_HZ // 1000)

    return around


def _grid(heard: VoicePositions, heard_ms: F64, shown: ShownPictures) -> F64:
    """Every 10 ms from the first content heard or shown to the end of the last."""
    content = heard_ms[~np.isnan(heard.position)]
    on_screen = ~np.isnan(shown.position_ms)
    seen = np.concatenate([shown.at_ms[on_screen], (shown.first_ms + shown.lasts_ms)[on_screen]])
    both = np.concatenate([content, seen])
    if not len(both):
        return np.zeros(0)
    end = both.max()
    if len(heard_ms):  # what was shown after the sound stopped being written down cannot be compared
        end = min(end, heard_ms[-1])
    if len(content):
        end = min(end, content[-1] + AFTER_VOICE_MS)
    return np.arange(np.ceil(both.min() / STEP_MS) * STEP_MS, end, STEP_MS)


def _voice(heard: VoicePositions, heard_ms: F64, times: F64) -> tuple[F64, F64, Bool, Bool]:
    """(low, high, content is heard, the interval is known) at ``times``; low == high where content is heard."""
    rows = np.flatnonzero(~np.isnan(heard.position))
    if not len(rows):
        nothing = np.full(len(times), np.nan)
        return nothing, nothing, np.zeros(len(times), np.bool_), np.zeros(len(times), np.bool_)
    at, position = heard_ms[rows], heard.position[rows] * (1000.0 / SOUND_HZ)
    after = np.searchsorted(at, times, "right")
    left, right = np.maximum(after - 1, 0), np.minimum(after, len(at) - 1)
    nearest = np.where(np.abs(times - at[left]) <= np.abs(at[right] - times), left, right)
    away = times - at[nearest]
    content = np.abs(away) <= STEP_MS / 2 + 0.01
    here = position[nearest] + away
    s0 = np.where(after > 0, position[left] + STEP_MS / 2, 0.0)
    s1 = np.where(after < len(at), position[right] - STEP_MS / 2, np.inf)
    # What sounds but is not recognised is concealment, unless it goes on for longer than any concealment does.
    loud = np.concatenate([[0], np.cumsum(heard.loud & np.isnan(heard.position))])
    inside = loud[rows[right]] - loud[rows[left]]
    known = content | (inside * STEP_MS <= LONGEST_CONCEALMENT_MS)
    known &= content | (after > 0)
    low, high = np.minimum(s0, s1), np.maximum(s0, s1)
    return np.where(content, here, low), np.where(content, here, high), content, known
