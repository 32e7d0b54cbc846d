"""Truth's tables: the logs of a run as columns, joined by ``ref`` and in order of time. Read by every measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from avsync.errors import UsageError
from sim.truth.columns import I64, NEVER, Bool


class Units(NamedTuple):
    """One row per ref. ``turn`` is an index into ``SourceTable.turns``."""

    content_ns: I64
    duration_ns: I64
    turn: I64
    made_ns: I64


class SourceTable(NamedTuple):
    turns: I64
    start_ns: I64
    end_ns: I64
    interrupted_ns: I64  # true time, NEVER where it was not
    sounds: Units
    pictures: Units  # duration_ns: how long its content lasts, not how long it was shown
    pauses: I64  # (n, 2): from, to

    @property
    def stale_ns(self) -> I64:
        """Per turn: from when on it is stale. An interrupt takes all turns before it along."""
        if not len(self.turns):
            return self.interrupted_ns
        return np.minimum.accumulate(self.interrupted_ns[::-1])[::-1]


class PresentationTable(NamedTuple):
    """What left, in order of time: a row per piece of sound, per change of picture, per ref."""

    at_ns: I64
    end_ns: I64
    from_ns: I64  # content position at at_ns
    to_ns: I64  # content position at end_ns
    length_ns: I64  # how long it was meant to last
    gain_ns: I64  # content it meant to say beyond its length (stretched: > 0)
    ref: I64
    turn: I64  # an index
    own: tuple[I64, I64, I64]  # the same (at, from, to) turn by turn
    own_bounds: I64  # of turn k in own: [k] to [k + 1]
    shown_ns: I64
    shown_ref: I64
    showings: int  # of lips, repeats too
    first_shown_ns: I64  # per picture ref, NEVER if never
    first_heard_ns: I64  # per sound ref: when any of it first left, NEVER if never
    stale_ns: I64  # per turn, in this point's time


def source_table(
    starts: Mapping[int, int],
    ends: Mapping[int, int],
    interrupts: Mapping[int, int],
    pauses: list[tuple[int, int]],
    sound_columns: list[I64],
    picture_columns: list[I64],
) -> SourceTable:
    """By turn: where it starts and ends, when it was interrupted. Of all units: (content, duration, turn, made)."""
    turns = np.array(list(starts), dtype=np.int64)
    start = np.array(list(starts.values()), dtype=np.int64)
    sounds, pictures = _units(sound_columns, turns), _units(picture_columns, turns)
    said_end = start.copy()
    np.maximum.at(said_end, sounds.turn, sounds.content_ns + sounds.duration_ns)
    made_end = said_end.copy()
    np.maximum.at(made_end, pictures.turn, pictures.content_ns + pictures.duration_ns)
    end = np.array([ends.get(int(t), int(made)) for t, made in zip(turns, made_end, strict=True)], np.int64)
    end = np.maximum(end, said_end)  # a plan may end inside a unit of sound, which is said to its own end
    interrupted = np.array([interrupts.get(int(t), NEVER) for t in turns], dtype=np.int64)
    return SourceTable(
        turns=turns,
        start_ns=start,
        end_ns=end,
        interrupted_ns=interrupted,
        sounds=sounds,
        pictures=pictures._replace(duration_ns=_picture_durations(pictures, end)),
        pauses=np.array(sorted(pauses), dtype=np.int64).reshape(-1, 2),
    )


def presentation_table(source: SourceTable, heard: list[I64], shown: list[I64], stale_ns: I64) -> PresentationTable:
    """Both in the order of leaving; what leaves at the same ns, in the order of writing."""
    heard = _by_time(_rows_where(heard, heard[1] > 0))
    shown_ns, shown_ref = _by_time(shown)
    check_refs(heard[2], len(source.sounds.turn), "sound")
    check_refs(shown_ref, len(source.pictures.turn), "picture")
    end = np.minimum(heard[0] + heard[1], np.append(heard[0][1:], NEVER)[: len(heard[0])])
    at, length, ref, begin, span, end = _rows_where([*heard, end], (heard[2] >= 0) & (end > heard[0]))
    from_ns = source.sounds.content_ns[ref] + begin
    to_ns = from_ns + position(end - at, length, span - length)
    turn = source.sounds.turn[ref]
    own = [turn, at, from_ns, to_ns]
    if not _sorted(turn):
        order = np.argsort(turn, kind="stable")
        own = [column[order] for column in own]
    # Only changes of picture matter: the same ref again renews nothing.
    changed = np.append([True], shown_ref[1:] != shown_ref[:-1])[: len(shown_ref)]
    lips = shown_ref >= 0
    return PresentationTable(
        at_ns=at,
        end_ns=end,
        from_ns=from_ns,
        to_ns=to_ns,
        length_ns=length,
        gain_ns=span - length,
        ref=ref,
        turn=turn,
        own=(own[1], own[2], own[3]),
        own_bounds=np.searchsorted(own[0], np.arange(len(source.turns) + 1)),
        shown_ns=shown_ns[changed],
        shown_ref=shown_ref[changed],
        showings=int(np.count_nonzero(lips)),
        first_shown_ns=first_of(shown_ref[lips], shown_ns[lips], len(source.pictures.turn)),
        first_heard_ns=first_of(ref, at, len(source.sounds.turn)),
        stale_ns=stale_ns,
    )


def position(since_ns: I64, length_ns: I64, gain_ns: I64) -> I64:
    """since * span // length, but in int64 for a minute at ±10 % and not only for 3 s."""
    return since_ns + since_ns * gain_ns // length_ns


def _units(columns: list[I64], turns: I64) -> Units:
    content, duration, turn, made = columns
    index = np.searchsorted(turns, turn)
    known = index < len(turns)
    known[known] = turns[index[known]] == turn[known]
    if not known.all():
        raise UsageError(f"a unit belongs to turn {turn[~known][0]}, which was never begun; call turn() first")
    return Units(content, duration, index, made)


def _picture_durations(pictures: Units, end_ns: I64) -> I64:
    """min(distance to the next frame made in that turn, period); a turn's last frame runs to the turn's end."""
    order = np.argsort(pictures.turn, kind="stable")
    content, turn = pictures.content_ns[order], pictures.turn[order]
    lasts = end_ns[turn] - content
    follows = np.append(turn[1:] == turn[:-1], [False])[: len(turn)]
    to_next = np.append(content[1:], [0])[: len(turn)] - content
    lasts = np.where(follows, np.minimum(to_next, pictures.duration_ns[order]), lasts)
    durations = np.empty_like(lasts)
    durations[order] = np.maximum(lasts, 0)
    return durations


def _by_time(columns: list[I64]) -> list[I64]:
    return columns if _sorted(columns[0]) else _rows_where(columns, np.argsort(columns[0], kind="stable"))


def _rows_where(columns: list[I64], rows: I64 | Bool) -> list[I64]:
    return [column[rows] for column in columns]


def _sorted(values: I64) -> bool:
    return bool(np.all(values[1:] >= values[:-1]))


def check_refs(ref: I64, count: int, what: str) -> None:
    if len(ref) and int(ref.max()) >= count:
        raise UsageError(f"{what} {int(ref.max())} is logged, but the source made only {count}")


def first_of(ref: I64, at_ns: I64, count: int) -> I64:
    """(count,): the earliest time of each ref, NEVER where it has none. Refs below 0 are nobody's."""
    known = ref >= 0
    first = np.full(count, NEVER, dtype=np.int64)
    np.minimum.at(first, ref[known], at_ns[known])
    return first
