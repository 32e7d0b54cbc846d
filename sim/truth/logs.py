"""Truth's logs: what was really made, what really left, what really arrived.

Three logs are written during a run (``SourceLog``, one ``PresentationLog`` per point, ``ArrivalLog``) and read as
tables at its end (``sim.truth.tables``). They refer to units by ``ref`` only; no stamp, PTS or epoch that an engine
made up gets in. Content positions are the generator's own: one timeline for the whole session, growing over the turns.

Kept: 8 bytes per number, so 0.6 MB for a minute of 20 ms sound and 25 pictures/s seen at two points, and 0.8 GB for
24 h; evaluating that takes 2.5 GB at its peak and 10 s.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from avsync.errors import UsageError
from sim.truth.columns import I64, NEVER, Bool, IntRows
from sim.truth.tables import PresentationTable, SourceTable, check_refs, first_of, presentation_table, source_table


class SourceLog:
    """What the generator really made. Times in the lab's true time, positions in the generator's content."""

    def __init__(self) -> None:
        self._sounds, self._pictures = IntRows(4), IntRows(4)
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
        """Where the turn ends: the later of both streams. Without it, the end of the last thing made.

        Never before the end of its last sound: a unit that was begun is said to its end.
        """
        self._ends[turn] = end_content_ns
        self._changes += 1

    def interrupted(self, turn: int, at_ns: int) -> None:
        """The turn, and all before it, is stale from ``at_ns`` on (true time): nobody judges it any further."""
        self._interrupts.setdefault(turn, at_ns)
        self._changes += 1

    def sound(self, content_ns: int, duration_ns: int, turn: int, made_ns: int) -> int:
        self._sounds.append((content_ns, duration_ns, turn, made_ns))
        ref = self._made_sounds
        self._made_sounds = ref + 1
        return ref

    def picture(self, content_ns: int, period_ns: int, turn: int, made_ns: int) -> int:
        """``period_ns``: the frame period the generator was then running at."""
        self._pictures.append((content_ns, period_ns, turn, made_ns))
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
            table = source_table(
                self._starts,
                self._ends,
                self._interrupts,
                self._pauses,
                self._sounds.columns(),
                self._pictures.columns(),
            )
            self._table = version, table
        return self._table[1]

    def pack(self) -> None:
        """For long runs: what was written so far takes a fifth of the memory."""
        self._sounds.pack()
        self._pictures.pack()


class PresentationLog:
    """What left at one point (our output, or the viewer), in that point's local time.

    ``local_ns`` turns true time into that point's, for the few true times (interrupts) that matter here.
    """

    def __init__(self, local_ns: Callable[[int], int] | None = None) -> None:
        self.local_ns = local_ns
        self._heard, self._shown = IntRows(5), IntRows(2)
        self._table: tuple[SourceTable, int, int, PresentationTable] | None = None

    def heard(self, at_ns: int, duration_ns: int, ref: int, from_ns: int, span_ns: int) -> None:
        """Of sound ``ref``, the ``span_ns`` that begin ``from_ns`` after its start leave during [at, at + duration).

        A ref below 0 is sound without content: silence. A point plays one thing at a time: what begins ends the last.
        """
        self._heard.append((at_ns, duration_ns, ref, from_ns, span_ns))

    def shown(self, at_ns: int, ref: int) -> None:
        """A picture comes on screen and stays. A ref below 0 is the idle picture; the same ref again renews nothing."""
        self._shown.append((at_ns, ref))

    def pack(self) -> None:
        """For long runs, as ``SourceLog.pack``."""
        self._heard.pack()
        self._shown.pack()

    def local(self, true_ns: I64) -> I64:
        if self.local_ns is None:
            return true_ns
        return np.array([t if t >= NEVER else self.local_ns(t) for t in true_ns.tolist()], dtype=np.int64)

    def table(self, source: SourceTable) -> PresentationTable:
        """The log as columns, against what was made; kept until more is written to either."""
        heard, shown = len(self._heard), len(self._shown)
        if self._table is None or self._table[0] is not source or self._table[1:3] != (heard, shown):
            table = presentation_table(
                source, self._heard.columns(), self._shown.columns(), self.local(source.stale_ns)
            )
            self._table = source, heard, shown, table
        return self._table[3]


class ArrivalLog:
    """When each unit reached the engine that is judged, in its local time. What was lost before it has no entry."""

    def __init__(self) -> None:
        self._sounds, self._pictures = IntRows(2), IntRows(2)
        self._waited: list[int] = []

    def sound(self, ref: int, at_ns: int) -> None:
        self._sounds.append((ref, at_ns))

    def picture(self, ref: int, at_ns: int, *, waited: bool = False) -> None:
        """``waited``: it, or one that it depends on, was sent again, so it came later than the way is long."""
        self._pictures.append((ref, at_ns))
        if waited:
            self._waited.append(ref)

    def pack(self) -> None:
        """For long runs, as ``SourceLog.pack``."""
        self._sounds.pack()
        self._pictures.pack()

    def first(self, source: SourceTable) -> tuple[I64, I64]:
        """(sounds,) and (pictures,): first arrival of each ref, NEVER where there was none."""
        sounds, pictures = self._sounds.columns(), self._pictures.columns()
        check_refs(sounds[0], len(source.sounds.turn), "sound")
        check_refs(pictures[0], len(source.pictures.turn), "picture")
        return (
            first_of(sounds[0], sounds[1], len(source.sounds.turn)),
            first_of(pictures[0], pictures[1], len(source.pictures.turn)),
        )

    def waited(self, source: SourceTable) -> Bool:
        """(pictures,): those that came late because something was sent again."""
        late = np.zeros(len(source.pictures.turn), np.bool_)
        late[[ref for ref in self._waited if ref >= 0]] = True
        return late
