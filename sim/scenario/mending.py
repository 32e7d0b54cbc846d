"""Mending: what the author most likely meant, so that the rest of a file is checked in the same round.

A validator stops at the first layer of mistakes: while a key is mistyped, nobody looks whether its part fits the
others. Here each mistake is put right or taken out, and the data is looked at again. What follows from a mistake that
was taken out is no second mistake, and is not reported.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from sim.scenario.errors import Finding
from sim.scenario.types import near_ones
from sim.scenario.yaml_places import Path

ROUNDS = 8


class Mended:
    """A copy of the data without its mistakes. Paths that go in are the copy's; ``taken_out`` are the author's."""

    def __init__(self, data: Any) -> None:
        self.data = copy.deepcopy(data)
        self.taken_out: set[Path] = set()
        self._kept: dict[Path, list[int]] = {}  # of a list that lost items: the author's index of each that is left
        self._spelled: dict[Path, str] = {}  # a key that was put right: how the author wrote it

    def original(self, path: Path) -> Path:
        """Where this stands in the author's data."""
        found: Path = ()
        for part in path:
            kept = self._kept.get(found)
            part = kept[part] if kept is not None and isinstance(part, int) and part < len(kept) else part
            found = (*found, self._spelled.get((*found, part), part))
        return found

    def follows(self, where: Path, part: Path, key: str, words: str) -> bool:
        """Is this only there because something was taken out of the list at ``where``, or of the part it is about?"""
        if any(path[:-1] == self.original(where) and isinstance(path[-1], int) for path in self.taken_out):
            return True
        gone = {str(path[-1]) for path in self.taken_out if path[:-1] == self.original(part)}
        return key in gone or any(re.search(rf"\b{re.escape(one)}\b", words) for one in gone)

    def mend(self, mistakes: Sequence[Finding]) -> bool:
        """Put each right, or take it out; False: nothing could be done."""
        before = repr(self.data)
        gone: set[Path] = set()
        for _, kind, path, key, known in sorted(mistakes, key=lambda one: _order(one.where), reverse=True):
            here = self._at(path[:-1]) if path else None
            near = near_ones(path[-1] if kind == "key" else key, known)
            if kind == "key" and isinstance(here, dict) and near and near[0] not in here:
                self._spelled[*self.original(path[:-1]), near[0]] = str(path[-1])
                here[near[0]] = here.pop(path[-1], None)
            elif kind == "word" and near and isinstance(here, dict | list):
                here[path[-1]] = near[0]  # type: ignore[index]
            elif kind == "missing" and not path:
                self.data[key] = "?"
            else:
                inside = (*path, key)
                out = inside if kind == "rule" and key and self._at(inside) is not None else path
                if out not in gone:  # two keys are missing in one part: it goes once
                    gone.add(out)
                    self._take_out(out)
        return repr(self.data) != before

    def _at(self, path: Path) -> Any:
        here = self.data
        for part in path:
            inside = (isinstance(here, dict) and part in here) or (
                isinstance(here, list) and isinstance(part, int) and part < len(here)
            )
            if not inside:
                return None
            here = here[part]
        return here

    def _take_out(self, path: Path) -> None:
        """The value at ``path``, with its key, or its place in a list."""
        parent, last = self._at(path[:-1]), path[-1] if path else None
        place = self.original(path)
        if isinstance(parent, dict) and last in parent:
            del parent[last]
        elif isinstance(parent, list) and isinstance(last, int) and last < len(parent):
            where = self.original(path[:-1])
            if where not in self._kept:
                self._kept[where] = list(range(len(parent)))
            del self._kept[where][last], parent[last]
        else:
            return
        self.taken_out.add(place)


def _order(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """Later items of a list come after earlier ones, so that taking them out first moves no index."""
    return tuple((isinstance(part, int), part if isinstance(part, int) else 0, str(part)) for part in path)
