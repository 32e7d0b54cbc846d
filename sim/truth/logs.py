"""Truth's logs: what was really made, what really left, what really arrived.

Three logs are written during a run (``SourceLog``, one ``PresentationLog`` per point, ``ArrivalLog``) and read as
columns at its end. They refer to units by ``ref`` only; no stamp, PTS or epoch that an engine made up gets in. Content
positions are the generator's own: one timeline for the whole session, growing over the turns.

Writing costs about 0.2 us per row. Kept: 8 bytes per number, so 0.6 MB for a minute of 20 ms sound and 25 pictures/s
seen at two points, and 0.8 GB for 24 h; evaluating that takes 2.5 GB at its peak and 10 s.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.errors import UsageError
from avsync.units import FAR_NS

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

NEVER = FAR_NS
"""Later than any time (146 years), and still far enough from the end of int64 to add to."""
PACK_VALUES = 1 << 10
"""Ints in a list take 40 bytes each. Packed this early they stay in the cache: measuring takes half the time."""


class Rows:
    """Rows of ints, appended flat: a Python list is the fastest to extend, an array the smallest to keep."""

    __slots__ = ("_packed", "tail", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.tail: list[int] = []
        self._packed = array("q")

    def __len__(self) -> int:
        return (len(self._packed) + len(self.tail)) // self.width

    def pack(self) -> None:
        try:
            self._packed.extend(array("q", self.tail))
        except TypeError as error:
            wrong = next(value for value in self.tail if not isinstance(value, int))
            raise UsageError(f"truth logs take ints of nanoseconds, got {wrong!r}") from error
        self.tail.clear()

    def columns(self) -> list[I64]:
        """A copy, column by column: an array that lends out its memory could not grow any more."""
        self.pack()
        rows = np.array(self._packed, dtype=np.int64).reshape(-1, self.width)
        return [np.ascontiguousarray(rows[:, column]) for column in range(self.width)]


class SourceLog:
    """What the generator really made. Times in the lab's true time, positions in the generator's content."""

    def __init__(self) -> None:
        self._sounds, self._pictures = Rows(4), Rows(4)
        self._made_sounds = self._made_pictures = 0
        self._starts: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._interrupts: dict[int, int] = {}
        self._pauses: list[tuple[int, int]] = []
        self._changes = 0  # of what is not counted by rows
        self._table: tuple[tuple[int, int, int], SourceTable] | None = None

    def turn(self, turn: int, start_content_ns: int) -> None:
        """Turn numbers and their starts grow; a turn starts at or after the end of the last."""
        if self._starts:
            last = next(reversed(self._starts))
            if turn <= last or start_content_ns < self._starts[last]:
                before = f"turn {last} at {self._starts[last]}"
                raise UsageError(f"turn {turn} at {start_content_ns} does not follow {before}")
        self._starts[turn] = start_content_ns
        self._changes += 1

    def end_turn(self, turn: int, end_content_ns: int) -> None:
        """Where the turn ends: the later of both streams. Without it, the end of the last thing made."""
        self._ends[turn] = end_content_ns
        self._changes += 1

    def interrupted(self, turn: int, at_ns: int) -> None:
        """The turn, and all before it, is stale from ``at_ns`` on (true time): nobody judges it any further."""
        self._interrupts.setdefault(turn, at_ns)
        self._changes += 1

    def sound(self, content_ns: int, duration_ns: int, turn: int, made_ns: int) -> int:
        tail = self._sounds.tail
        tail += (content_ns, duration_ns, turn, made_ns)
        if len(tail) > PACK_VALUES:
            self._sounds.pack()
        ref = self._made_sounds
        self._made_sounds = ref + 1
        return ref

    def picture(self, content_ns: int, period_ns: int, turn: int, made_ns: int) -> int:
        """``period_ns``: the frame period the generator was then running at."""
        tail = self._pictures.tail
        tail += (content_ns, period_ns, turn, made_ns)
        if len(tail) > PACK_VALUES:
            self._pictures.pack()
        ref = self._made_pictures
        self._made_pictures = ref + 1
        return ref

    def pause(self, turn: int, from_content_ns: int, to_content_ns: int) -> None:
        """A marked pause (DTX, mute): nothing is said there, so nothing of it can go missing."""
        self._pauses.append((from_content_ns, to_content_ns))
        self._changes += 1

    def table(self) -> SourceTable:
        """The log as columns; made once, and again only after more was written."""
        version = (self._changes, self._made_sounds, self._made_pictures)
        if self._table is None or self._table[0] != version:
            self._table = version, self._compile()
        return self._table[1]

    def _compile(self) -> SourceTable:
        turns = np.array(list(self._starts), dtype=np.int64)
        start = np.array(list(self._starts.values()), dtype=np.int64)
        sounds, pictures = _units(self._sounds, turns), _units(self._pictures, turns)
        made_end = start.copy()
        for units in (sounds, pictures):
            np.maximum.at(made_end, units.turn, units.content_ns + units.duration_ns)
        end = np.array([self._ends.get(int(t), int(made)) for t, made in zip(turns, made_end, strict=True)], np.int64)
        interrupted = np.array([self._interrupts.get(int(t), NEVER) for t in turns], dtype=np.int64)
        return SourceTable(
            turns=turns,
            start_ns=start,
            end_ns=end,
            interrupted_ns=interrupted,
            sounds=sounds,
            pictures=pictures._replace(duration_ns=_picture_durations(pictures, end)),
            pauses=np.array(sorted(self._pauses), dtype=np.int64).reshape(-1, 2),
        )


class PresentationLog:
    """What left at one point (our output, or the viewer), in that point's local time.

    ``local_ns`` turns true time into that point's, for the few true times (interrupts) that matter here.
    """

    def __init__(self, local_ns: Callable[[int], int] | None = None) -> None:
        self.local_ns = local_ns
        self._heard, self._shown = Rows(5), Rows(2)
        self._table: tuple[SourceTable, int, int, GlassTable] | None = None

    def heard(self, at_ns: int, duration_ns: int, ref: int, from_ns: int, span_ns: int) -> None:
        """Of sound ``ref``, the ``span_ns`` that begin ``from_ns`` after its start leave during [at, at + duration).

        A ref below 0 is sound without content: silence. A point plays one thing at a time: what begins ends the last.
        """
        tail = self._heard.tail
        tail += (at_ns, duration_ns, ref, from_ns, span_ns)
        if len(tail) > PACK_VALUES:
            self._heard.pack()

    def shown(self, at_ns: int, ref: int) -> None:
        """A picture comes on screen and stays. A ref below 0 is the idle picture; the same ref again renews nothing."""
        tail = self._shown.tail
        tail += (at_ns, ref)
        if len(tail) > PACK_VALUES:
            self._shown.pack()

    def local(self, true_ns: I64) -> I64:
        if self.local_ns is None:
            return true_ns
        return np.array([t if t >= NEVER else self.local_ns(t) for t in true_ns.tolist()], dtype=np.int64)

    def table(self, source: SourceTable) -> GlassTable:
        """The log as columns, against what was made; kept until more is written to either."""
        heard, shown = len(self._heard), len(self._shown)
        if self._table is None or self._table[0] is not source or self._table[1:3] != (heard, shown):
            table = _glass_table(source, self._heard.columns(), self._shown.columns(), self.local(source.stale_ns))
            self._table = source, heard, shown, table
        return self._table[3]


class ArrivalLog:
    """When each unit reached the engine that is judged, in its local time. What was lost before it has no entry."""

    def __init__(self) -> None:
        self._sounds, self._pictures = Rows(2), Rows(2)

    def sound(self, ref: int, at_ns: int) -> None:
        tail = self._sounds.tail
        tail += (ref, at_ns)
        if len(tail) > PACK_VALUES:
            self._sounds.pack()

    def picture(self, ref: int, at_ns: int) -> None:
        tail = self._pictures.tail
        tail += (ref, at_ns)
        if len(tail) > PACK_VALUES:
            self._pictures.pack()

    def first(self, source: SourceTable) -> tuple[I64, I64]:
        """(sounds,) and (pictures,): first arrival of each ref, NEVER where there was none."""
        sounds, pictures = self._sounds.columns(), self._pictures.columns()
        _check_refs(sounds[0], len(source.sounds.turn), "sound")
        _check_refs(pictures[0], len(source.pictures.turn), "picture")
        return (
            first_of(sounds[0], sounds[1], len(source.sounds.turn)),
            first_of(pictures[0], pictures[1], len(source.pictures.turn)),
        )


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


class GlassTable(NamedTuple):
    """What left, in order of time: a row per stretch of sound, per change of picture, per ref."""

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


def _glass_table(source: SourceTable, heard: list[I64], shown: list[I64], stale_ns: I64) -> GlassTable:
    """Both in the order of leaving; what leaves at the same ns, in the order of writing."""
    heard = _by_time(_rows_where(heard, heard[1] > 0))
    shown_ns, shown_ref = _by_time(shown)
    _check_refs(heard[2], len(source.sounds.turn), "sound")
    _check_refs(shown_ref, len(source.pictures.turn), "picture")
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
    return GlassTable(
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


def _units(rows: Rows, turns: I64) -> Units:
    content, duration, turn, made = rows.columns()
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


def _check_refs(ref: I64, count: int, what: str) -> None:
    if len(ref) and int(ref.max()) >= count:
        raise UsageError(f"{what} {int(ref.max())} is logged, but the source made only {count}")


def first_of(ref: I64, at_ns: I64, count: int) -> I64:
    """(count,): the earliest time of each ref, NEVER where it has none. Refs below 0 are nobody's."""
    known = ref >= 0
    first = np.full(count, NEVER, dtype=np.int64)
    np.minimum.at(first, ref[known], at_ns[known])
    return first
