"""Columns: rows of ints, appended during a run and read column by column at its end.

Writing costs 0.1 us per row: one ``append(row)``, which extends a Python list. ``pack`` turns what came since the last
time into 8 bytes per number; a run of hours calls it now and then, and ``columns`` always does.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from avsync.errors import UsageError
from avsync.units import FAR_NS

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

NEVER = FAR_NS
"""Later than any time (146 years), and still far enough from the end of int64 to add to."""


class IntRows:
    """``append`` takes a tuple of ``width`` ints, or several one after the other."""

    __slots__ = ("_packed", "_tail", "append", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self._tail: list[int] = []
        self.append = self._tail.extend  # the list object stays
        self._packed = array("q")

    def __len__(self) -> int:
        return (len(self._packed) + len(self._tail)) // self.width

    def pack(self) -> None:
        """Ints in a list take 40 bytes each."""
        try:
            self._packed.fromlist(self._tail)
        except TypeError as error:
            wrong = next(value for value in self._tail if not isinstance(value, int))
            raise UsageError(f"truth logs take ints of nanoseconds, got {wrong!r}") from error
        self._tail.clear()

    def columns(self) -> list[I64]:
        """A copy, column by column: an array that lends out its memory could not grow any more."""
        self.pack()
        rows = np.array(self._packed, dtype=np.int64).reshape(-1, self.width)
        return [np.ascontiguousarray(rows[:, column]) for column in range(self.width)]
