"""Truth: the offset e(t) between voice and lips, from what was made and what left.

``offsets`` is the definition of the offset in documents and limits: voice position minus lips position, every 10 ms
of a point's own time inside every turn, positive where the voice is ahead. ``offset_at`` answers the same at given
times, so that belief can be held against truth. Write with the logs, read with these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.units import ms
from sim.truth.columns import I64, NEVER, Bool
from sim.truth.logs import ArrivalLog, PresentationLog, SourceLog
from sim.truth.tables import PresentationTable, SourceTable, position

__all__ = ["ArrivalLog", "OffsetState", "Offsets", "PresentationLog", "SourceLog", "offset_at", "offsets"]

AFTER_VOICE_NS = ms(2000)
"""A turn is judged this long after its voice ended, if its lips are not done by then."""
CHUNK_SAMPLES = 1 << 18  # bounds the temporaries of one long turn to about 30 MB


class OffsetState(IntEnum):
    MEASURED = 0
    NO_PICTURE = 1
    DEGRADED = 2


class Offsets(NamedTuple):
    """One row per sample, in order of time. ``e_ns`` is 0 and means nothing unless the state is MEASURED."""

    at_ns: I64
    e_ns: I64
    state: npt.NDArray[np.int8]
    turn: npt.NDArray[np.int32]
    frozen: Bool  # measured, and the frame on screen is past its duration
    step_ns: int


def offsets(source: SourceLog, presented: PresentationLog, *, step_ns: int = ms(10)) -> Offsets:
    """e(t) at one point, at every multiple of ``step_ns`` of its time inside a turn."""
    made = source.table()
    left = presented.table(made)
    first, last, picture = _ranges(made, left)
    ticks = [
        np.arange(-(-int(first[turn]) // step_ns) * step_ns, int(last[turn]), step_ns, dtype=np.int64)
        for turn in range(len(made.turns))
    ]
    at = np.concatenate([np.empty(0, np.int64), *ticks])
    result = Offsets(
        at_ns=at,
        e_ns=np.zeros(len(at), np.int64),
        state=np.zeros(len(at), np.int8),
        turn=np.repeat(made.turns, [len(t) for t in ticks]).astype(np.int32),
        frozen=np.zeros(len(at), np.bool_),
        step_ns=step_ns,
    )
    done = 0
    for turn, times in enumerate(ticks):
        for begin in range(0, len(times), CHUNK_SAMPLES):
            part = times[begin : begin + CHUNK_SAMPLES]
            rows = slice(done, done + len(part))
            result.e_ns[rows], result.state[rows], result.frozen[rows] = _evaluate(
                made, left, turn, int(picture[turn]), part
            )
            done += len(part)
    return result


def offset_at(source: SourceLog, presented: PresentationLog, times_ns: Sequence[int] | I64) -> tuple[I64, Bool]:
    """e at given times of that point, in any order: (e_ns, valid). Valid: inside a turn, and MEASURED."""
    made = source.table()
    left = presented.table(made)
    first, last, picture = _ranges(made, left)
    times = np.asarray(times_ns, dtype=np.int64)
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    e, valid = np.zeros(len(times), np.int64), np.zeros(len(times), np.bool_)
    for turn in range(len(made.turns)):
        low, high = np.searchsorted(ordered, [first[turn], last[turn]], "left")
        if low < high:
            e_ns, state, _ = _evaluate(made, left, turn, int(picture[turn]), ordered[low:high])
            e[order[low:high]], valid[order[low:high]] = e_ns, state == OffsetState.MEASURED
    return e, valid


def _evaluate(
    made: SourceTable, left: PresentationTable, turn: int, first_picture_ns: int, t: I64
) -> tuple[I64, npt.NDArray[np.int8], Bool]:
    """e(t), state and frozen of one turn at times inside its range."""
    low, high = _voice(made, left, turn, t)
    state = np.zeros(len(t), np.int8)
    shown = np.searchsorted(left.shown_ns, t, "right") - 1
    if not len(left.shown_ns) or not len(made.pictures.turn):
        state[:] = OffsetState.NO_PICTURE
        return np.zeros(len(t), np.int64), state, np.zeros(len(t), np.bool_)
    ref = left.shown_ref[np.maximum(shown, 0)]
    state[ref < 0] = OffsetState.DEGRADED
    state[t < first_picture_ns] = OffsetState.NO_PICTURE
    measured = state == OffsetState.MEASURED
    frame = np.where(measured, ref, 0)
    shown_for, lasts = t - left.first_shown_ns[frame], made.pictures.duration_ns[frame]
    lips = made.pictures.content_ns[frame] + np.minimum(shown_for, lasts)
    e = np.where(lips < low, low - lips, np.where(lips > high, high - lips, 0))
    return np.where(measured, e, 0), state, measured & (shown_for > lasts)


def _voice(made: SourceTable, left: PresentationTable, turn: int, t: I64) -> tuple[I64, I64]:
    """The interval [low, high] in which the voice is at ``t``: a point while content leaves, else [s0, s1].

    What leaves is what is heard, whichever turn it is of. In silence, s0 and s1 are the turn's own neighbours.
    """
    own = slice(left.own_bounds[turn], left.own_bounds[turn + 1])
    at, from_ns, to_ns = (column[own] for column in left.own)
    spoken = np.concatenate([made.start_ns[turn : turn + 1], to_ns])
    to_come = np.concatenate([from_ns, made.end_ns[turn : turn + 1]])
    after = np.searchsorted(at, t, "right")
    s0, s1 = spoken[after], to_come[after]
    if not len(left.at_ns):
        return s0, s1
    index = np.maximum(np.searchsorted(left.at_ns, t, "right") - 1, 0)
    since = t - left.at_ns[index]
    leaving = (since >= 0) & (t < left.end_ns[index])
    here = left.from_ns[index] + position(since, left.length_ns[index], left.gain_ns[index])
    # Content that jumps back (a rewound source) makes s1 < s0: it is an interval all the same.
    return np.where(leaving, here, np.minimum(s0, s1)), np.where(leaving, here, np.maximum(s0, s1))


def _ranges(made: SourceTable, left: PresentationTable) -> tuple[I64, I64, I64]:
    """Per turn: first time judged, end (not judged any more), and when its first picture was shown."""
    count = len(made.turns)
    first_heard, first_picture = np.full(count, NEVER), np.full(count, NEVER)
    voice_end, lips_end = np.full(count, -NEVER), np.full(count, -NEVER)
    np.minimum.at(first_heard, left.turn, left.at_ns)
    np.maximum.at(voice_end, left.turn, left.end_ns)
    # A frame is being shown, as content, from its first showing until its duration or the next picture ends it.
    until = np.append(left.shown_ns[1:], NEVER)
    fresh = left.shown_ref >= 0
    fresh[fresh] = left.first_shown_ns[left.shown_ref[fresh]] == left.shown_ns[fresh]
    frame = left.shown_ref[fresh]
    turn = made.pictures.turn[frame]
    np.minimum.at(first_picture, turn, left.shown_ns[fresh])
    np.maximum.at(lips_end, turn, np.minimum(until[fresh], left.shown_ns[fresh] + made.pictures.duration_ns[frame]))
    first = np.minimum(first_heard, first_picture)
    next_first = np.append(np.minimum.accumulate(first[:0:-1])[::-1], [NEVER])[:count]
    last = np.minimum(np.maximum(voice_end, lips_end), np.minimum(left.stale_ns, next_first))
    return first, np.where(voice_end > -NEVER, np.minimum(last, voice_end + AFTER_VOICE_NS), last), first_picture
