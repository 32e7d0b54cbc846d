"""Beliefs: what was said now and then during a run, (at_ns, value_ns) in the order of saying, 16 bytes each.

What a monitor believed, and how much a buffer held. A belief is no truth: the truth's logs never
hold one. ``None`` is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from avsync.monitor.belief import SyncSample
from sim.truth.columns import I64, NEVER, Bool, IntRows


class BeliefColumns(NamedTuple):
    """``value_ns`` means nothing where it is not ``known``."""

    at_ns: I64
    value_ns: I64
    known: Bool


class Beliefs:
    """``add`` during the run, read ``columns`` at its end. Equal where the same was said."""

    __slots__ = ("_rows",)

    def __init__(self, pairs: Iterable[tuple[int, int | None]] = ()) -> None:
        self._rows = IntRows(2)
        for at_ns, value_ns in pairs:
            self.add(at_ns, value_ns)

    def add(self, at_ns: int, value_ns: int | None) -> None:
        self._rows.append((at_ns, NEVER if value_ns is None else value_ns))

    def add_samples(self, samples: Iterable[SyncSample]) -> None:
        """What a monitor calls."""
        self._rows.append(chain.from_iterable([sample[:2] for sample in samples]))

    def pack(self) -> None:
        """For long runs: what was said so far takes a fifth of the memory."""
        self._rows.pack()

    def columns(self) -> BeliefColumns:
        at_ns, value_ns = self._rows.columns()
        return BeliefColumns(at_ns, value_ns, value_ns != NEVER)

    def clear(self) -> None:
        self._rows = IntRows(2)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[int, int | None]]:
        for at_ns, value_ns, known in zip(*(column.tolist() for column in self.columns()), strict=True):
            yield at_ns, value_ns if known else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Beliefs) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
